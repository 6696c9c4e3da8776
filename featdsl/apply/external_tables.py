"""The tables of one run that an engine beyond this machine computes, and how the store gets their rows."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from featdsl.definitions.dialects import Dialect
from featdsl.definitions.names import SOURCE_SCHEMA, quote
from featdsl.definitions.sources import SourceDefinition
from featdsl.engines.external import Computed, ParquetRows
from featdsl.engines.increments import Bounds, SourceTable
from featdsl.engines.opening import Engines

if TYPE_CHECKING:
    from featdsl.apply.run_sources import RunSources
    from featdsl.definitions.udfs import Functions
    from featdsl.engines.external import ExternalEngine
    from featdsl.plan.document import BuildTable
    from featdsl.project.settings import Project
    from featdsl.stores import Writer


class ExternalTables:
    """Computes tables in other engines, which open on the first use and close with the run."""

    def __init__(self, project: Project, sources: RunSources, writer: Writer, functions: Functions) -> None:
        self._sources, self._writer, self._functions = sources, writer, functions
        self._engines = Engines(project)
        self._opened: dict[tuple[Dialect, str], SourceDefinition] = {}
        self._copies: dict[SourceDefinition, ParquetRows] = {}

    def close(self) -> None:
        """End the sessions."""
        self._engines.close()

    def over_source(
        self,
        step: BuildTable,
        table: SourceTable,
        sources: Iterable[SourceDefinition],
        bounds: Bounds = Bounds(),  # noqa: B008 - frozen
    ) -> Computed:
        """Compute the rows of a table over a source in some bounds."""
        engine = self._engines.of(step.dialect)
        for source in sources:
            self._open(engine, source)
        with ExitStack() as stack:
            if bounds.since is not None:
                engine.open_tables(self._writer.lend([step.table]))
            stack.enter_context(engine.calling(step.functions, self._functions))
            return self._written(engine, step, stack.enter_context(engine.query(table, bounds)))

    def derived(self, step: BuildTable) -> Computed:
        """Compute the rows of a table over other stored tables."""
        engine = self._engines.of(step.dialect)
        engine.open_tables(self._writer.lend(step.reads))
        return self._written(engine, step, step.sql)

    def _written(self, engine: ExternalEngine, step: BuildTable, query: str) -> Computed:
        begun = time.monotonic()
        rows = engine.write(query, step.columns, self._writer.staging(step.table))
        return Computed(rows, engine.version, time.monotonic() - begun)

    def _open(self, engine: ExternalEngine, source: SourceDefinition) -> None:
        """Let an engine read a source: its own rows if it can, else a copy in Parquet files."""
        key = engine.dialect, source.name
        if self._opened.get(key) == source:
            return
        if key in self._opened:
            engine.close_source(self._opened[key])
        engine.open_source(source, self._files(engine, source))
        self._opened[key] = source

    def _files(self, engine: ExternalEngine, source: SourceDefinition) -> Sequence[str] | None:
        if engine.reads(source):
            return self._sources.paths(source)
        if source not in self._copies:
            rows = f"SELECT * FROM {SOURCE_SCHEMA}.{quote(source.name)}"
            folder = self._writer.staging(f"source_{source.name}")
            self._copies[source] = self._writer.session.write_parquet(rows, source.columns, folder)
        return self._copies[source].files
