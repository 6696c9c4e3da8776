"""The columns of a group's values, and of the table that stores them."""

from __future__ import annotations

from collections.abc import Sequence

from featdsl.definitions.kinds import FeatureDefinition, GroupDefinition
from featdsl.definitions.names import UNTIL
from featdsl.definitions.sources import Column
from featdsl.definitions.table_spec import RowSpec, TableSpec


def columns(features: Sequence[FeatureDefinition]) -> tuple[Column, ...]:
    """Return the columns of a group's values. With windows, rows have neither source timestamps nor ends."""
    windowed = any(feature.window for feature in features)
    around = RowSpec.of(features).columns if windowed else TableSpec.of(features).around
    return (*around, *(Column(name=each.name, dtype=each.dtype) for each in features))


def stored_columns(features: Sequence[FeatureDefinition]) -> tuple[Column, ...]:
    """Return the columns of a table of values. Over a source, timed rows also have the time of the entity's next row."""
    table = TableSpec.of(features)
    values = (Column(name=each.column, dtype=each.dtype) for each in features)
    until = [Column(name=UNTIL, dtype=table.clock)] if table.rows == "values" and table.timed else []
    return (*table.around, *values, *until)


def source_keys(group: GroupDefinition, keys: Sequence[Column]) -> tuple[str, ...]:
    """Return the source column of each key."""
    renamed = dict(group.keys)
    return tuple(renamed.get(key.name, key.name) for key in keys)
