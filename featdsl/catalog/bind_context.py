"""The context and the state of one binding, and the problems of SQL that the engine refuses."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from featdsl.definitions import readers as definition_readers
from featdsl.definitions.catalog import Catalog
from featdsl.definitions.dialects import Dialect
from featdsl.definitions.kinds import FeatureDefinition
from featdsl.definitions.names import AS_OF_TIMESTAMP, did_you_mean
from featdsl.definitions.snapshot import Snapshot
from featdsl.definitions.sources import Column, SourceDefinition
from featdsl.engines import Compilers
from featdsl.engines.external import ExternalEngine
from featdsl.engines.session import EngineError, Session
from featdsl.errors import Origin, Problem
from featdsl.sql.cache import AnalysisCache

if TYPE_CHECKING:
    from featdsl.definitions.readers import Affected
    from featdsl.project.settings import Project

_READS_UNKNOWN = re.compile(r"reads the column '(.*?)', which does not exist")
_SHOWN_READERS = 8


@dataclass(frozen=True)
class BindContext:
    """The project, the engine and the data that a catalogue is bound with.

    `frames` are the dataframes of sources by hash; other frames are files in `frame_folder`. `cache` is the SQL analysis
    cache. `exported` are the sources of an exported registry: an unchanged source takes its columns from there, unread, and
    a changed source that cannot be read stays unchecked. None means that every source must be readable. `engine_of` opens the
    engine that has tables of its own; without it, sources over these stay unchecked. `offline` leaves every
    source unread whose columns are not declared in code.
    """

    project: Project
    session: Session
    compilers: Compilers
    frames: Mapping[str, Any] = field(default_factory=dict)
    frame_folder: Path | str = ""
    cache: AnalysisCache = field(default_factory=AnalysisCache)
    exported: Mapping[str, SourceDefinition] | None = None
    engine_of: Callable[[Dialect], ExternalEngine] | None = None
    offline: bool = False

    @property
    def root(self) -> Path:
        """The folder that relative paths start at."""
        return self.project.root


@dataclass
class Binding:
    """The state of one binding: the sources and features that are bound so far, and the problems."""

    context: BindContext
    catalog: Catalog
    applied: Snapshot
    sources: dict[str, SourceDefinition] = field(default_factory=dict)
    features: dict[str, FeatureDefinition] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    dtypes: dict[str, str] = field(default_factory=dict)
    """Canonical types by their declared spelling."""
    broken_entities: set[str | None] = field(default_factory=set)
    """Entities with a key of an unknown type; groups with these entities cause no further problem."""
    unchecked: dict[str, str] = field(default_factory=dict)
    """The reason why a source was not read, by source. Its readers are not checked."""
    columns: dict[str, Sequence[Column]] = field(default_factory=dict)
    """The columns of sources in their own order, which a star in a query keeps."""
    formats: dict[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)
    """The formats of dates and times in the text files of sources."""
    differing: dict[str, Mapping[str, str]] = field(default_factory=dict)
    """The types by file of each column whose files differ in type, by source and column in lower case."""
    opened: set[str] = field(default_factory=set)
    """The sources that SQL can read in the session. Only sources of cached results stay closed."""

    @property
    def session(self) -> Session:
        """The session that binds SQL."""
        return self.context.session

    @property
    def cache(self) -> AnalysisCache:
        """The SQL analysis cache."""
        return self.context.cache

    def refuse(self, summary: str, what: str, where: Origin, fix: str = "") -> None:
        """Add a problem."""
        self.problems.append(Problem(summary, what, where, fix))


def has_type(binding: Binding, address: str, dtype: str, where: Origin) -> bool:
    """Return whether the engine has a declared type; refuses one that it does not have."""
    try:
        canonical_type(binding, dtype)
    except EngineError:
        known = binding.session.type_names()
        fix = did_you_mean(dtype, known) or "Its types: https://duckdb.org/docs/sql/data_types"
        binding.refuse("Unknown type", f"{address}: DuckDB has no type {dtype}.", where, fix)
        return False
    return True


def canonical_type(binding: Binding, dtype: str) -> str:
    """Return a type as the engine writes it. Raises EngineError if there is no such type."""
    if dtype not in binding.dtypes:
        binding.dtypes[dtype] = binding.session.canonical_type(dtype)
    return binding.dtypes[dtype]


# Problems of SQL


def sql_problem(address: str, error: EngineError, known: Sequence[str], where: Origin) -> Problem:
    """Return the problem of SQL that the engine refuses; `known` are the columns that it may read."""
    detail = error.detail
    if detail.lacks == "column":
        what = f"{address} reads the column {detail.name!r}, which does not exist."
        return Problem("Unknown column", what, where, _names_hint(detail.name, known))
    if detail.lacks == "function":
        what = f"{address} calls {detail.name}(), which DuckDB does not have."
        return Problem("Unknown function", what, where, suggestion(error))
    return Problem("Invalid SQL", f"{address}: {detail.message}", where)


def suggestion(error: EngineError) -> str:
    """Return the engine's suggestion as a fix; empty if it has none."""
    return f"Did you mean {error.detail.suggestion}?" if error.detail.suggestion else ""


def with_former_readers(binding: Binding, sources: Sequence[str], problem: Problem) -> Problem:
    """Return a problem of SQL; that of a removed column also lists the column's readers."""
    match = _READS_UNKNOWN.search(problem.what)
    return replace(problem, what=problem.what + former_readers(binding, sources, match[1])) if match else problem


def former_readers(binding: Binding, sources: Sequence[str], column: str) -> str:
    """Return the applied type and the readers of a column that a source has lost, as a further line; else nothing."""
    for name in sources:
        applied = binding.applied.catalog.sources.get(name)
        for former in applied.columns if applied else ():
            if former.name.lower() == column.lower():
                readers = [_reader(each) for each in definition_readers.readers_of(binding.applied, name, former.name)]
                more = f" and {len(readers) - _SHOWN_READERS} more" if len(readers) > _SHOWN_READERS else ""
                listed = f", and is read by:\n  {', '.join(readers[:_SHOWN_READERS])}{more}" if readers else "."
                return f"\nIt was there, as {former.dtype}, when source {name} was last applied{listed}"
    return ""


def _reader(reader: Affected) -> str:
    """Return a reader of a column with its owner; a feature's kind goes without saying."""
    return f"{'' if reader.kind == 'feature' else f'{reader.kind} '}{reader.address} ({reader.owner})"


def columns_hint(wrong: str, columns: Sequence[Column]) -> str:
    """Return the closest name of a column, or else all names, as a fix."""
    return _names_hint(wrong, [column.name for column in columns])


def _names_hint(wrong: str, known: Sequence[str]) -> str:
    if wrong.lower() == AS_OF_TIMESTAMP:
        return (
            "A stored row has no as-of time. Read as_of_timestamp in a group with inputs=[...], "
            "or around the aggregates of a window."
        )
    return did_you_mean(wrong, known) or f"Its columns are: {', '.join(known)}."
