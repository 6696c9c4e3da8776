"""One session of a server that speaks Spark's Connect protocol."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from featdsl.definitions.dialects import Dialect
from featdsl.definitions.names import UNTIL
from featdsl.definitions.sources import Column, SourceDefinition
from featdsl.definitions.udfs import Functions, FunctionUse
from featdsl.engines.external import ParquetRows, TableFiles
from featdsl.engines.increments import Bounds, SourceTable
from featdsl.engines.session import EngineError
from featdsl.engines.sources import SourceColumns
from featdsl.engines.spark import errors, parquet_files, python_functions, sources, times, writing
from featdsl.engines.spark.connect import Connected, connect
from featdsl.engines.spark.parquet_files import ParquetFiles
from featdsl.engines.spark.sql_text import quote, source_relation, table_relation
from featdsl.project import output

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from featdsl.engines.external import ExternalEngine


class SparkEngine:
    """Implements `featdsl.engines.external.ExternalEngine`. Sources and stored tables are temporary views of the session."""

    dialect: Dialect = "spark"

    def __init__(self, connected: Connected, root: Path) -> None:
        self._connected = connected
        self._root = root
        self._open: dict[str, tuple[SourceDefinition, DataFrame]] = {}

    @property
    def version(self) -> str:
        """The name and the version of the server: `spark 4.3.0`, `sail 0.7.2`."""
        return self._connected.version

    @cached_property
    def has_asof_join(self) -> bool:
        """Whether the server has the ASOF join of Spark 4.3, which the session switches on."""
        return self._connected.has_asof_join()

    def translated(self) -> AbstractContextManager[None]:
        """Raise the errors of the session as EngineError, and as DataError if a Python function failed."""
        return errors.translated(self._connected.spark, self._connected.place, self._root)

    # Sources

    def reads(self, source: SourceDefinition) -> bool:
        """Return whether the engine reads a source itself. Of other sources it reads a copy in Parquet files."""
        return sources.reads(source)

    def columns(self, source: SourceDefinition) -> SourceColumns:
        """Return the columns of a table of the cluster's catalogue, as DuckDB types."""
        with self.translated():
            schema = self._connected.spark.table(source.location[0]).schema
        return SourceColumns(sources.columns_of(schema, source))

    def open_source(self, source: SourceDefinition, files: Sequence[str] | None = None) -> None:
        """Let SQL read a source: its own rows, or those in Parquet `files`, which are its listed files or a copy."""
        with self.translated():
            rows = self._rows(source, files)
            self._define(source_relation(source.name), rows)
        self._open[source.name] = source, rows

    def _rows(self, source: SourceDefinition, files: Sequence[str] | None) -> DataFrame:
        spark, where = self._connected.spark, f"source {source.name}"
        if files is None and source.format == "parquet":
            files = sources.paths_of(source, self._root)
        if files is not None:
            in_folders = source.format == "parquet" and sources.option(source, "hive_partitioning") is not False
            wanted = ParquetFiles(files, source.columns, where, in_folders=in_folders)
            return parquet_files.read(self._connected, wanted)
        match source.format:
            case "sql":
                rows = spark.sql(self._query_of(source))
            case "cluster":
                rows = spark.table(source.location[0])
            case _:
                rows = spark.read.format(source.format).load(self._placed(source.location[0]))
        return rows.selectExpr(*sources.fitted(rows.schema, source.columns, where)) if source.columns else rows

    def _placed(self, path: str) -> str:
        absolute = path if parquet_files.place(path) == path else str(self._root / path)
        return parquet_files.exactly(absolute, is_sail=self._connected.is_sail)

    def _query_of(self, source: SourceDefinition) -> str:
        """Return the query of a source over other sources, which must be open, in its own text for Spark if it has one."""
        from featdsl.engines.spark import queries

        if own := dict(source.variants).get(self.dialect):
            return sources.with_relations(own)
        sql, _ = queries.query(source.sql, {name: self._open[name][0].columns for name in source.inputs})
        return sql

    def close_source(self, source: SourceDefinition) -> None:
        """Remove an open source from the session."""
        del self._open[source.name]
        with self.translated():
            self._connected.spark.catalog.dropTempView(source_relation(source.name)[1:-1])

    def _define(self, relation: str, rows: DataFrame) -> None:
        rows.createOrReplaceTempView(relation[1:-1])

    # Stored tables

    def open_tables(self, tables: Mapping[str, TableFiles]) -> None:
        """Let SQL read stored tables, without the times of the next rows."""
        with self.translated():
            for name, table in tables.items():
                self._define(table_relation(name), self._table(name, table))

    def _table(self, name: str, table: TableFiles) -> DataFrame:
        columns = [column for column in table.columns if column.name != UNTIL]
        parts = [(files, upto) for files, upto in table.parts if files] or [((), None)]
        rows: DataFrame | None = None
        for files, upto in parts:
            part = parquet_files.read(self._connected, ParquetFiles(files, columns, f"table {name}"))
            if upto is not None:
                part = part.filter(f"{quote('event_timestamp')} < {times.at(upto)}")
            rows = part if rows is None else rows.unionAll(part)
        assert rows is not None  # noqa: S101 - there is at least one part
        return rows

    # Queries

    @contextmanager
    def calling(self, uses: Iterable[FunctionUse], functions: Functions) -> Iterator[None]:
        """Let SQL call Python functions, which run where the rows are. What they print goes to standard error."""
        with self.translated():
            python_functions.register(self._connected.spark, uses, functions, self._root)
        with output.aside():
            yield

    @contextmanager
    def query(self, table: SourceTable, bounds: Bounds) -> Iterator[str]:
        """Return, while the context lasts, the query of the rows of a table in some bounds."""
        if bounds == Bounds():
            yield table.sql
            return
        from featdsl.engines.spark import increments

        relation, (_, whole) = source_relation(table.source.name), self._open[table.source.name]
        with self.translated():
            self._define(_WHOLE, whole)
            self._define(relation, self._connected.spark.sql(increments.bounded_rows(table, bounds, _WHOLE)))
        try:
            yield increments.continued(table, bounds.since) if bounds.since is not None else table.sql
        finally:
            self._restore(relation, whole)

    def _restore(self, relation: str, whole: DataFrame) -> None:
        from pyspark.errors import PySparkException

        # A session that an error has ended reports that error, not that it has ended.
        try:
            self._define(relation, whole)
            self._connected.spark.catalog.dropTempView(_WHOLE[1:-1])
        except PySparkException:
            if self.is_alive():
                raise

    def write(self, query: str, columns: Sequence[Column], folder: str) -> ParquetRows:
        """Run a query and write its rows to a new folder, a path or a URL, as Parquet files in plain types."""
        with self.translated():
            return writing.write(self._connected, query, columns, folder)

    def is_alive(self) -> bool:
        """Return whether the server still answers for this session."""
        try:
            with self.translated():
                self._connected.spark.sql("SELECT 1").collect()
        except EngineError:
            return False
        return True

    def close(self) -> None:
        """End the session."""
        self._connected.close()


_WHOLE = quote("whole_source")
"""The view of all rows of a source while its own name has those in some bounds."""


def open_engine(url: str, root: Path) -> SparkEngine:
    """Return a session of the server at a URL; files of the project are relative to `root`.

    Raises RequestError for a missing package, and UnreachableError for a server that does not answer, or cannot be used.
    """
    return SparkEngine(connect(url), root)


if TYPE_CHECKING:

    def _check(engine: SparkEngine) -> ExternalEngine:
        return engine
