"""Looking after stored data: expectations on a schedule, and serving compared with training."""

from __future__ import annotations

import json

import duckdb
import pytest

from featdsl.engines.lookups import Want
from featdsl.query.parity import Difference, Parity, _differences
from featdsl.query.selection import Selection
from tests.conftest import Workspace


@pytest.fixture
def applied(bank: Workspace) -> Workspace:
    """The small project, applied."""
    bank.apply()
    return bank


def spoil(workspace: Workspace, sql: str) -> None:
    """Change stored data by hand, as nobody should."""
    (file,) = (workspace.root / ".featdsl" / "data").glob("*.duckdb")
    with duckdb.connect(str(file), read_only=True) as connection:
        names = [name for (name,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()]
    (profile,) = [name for name in names if name.startswith("user_profile")]
    workspace.forge(file, sql.format(table=profile))


def test_every_expectation_is_run_on_what_is_stored(applied: Workspace) -> None:
    """Good data pass."""
    done = applied.run("check")
    assert (done.returncode, done.stdout) == (
        0,
        "ok      user_profile.age (accounts): age BETWEEN 0 AND 120\n1 check, 0 broken.\n",
    )


def test_rows_that_break_a_rule_are_named(applied: Workspace) -> None:
    """Exit code 1, the owner, and examples."""
    spoil(applied, "UPDATE {table} SET age = 200 WHERE user_id = 2 AND event_timestamp = '2026-01-03'")
    done = applied.run("check")
    assert (done.returncode, done.stdout) == (
        1,
        "broken  user_profile.age (accounts): age BETWEEN 0 AND 120  1 of 20 rows\n"
        "          user_id = 2, event_timestamp = 2026-01-03 00:00:00, age = 200\n"
        "1 check, 1 broken.\n",
    )
    (found,) = json.loads(applied.run("check", "--format", "json").stdout)
    assert (found["address"], found["broken"], found["examples"][0]["age"]) == ("user_profile.age", 1, 200)


def test_what_is_served_is_what_is_trained_on(applied: Workspace) -> None:
    """Four users, three features in two groups, two sets of two and three columns."""
    done = applied.run("check", "--parity")
    assert (done.returncode, done.stdout) == (0, f"{4 * (1 + 2 + 2 + 3)} values compared, 0 differ.\n")


def test_a_sample_bounds_the_comparison(applied: Workspace) -> None:
    """Large stores are sampled."""
    assert applied.store.check_parity(sample=2) == Parity(values=2 * (1 + 2 + 2 + 3), differences=())


def test_parity_covers_entities_in_roles_globals_and_zones(workspace: Workspace) -> None:
    """Keys of several entities are put side by side, a value for everyone needs none."""
    workspace.write(
        {
            "featproject.toml": '[project]\nname = "shop"\n',
            "features/shop.py": """
from featdsl import Entity, Feature, FeatureGroup, FeatureSet, Source

place = Entity("place", keys={"place": str})
person = Entity("person", keys={"person": int})
places = Source("places", path="places.parquet", timestamp="ts")
people = Source("people", frame=[{"person": 1, "size": 2.5}, {"person": 2, "size": None}, {"person": 3, "size": 1.5}])
rates = Source("rates", frame=[{"rate": 0.25}])


class Weather(FeatureGroup, entity=place, source=places, ttl="36500 days"):
    temp = Feature(float)
    seen = Feature("TIMESTAMPTZ", sql="ts")


class Shoes(FeatureGroup, entity=person, source=people):
    size = Feature(float)


class Rates(FeatureGroup, entity=None, source=rates):
    rate = Feature(float)


trip = FeatureSet("trip", version=1, features=[
    Weather.temp.alias("temp_from", keys={"place": "start"}), Weather.temp.alias("temp_to", keys={"place": "goal"}),
    Weather.seen, Shoes.size, Rates.rate])
""",
        }
    ).parquet(
        "places.parquet",
        "SELECT * FROM (VALUES ('a', TIMESTAMPTZ '2026-01-01 00:00:00+00', 'nan'::DOUBLE), "
        "('b', TIMESTAMPTZ '2026-01-02 00:00:00+00', 2.0)) t(place, ts, temp)",
    )
    workspace.apply()
    assert workspace.store.check_parity() == Parity(values=1 + 3 + 2 * 2 + 3 * 5, differences=())
    rows = workspace.published("SELECT start, goal, place, person, size, rate FROM prod.trip_v1 ORDER BY ALL")
    assert [row for row in rows if row[3] is not None] == [
        (None, None, None, 1, 2.5, 0.25),
        (None, None, None, 2, None, 0.25),
        (None, None, None, 3, 1.5, 0.25),
    ]
    assert len(rows) == 3 + 2 + 2 + 2


def test_a_difference_is_told_with_its_keys(applied: Workspace) -> None:
    """Unequal values, also of unequal type, are reported one by one."""
    age = Want("age", applied.store._open().snapshot.catalog.features["user_profile.age"])
    selection = Selection((age,), "user_profile")
    rows = [{"user_id": 1}, {"user_id": 2}, {"user_id": 3}]
    found = list(
        _differences(selection, rows, [{"age": 1}, {"age": 2}, {"age": 3}], [{"age": 1}, {"age": 2.0}, {"age": 4}])
    )
    assert found == [
        Difference(feature="user_profile: age", keys={"user_id": 2}, served=2, trained=2.0),
        Difference(feature="user_profile: age", keys={"user_id": 3}, served=3, trained=4),
    ]
