"""The SQL of training sets whose spine Spark reads itself."""

from __future__ import annotations

from collections.abc import Sequence

from featdsl.definitions.sources import Column, SourceDefinition
from featdsl.engines import CompiledTable, StoredColumns
from featdsl.engines.external import ExternalSpine
from featdsl.engines.lookups import Spine, Versions, Want
from featdsl.engines.spark import source_times
from featdsl.engines.spark.sql_text import quote, source_relation, spark_type
from featdsl.engines.spark.training import training_sql
from featdsl.engines.spark.translate import Translated, Unproved, cast


def training_table(
    wants: Sequence[Want], spine: ExternalSpine, versions: Versions, tables: StoredColumns, *, has_asof_join: bool
) -> CompiledTable:
    """Return the query of a spine's own columns and the wanted features, each in its plain type. Raises Unproved."""
    source = spine.source
    for column in source.columns:
        if spark_type(column.dtype) is None:
            raise Unproved(f"the spine's column {column.name!r} is {column.dtype}, which has no type on Spark")
    compiled = Spine(
        sql=source_relation(source.name),
        columns=[column.name for column in source.columns],
        keys={name: _in_type(source, name, dtype) for name, dtype in spine.keys.items()},
        time=source_times.of_source(source, source.timestamp) if source.timestamp else None,
        request={name: _in_type(source, name, dtype) for name, dtype in spine.request.items()},
    )
    values = (Column(name=want.column, dtype=want.feature.dtype) for want in wants)
    return CompiledTable(
        training_sql(wants, compiled, versions, tables, has_asof_join=has_asof_join), (*source.columns, *values)
    )


def _in_type(source: SourceDefinition, name: str, dtype: str) -> str:
    """Return a column of the spine in the type that the features need."""
    column = next(each for each in source.columns if each.name.lower() == name.lower())
    value = Translated(quote(column.name), column.dtype)
    return value.sql if column.dtype == dtype else cast(value, dtype)
