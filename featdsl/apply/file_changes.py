"""The files that a table was built from, and their changes since."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from featdsl.definitions import urls
from featdsl.engines.file_states import A_MOMENT, FileState

Digest = Callable[[FileState], str]
"""Returns the digest of a file's present content; empty for a file that is gone."""


@dataclass(frozen=True)
class Listing:
    """The files that sources read, by path. They are `whole` if the sources read nothing else: no server and no function.

    Rows with event times from `upto` on were left out, if it is set.
    """

    files: tuple[FileState, ...] = ()
    whole: bool = True
    upto: str | None = None

    def to_json(self, root: Path) -> str:
        """Return the listing as text; paths below `root` are relative to it."""
        listed = [[_below(root, each.path), *each[1:]] for each in self.files]
        return json.dumps({"files": listed, "whole": self.whole, "upto": self.upto})


def from_json(text: str, root: Path) -> Listing | None:
    """Return the listing of a text; None for an empty text."""
    found = json.loads(text) if text else None
    if found is None:
        return None
    if isinstance(found, list):  # of before the rest was noted
        found = {"files": found, "whole": True, "upto": None}
    files = tuple(FileState(_at(root, path), *state) for path, *state in found["files"])
    return Listing(files, found["whole"], found["upto"])


def _below(root: Path, path: str) -> str:
    return path.removeprefix(f"{root}/")


def _at(root: Path, path: str) -> str:
    return path if path.startswith("/") or urls.scheme(path) else f"{root}/{path}"


@dataclass(frozen=True)
class Changes:
    """The differences between two listings: paths, and the former and the present path of each renamed file."""

    added: tuple[str, ...] = ()
    edited: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    renamed: tuple[tuple[str, str], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.edited or self.removed or self.renamed)

    @property
    def only_added(self) -> bool:
        """Whether all earlier files are unchanged."""
        return not (self.edited or self.removed or self.renamed)

    def text(self, root: Path) -> str:
        """Return the changes as text, with one file of each kind."""
        kinds = (
            ([_below(root, each) for each in self.edited], "edited"),
            ([_below(root, each) for each in self.removed], "removed"),
            ([f"{_below(root, was)} was renamed to {_below(root, now)}" for was, now in self.renamed], ""),
            ([_below(root, each) for each in self.added], "added"),
        )
        return ", ".join(_some(paths, how) for paths, how in kinds if paths)


def _some(paths: Sequence[str], how: str) -> str:
    first, more = paths[0], len(paths) - 1
    if not how:
        return f"{first}, and {more} more" if more else first
    return f"{first} and {more} more were {how}" if more else f"{first} was {how}"


def compare(was: Listing, at: str, now: Iterable[FileState], digest: Digest) -> Changes:
    """Return how the present files differ from those that were read at a time, in ISO format and UTC.

    A file is unchanged if its state or its digest is. The state of a file that was written a moment before it was read proves
    nothing: the file could be written again within the same tick of the clock.
    """
    before, after = {each.path: each for each in was.files}, {each.path: each for each in now}
    added = [path for path in after if path not in before]
    removed = [path for path in before if path not in after]
    settled = settled_before(at)
    edited = [path for path, each in after.items() if path in before and not _same(before[path], each, settled, digest)]
    renamed: list[tuple[str, str]] = []
    for old in list(removed):
        found = next((path for path in added if _is_copy(before[old], after[path], digest)), None)
        if found is not None:
            renamed.append((old, found))
            removed.remove(old)
            added.remove(found)
    return Changes(tuple(added), tuple(edited), tuple(removed), tuple(renamed))


def _same(was: FileState, now: FileState, settled: int, digest: Digest) -> bool:
    if was.size != now.size:
        return False
    # Remote files, and files in listings of older versions, have no time of change; the latter have no digest either.
    is_known = was.modified == now.modified and (not was.changed or was[3:5] == now[3:5])
    is_settled = max(was.modified, was.changed) < settled if was.changed else not was.digest
    return (is_known and is_settled) or (bool(was.digest) and digest(now) == was.digest)


def _is_copy(was: FileState, now: FileState, digest: Digest) -> bool:
    return bool(was.digest) and was.size == now.size and digest(now) == was.digest


def settled_before(at: str) -> int:
    """Return the time in nanoseconds before which a file must have been written so that its state identifies its content at `at`."""
    if not at:
        return 0
    return int(datetime.fromisoformat(at).replace(tzinfo=UTC).timestamp() - A_MOMENT) * 10**9
