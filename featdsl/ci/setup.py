"""Write the files of a CI that call the jobs: workflows for GitHub, an included pipeline for GitLab."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata, resources
from pathlib import Path

from featdsl.errors import FeatdslError, Problem
from featdsl.project import settings

_GITLAB_TOP = ".gitlab-ci.yml"


@dataclass(frozen=True)
class CiFiles:
    """The written files, and what is left to do by hand."""

    paths: tuple[Path, ...]
    left: str = ""


def write(folder: Path, provider: str) -> CiFiles:
    """Write the files of a provider, `github` or `gitlab`, for the project in a folder.

    They go to the top of the repository. Raises FeatdslError, before writing anything, if one of them exists.
    """
    project = settings.load(folder)
    top = _top(project.root)
    values = _values(project, top)
    files = dict(_github(top, values) if provider == "github" else _gitlab(top, values))
    left = ""
    if provider == "gitlab" and (top / _GITLAB_TOP).exists():
        files.pop(top / _GITLAB_TOP)
        left = f"Add to {_GITLAB_TOP}:\ninclude:\n  - local: /.gitlab/featdsl-{project.name}.yml"
    existing = [path for path in files if path.exists()]
    if existing:
        what = f"{existing[0]} already exists."
        raise FeatdslError(Problem("Files of the CI cannot be written", what, fix="Move it away, then try again."))
    for path, text in files.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            what = f"{path}: {error.strerror}."
            fix = "Let your account write to the repository's folders."
            raise FeatdslError(Problem("Files of the CI cannot be written", what, fix=fix)) from None
    return CiFiles(tuple(files), left)


def _github(top: Path, values: dict[str, str]) -> Iterator[tuple[Path, str]]:
    for each in sorted(_templates("github"), key=lambda each: each[0]):
        name = each[0].replace("featdsl-", f"featdsl-{values['project']}-")
        yield top / ".github" / "workflows" / name, _filled(each[1], values)


def _gitlab(top: Path, values: dict[str, str]) -> Iterator[tuple[Path, str]]:
    texts = dict(_templates("gitlab"))
    yield top / ".gitlab" / f"featdsl-{values['project']}.yml", _filled(texts["featdsl.yml"], values)
    yield top / _GITLAB_TOP, _filled(texts["gitlab-ci.yml"], values)


def _templates(provider: str) -> Iterator[tuple[str, str]]:
    for each in (resources.files("featdsl.ci") / "templates" / provider).iterdir():
        if each.name.endswith(".yml"):
            yield each.name, each.read_text(encoding="utf-8")


def _values(project: settings.Project, top: Path) -> dict[str, str]:
    inside = project.root.relative_to(top).as_posix()
    if re.search(r"[^\w./-]", inside):
        what = f"The folder {inside} has characters that a path in YAML and in a shell cannot have as they are."
        raise FeatdslError(Problem("Files of the CI cannot be written", what, fix="Rename the folder."))
    return {
        "project": project.name,
        "directory": inside,
        "inside": "" if inside == "." else f"{inside}/",
        "branch": _branch(top),
        "version": metadata.version("featdsl"),
    }


def _filled(text: str, values: dict[str, str]) -> str:
    return re.sub(r"@(\w+)@", lambda found: values.get(found[1], found[0]), text)


def _top(root: Path) -> Path:
    """Return the top of the repository that a folder is in, or the folder itself."""
    return next((each for each in (root, *root.parents) if (each / ".git").exists()), root)


def _branch(top: Path) -> str:
    """Return the default branch of the repository's origin; main if nothing is known of it."""
    try:
        done = subprocess.run(
            ["git", "symbolic-ref", "--short", "refs/remotes/origin/HEAD"],  # noqa: S607 - the git of the user
            cwd=top, capture_output=True, text=True, check=False,
        )  # fmt: skip
    except OSError:
        return "main"
    name = done.stdout.strip().removeprefix("origin/")
    return name if re.fullmatch(r"[\w./-]+", name) else "main"
