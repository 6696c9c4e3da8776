"""The seam to engines that hold pushed events: as texts in the log, and as rows in files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from featdsl.definitions.sources import Column, SourceDefinition


@dataclass(frozen=True, slots=True)
class EncodedEvent:
    """An event as text, and the digest that identifies it; None if its id is NULL.

    `time` is its event time in microseconds since 1970 in UTC; None if it is NULL.
    """

    digest: bytes | None
    text: str
    time: int | None


@dataclass(frozen=True)
class EventTexts:
    """Events as texts, with the columns that they had when they were pushed, and their numbers in order of arrival."""

    columns: tuple[Column, ...]
    texts: Sequence[str]
    numbers: Sequence[int]


class PushedEvents(Protocol):
    """Converts pushed events in one session. Methods raise EngineError for a statement that fails."""

    def encode(self, source: SourceDefinition, rows: Sequence[Mapping[str, Any]]) -> list[EncodedEvent]:
        """Return rows of a source as texts that hold every value, in order."""
        ...

    def write(self, events: EventTexts, files: Sequence[str], path: Path, order: str) -> None:
        """Write events, and those in files of the same columns, as a file in order of the column `order` if they have it."""
        ...

    def select(self, source: SourceDefinition, paths: Sequence[str], events: Sequence[EventTexts], schema: str) -> str:
        """Return the SQL of the rows in files and in texts, in the columns of a source.

        Texts are copied to tables in a schema of the session. Columns that events did not have when they were pushed are NULL.
        """
        ...
