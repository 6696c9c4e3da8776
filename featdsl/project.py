"""What featproject.toml says: the project's name, where its store is, its teams, variables and engine."""

from __future__ import annotations

import os
import re
import tomllib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from featdsl.address import Place, holds_secret, parse
from featdsl.declaration import Name
from featdsl.definitions import Policy
from featdsl.durations import checked, seconds
from featdsl.errors import DeclarationError, Origin, Problem, StoreError
from featdsl.names import did_you_mean
from featdsl.reasons import reason, shown

FILE = "featproject.toml"

_ACCOUNT = re.compile(r"@[\w.-]+(/[\w.-]+)*|[^\s@#]+@[^\s@#]+")

_MEMORY = re.compile(r"(\d+(?:\.\d+)?) *([KMGT]i?B?|B)", re.IGNORECASE)

_VARIABLE = "env:"

Duration = Annotated[str, AfterValidator(checked)]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class ProjectTable(_Table):
    """`[project]`: who this is, and where its declarations are."""

    name: Name
    features: str = "features"


def _address(text: str) -> str:
    """Return `text` when it says where a team store is, or which variable does. Raises ValueError."""
    if not text.startswith(_VARIABLE) and holds_secret(text):
        raise ValueError(
            "it holds a password; keep that out of this file: set PGPASSWORD, or write env:NAME for all of it"
        )
    return text


class StoreTable(_Table):
    """`[store]`: where applied features live, how long to wait for another writer, and to keep what was replaced.

    `path` is a folder of this machine. A team store has a `url` beside it, and `data`: the folder or bucket of its files.
    """

    path: str = ".featdsl"
    url: Annotated[str, AfterValidator(_address)] | None = None
    data: str | None = None
    lock_timeout: Duration = "60 seconds"
    keep_history: Duration = "30 days"


class EnvironmentsTable(_Table):
    """`[environments]`: how long one other than prod stays without an apply."""

    expire_after: Duration = "14 days"


def _bare(endpoint: str) -> str:
    """Return the host and port of an S3 server. Raises ValueError."""
    if "/" in endpoint or "@" in endpoint:
        raise ValueError("write the host and the port only, such as 127.0.0.1:9000; use_ssl = false means http")
    return endpoint


class S3Table(_Table):
    """`[engine.s3]`: the S3 that files are in, where it is not AWS's own. Credentials are the environment's."""

    endpoint: Annotated[str, AfterValidator(_bare)] | None = None
    region: str | None = None
    url_style: Literal["vhost", "path"] | None = None
    use_ssl: bool | None = None


def _memory(size: str) -> str:
    """Return a size of memory as DuckDB reads it. Raises ValueError."""
    found = _MEMORY.fullmatch(size.strip())
    if not found or not float(found[1]):
        raise ValueError("write a number and a unit, such as '4GB' or '512MiB'")
    return size


class EngineTable(_Table):
    """`[engine]`: what DuckDB may use, its own defaults when left out; the rows of a batch; whether to fetch extensions."""

    memory_limit: Annotated[str, AfterValidator(_memory)] | None = None
    # DuckDB starts them all at once, and a machine that cannot have so many kills the process.
    threads: Annotated[int, Field(ge=1, le=1024)] | None = None
    temp_directory: str | None = None
    batch_rows: Annotated[int, Field(ge=1)] = 20_000_000
    install_extensions: bool = False
    s3: S3Table = S3Table()


class PolicyTable(_Table):
    """`[policy]`: what apply insists on."""

    approvals: Policy = "none"
    approvals_command: str | None = None


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _account(text: str) -> str:
    """Return `text` when it can stand in a CODEOWNERS file. Raises ValueError."""
    if not _ACCOUNT.fullmatch(text):
        raise ValueError(f"{text!r} is no account; write @name, @organisation/team or an e-mail address")
    return text


Account = Annotated[str, AfterValidator(_account)]


class Settings(_Table):
    """The whole of featproject.toml."""

    project: ProjectTable
    store: StoreTable = StoreTable()
    environments: EnvironmentsTable = EnvironmentsTable()
    engine: EngineTable = EngineTable()
    teams: dict[Name, Annotated[list[str], BeforeValidator(_listed)]] = Field(default_factory=dict)
    policy: PolicyTable = PolicyTable()
    codeowners: dict[str, Annotated[list[Account], BeforeValidator(_listed)]] = Field(default_factory=dict)
    variables: dict[Name, str | int | float | bool] = Field(default_factory=dict)


@dataclass(frozen=True)
class Project:
    """A project: its root folder and its settings."""

    root: Path
    settings: Settings

    @property
    def name(self) -> str:
        """The project's name, which scopes what a plan may remove."""
        return self.settings.project.name

    @property
    def features(self) -> Path:
        """The folder of the package that declares features."""
        return self.root / self.settings.project.features

    @property
    def store(self) -> Path:
        """The folder of the embedded store; beside a team store, of what this machine remembers."""
        return self.root / self.settings.store.path

    @property
    def place(self) -> Place | None:
        """Where the team store is, if there is one. Raises StoreError where the environment should say so and does not."""
        url = self.settings.store.url
        if url is None or not url.startswith(_VARIABLE):
            return parse(url) if url else None
        name = url.removeprefix(_VARIABLE)
        try:
            return parse(os.environ[name])
        except KeyError:
            what = f"[store] url is {url}, and the environment has no {name}."
            raise StoreError(Problem("Store is not known", what, mend=f"Set {name}.")) from None
        except ValueError as error:
            raise StoreError(Problem("Store is not known", f"The variable {name} cannot be used: {error}.")) from None

    @property
    def data(self) -> str | None:
        """The folder, or the part of a bucket, of a team store's files, if the settings say so."""
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
        """How long an environment other than prod stays without an apply, in seconds."""
        return seconds(self.settings.environments.expire_after)

    @property
    def history_seconds(self) -> int:
        """How long what was replaced is kept, in seconds."""
        return seconds(self.settings.store.keep_history)

    def team_of(self, file: str) -> str:
        """Return the team that owns a file: the one whose folder is nearest, else the folder's own name."""
        if file not in self._teams:
            self._teams[file] = self._nearest_team(self.root / file)
        return self._teams[file]

    @cached_property
    def _teams(self) -> dict[str, str]:
        """The teams of the files that were asked for."""
        return {}

    @cached_property
    def _folders(self) -> dict[Path, str]:
        """The folders of teams."""
        return {self.root / folder: team for team, folders in self.settings.teams.items() for folder in folders}

    def _nearest_team(self, path: Path) -> str:
        for parent in path.parents:
            if parent in self._folders:
                return self._folders[parent]
        if path.is_relative_to(self.features) and len(inside := path.relative_to(self.features).parts) > 1:
            return inside[0]
        return self.name


def load(start: Path | None = None) -> Project:
    """Return the project of a folder or of the nearest one above it. Raises DeclarationError."""
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / FILE).is_file():
            _refuse_folder(folder)
            return Project(folder, _settings(folder / FILE))
    raise DeclarationError(
        Problem(
            "No project here",
            f"Neither {here} nor a folder above it has a {FILE}.",
            mend="Go to your project's folder, or start one with: featdsl init",
        )
    )


def _refuse_folder(folder: Path) -> None:
    """Refuse a folder whose name DuckDB reads as another one: it takes a backslash for a slash, and ends a path at a ?."""
    if found := sorted({"\\", "?"} & set(str(folder))):
        what = f"{folder} has {' and '.join(found)} in its name, which DuckDB reads otherwise."
        raise DeclarationError(Problem("Folder cannot be used", what, mend="Give the folder another name."))


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
    """Return what an account can be given for: a team, or what belongs to no team's folder."""
    return {*settings.teams, *_unowned(settings)}


def _unowned(settings: Settings) -> tuple[str, str]:
    return FILE, f"{settings.project.features}/macros"


def _no_team(text: str, settings: Settings, name: str) -> Problem:
    known = _owned(settings)
    where = Origin(FILE, _line_of(text, ("codeowners", name)))
    mend = did_you_mean(name, known) or f"Known here: {', '.join(sorted(known))}."
    return Problem("Unknown team", f'[codeowners] names "{name}", which is no team of [teams].', where, mend)


def _missing_folders(root: Path, settings: Settings) -> list[tuple[str, str]]:
    teams = sorted(settings.teams.items())
    return [(team, folder) for team, folders in teams for folder in folders if not (root / folder).is_dir()]


def _no_folder(root: Path, text: str, team: str, folder: str) -> Problem:
    known = [path.relative_to(root).as_posix() for path in root.glob("*/*") if path.is_dir()]
    return Problem(
        "Unknown folder",
        f'Team {team} owns "{folder}", which is no folder of this project.',
        Origin(FILE, _line_of(text, ("teams", team))),
        did_you_mean(folder, known),
    )


def _problem(text: str, detail: Any) -> Problem:
    location = [str(part) for part in detail["loc"]]
    where = Origin(FILE, _line_of(text, tuple(location)))
    setting = ".".join(location)
    if detail["type"] == "extra_forbidden":
        return Problem("Unknown setting", f"There is no setting {setting}.", where, _known_setting(location))
    if detail["type"] == "missing":
        mend = 'Write in the table [project]: name = "my_project".'
        return Problem("Missing setting", f"{setting} is needed.", where, mend)
    why = reason(detail)
    # An address may hold a password, also one that was refused for that.
    said = (
        setting
        if setting == "store.url" or why.startswith(shown(detail["input"]))
        else f"{setting} = {detail['input']!r}"
    )
    return Problem("Invalid setting", f"{said}: {why}.", where)


def _known_setting(location: list[str]) -> str:
    table: type[BaseModel] = Settings
    for part in location[:-1]:
        inner = table.model_fields[part].annotation
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            return ""
        table = inner
    return did_you_mean(location[-1], table.model_fields) or f"Known here: {', '.join(sorted(table.model_fields))}."


def _line_of(text: str, location: tuple[str, ...]) -> int:
    """Return the line of a setting: tomllib keeps none, so look for its table and then its key."""
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
