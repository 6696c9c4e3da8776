"""Rows that features are computed from."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import timedelta
from os import PathLike, fspath
from pathlib import PurePath
from typing import Annotated, Any, ClassVar, Literal, Never, Self, get_args

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from featdsl import urls
from featdsl.callables import Function
from featdsl.declaration import Declaration, DType, Duration, Name, SourceColumn, listed, mapping
from featdsl.reasons import shown
from featdsl.timeunits import TimeUnit
from featdsl.timeunits import checked as unit
from featdsl.zones import Ambiguous

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

_OF_TIMES = {
    "available_at": "tells when the row of a timestamp became known",
    "valid_to": "tells when the row of a timestamp ends",
    "lookback": "tells how late the row of a timestamp may come",
    "time_unit": "says what the numbers of a timestamp count",
    "timezone": "says whose clocks show a timestamp",
    "tie_break": "chooses between rows of one timestamp",
}
"""Options that mean something only where rows have times, and what they do."""


def _path(value: Any) -> Any:
    """Return paths as texts, however many."""
    listed_ = (value,) if isinstance(value, str | PathLike) else listed(value)
    return tuple(map(_text, listed_)) if isinstance(listed_, tuple) else listed_


def _text(value: Any) -> Any:
    """Return the path of a file as text, and anything else as it is."""
    return value.as_posix() if isinstance(value, PurePath) else fspath(value) if isinstance(value, PathLike) else value


def _option(value: Any) -> Any:
    """Return an option's value as JSON holds it. A dict keeps its order, which may be that of a file's columns."""
    match value:
        case bool() | int() | float() | str():
            return value
        case list() | tuple():
            return [_option(item) for item in value]
        case set() | frozenset():
            # A Python set has no order of its own, and a plan must not depend on one.
            return sorted((_option(item) for item in value), key=str)
        case Mapping():
            return {str(name): _option(item) for name, item in value.items()}
    raise ValueError(
        f"{shown(value)} is not a value for DuckDB's reader: give a text, number, truth value, list or dict"
    )


def _ordered(value: Any) -> Any:
    """Return the columns that choose between rows, in order. Raises ValueError for what has no order."""
    if value is None or isinstance(value, str):
        return () if value is None else (value,)
    if not isinstance(value, list | tuple):
        raise ValueError(f"{shown(value)} is not a column or a list of columns, of which the first decides first")  # noqa: TRY004 - what pydantic passes on
    if not value or len(set(map(str, value))) < len(value):
        raise ValueError("the list names no column" if not value else f"{value!r} names a column twice")
    return tuple(value)


def _unit(value: Any) -> Any:
    return unit(value) if isinstance(value, str) else value


class Source(Declaration):
    """Rows to compute from, whose place is given in exactly one way.

    - `path="data/accounts/*.parquet"`: Parquet, CSV or JSON-lines files, a glob relative to featproject.toml;
      `format=` names the format where the ending does not, `options=` goes to DuckDB's reader. The types of columns are
      those that hold all values of all files, or those that `schema={"user_id": int, "day": date}` declares for some
      columns; a value that its type does not hold without loss is a data error;
    - `path="s3://bucket/accounts/*.parquet"` or `"https://..."`: the same elsewhere, with the credentials of AWS's
      standard variables; `path="s3://bucket/accounts", format="iceberg"` or `"delta"`: the folder of such a table;
    - `table="main.accounts", database="warehouse.duckdb"`: a table of a DuckDB file, of `"sqlite:shop.db"` or of a
      PostgreSQL, `"postgresql://host/shop"`; `"env:NAME"` is what the variable says, which stays unknown to plans;
    - `sql="SELECT ... FROM {{ other_source }}"`: a query over other sources, with Jinja;
    - `frame=`: rows in memory (pandas, polars, pyarrow or a DuckDB relation), for tests and notebooks;
    - `function=load_rates, columns={"currency": str, "day": date, "rate": float}`: a Python function, called when a plan
      is applied. It returns a pyarrow Table, a pandas or polars DataFrame or a list of dicts with these columns. Its
      parameters are other sources, each given as a pyarrow Table; those with a default are not.

    `timestamp` names the column that tells when a row became true: a DATE or TIMESTAMP, read as UTC when it has no
    zone. Without one the rows hold at all times. Where it is a number, `time_unit` says what it counts since the start of
    1970 in UTC: "ns", "us", "ms", "s", "minute", "hour", "day" or "week". So `time_unit="day"` reads relative days, with
    day 0 at that start and days before it negative, and `time_unit="s"` epoch seconds. Where times without a zone are local ones, `timezone="Europe/Berlin"` says of which
    zone; when clocks are set back a time comes twice, and `ambiguous="earlier"` or `"later"` says which one it is: without it
    such a time is a data error, as is one that never comes. `available_at` names the column that tells when a row became known:
    before that it does not count, and one that is NULL never does. `valid_to` names the column
    that tells when a row ends: from then on, until a later row begins, its features are NULL; a row where it is NULL does not
    end. One that ends before its timestamp is a data error. Of two rows with the same entity and timestamp the
    one that was known last wins, once it is known, and else the one with the greatest `tie_break` column; of several,
    `tie_break=("version", "id")`, the first decides first. Rows that nothing tells apart are a data error unless
    they are equal in every feature, for then they are one row. Rows of a database
    or a function may come up to a `lookback`, such as "2 days", after rows of later times: `featdsl refresh` reads so far
    back again, and no further; without one it reads all rows.
    """

    kind: ClassVar[str] = "source"

    name: Name
    path: Annotated[tuple[str, ...] | None, BeforeValidator(_path)] = None
    format: Format | None = None
    options: dict[str, Annotated[Any, AfterValidator(_option)]] = Field(default_factory=dict)
    table: str | None = None
    database: Annotated[str | None, BeforeValidator(_text)] = None
    sql: str | None = None
    frame: Any = None
    function: Function = None
    columns: dict[SourceColumn, DType] | None = None
    file_schema: dict[SourceColumn, DType] = Field(default_factory=dict, alias="schema")
    timestamp: SourceColumn | None = None
    available_at: SourceColumn | None = None
    valid_to: SourceColumn | None = None
    tie_break: Annotated[tuple[SourceColumn, ...], BeforeValidator(_ordered)] = ()
    lookback: Duration | None = None
    time_unit: Annotated[TimeUnit | None, BeforeValidator(_unit)] = None
    timezone: str | None = None
    ambiguous: Ambiguous | None = None
    description: str = ""

    def __init__(  # noqa: PLR0913 - one flat call is what people type
        self,
        name: str,
        *,
        path: str | PathLike[str] | Collection[str | PathLike[str]] | None = None,
        format: Format | None = None,  # noqa: A002 - the field's word
        options: Mapping[str, Any] | None = None,
        table: str | None = None,
        database: str | PathLike[str] | None = None,
        sql: str | None = None,
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
        given = {
            "name": name, "path": path, "format": format, "options": mapping(options), "table": table,
            "database": database, "sql": sql, "frame": frame, "function": function, "columns": columns, "schema": mapping(schema), "timestamp": timestamp,
            "available_at": available_at, "valid_to": valid_to, "tie_break": tie_break,
            "lookback": lookback, "time_unit": time_unit, "timezone": timezone,
            "ambiguous": ambiguous, "description": description,
        }  # fmt: skip
        super().__init__({**given, **unknown})

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        places = [place for place in ("path", "table", "sql", "frame", "function") if getattr(self, place) is not None]
        if len(places) != 1:
            said = f"{' and '.join(places)} are given" if places else "none is given"
            raise ValueError(f"give one of path=, table=, sql=, frame= or function=; {said}")
        if (self.table is None) != (self.database is None):
            raise ValueError("table= and database= go together: a table, and the database that holds it")
        if (self.function is None) != (not self.columns):
            raise ValueError("function= and columns= go together: what makes the rows, and the columns that they have")
        if self.file_schema and (self.path is None or self.file_format() in {"iceberg", "delta"}):
            raise ValueError("schema= declares the types of columns of Parquet, CSV or JSON files, so it needs path=")
        faults = [urls.fault(path=path) for path in self.path or ()] + [urls.fault(database=self.database or "")]
        if told := [fault for fault in faults if fault]:
            raise ValueError(told[0])
        if self.path is not None and self.file_format() in {"iceberg", "delta"} and len(self.path) > 1:
            raise ValueError(f"format={self.format!r} reads one table: give one path")
        return self

    @model_validator(mode="after")
    def _times(self) -> Self:
        for option, told in _OF_TIMES.items():
            if getattr(self, option) and not self.timestamp:
                raise ValueError(f"{option}= {told}, so it needs timestamp=")
        if self.ambiguous and not self.timezone:
            raise ValueError("ambiguous= tells what a local time is that comes twice, so it needs timezone=")
        return self

    def file_format(self) -> Format:
        """Return the format of the files, by `format=` or by how their names end. Raises ValueError."""
        if self.format is not None:
            return self.format
        for path in self.path or ():
            for ending, found in _ENDINGS.items():
                if _name(path).endswith(ending):
                    return found
        formats = ", ".join(get_args(Format))
        raise ValueError(f"{self.path} does not tell its format; give format= one of {formats}")


def _name(path: str) -> str:
    """Return the path of a file, or that in a URL: what a URL asks for beside it tells nothing of the format."""
    return path.partition("?")[0] if urls.scheme(path).startswith("http") else path
