"""Sources: the rows that features are computed from."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import timedelta
from os import PathLike, fspath
from pathlib import PurePath
from typing import Annotated, Any, ClassVar, Literal, Never, Self, get_args

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from featdsl.declarations import variants
from featdsl.declarations.declaration import Declaration, DType, Duration, Name, SourceColumn, listed, mapping
from featdsl.declarations.functions import Function
from featdsl.declarations.variants import SqlTexts, Variants
from featdsl.definitions import urls
from featdsl.definitions.names import EVENT_NUMBER, did_you_mean
from featdsl.definitions.sheets import by_name
from featdsl.definitions.time_units import TimeUnit
from featdsl.definitions.time_units import checked as unit
from featdsl.definitions.timestamps import Ambiguous
from featdsl.definitions.validation_errors import shown

_CLUSTER_TABLE = re.compile(r"[\w-]+(\.[\w-]+){2}")
"""A table in the catalogue of an engine: catalogue, schema and name."""

Format = Literal["parquet", "csv", "json", "iceberg", "delta"]

_ENDINGS: dict[str, Format] = {
    ".parquet": "parquet",
    ".csv": "csv",
    ".csv.gz": "csv",
    ".tsv": "csv",
    ".json": "json",
    ".jsonl": "json",
    ".ndjson": "json",
    ".jsonl.gz": "json",
}

_TIME_OPTIONS = {
    "available_at": "is the time when a row became known",
    "valid_to": "is the time when a row ends",
    "lookback": "is how late a row may arrive",
    "time_unit": "is the unit of a numeric timestamp",
    "timezone": "is the time zone of the timestamp",
    "tie_break": "chooses between rows with the same timestamp",
}
"""Options that need a timestamp, and what they are."""


def _path(value: Any) -> Any:
    """Return one path or several as a tuple of strings."""
    paths = (value,) if isinstance(value, str | PathLike) else listed(value)
    return tuple(map(_text, paths)) if isinstance(paths, tuple) else paths


def _text(value: Any) -> Any:
    """Return a path as a string, and any other value unchanged."""
    return value.as_posix() if isinstance(value, PurePath) else fspath(value) if isinstance(value, PathLike) else value


def _option(value: Any) -> Any:
    """Return an option as a JSON value. Dicts keep their order, which may be the order of a file's columns."""
    match value:
        case bool() | int() | float() | str():
            return value
        case list() | tuple():
            return [_option(item) for item in value]
        case set() | frozenset():
            # A set has no order, and plans must be deterministic.
            return sorted((_option(item) for item in value), key=str)
        case Mapping():
            return {str(name): _option(item) for name, item in value.items()}
    raise ValueError(
        f"{shown(value)} is not an option value for DuckDB's reader; give a string, number, boolean, list or dict"
    )


def _tie_break(value: Any) -> Any:
    """Return the tie-break columns in order of priority. Raises ValueError for a set, which has no order."""
    if value is None or isinstance(value, str):
        return () if value is None else (value,)
    if not isinstance(value, list | tuple):
        raise ValueError(f"{shown(value)} is not a column or a list of columns in order of priority")  # noqa: TRY004 - pydantic turns ValueError into a problem
    if not value or len(set(map(str, value))) < len(value):
        raise ValueError("the list is empty" if not value else f"{value!r} lists a column twice")
    return tuple(value)


def _unit(value: Any) -> Any:
    return unit(value) if isinstance(value, str) else value


class Source(Declaration):
    """Rows to compute features from. Give exactly one location.

    Locations:

    - `path="data/accounts/*.parquet"`: Parquet, CSV or JSON-lines files, as a glob relative to featproject.toml. `format=` is
      needed if the file ending does not show the format; `options=` are passed to DuckDB's reader. Column types are inferred
      over all values of all files, or declared for some columns with `schema={"user_id": int, "day": date}`. A value that does
      not fit its declared type without loss is a data error;
    - `path="s3://bucket/accounts/*.parquet"` or `"https://..."`: remote files, with credentials from the standard AWS
      variables. `path="s3://bucket/accounts", format="iceberg"` or `"delta"`: the folder of an Iceberg or Delta table;
    - `table="main.accounts", database="warehouse.duckdb"`: a table of a DuckDB file, of `"sqlite:shop.db"` or of PostgreSQL,
      `"postgresql://host/shop"`. `database="env:NAME"` reads the location from a variable and keeps it out of plans;
    - `table="spark_catalog.db.events"`, without `database`: a table of the catalogue of Spark, for groups that Spark computes;
    - `sql="SELECT ... FROM {{ other_source }}"`: a query over other sources, with Jinja. As in a Feature, `sql` may have one text for
      each engine;
    - `Source.push(...)` instead of `Source(...)`: events that `FeatureStore.push` appends;
    - `frame=`: rows in memory (pandas, polars, pyarrow or a DuckDB relation), for tests and notebooks;
    - `function=load_rates, columns={"currency": str, "day": date, "rate": float}`: a Python function that apply calls. It
      returns these columns as a pyarrow Table, a pandas or polars DataFrame, or a list of dicts. Each parameter without a
      default is another source, passed as a pyarrow Table.

    Times:

    - `timestamp`: the column with the time from which a row is true, a DATE or TIMESTAMP; without a zone it is read as UTC.
      Without `timestamp`, rows are true at all times;
    - `time_unit`: the unit of a numeric timestamp, counted from the start of 1970 in UTC: "ns", "us", "ms", "s", "minute",
      "hour", "day" or "week". `"s"` reads epoch seconds; `"day"` reads relative days, where day 0 is 1970-01-01;
    - `timezone="Europe/Berlin"`: the zone of local times. When clocks are set back, a local time occurs twice:
      `ambiguous="earlier"` or `"later"` chooses one. Without it, such a time is a data error, and so is a time that is skipped
      when clocks are set forward;
    - `available_at`: the column with the time when a row became known. The row does not count before that time, and never if
      the time is NULL;
    - `valid_to`: the column with the time when a row ends. From then until the next row begins, the features are NULL. A row
      with NULL does not end. An end before the row's timestamp is a data error;
    - `tie_break`: chooses between rows with the same entity and timestamp. The latest `available_at` wins, once it is known,
      else the greatest `tie_break` column; in `tie_break=("version", "id")` the first column has priority. Rows that remain
      tied are a data error unless all their features are equal;
    - `lookback="2 days"`: how late a row may arrive, for databases and functions. `featdsl refresh` reads back that far, and
      no further. Without it, refresh reads all rows.

    Raises DeclarationError if an argument is invalid.
    """

    __hash__ = Declaration.__hash__  # pyright thinks that a subclass of a pydantic model has none
    kind: ClassVar[str] = "source"

    name: Name
    path: Annotated[tuple[str, ...] | None, BeforeValidator(_path)] = None
    format: Format | None = None
    options: dict[str, Annotated[Any, AfterValidator(_option)]] = Field(default_factory=dict)
    table: str | None = None
    database: Annotated[str | None, BeforeValidator(_text)] = None
    sql: str | None = None
    variants: Variants
    frame: Any = None
    function: Function = None
    columns: dict[SourceColumn, DType] | None = None
    file_schema: dict[SourceColumn, DType] = Field(default_factory=dict, alias="schema")
    timestamp: SourceColumn | None = None
    available_at: SourceColumn | None = None
    valid_to: SourceColumn | None = None
    tie_break: Annotated[tuple[SourceColumn, ...], BeforeValidator(_tie_break)] = ()
    lookback: Duration | None = None
    time_unit: Annotated[TimeUnit | None, BeforeValidator(_unit)] = None
    timezone: str | None = None
    ambiguous: Ambiguous | None = None
    description: str = ""
    pushed: bool = False
    event_id: SourceColumn | None = None

    def __init__(  # noqa: PLR0913 - one flat call is what people type
        self,
        name: str,
        *,
        path: str | PathLike[str] | Collection[str | PathLike[str]] | None = None,
        format: Format | None = None,  # noqa: A002 - the field's word
        options: Mapping[str, Any] | None = None,
        table: str | None = None,
        database: str | PathLike[str] | None = None,
        sql: str | SqlTexts | None = None,
        frame: Any = None,
        function: Callable[..., Any] | None = None,
        columns: Mapping[str, type[Any] | str] | None = None,
        schema: Mapping[str, type[Any] | str] | None = None,
        timestamp: str | None = None,
        available_at: str | None = None,
        valid_to: str | None = None,
        tie_break: str | Sequence[str] | None = None,
        lookback: str | timedelta | None = None,
        time_unit: str | None = None,
        timezone: str | None = None,
        ambiguous: Ambiguous | None = None,
        description: str = "",
        **unknown: Never,
    ) -> None:
        values = {
            "name": name, "path": path, "format": format, "options": mapping(options), "table": table,
            "database": database, **variants.split(sql), "frame": frame, "function": function, "columns": columns, "schema": mapping(schema), "timestamp": timestamp,
            "available_at": available_at, "valid_to": valid_to, "tie_break": tie_break,
            "lookback": lookback, "time_unit": time_unit, "timezone": timezone,
            "ambiguous": ambiguous, "description": description,
        }  # fmt: skip
        super().__init__({**values, **unknown})

    @classmethod
    def push(  # noqa: PLR0913 - one flat call is what people type
        cls,
        name: str,
        *,
        schema: Mapping[str, type[Any] | str],
        timestamp: str,
        event_id: str | None = None,
        available_at: str | None = None,
        valid_to: str | None = None,
        tie_break: str | Sequence[str] | None = None,
        time_unit: str | None = None,
        timezone: str | None = None,
        ambiguous: Ambiguous | None = None,
        description: str = "",
        **unknown: Never,
    ) -> Source:
        """Declare a source of events that `store.push(name, rows)` appends.

        `Source.push("clicks", schema={"user_id": int, "amount": float, "at": datetime}, timestamp="at")`. `schema` has every
        column of an event with its type. `event_id` is the column that identifies an event: an event with a known id is a
        duplicate and is not added again. Without it, the whole row identifies the event, so two equal rows count once. The
        other options are those of `Source`. Of events with the same entity and timestamp the last to arrive wins, after the
        columns of `tie_break`; SQL sees the order of arrival as the column `event_number`. Raises DeclarationError if an argument is invalid.
        """
        own: Any = {"pushed": True, "event_id": event_id}
        return cls(
            name, schema=schema, timestamp=timestamp, available_at=available_at, valid_to=valid_to, tie_break=tie_break,
            time_unit=time_unit, timezone=timezone, ambiguous=ambiguous, description=description, **own, **unknown,
        )  # fmt: skip

    @model_validator(mode="after")
    def _events(self) -> Self:
        if not self.pushed:
            if self.event_id is not None:
                raise ValueError("event_id= identifies pushed events, so it needs Source.push(...)")
            return self
        columns = {name.lower() for name in self.file_schema}
        if not columns:
            raise ValueError("schema= is empty; give every column of an event with its type")
        if EVENT_NUMBER in columns:
            raise ValueError(f"schema= has {EVENT_NUMBER}, which featdsl adds to every event: its order of arrival")
        if len(columns) < len(self.file_schema):
            raise ValueError("schema= has columns that differ only in case, which SQL does not distinguish")
        if not self.timestamp:
            raise ValueError("timestamp= is missing; name the column with the time of an event")
        if self.event_id is not None and self.event_id not in self.file_schema:
            hint = did_you_mean(self.event_id, self.file_schema)
            raise ValueError(f"schema= has no column {self.event_id!r}, the event_id=. {hint}".rstrip())
        return self

    @model_validator(mode="after")
    def _one_location(self) -> Self:
        if self.pushed:
            others = (
                "path",
                "format",
                "options",
                "table",
                "database",
                "sql",
                "frame",
                "function",
                "columns",
                "lookback",
            )
            if given := [each for each in others if getattr(self, each)]:
                raise ValueError(f"events are pushed, so {given[0]}= has no meaning")
            return self
        locations = [each for each in ("path", "table", "sql", "frame", "function") if getattr(self, each) is not None]
        if len(locations) != 1:
            text = f"{' and '.join(locations)} are given" if locations else "none is given"
            raise ValueError(f"give one of path=, table=, sql=, frame= or function=; {text}")
        variants.required(self.sql, self.variants)
        if self.database is not None and self.table is None:
            raise ValueError("table= and database= go together: give the table and its database")
        if self.table is not None and self.database is None and not _CLUSTER_TABLE.fullmatch(self.table):
            raise ValueError(
                "give the database= of the table; without one, table= is a table of an engine's own catalogue, such as "
                "'spark_catalog.db.events'"
            )
        if (self.function is None) != (not self.columns):
            raise ValueError("function= and columns= go together: give the function and the columns that it returns")
        if self.file_schema and (self.path is None or self.file_format() in {"iceberg", "delta"}):
            raise ValueError("schema= declares column types of Parquet, CSV or JSON files, so it needs path=")
        faults = [urls.fault(path=path) for path in self.path or ()] + [urls.fault(database=self.database or "")]
        if texts := [fault for fault in faults if fault]:
            raise ValueError(texts[0])
        if self.path is not None and self.file_format() in {"iceberg", "delta"} and len(self.path) > 1:
            raise ValueError(f"format={self.format!r} reads one table; give one path")
        return self

    @model_validator(mode="after")
    def _times(self) -> Self:
        for option, meaning in _TIME_OPTIONS.items():
            if getattr(self, option) and not self.timestamp:
                raise ValueError(f"{option}= {meaning}, so it needs timestamp=")
        if self.ambiguous and not self.timezone:
            raise ValueError("ambiguous= chooses between two readings of a local time, so it needs timezone=")
        return self

    def facts(self) -> Iterator[tuple[str, str]]:
        """Yield its location, its columns and its times."""
        yield "rows", "\n".join(self.path or ()) or self._rows()
        yield "sql", self.sql or ""
        yield from ((f"sql for {dialect}", text) for dialect, text in self.variants.items())
        for option in ("format", "timestamp", "time_unit", "timezone", "available_at", "valid_to", "lookback"):
            yield option.replace("_", " "), getattr(self, option) or ""
        yield "tie break", ", ".join(self.tie_break)
        yield "columns", "\n".join(by_name(self.columns or self.file_schema))
        yield from super().facts()

    def _rows(self) -> str:
        """Return where the rows of a source without files come from."""
        if self.pushed:
            return "pushed by code: store.push"
        if self.table is not None:
            return f"{self.table} of {self.database}" if self.database else f"{self.table} of the cluster"
        if self.frame is not None:
            return f"in memory: {type(self.frame).__name__}"
        return f"function {getattr(self.function, '__qualname__', '')}" if self.function is not None else ""

    def file_format(self) -> Format:
        """Return the format of the files, from `format=` or from a file ending. Raises ValueError if neither tells it."""
        if self.format is not None:
            return self.format
        for path in self.path or ():
            for ending, file_format in _ENDINGS.items():
                if _name(path).endswith(ending):
                    return file_format
        formats = ", ".join(get_args(Format))
        raise ValueError(f"the format of {self.path} is unknown; give format=, one of {formats}")


def _name(path: str) -> str:
    """Return a path, for a URL without its query, which says nothing about the format."""
    return path.partition("?")[0] if urls.scheme(path).startswith("http") else path
