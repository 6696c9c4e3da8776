"""The scratch session of a preview: sources, samples and tables of both definitions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from featdsl.definitions import graph
from featdsl.definitions import udfs as function_references
from featdsl.definitions.catalog import Catalog
from featdsl.definitions.names import quote
from featdsl.definitions.snapshot import Snapshot
from featdsl.definitions.sources import FunctionDefinition, SourceDefinition
from featdsl.engines import Runtime
from featdsl.engines.comparisons import SideSource
from featdsl.engines.lookups import Versions
from featdsl.engines.session import EngineError
from featdsl.engines.sources import SourceRows
from featdsl.errors import DataError, FeatdslError, Problem
from featdsl.plan.comparison import TablePair, sample_table
from featdsl.plan.preview_needs import NeededTable

if TYPE_CHECKING:
    from featdsl.engines.session import Session
    from featdsl.stores import Store


@dataclass(frozen=True)
class PreviewInputs:
    """The store of a plan, its frames by hash, and the compiler and the Python functions to compute with."""

    store: Store
    frames: Mapping[str, Any]
    runtime: Runtime


class NotAvailableError(Exception):
    """Data or code that a preview needs and does not have. Its text says why."""


# Sources


@dataclass(frozen=True)
class OpenedSide:
    """A catalog whose sources are open for the side `name`. `closed` says for other sources why they are not."""

    name: str
    catalog: Catalog
    closed: Mapping[str, str]


def open_side(
    inputs: PreviewInputs, session: Session, name: str, catalog: Catalog, sources: Iterable[str]
) -> OpenedSide:
    """Open these sources, and the sources that they read, for one side."""
    closed: dict[str, str] = {}
    with session.comparisons.side(name):
        for source in graph.with_inputs(catalog, sources):
            why = next((closed[each] for each in source.inputs if each in closed), "")
            try:
                if not why:
                    _open_source(inputs, session, source)
            except NotAvailableError as error:
                why = str(error)
            if why:
                closed[source.name] = why
    return OpenedSide(name, catalog, closed)


def _open_source(inputs: PreviewInputs, session: Session, source: SourceDefinition) -> None:
    functions = inputs.runtime.functions
    with as_not_available(f"source {source.name}"):
        if source.function is not None:
            _require(functions, source.function)
        if source.location and source.location[0] in inputs.frames:
            session.sources.open_frame(source.name, inputs.frames[source.location[0]])
        else:
            session.sources.open(source, _rows_of(inputs, source))


def _rows_of(inputs: PreviewInputs, source: SourceDefinition) -> SourceRows:
    rows = SourceRows(frames=inputs.store.frames, functions=inputs.runtime.functions)
    if source.format != "push":
        return rows
    with closing(inputs.store.event_log(source.location[0])) as log:
        state = log.read()
    return replace(rows, paths=state.files, events=state.events)


def _require(functions: function_references.Functions, function: FunctionDefinition) -> None:
    if function.fingerprint not in functions:
        raise NotAvailableError(f"the project no longer declares the code of {function.name}")


@contextmanager
def _as_data_error(name: str) -> Iterator[None]:
    """Raise DataError for a statement that fails; a session replaces it if a Python function is the reason."""
    try:
        yield
    except EngineError as error:
        raise DataError(Problem("Data cannot be computed", f"{name}: {_first_line(str(error))}")) from None


@contextmanager
def as_not_available(name: str) -> Iterator[None]:
    """Raise NotAvailableError, with one line of text, for data that cannot be read or computed."""
    try:
        yield
    except EngineError as error:
        if error.kind == "syntax":
            raise  # the catalog has parsed the user's SQL, so the compiled SQL is wrong
        raise NotAvailableError(f"{name}: {_first_line(str(error))}") from None
    except FeatdslError as error:
        raise NotAvailableError(_first_line(error.problems[0].what)) from None


def _first_line(text: str) -> str:
    return text.splitlines()[0]


# Samples and tables


@dataclass(frozen=True)
class Scratch:
    """A session with the tables of a preview. `sample` is the number of entities of each table pair; None is all."""

    inputs: PreviewInputs
    session: Session
    snapshot: Snapshot
    sides: Mapping[str, OpenedSide]
    versions: Versions
    needs: Mapping[str, NeededTable]
    sample: int | None

    def source_of(self, need: NeededTable) -> SideSource:
        """Return the source of a table; one with the same definition on both sides is that of the new side.

        Raises NotAvailableError.
        """
        before, after = self.sides["before"], self.sides["after"]
        side = after if need.first.table in after.catalog.tables else before
        if need.first.table not in side.catalog.tables:
            raise NotAvailableError("no group computes it any more")
        group = side.catalog.groups[need.first.group]
        source = side.catalog.sources[str(group.source)]
        newer = after.catalog.sources.get(source.name)
        name = "after" if newer and newer.fingerprint == source.fingerprint else side.name
        return SideSource(name, group, need.first, source)

    def _open_source_of(self, need: NeededTable) -> SideSource:
        """Return the source of a table. Raises NotAvailableError if it is not open."""
        found = self.source_of(need)
        closed = self.sides[found.side].closed
        if found.source.name in closed:
            raise NotAvailableError(closed[found.source.name])
        return found

    def draw(self, number: int, table_pair: TablePair) -> int:
        """Draw the sample of a table pair, and return the number of all its entities. Raises NotAvailableError."""
        queries = []
        for table, need in self.needs.items():
            for own in (own for user, own in need.looked_up_by if user == number and not need.first.computed):
                listed = ", ".join(f"{quote(key)} AS {quote(own_key)}" for key, own_key in own)
                queries.append(f"SELECT {listed} FROM {self._entities(table, need)}")
        with as_not_available("entities"):
            return self.session.comparisons.draw(sample_table(number), table_pair.keys, queries, self.sample)

    def _entities(self, table: str, need: NeededTable) -> str:
        """Return the relation of the entities of a table: of its source, else of the stored table."""
        try:
            return f"({self.session.comparisons.entities(self._open_source_of(need))})"
        except NotAvailableError as error:
            try:
                self.open_stored(table)
            except NotAvailableError:
                raise error from None
            return f"tables.{quote(table)}"

    def open_stored(self, table: str) -> None:
        """Let SQL read a stored table. Raises NotAvailableError."""
        stored = self.snapshot.tables.get(table)
        if stored is None:
            raise NotAvailableError(f"table {table} is not stored")
        with as_not_available(f"table {table}"), self.session.translated():
            self.inputs.store.open_tables(self.session, [stored])

    def compute(self, need: NeededTable) -> None:
        """Compute a table. Raises NotAvailableError."""
        comparisons, compiler = self.session.comparisons, self.inputs.runtime.compilers.store
        if need.first.computed:
            with as_not_available(f"group {need.first.group}"):
                rows = comparisons.change_rows(list(need.features.values()), self.versions)
                comparisons.create_table(need.first.table, rows)
            return
        read = self._open_source_of(need)
        features = sorted(need.features.values(), key=lambda each: each.name)
        uses = list(function_references.of(features, read.source))
        functions = self.inputs.runtime.functions
        for use in uses:
            _require(functions, use.function)
        compile_table = compiler.events_table if need.first.window else compiler.base_table
        subject = f"group {read.group.name}"
        with as_not_available(subject):
            comparisons.open_rows(read, self._sampled_entities(need))
            with self.session.calling(uses, functions), _as_data_error(subject):
                comparisons.create_table(need.first.table, compile_table(read.group, features, read.source).sql)

    def _sampled_entities(self, need: NeededTable) -> str:
        """Return the query of the sampled entities of a table; empty if all its rows are computed."""
        if self.sample is None or need.whole or not need.first.keys:
            return ""
        samples = []
        for number, own in need.looked_up_by:
            own_keys = dict(own)
            listed = ", ".join(quote(own_keys[key.name]) for key in need.first.keys)
            samples.append(f"SELECT {listed} FROM {quote(sample_table(number))}")
        return " UNION ALL ".join(samples)
