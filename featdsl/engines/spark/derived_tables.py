"""Spark's SQL of derived tables: values at every change of an input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from featdsl.definitions.kinds import FeatureDefinition
from featdsl.definitions.names import EVENT_TIMESTAMP
from featdsl.definitions.sources import Column
from featdsl.definitions.table_spec import RowSpec, TableSpec
from featdsl.definitions.timestamps import Clock
from featdsl.engines.changing_rows import ChangeWriter, changing_rows
from featdsl.engines.lookups import Spine, Versions, Want
from featdsl.engines.spark import times
from featdsl.engines.spark.expressions import plain
from featdsl.engines.spark.lookups import compile_sql, tried
from featdsl.engines.spark.sql_text import quote, table_relation
from featdsl.engines.spark.tables import ordered
from featdsl.engines.spark.translate import Unproved
from featdsl.engines.table_layout import stored_columns


def derived_table(
    features: Sequence[FeatureDefinition],
    versions: Versions,
    since: str | None = None,
    events: Mapping[str, Sequence[Column]] = {},
) -> str:
    """Return the query of a derived group: its values at every change of one of its inputs. Raises Unproved.

    A group with rows at its own changes has none for changes of another entity's inputs. Rows start at `since`, a time as
    text. `events` has the columns of the tables that windowed inputs read.
    """
    table, writer = TableSpec.of(features), _SparkWriter(events)
    if table.clock != "TIMESTAMP":
        raise Unproved("TIMESTAMP_NS has no type on Spark")
    changes = changing_rows(features, versions, table.moments, writer)
    if since:
        changes = f"(SELECT * FROM {changes} WHERE {EVENT_TIMESTAMP} >= {times.at(since)})"
    wants = [Want(feature.column, feature) for feature in features]
    listed = ", ".join(
        f"CAST({quote(each.name)} AS {plain(each.dtype)}) AS {quote(each.name)}" for each in stored_columns(features)
    )
    return f"SELECT {listed}\nFROM (\n{writer.values(wants, changes, table, versions)}\n){ordered(table.identity)}"


def spine_of_rows(sql: str, rows: RowSpec) -> Spine:
    """Return the spine of stored keys and times."""
    time = EVENT_TIMESTAMP if rows.timed else None
    return Spine(sql=sql, columns=rows.identity, keys={key: quote(key) for key in rows.key_names}, time=time)


@dataclass(frozen=True)
class _SparkWriter:
    """Implements `featdsl.engines.changing_rows.ChangeWriter`."""

    events: Mapping[str, Sequence[Column]]

    def quote(self, name: str) -> str:
        """Return a quoted name."""
        return quote(name)

    def table(self, name: str) -> str:
        """Return the relation of a stored table."""
        return table_relation(name)

    def tried(self, relation: str, column: Column, dtype: str) -> str:  # noqa: ARG002 - the name is unique
        """Return a column of a relation in another type, NULL where it does not fit. Raises Unproved."""
        return tried(column, dtype)

    def after(self, time: str, seconds: int, clock: Clock) -> str:  # noqa: ARG002 - the only clock is TIMESTAMP
        """Return the time a number of seconds later."""
        return times.after(time, seconds)

    def widened(self, time: str) -> str:
        """Raise Unproved: no time of Spark has nanoseconds."""
        raise Unproved(f"{time} in nanoseconds has no type on Spark")

    def values(self, wants: Sequence[Want], changes: str, rows: RowSpec, versions: Versions) -> str:
        """Return the query of values at stored keys and times, which are the rows of a relation."""
        return compile_sql(wants, spine_of_rows(changes, rows), versions, self.events)


if TYPE_CHECKING:
    _: ChangeWriter = _SparkWriter({})
