"""The status of a served value, online and from the tables: present, null, of an unknown entity, or expired."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from featdsl import Entity, Feature, FeatureGroup, FeatureSet, Source
from featdsl.definitions.moments import moment
from featdsl.online.fetch import LatestRequest
from featdsl.query.answer import ServedValue
from tests.online.worlds import DAY, HOUR, START, Place

NOW = moment(START)


def declare() -> None:
    """Declare features that end in each way."""
    user, team = Entity("user", keys={"user_id": int}), Entity("team", keys={"team": str})
    plain = Source(
        "plain",
        timestamp="ts",
        sql="""
        SELECT * FROM (VALUES (1, TIMESTAMP '2026-02-28', 5, 'a'), (2, TIMESTAMP '2026-02-28', NULL, 'z'),
        (3, TIMESTAMP '2026-02-01', 6, NULL), (4, TIMESTAMP '2026-03-02', 7, 'a')) t(user_id, ts, v, team_of)""",
    )
    periods = Source(
        "periods",
        timestamp="ts",
        valid_to="ended",
        sql="""
        SELECT * FROM (VALUES (1, TIMESTAMP '2026-02-01', TIMESTAMP '2026-03-01 06:00:00', 1),
        (2, TIMESTAMP '2026-02-01', TIMESTAMP '2026-02-02', 2), (3, TIMESTAMP '2026-02-01', NULL, 3)) t(user_id, ts, ended, p)""",
    )
    late = Source(
        "late",
        timestamp="ts",
        available_at="known",
        sql="""
        SELECT * FROM (VALUES (1, TIMESTAMP '2026-02-27', TIMESTAMP '2026-03-01 12:00:00', 1)) t(user_id, ts, known, l)""",
    )
    timeless = Source("timeless", sql="SELECT * FROM (VALUES (1, 8), (2, NULL)) t(user_id, w)")
    teams = Source("teams", timestamp="ts", sql="SELECT 'a' AS team, TIMESTAMP '2026-01-01' AS ts, 9 AS size")

    class Plain(FeatureGroup, entity=user, source=plain, ttl="10 days"):
        v = Feature(int)
        team_of = Feature(str)

    class Periods(FeatureGroup, entity=user, source=periods):
        p = Feature(int)

    class Late(FeatureGroup, entity=user, source=late, ttl="3 days"):
        known = Feature(int, sql="l")

    class Windows(FeatureGroup, entity=user, source=plain):
        n = Feature(int, sql="count(*)", window="2 days")
        total = Feature(int, sql="sum(v)", window="2 days")

    class Timeless(FeatureGroup, entity=user, source=timeless):
        w = Feature(int)

    class Both(FeatureGroup, entity=user, inputs=[Plain.v, Periods.p]):
        both = Feature(int, sql="v + p")
        either = Feature(int, sql="coalesce(v, p, 0)")

    class Teams(FeatureGroup, entity=team, source=teams):
        size = Feature(int)

    class Theirs(FeatureGroup, entity=user, inputs=[Teams.size.alias("own", keys={"team": Plain.team_of})]):
        their_size = Feature(int, sql="own")

    FeatureSet("all", version=1, features=[Plain.v, Periods, Late, Windows, Timeless, Both, Theirs])


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """The features, published."""
    found = Place(tmp_path_factory.mktemp("statuses")).of(declare)
    found.publish(NOW)
    return found


def day(month: int, number: int, hour: int = 0) -> datetime:
    """Return a time of 2026."""
    return datetime(2026, month, number, hour, tzinfo=UTC)


def served(place: Place, user: int, column: str, at: int = NOW) -> ServedValue:
    """Return what the online store has, which must be what the tables have."""
    online, tables = place.read("all@1", LatestRequest([{"user_id": user}], with_status=True, at=at))
    assert online.from_tables == {}
    assert online.statuses is not None
    assert tables.statuses is not None
    assert online.statuses[0] == tables.statuses[0]
    return online.statuses[0][column]


CASES = {
    "a value of a row": (1, "v", 0, ServedValue(5, "present", day(2, 28))),
    "a row with NULL": (2, "v", 0, ServedValue(None, "null", day(2, 28))),
    "an entity without rows": (99, "v", 0, ServedValue(None, "unknown_entity", None)),
    "a row older than the ttl": (3, "v", 0, ServedValue(None, "expired", day(2, 1))),
    "a row of the future": (4, "v", 0, ServedValue(None, "unknown_entity", None)),
    "the same row once its time has come": (4, "v", 24, ServedValue(7, "present", day(3, 2))),
    "a row before its end": (1, "p", 5, ServedValue(1, "present", day(2, 1))),
    "a row at its end": (1, "p", 6, ServedValue(None, "expired", day(2, 1))),
    "a row that has ended": (2, "p", 0, ServedValue(None, "expired", day(2, 1))),
    "a row without an end": (3, "p", 0, ServedValue(3, "present", day(2, 1))),
    "a row that is not known yet": (1, "known", 11, ServedValue(None, "unknown_entity", None)),
    "a row that is known now": (1, "known", 12, ServedValue(1, "present", day(2, 27))),
    "a late row whose ttl counts from its own time": (1, "known", 24, ServedValue(None, "expired", day(2, 27))),
    "a count over rows": (1, "n", 0, ServedValue(1, "present", day(2, 28))),
    "a count after the rows have left": (1, "n", 25, ServedValue(0, "present", day(2, 28))),
    "a sum after the rows have left": (1, "total", 25, ServedValue(None, "null", day(2, 28))),
    "a count of nobody": (99, "n", 0, ServedValue(0, "unknown_entity", None)),
    "a value without a time": (1, "w", 0, ServedValue(8, "present", None)),
    "NULL without a time": (2, "w", 0, ServedValue(None, "null", None)),
    "nobody without a time": (99, "w", 0, ServedValue(None, "unknown_entity", None)),
    "a derived value": (1, "both", 0, ServedValue(6, "present", day(2, 28))),
    "a derived value of an expired one": (1, "both", 6, ServedValue(None, "expired", day(2, 28))),
    "a derived value beside an expired one": (1, "either", 6, ServedValue(5, "present", day(2, 28))),
    "a derived value of nobody": (99, "either", 0, ServedValue(0, "unknown_entity", None)),
    "a value by another feature": (1, "their_size", 0, ServedValue(9, "present", day(2, 28))),
    "no value by another feature": (2, "their_size", 0, ServedValue(None, "null", day(2, 28))),
    "a value by an expired feature": (3, "their_size", 0, ServedValue(None, "expired", day(2, 1))),
    "a value by another feature of nobody": (99, "their_size", 0, ServedValue(None, "unknown_entity", None)),
}  # fmt: skip
"""By name, the user, the column, hours after the publication, and what is served."""


@pytest.mark.parametrize("case", CASES)
def test_a_value_has_a_status_and_the_time_of_its_row(place: Place, case: str) -> None:
    """Online as from the tables."""
    user, column, hours, expected = CASES[case]
    assert served(place, user, column, NOW + hours * HOUR) == expected


def test_a_status_changes_to_the_microsecond(place: Place) -> None:
    """At the end of a ttl and of a row."""
    known = [served(place, 1, "known", NOW + 12 * HOUR + tick).status for tick in (-1, 0)]
    ended = [served(place, 1, "p", NOW + 6 * HOUR + tick).status for tick in (-1, 0)]
    ttl = [served(place, 1, "known", NOW + DAY + tick).status for tick in (-1, 0)]
    assert (known, ended, ttl) == (["unknown_entity", "present"], ["present", "expired"], ["present", "expired"])


@pytest.mark.parametrize("key", [None, 99, -1, 0.5, float("nan"), 2**80])
def test_an_unknown_entity_has_many_forms(place: Place, key: object) -> None:
    """None, no key, and numbers that no key can be."""
    online, tables = place.read("all@1", LatestRequest([{"user_id": key}], with_status=True, at=NOW))

    assert online.statuses == tables.statuses
    assert online.statuses is not None
    assert {value.status for value in online.statuses[0].values()} == {"unknown_entity"}


def test_values_beyond_the_horizon_are_read_online_until_they_change(place: Place) -> None:
    """The horizon is 2 days. After 9 days the ttl ends: then the tables are read, and the answer says so."""
    found = []
    for days in (8, 9):
        at = moment(START + timedelta(days=days))
        online, _ = place.read("all@1", LatestRequest([{"user_id": 1}], with_status=True, at=at))
        assert online.statuses is not None
        found.append((online.from_tables.get("v"), online.statuses[0]["v"]))

    assert found == [
        (None, ServedValue(5, "present", day(2, 28))),
        ("the publication does not reach the time of the read", ServedValue(None, "expired", day(2, 28))),
    ]


def test_a_value_for_everyone_has_the_time_of_its_row(tmp_path: Path) -> None:
    """Present, although nobody is asked for; unknown without any row."""

    def declare_rates() -> None:
        rates = Source("rates", sql="SELECT 3 AS rate, TIMESTAMP '2026-02-28' AS ts", timestamp="ts")
        none = Source("none", sql="SELECT 3 AS rate, TIMESTAMP '2026-02-28' AS ts LIMIT 0", timestamp="ts")

        class Rates(FeatureGroup, entity=None, source=rates):
            rate = Feature(int)

        class Nothing(FeatureGroup, entity=None, source=none):
            no_rate = Feature(int, sql="rate")

        FeatureSet("all", version=1, features=[Rates, Nothing])

    place = Place(tmp_path).of(declare_rates)
    place.publish(NOW)
    online, tables = place.read("all@1", LatestRequest([{}], with_status=True, at=NOW))

    assert online.statuses == tables.statuses == [
        {"rate": ServedValue(3, "present", day(2, 28)), "no_rate": ServedValue(None, "unknown_entity", None)}
    ]  # fmt: skip
