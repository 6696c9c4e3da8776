"""The definition of a source: where its rows are, and which columns they have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from featdsl.definitions import text_types
from featdsl.definitions.dialects import Dialect
from featdsl.definitions.names import EVENT_NUMBER
from featdsl.definitions.time_reading import TimeReading
from featdsl.definitions.time_units import TimeUnit
from featdsl.definitions.timestamps import Ambiguous, Clock
from featdsl.errors import Origin

SourceFormat = Literal[
    "parquet", "csv", "json", "iceberg", "delta", "table", "sql", "frame", "python", "push", "cluster"
]
FILE_FORMATS: frozenset[SourceFormat] = frozenset({"parquet", "csv", "json"})
"""The formats of plain files."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column and its DuckDB type."""

    name: text_types.AnyColumn
    dtype: text_types.DType


@dataclass(frozen=True, kw_only=True)
class FunctionDefinition:
    """A Python function: its name, its parameters, and the text that its fingerprint is computed from."""

    module: str
    qualname: str
    parameters: tuple[str, ...]
    fingerprint: str
    text: str

    @property
    def name(self) -> str:
        """The full name: `features.reviews:Reviews.sentiment`."""
        return f"{self.module}:{self.qualname}"


@dataclass(frozen=True, kw_only=True)
class SourceDefinition:
    """Rows to compute from.

    - `location`: path globs, or a database and its table, or a table of an engine's own catalogue (format "cluster"), or the
      hash of a frame, or the name of the log of pushed events, with the files to read if not all;
    - `sql`: the rendered query, which names other sources as `source.<name>`; `lineage` has the input columns of each of its
      columns;
    - `variants`: the query in other dialects, by dialect;
    - `function`: returns the rows of a Python source, with the declared `columns`;
    - `columns`: for pushed events, the declared schema and `event_number`; for other sources, the schema as of the last plan;
    - `event_id`: the column that identifies a pushed event; without it, the whole row does;
    - `lookback`: how late rows may arrive, in seconds;
    - `time_unit`: the unit of numeric times, which count from 1970;
    - `timezone`: the zone of local times; `ambiguous` chooses the instant of a local time that occurs twice;
    - `schema`: the declared types of file columns; `formats`: the date formats that were detected in the files.
    """

    kind: Literal["source"] = "source"
    name: text_types.Name
    project: text_types.Name
    owner: str
    description: str
    format: SourceFormat
    location: tuple[str, ...] = ()
    options: tuple[tuple[str, str], ...] = ()
    sql: str = ""
    variants: tuple[tuple[Dialect, str], ...] = ()
    inputs: tuple[str, ...] = ()
    function: FunctionDefinition | None = None
    timestamp: str | None
    available_at: str | None = None
    valid_to: str | None = None
    tie_break: str | tuple[str, ...] | None
    lookback: int | None = None
    time_unit: TimeUnit | None = None
    timezone: str | None = None
    ambiguous: Ambiguous = "refuse"
    fingerprint: str
    schema: tuple[Column, ...] = ()
    formats: tuple[tuple[str, str], ...] = ()
    event_id: str | None = None
    columns: tuple[Column, ...] = ()
    lineage: tuple[tuple[str, tuple[str, ...]], ...] = ()
    origin: Origin

    @property
    def event_columns(self) -> tuple[Column, ...]:
        """The columns that a pushed event has when it is pushed."""
        return tuple(column for column in self.columns if column.name != EVENT_NUMBER)

    @property
    def in_files(self) -> bool:
        """Whether all its rows are in plain files, so that new files hold all new rows."""
        return self.format in FILE_FORMATS or self.format == "push"

    @property
    def times(self) -> tuple[str, ...]:
        """The columns with the time from which a row is true, and with the time when it became known."""
        return tuple(column for column in (self.timestamp, self.available_at) if column)

    @property
    def tie_breaks(self) -> tuple[str, ...]:
        """The columns that choose between rows of the same time, in order of priority."""
        return (self.tie_break,) if isinstance(self.tie_break, str) else self.tie_break or ()

    def dtype(self, name: str) -> str:
        """Return the type of a column; TIMESTAMP if the schema is not known yet."""
        matches = (column.dtype for column in self.columns if column.name.lower() == name.lower())
        return next(matches, "TIMESTAMP")

    @property
    def reading(self) -> TimeReading:
        """How to read its times."""
        return TimeReading(unit=self.time_unit, zone=self.timezone, ambiguous=self.ambiguous)

    @property
    def clock(self) -> Clock:
        """The type that holds its times without loss."""
        columns = [*self.times, *([self.valid_to] if self.valid_to else [])]
        return "TIMESTAMP_NS" if any(self.reading.is_fine(self.dtype(name)) for name in columns) else "TIMESTAMP"
