"""The folder of a site: what an earlier build wrote there, and writing so that a reader never sees half a file."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from featdsl.errors import Problem, SiteFolderError

MANIFEST = "site.json"
_FORMAT = 1
_SHOWN = 5
_TORN = re.compile(r"\.unfinished-\d+")
"""The names of files that a killed build was writing."""


@dataclass(frozen=True, kw_only=True)
class SiteFile:
    """A file as a build wrote it: the digests of its content and of what it was made from."""

    content: str
    source: str


@dataclass(frozen=True, kw_only=True)
class EarlierBuild:
    """What an earlier build wrote: its complete files, and the paths of all."""

    files: Mapping[str, SiteFile] = field(default_factory=dict)
    paths: frozenset[str] = frozenset()


def earlier_build(out: Path) -> EarlierBuild:
    """Return what an earlier build wrote. Raises SiteFolderError if the folder has any other file, or cannot be read."""
    with told(out):
        if out.is_dir():
            found = dict.fromkeys(_paths(out))
        elif out.exists():
            raise SiteFolderError(Problem("The site cannot be written", f"{out} is not a folder.", fix=_OTHER_FOLDER))
        else:
            found = {}
        if not found:
            return EarlierBuild()
        files, unfinished = _manifest(out)
        torn = {path for path in found if (files or unfinished) and _TORN.fullmatch(path.rpartition("/")[2])}
        others = sorted(found.keys() - files.keys() - unfinished - torn - {MANIFEST})
        changed = [
            path
            for path in files
            if path in found and path not in unfinished and _digest(out / path) != files[path].content
        ]
    if others or changed:
        raise SiteFolderError(_foreign(out, others, changed))
    kept = {path: each for path, each in files.items() if path in found and path not in unfinished}
    return EarlierBuild(files=kept, paths=frozenset(found) - {MANIFEST})


_OTHER_FOLDER = "Choose another folder: featdsl docs build --out DIR"


def _foreign(out: Path, others: list[str], changed: list[str]) -> Problem:
    named = [*others, *(f"{path} (changed after the build)" for path in changed)]
    more = [f"and {len(named) - _SHOWN:,} more"] if len(named) > _SHOWN else []
    what = "\n".join(
        [f"{out} has files that no earlier build wrote:", *(f"  {each}" for each in named[:_SHOWN] + more)]
    )
    return Problem(
        "The folder has other files", what, fix=f"Move them away. Or: {_OTHER_FOLDER[0].lower()}{_OTHER_FOLDER[1:]}"
    )


def _paths(out: Path) -> Iterator[str]:
    """Yield the path of each file and of each link below a folder, and of each empty folder that is not this one."""
    for folder, folders, names in os.walk(out, onerror=_raise):
        inside = Path(folder).relative_to(out)
        links = [name for name in folders if (Path(folder) / name).is_symlink()]
        yield from ((inside / name).as_posix() for name in [*names, *links])


def _raise(error: OSError) -> None:
    raise error


def _manifest(out: Path) -> tuple[dict[str, SiteFile], set[str]]:
    """Return the files that the manifest lists, and the paths that an unfinished build may have written."""
    try:
        manifest = json.loads((out / MANIFEST).read_bytes())
        listed = {
            path: SiteFile(content=str(content), source=str(source))
            for path, (content, source) in manifest["files"].items()
        }
        unfinished = {str(path) for path in manifest["unfinished"]}
        known = manifest["format"] == _FORMAT
    except FileNotFoundError:
        return {}, set()
    except (ValueError, KeyError, TypeError, AttributeError):
        known, listed, unfinished = False, {}, set()
    if not known or not all(_is_inside(path) for path in [*listed, *unfinished]):
        raise SiteFolderError(
            Problem(
                "The folder has other files", f"{out / MANIFEST} is not the list of a site's files.", fix=_OTHER_FOLDER
            )
        )
    return listed, unfinished


def _is_inside(path: str) -> bool:
    parts = PurePosixPath(path)
    return not parts.is_absolute() and ".." not in parts.parts and "\\" not in path and ":" not in path


def _digest(path: Path) -> str:
    if path.is_symlink():
        return "a link"
    return digest_of(path.read_bytes())


def digest_of(content: bytes) -> str:
    """Return the digest of a file's content, as the manifest lists it."""
    return hashlib.sha256(content).hexdigest()


def write_manifest(out: Path, files: Mapping[str, SiteFile], unfinished: Iterable[str]) -> None:
    """Write the list of files. While a build runs, `unfinished` are the paths that it may write."""
    listed = {path: [each.content, each.source] for path, each in sorted(files.items())}
    text = json.dumps({"format": _FORMAT, "files": listed, "unfinished": sorted(unfinished)}, indent=0)
    write_file(out / MANIFEST, text.encode())


def write_file(path: Path, content: bytes) -> None:
    """Write a file whole: a reader sees the old content or the new."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".unfinished-{os.getpid()}")
    try:
        unfinished.write_bytes(content)
        unfinished.replace(path)
    except BaseException:
        with suppress(OSError):
            unfinished.unlink()
        raise


def delete(out: Path, path: str) -> None:
    """Delete a file and the folder that it leaves empty."""
    file = out / path
    file.unlink(missing_ok=True)
    if file.parent != out:
        with suppress(OSError):  # the folder has other files
            file.parent.rmdir()


@contextmanager
def told(out: Path) -> Iterator[None]:
    """Raise SiteFolderError where the folder cannot be read or written."""
    try:
        yield
    except OSError as error:
        where = error.filename or out
        raise SiteFolderError(
            Problem("The site cannot be written", f"{where}: {error.strerror}.", fix=_OTHER_FOLDER)
        ) from error
