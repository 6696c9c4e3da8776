"""The keys and times that all features of a stored table share."""

from __future__ import annotations

from dataclasses import replace

import pytest

from featdsl.definitions.durations import Length
from featdsl.definitions.kinds import FeatureDefinition, Input
from featdsl.definitions.sources import Column
from featdsl.definitions.table_spec import RowSpec, TableSpec
from featdsl.definitions.windows import Window
from featdsl.errors import Origin

AGE = FeatureDefinition(
    name="age", group="profile", project="shop", owner="team", description="", tags=(), dtype="BIGINT", sql="age",
    expect=(), reads=("age",), entity="user", keys=(Column(name="user_id", dtype="BIGINT"),), timed=True, late=True,
    ends=True, ttl=None, fingerprint="f1", table="profile_1", origin=Origin("features/shop.py", 1),
)  # fmt: skip


def names(columns: tuple[Column, ...]) -> list[str]:
    """Return the names of columns."""
    return [column.name for column in columns]


def test_a_table_has_its_keys_times_and_ends_around_the_features() -> None:
    """In this order, which is that of the stored columns."""
    table = TableSpec.of([AGE, replace(AGE, name="income")])
    assert (table.name, table.group, table.rows) == ("profile_1", "profile", "values")
    assert table.identity == ["user_id", "event_timestamp"]
    assert names(table.times) == ["event_timestamp", "source_timestamp"]
    assert names(table.around) == ["user_id", "event_timestamp", "source_timestamp", "valid_to"]


def test_a_table_without_times_is_identified_by_its_keys() -> None:
    """It has no other columns around its features."""
    table = TableSpec.of([replace(AGE, timed=False, late=False, ends=False)])
    assert table.identity == names(table.around) == ["user_id"]


def test_the_rows_of_a_table_follow_from_its_features() -> None:
    """A window aggregates events; a feature over others is derived."""
    windowed = replace(AGE, window=Window(length=Length(seconds=60)))
    derived = replace(AGE, inputs=(Input(column="age", feature="other.age", fingerprint="f2"),))
    assert [TableSpec.of([each]).rows for each in (windowed, derived)] == ["events", "derived"]


def test_features_of_different_tables_have_no_common_spec() -> None:
    """Both tables are named."""
    with pytest.raises(ValueError, match="profile_1, profile_2 are different tables"):
        TableSpec.of([AGE, replace(AGE, table="profile_2")])


def test_the_rows_of_a_group_span_its_tables() -> None:
    """Its tables share keys and clock; features with other times are not of one group."""
    rows = RowSpec.of([AGE, replace(AGE, table="profile_events_1", ends=False)])
    assert rows == RowSpec(AGE.keys, timed=True, clock="TIMESTAMP")
    with pytest.raises(ValueError, match="the features of profile do not have the same times"):
        RowSpec.of([AGE, replace(AGE, clock="TIMESTAMP_NS")])
