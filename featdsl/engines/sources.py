"""The sources of one session: which columns and files they have, and how SQL reads them as `source.<name>`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from featdsl.definitions.sources import Column, SourceDefinition
from featdsl.definitions.udfs import Functions
from featdsl.engines.file_states import FileState
from featdsl.engines.pushed_events import EventTexts


@dataclass(frozen=True)
class SourceColumns:
    """The columns of a source in their order.

    `formats` are the formats of dates and times in its text files. `differing` describes, for each column (in lower case)
    whose type differs between files, the types and their files.
    """

    columns: tuple[Column, ...]
    formats: tuple[tuple[str, str], ...] = ()
    differing: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class SourceRows:
    """The place of a source's rows, beyond its definition.

    `paths` are the files that the caller has listed; None leaves that to the session. `frames` is the folder or the URL of kept
    frames, `functions` holds the Python functions of sources by fingerprint. `events` are pushed events beside those in `paths`.
    """

    paths: Sequence[str] | None = None
    frames: Path | str = ""
    functions: Functions = field(default_factory=dict)
    events: Sequence[EventTexts] = ()


class Sources(Protocol):
    """Finds and opens sources in one session. Methods raise EngineError for a statement that fails."""

    def columns(
        self, source: SourceDefinition, applied: SourceDefinition | None, frames: Path | str, frame: Any = None
    ) -> SourceColumns:
        """Return the columns of a source; of one in files after reading all of them.

        Formats of dates stay those of the `applied` definition. `frame` has the rows of a source in memory; without it, they
        are read from the folder `frames`. Raises UnreachableError for a database that cannot be opened, SourceFileError for
        files that do not fit together.
        """
        ...

    def open(self, source: SourceDefinition, rows: SourceRows) -> None:
        """Let SQL read a source.

        Raises UnreachableError, SourceFileError, and DataError for a Python function that fails.
        """
        ...

    def open_frame(self, name: str, frame: Any) -> None:
        """Let SQL read a frame as the source `name`."""
        ...

    def open_stub(self, name: str, columns: Iterable[Column]) -> None:
        """Let SQL bind over a source without rows that has these columns."""
        ...

    def close(self, source: SourceDefinition) -> None:
        """Remove an open source from the session."""
        ...

    def reading(self, source: SourceDefinition, frames: Path | str) -> str:
        """Return the SQL that reads a source. It differs if the source is read differently."""
        ...

    def file_state(self, source: SourceDefinition) -> list[tuple[str, int, int, int]]:
        """Return path, size and times of change of each file; empty if these do not show whether a file has changed."""
        ...

    def list_files(self, source: SourceDefinition, frames: Path | str) -> list[FileState] | None:
        """Return the state of each file that a source reads, by path; None if no file shows whether the source has changed."""
        ...

    def digest_file(self, path: str) -> str:
        """Return the digest of a file's content. Raises OSError."""
        ...

    def count_file_rows(self, paths: Sequence[str]) -> dict[str, int]:
        """Return the number of rows of each Parquet file from its footer."""
        ...

    def how_to_reach(self, source: SourceDefinition) -> str:
        """Return the advice for a source that cannot be reached; empty for a local file."""
        ...
