"""Derived tables on Spark: the same rows as DuckDB's, and those of loops over all rows."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, given, settings

from featdsl import Entity, Feature, FeatureGroup, Source
from tests.declared import applied
from tests.query import test_ending_rows as ending
from tests.query import test_foreign_keys as foreign
from tests.spark.elsewhere import Elsewhere
from tests.trying import worlds

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas:FutureWarning")
FEW = settings(
    max_examples=3, deadline=None, phases=[Phase.explicit, Phase.generate], suppress_health_check=list(HealthCheck)
)
"""An example is a store of its own."""


@FEW
@given(ending.worlds)
def test_rows_begin_at_changes_expiries_and_ends(tmp_path: Path, spark: SparkSession, world: ending.World) -> None:
    """Of inputs that end and expire, and became known late."""
    elsewhere = _elsewhere(tmp_path, spark, replace(world, fine=False).declare)

    wanted, found = elsewhere.derived_rows("both")

    assert found == wanted


@FEW
@given(foreign.WORLDS)
def test_rows_begin_at_changes_of_values_by_value(tmp_path: Path, spark: SparkSession, world: foreign.World) -> None:
    """Of the carrier that a flight has then, of the alliance that the carrier has then."""
    elsewhere = _elsewhere(tmp_path, spark, world.declare)

    for group in ("belonging", "risk"):
        wanted, found = elsewhere.derived_rows(group)
        assert found == wanted


def test_rows_by_value_are_those_worked_out_by_hand(tmp_path: Path, spark: SparkSession) -> None:
    """Flight 1 does not see the change of its former carrier on day 6; later rows alone are the same ones."""
    elsewhere = _elsewhere(tmp_path, spark, foreign.world().declare)

    _, found = elsewhere.derived_rows("risk")
    wanted_since, found_since = elsewhere.derived_rows("risk", since="2026-01-05 00:00:00")

    assert [(flight, (time - foreign.START).days, risk) for flight, time, *_, risk in found] == [
        (1, 0, 10), (1, 1, 15), (1, 4, 7), (1, 5, 27), (1, 8, 28), (2, 1, 0),
    ]  # fmt: skip
    assert found_since == wanted_since == found[2:5]


@FEW
@given(worlds.worlds())
def test_rows_over_windows_are_those_of_duckdb(tmp_path: Path, spark: SparkSession, world: worlds.World) -> None:
    """A row for each change of a value, and for each row that a window aggregates."""

    def declare() -> None:
        latest: Any
        recent: Any
        latest, recent, *_ = worlds.declare(world)()

        class Over(
            FeatureGroup, entity=Entity("other", keys={"user_id": int}), inputs=[latest.n, recent.total, recent.rows]
        ):
            surplus = Feature(int, sql="coalesce(total, 0) - coalesce(n, 0)")
            seen = Feature(int, sql="rows")

    root = tmp_path / uuid.uuid4().hex
    root.mkdir()
    worlds.write(world, root)
    applied(root, declare)

    for group in ("over", "social"):
        if any(each.group == group for each in Elsewhere(root, spark).snapshot.catalog.features.values()):
            wanted, found = Elsewhere(root, spark).derived_rows(group)
            assert found == wanted


def test_inputs_with_other_keys_or_no_keys_or_no_times(tmp_path: Path, spark: SparkSession) -> None:
    """Keys by other names and the other way round, one value for everyone, entities without times."""

    def also(route: Any, weather: Any, routes: Any) -> None:
        rates = pa.table({"at": [foreign.at(0), foreign.at(2)], "rate": [10, None]})

        class Rates(FeatureGroup, entity=None, source=Source("rates", frame=rates, timestamp="at"), ttl="12 hours"):
            rate = Feature(int)

        class Priced(FeatureGroup, entity=route, inputs=[routes.km, Rates.rate]):
            price = Feature(int, sql="km * rate")

        class Plain(FeatureGroup, entity=route, inputs=[routes.km]):
            miles = Feature(float, sql="CAST(km AS DOUBLE) * 0.5e0")

        class Everywhere(FeatureGroup, entity=None, inputs=[Rates.rate]):
            double = Feature(int, sql="rate + rate")

    elsewhere = _elsewhere(tmp_path, spark, lambda: foreign.routes(also=also))

    for group in ("ends", "priced", "plain", "everywhere"):
        wanted, found = elsewhere.derived_rows(group)
        assert found == wanted
        assert found != []


@pytest.mark.parametrize("materialize", [{}, {"materialize": True}], ids=["own changes", "every change"])
def test_a_group_has_rows_at_the_times_that_it_declares(
    tmp_path: Path, spark: SparkSession, materialize: dict[str, Any]
) -> None:
    """With inputs of its own entity and of another."""

    def declare() -> None:
        shop, owner = Entity("shop", keys={"shop": int}), Entity("owner", keys={"owner": str})
        times = [foreign.START + timedelta(days=day) for day in range(4)]
        shops = pa.table({"shop": [1, 1, 2, 3], "owner": ["a", "b", "a", None], "at": times})
        owners = pa.table({"owner": ["a", "b", "a", "c"], "at": times[::-1], "n": [1, 2, 3, 4]})

        class Shops(FeatureGroup, entity=shop, source=Source("shops", frame=shops, timestamp="at")):
            of = Feature(str, sql="owner")

        class Owners(FeatureGroup, entity=owner, source=Source("owners", frame=owners, timestamp="at")):
            n = Feature(int)

        class Both(
            FeatureGroup,
            entity=shop,
            inputs=[Shops.of, Owners.n.alias("theirs", keys={"owner": Shops.of})],
            **materialize,
        ):
            both = Feature(str, sql="of")
            theirs_too = Feature(int, sql="theirs")

    wanted, found = _elsewhere(tmp_path, spark, declare).derived_rows("both")

    assert found == wanted
    assert found != []


def _elsewhere(folder: Path, spark: SparkSession, declare: Callable[[], object]) -> Elsewhere:
    root = folder / uuid.uuid4().hex
    root.mkdir()
    applied(root, declare)
    return Elsewhere(root, spark)
