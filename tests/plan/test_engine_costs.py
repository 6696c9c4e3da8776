"""The notice that another engine would build a group faster, from the times of stored tables."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from featdsl.definitions.catalog import Catalog
from featdsl.definitions.kinds import FeatureDefinition, GroupDefinition, Member
from featdsl.definitions.notices import Notice
from featdsl.definitions.snapshot import Snapshot
from featdsl.definitions.stored_tables import StoredTable
from featdsl.errors import Origin
from featdsl.plan import engine_costs
from featdsl.plan.document import BuildTable, Estimate
from featdsl.plan.engine_costs import EngineSpeed

HERE = Origin("features/x.py", 1)


def table(name: str, rows: int, seconds: float, engine: str) -> StoredTable:
    """Return a stored table with these figures."""
    return StoredTable(
        name=name, file="f", rows=rows, columns=(), engine=f"{engine} 1.0", built_at="2026-01-01", seconds=seconds
    )


def catalog(engine: str, stored: str) -> Catalog:
    """Return a catalogue with one group on an engine, whose values are in one table."""
    feature = FeatureDefinition(
        name="f", group="g", project="p", owner="o", description="", tags=(), dtype="BIGINT", sql="f", expect=(),
        reads=("f",), entity=None, keys=(), timed=False, ttl=None, fingerprint="1", table=stored, origin=HERE,
    )  # fmt: skip
    group = GroupDefinition(
        name="g", project="p", owner="o", description="", tags=(), entity=None, source="s", keys=(), ttl=None,
        engine=engine, members=(Member(column="f", feature="g.f", fingerprint="1"),), origin=HERE,  # type: ignore[arg-type]
    )  # fmt: skip
    return Catalog.of([group, feature])


def notices(snapshot: Snapshot, target: Catalog, builds: Sequence[BuildTable]) -> list[Notice]:
    """Return the notices of a plan from a snapshot, by the speeds that its tables show."""
    return list(engine_costs.notices(engine_costs.speeds(snapshot), snapshot, target, builds))


def hints(own: StoredTable, others: list[StoredTable], engine: str) -> list[str]:
    """Return what the plan says about a group on an engine, beside tables of others."""
    snapshot = Snapshot(tables={each.name: each for each in [own, *others]})
    return [f"{each.what} {each.fix}" for each in notices(snapshot, catalog(engine, own.name), [])]


FAST = [table(f"d{n}", rows, rows / 1_000_000, "duckdb") for n, rows in enumerate([1_000_000, 2_000_000, 4_000_000])]


def test_a_small_group_is_faster_at_home() -> None:
    """A group that took long on Spark, and little on DuckDB by its other tables, is told."""
    (hint,) = hints(table("own", 2_000_000, 40.0, "spark"), FAST, "spark")
    assert hint == (
        "Spark took 40 s for group g; by the tables that DuckDB has built, it takes about 2 s. "
        'Give g the option engine="duckdb".'
    )


@pytest.mark.parametrize(
    ("own", "others", "engine"),
    [
        (table("own", 2_000_000, 4.0, "spark"), FAST, "spark"),
        (table("own", 60_000_000, 40.0, "spark"), FAST, "spark"),
        (table("own", 2_000_000, 40.0, "spark"), FAST[:2], "spark"),
        (table("own", 2_000_000, 40.0, "spark"), FAST, "duckdb"),
    ],
    ids=["quick", "not twice as fast", "too few tables", "moved since"],
)
def test_no_hint(own: StoredTable, others: list[StoredTable], engine: str) -> None:
    """Nothing is told where it would not help, or where too little was measured."""
    assert hints(own, others, engine) == []


def test_a_large_group_is_faster_elsewhere() -> None:
    """A group that DuckDB takes long for is told of Spark's speed."""
    spark = [
        table(f"s{n}", rows, 8 + rows / 50_000_000, "spark") for n, rows in enumerate([10, 10_000_000, 90_000_000])
    ]
    (hint,) = hints(table("own", 100_000_000, 300.0, "duckdb"), spark, "duckdb")
    assert 'engine="spark"' in hint


def test_speed_is_a_start_and_a_rate() -> None:
    """The fastest table is the start; the median of the rest is the time of a row."""
    speed = EngineSpeed.of([table("a", 10, 2.0, "x"), table("b", 1000, 4.0, "x"), table("c", 1000, 3.0, "x")])
    assert speed is not None
    assert (speed.start, speed.each_row) == (2.0, 0.001)
    assert speed.seconds(1000) == 3.0


def test_a_new_group_is_told_by_its_estimate() -> None:
    """A group without a stored table has the time that the plan expects of its build."""
    spark = [
        table(f"s{n}", rows, 8 + rows / 50_000_000, "spark") for n, rows in enumerate([10, 10_000_000, 90_000_000])
    ]
    build = BuildTable(
        group="g", table="new", sql="", keys=(), timed=False, columns=(), reads=(), reason="new", origin=HERE,
        estimate=Estimate(rows=100_000_000, seconds=300.0, bytes=0, basis="source"),
    )  # fmt: skip
    snapshot = Snapshot(tables={each.name: each for each in spark})
    (hint,) = notices(snapshot, catalog("duckdb", "new"), [build])
    assert hint.what == (
        "DuckDB takes about 300 s for group g; by the tables that Spark has built, it takes about 10 s."
    )
    assert notices(snapshot, catalog("duckdb", "new"), []) == []
