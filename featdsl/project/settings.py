"""Read featproject.toml: the project's name, store, engine, teams, policy and variables."""

from __future__ import annotations

import os
import re
import tomllib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, ValidationError

from featdsl.declarations.declaration import Name
from featdsl.definitions.durations import seconds
from featdsl.definitions.kinds import Policy
from featdsl.definitions.names import did_you_mean
from featdsl.definitions.owners import PROJECT_FILE, Ownership
from featdsl.definitions.validation_errors import reason, shown
from featdsl.errors import (
    DeclarationError,
    FeatdslError,
    OnlineStoreError,
    Origin,
    Problem,
    StoreError,
    UnreachableError,
)
from featdsl.project.engine_settings import EngineTable, is_server
from featdsl.project.event_settings import EventsTable, fault_of_endpoint
from featdsl.project.serving_settings import ServingTable
from featdsl.project.setting_types import VARIABLE, Duration, SettingTable
from featdsl.project.store_url import Place, holds_secret, parse

FILE = PROJECT_FILE

_ACCOUNT = re.compile(r"@[\w.-]+(/[\w.-]+)*|[^\s@#]+@[^\s@#]+")


class ProjectTable(SettingTable):
    """`[project]`: the project's name, and the package of its declarations."""

    name: Name
    features: str = "features"


def _address(text: str) -> str:
    """Return `text` if it is the URL of a team store or `env:NAME`. Raises ValueError."""
    if not text.startswith(VARIABLE) and holds_secret(text):
        raise ValueError(
            "it contains a password; keep it out of this file: set PGPASSWORD, or write env:NAME for the whole URL"
        )
    return text


class StoreTable(SettingTable):
    """`[store]`: the location of the store, how long to wait for another writer, and how long to keep replaced tables.

    `statistics` says whether apply and refresh measure the tables that they write.
    `path` is a local folder. A team store also has a `url`, and in `data` the folder or bucket of its files.
    """

    path: str = ".featdsl"
    url: Annotated[str, AfterValidator(_address)] | None = None
    data: str | None = None
    lock_timeout: Duration = "60 seconds"
    keep_history: Duration = "30 days"
    statistics: bool = True


class EnvironmentsTable(SettingTable):
    """`[environments]`: how long an environment other than prod lives after its last apply."""

    expire_after: Duration = "14 days"


class CatalogueTable(SettingTable):
    """`[catalogue]`: how to reach each team, and for how long values count as fresh after they were computed."""

    contacts: dict[Name, str] = Field(default_factory=dict)
    stale_after: Duration = "30 days"


class DriftTable(SettingTable):
    """`[drift]`: from which change on the values of a feature have drifted.

    `psi` is a population stability index, `nulls` the rise of the share of NULLs, `volume` the share of its rows that a table has
    lost, or gained since the run before.
    """

    psi: Annotated[float, Field(gt=0)] = 0.25
    nulls: Annotated[float, Field(gt=0, le=1)] = 0.05
    volume: Annotated[float, Field(gt=0)] = 0.5


class PolicyTable(SettingTable):
    """`[policy]`: which approvals apply requires."""

    approvals: Policy = "none"
    approvals_command: str | None = None


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _account(text: str) -> str:
    """Return `text` if it is a valid account for a CODEOWNERS file. Raises ValueError."""
    if not _ACCOUNT.fullmatch(text):
        raise ValueError(f"{text!r} is not an account; write @name, @organisation/team or an e-mail address")
    return text


Account = Annotated[str, AfterValidator(_account)]


class Settings(SettingTable):
    """All settings of featproject.toml."""

    project: ProjectTable
    store: StoreTable = StoreTable()
    environments: EnvironmentsTable = EnvironmentsTable()
    engine: EngineTable = EngineTable()
    teams: dict[Name, Annotated[list[str], BeforeValidator(_as_list)]] = Field(default_factory=dict)
    serving: ServingTable = ServingTable()
    drift: DriftTable = DriftTable()
    events: EventsTable = EventsTable()
    policy: PolicyTable = PolicyTable()
    catalogue: CatalogueTable = CatalogueTable()
    codeowners: dict[str, Annotated[list[Account], BeforeValidator(_as_list)]] = Field(default_factory=dict)
    variables: dict[Name, str | int | float | bool] = Field(default_factory=dict)


def _in_environment(url: str, setting: str, summary: str, error: type[FeatdslError]) -> str:
    """Return the value of the environment variable that the `url` of a setting names. Raises `error` if it is not set."""
    name = url.removeprefix(VARIABLE)
    if name not in os.environ:
        what = f"{setting} is {url}, but the environment variable {name} is not set."
        raise error(Problem(summary, what, fix=f"Set {name}."))
    return os.environ[name]


@dataclass(frozen=True)
class Project:
    """A project: its root folder and its settings."""

    root: Path
    settings: Settings

    @property
    def name(self) -> str:
        """The project's name. A plan removes only objects of its own project."""
        return self.settings.project.name

    @property
    def features(self) -> Path:
        """The folder of the package that declares features."""
        return self.root / self.settings.project.features

    @property
    def store(self) -> Path:
        """The folder of the embedded store; for a team store, the folder of local caches."""
        return self.root / self.settings.store.path

    @property
    def place(self) -> Place | None:
        """The database of the team store, or None for an embedded store. Raises StoreError if its variable is unset or invalid."""
        url = self.settings.store.url
        if url is None or not url.startswith(VARIABLE):
            return parse(url) if url else None
        text = _in_environment(url, "[store] url", "Store URL is missing", StoreError)
        try:
            return parse(text)
        except ValueError as error:
            what = f"Environment variable {url.removeprefix(VARIABLE)}: {error}."
            raise StoreError(Problem("Store URL is invalid", what)) from None

    @property
    def serving_url(self) -> str | None:
        """The URL of the online store, with its password; None without one. Raises OnlineStoreError if its variable is unset."""
        url = self.settings.serving.url
        if url is None or not url.startswith(VARIABLE):
            return url
        return _in_environment(url, "[serving] url", "URL of the online store is missing", OnlineStoreError)

    @property
    def engine_url(self) -> str | None:
        """The server of Spark, with its token; None without one. Raises UnreachableError if its variable is unset or invalid."""
        url = self.settings.engine.url
        if url is None or not url.startswith(VARIABLE):
            return url
        value = _in_environment(url, "[engine] url", "URL of the engine is missing", UnreachableError)
        if not is_server(value):
            name = url.removeprefix(VARIABLE)
            what = f"Environment variable {name} is not the URL of a Spark Connect server."
            raise UnreachableError(Problem("URL of the engine is invalid", what, fix=f"Set {name}=sc://host:15002"))
        return value

    @property
    def openlineage_url(self) -> str | None:
        """Where to send the events of OpenLineage; None without it. Raises UnreachableError if its variable is unset or invalid."""
        url = self.settings.events.openlineage_url
        if url is None or not url.startswith(VARIABLE):
            return url
        value = _in_environment(url, "[events] openlineage_url", "URL of OpenLineage is missing", UnreachableError)
        if fault := fault_of_endpoint(value):
            name = url.removeprefix(VARIABLE)
            what = f"Environment variable {name} is no endpoint; {fault}."
            raise UnreachableError(Problem("URL of OpenLineage is invalid", what, fix=f"Set {name}=http://HOST:PORT"))
        return value

    @property
    def data(self) -> str | None:
        """The folder or bucket prefix of a team store's files; None if the settings name none."""
        data = self.settings.store.data
        if data is None or "://" in data:
            return data and data.rstrip("/")
        return str((self.root / data).resolve())

    @property
    def lock_timeout(self) -> int:
        """How long to wait for another writer, in seconds."""
        return seconds(self.settings.store.lock_timeout)

    @property
    def environment_seconds(self) -> int:
        """How long an environment other than prod lives after its last apply, in seconds."""
        return seconds(self.settings.environments.expire_after)

    @property
    def history_seconds(self) -> int:
        """How long replaced tables are kept, in seconds."""
        return seconds(self.settings.store.keep_history)

    def team_of(self, file: str) -> str:
        """Return the team that owns a file: that of the nearest team folder, else the name of its top folder in the package."""
        if file not in self._teams:
            self._teams[file] = self._ownership.team_of(self.root / file)
        return self._teams[file]

    @cached_property
    def _teams(self) -> dict[str, str]:
        """The owning teams found so far, by file."""
        return {}

    @cached_property
    def _ownership(self) -> Ownership:
        """Which team owns which folder."""
        folders = {self.root / folder: team for team, folders in self.settings.teams.items() for folder in folders}
        return Ownership(folders, self.features, self.name)


def load(start: Path | None = None) -> Project:
    """Return the project in a folder or its nearest parent. Raises DeclarationError if none has a valid featproject.toml."""
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / FILE).is_file():
            _refuse_folder(folder)
            return Project(folder, _settings(folder / FILE))
    raise DeclarationError(
        Problem(
            "No project found",
            f"Neither {here} nor its parents contain {FILE}.",
            fix="Go to your project's folder, or start a project: featdsl init",
        )
    )


def _refuse_folder(folder: Path) -> None:
    """Refuse a folder name that DuckDB misreads: it turns a backslash into a slash, and ends a path at a `?`."""
    if characters := sorted({"\\", "?"} & set(str(folder))):
        what = f"The path {folder} contains {' and '.join(characters)}, which DuckDB misreads."
        raise DeclarationError(Problem("Folder cannot be used", what, fix="Rename the folder."))


def _settings(file: Path) -> Settings:
    text = file.read_text(encoding="utf-8", errors="replace")
    try:
        settings = Settings.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        where = Origin(FILE, getattr(error, "lineno", None) or _line_of_error(str(error)))
        raise DeclarationError(Problem("Settings cannot be read", f"It is not valid TOML: {error}.", where)) from None
    except ValidationError as error:
        raise DeclarationError(_problem(text, detail) for detail in error.errors()) from None
    problems = [_no_folder(file.parent, text, team, folder) for team, folder in _missing_folders(file.parent, settings)]
    problems += [_no_team(text, settings, name) for name in settings.codeowners if name not in _owned(settings)]
    if problems:
        raise DeclarationError(problems)
    return settings


def _owned(settings: Settings) -> set[str]:
    """Return the valid keys of `[codeowners]`: the teams, and the files outside of team folders."""
    return {*settings.teams, *_unowned(settings)}


def _unowned(settings: Settings) -> tuple[str, str]:
    return FILE, f"{settings.project.features}/macros"


def _no_team(text: str, settings: Settings, name: str) -> Problem:
    known = _owned(settings)
    where = Origin(FILE, _line_of(text, ("codeowners", name)))
    fix = did_you_mean(name, known) or f"Known: {', '.join(sorted(known))}."
    return Problem("Unknown team", f'[codeowners] names the team "{name}", which is not in [teams].', where, fix)


def _missing_folders(root: Path, settings: Settings) -> list[tuple[str, str]]:
    teams = sorted(settings.teams.items())
    return [(team, folder) for team, folders in teams for folder in folders if not (root / folder).is_dir()]


def _no_folder(root: Path, text: str, team: str, folder: str) -> Problem:
    known = [path.relative_to(root).as_posix() for path in root.glob("*/*") if path.is_dir()]
    return Problem(
        "Unknown folder",
        f'Team {team} owns the folder "{folder}", which does not exist in this project.',
        Origin(FILE, _line_of(text, ("teams", team))),
        did_you_mean(folder, known),
    )


def _problem(text: str, detail: Any) -> Problem:
    location = [str(part) for part in detail["loc"]]
    where = Origin(FILE, _line_of(text, tuple(location)))
    setting = ".".join(location)
    if detail["type"] == "extra_forbidden":
        return Problem("Unknown setting", f"featdsl has no setting {setting}.", where, _known_setting(location))
    if detail["type"] == "missing":
        fix = 'Add to the table [project]: name = "my_project".'
        return Problem("Missing setting", f"{setting} is required.", where, fix)
    why = reason(detail)
    # Never repeat a store URL or a hash: it may contain a password, or be the token itself.
    secret = setting in {"store.url", "serving.url", "engine.url", "events.openlineage_url"} or location[-1:] == [
        "sha256"
    ]
    subject = setting if secret or why.startswith(shown(detail["input"])) else f"{setting} = {detail['input']!r}"
    return Problem("Invalid setting", f"{subject}: {why}.", where)


def _known_setting(location: list[str]) -> str:
    table: type[BaseModel] = Settings
    for part in location[:-1]:
        inner = table.model_fields[part].annotation
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            return ""
        table = inner
    return did_you_mean(location[-1], table.model_fields) or f"Known: {', '.join(sorted(table.model_fields))}."


def _line_of(text: str, location: tuple[str, ...]) -> int:
    """Return the line of a setting. tomllib keeps no lines, so search for its table and then its key."""
    line, inside = 1, ""
    for number, content in enumerate(text.splitlines(), start=1):
        stripped = content.strip()
        if stripped.startswith("["):
            inside = stripped.strip("[]").strip()
            if location[0] == inside:
                line = number
        key = stripped.partition("=")[0].strip().strip('"')
        if len(location) > 1 and (inside, key) in {location[:2], (".".join(location[:-1]), location[-1])}:
            return number
        if not inside and key == location[0]:
            return number
    return line


def _line_of_error(message: str) -> int:
    digits = message.partition("line ")[2].partition(",")[0]
    return int(digits) if digits.isdigit() else 1
