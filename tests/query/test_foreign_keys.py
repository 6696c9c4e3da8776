"""Features over those of another entity, by a declared key: the carrier as it was known, then what that carrier had."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featdsl import (
    DeclarationError,
    Entity,
    Feature,
    FeatureGroup,
    FeatureSet,
    FeatureStore,
    Request,
    RequestError,
    Source,
)
from tests.conftest import Workspace
from tests.declared import applied

START = datetime(2026, 1, 1)  # noqa: DTZ001 - naive is UTC


def at(day: int | None) -> datetime | None:
    """Return the midnight so many days after the start."""
    return None if day is None else START + timedelta(days=day)


@dataclass(frozen=True)
class Row:
    """A value of a key from one day on, known from another; a NULL key or time makes it nobody's."""

    key: int | str | None
    day: int | None
    known: int | None
    value: Any


def frame(rows: Sequence[Row], key: pa.DataType, value: pa.DataType) -> pa.Table:
    """Return rows as Arrow."""
    times = pa.timestamp("us")
    return pa.table({
        "key": pa.array([row.key for row in rows], key),
        "at": pa.array([at(row.day) for row in rows], times),
        "known": pa.array([at(row.known) for row in rows], times),
        "value": pa.array([row.value for row in rows], value),
    })  # fmt: skip


def known(rows: Sequence[Row], key: object, day: int, ttl: int | None) -> Any:
    """Return the value that a key had, by looking at every row; a NULL key has none."""
    found = [
        row for row in rows
        if None not in (row.key, row.day, row.known) and row.key == key and row.day <= day and row.known <= day
    ]  # fmt: skip
    best = max(found, key=lambda row: (row.day, row.known), default=None)
    return None if best is None or (ttl is not None and best.day <= day - ttl) else best.value


@dataclass(frozen=True)
class World:
    """Flights with carriers, carriers with alliances and figures, alliances with figures; and how long they hold."""

    carriers: Sequence[Row]
    alliances: Sequence[Row]
    late: Sequence[Row]
    loyal: Sequence[Row]
    ttls: tuple[int | None, int | None]

    def risk(self, flight: int, day: int) -> tuple[Any, Any, Any]:
        """Return the carrier's figure, the alliance's, and what is made of both, at a time."""
        carrier = known(self.carriers, flight, day, self.ttls[0])
        late = known(self.late, carrier, day, self.ttls[1])
        loyal = known(self.loyal, known(self.alliances, carrier, day, None), day, None)
        return late, loyal, (late or 0) + 10 * (loyal or 0)

    def store(self, root: Path) -> FeatureStore:
        """Apply it, and return the store."""
        return applied(root, self.declare)

    def declare(self) -> None:
        """Declare flights, whose features come from carriers and, through those, from alliances."""
        flight, carrier = Entity("flight", keys={"flight": int}), Entity("carrier", keys={"carrier": str})
        alliance = Entity("alliance", keys={"alliance": "INTEGER"})

        def source(name: str, rows: Sequence[Row], key: pa.DataType, value: pa.DataType) -> Source:
            return Source(name, frame=frame(rows, key, value), timestamp="at", available_at="known", tie_break="value")

        def ttl(days: int | None) -> str | None:
            return f"{days} days" if days else None

        class Flights(
            FeatureGroup, entity=flight, source=source("flights", self.carriers, pa.int64(), pa.string()),
            keys={"flight": "key"}, ttl=ttl(self.ttls[0]),
        ):  # fmt: skip
            of = Feature(str, sql="value")

        class Carriers(
            FeatureGroup, entity=carrier, source=source("carriers", self.late, pa.string(), pa.int64()),
            keys={"carrier": "key"}, ttl=ttl(self.ttls[1]),
        ):  # fmt: skip
            late = Feature(int, sql="value")

        class Members(
            FeatureGroup, entity=carrier, source=source("members", self.alliances, pa.string(), pa.int64()),
            keys={"carrier": "key"},
        ):  # fmt: skip
            alliance_of = Feature("BIGINT", sql="value")

        class Alliances(
            FeatureGroup, entity=alliance, source=source("alliances", self.loyal, pa.int64(), pa.int64()),
            keys={"alliance": "key"},
        ):  # fmt: skip
            loyal = Feature(int, sql="value")

        class Belonging(FeatureGroup, entity=carrier, inputs=[
            Members.alliance_of, Alliances.loyal.alias("theirs", keys={"alliance": Members.alliance_of})
        ], materialize=True):  # fmt: skip
            loyalty = Feature(int, sql="theirs")

        class Risk(FeatureGroup, entity=flight, inputs=[
            Carriers.late.alias("carrier_late", keys={"carrier": Flights.of}),
            Belonging.loyalty.alias("carrier_loyalty", keys={"carrier": Flights.of}),
        ], materialize=True):  # fmt: skip
            late_there = Feature(int, sql="carrier_late")
            loyal_there = Feature(int, sql="carrier_loyalty")
            risk = Feature(int, sql="coalesce(carrier_late, 0) + 10 * coalesce(carrier_loyalty, 0)")


DAYS = st.one_of(st.none(), st.integers(0, 9))
CARRIERS = ["a", "b", None]


def rows(keys: Sequence[int | str | None], values: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Row]]:
    """Return rows of these keys, each at another time: late ones, corrections, gaps, NULLs."""
    drawn = st.tuples(st.sampled_from(keys), DAYS, st.integers(0, 4), values)
    made = drawn.map(lambda it: Row(it[0], it[1], None if it[1] is None else it[1] + it[2], it[3]))
    return st.lists(made, max_size=8, unique_by=lambda row: (row.key, row.day, row.known))


NUMBERS = st.one_of(st.none(), st.integers(1, 9))
WORLDS = st.builds(
    World,
    carriers=rows([1, 2, 3, None], st.sampled_from([*CARRIERS, "z"])),
    alliances=rows(CARRIERS, st.sampled_from([1, 2, None, 2**40])),
    late=rows(CARRIERS, NUMBERS),
    loyal=rows([1, 2, None], NUMBERS),
    ttls=st.tuples(st.sampled_from([None, 2]), st.sampled_from([None, 3])),
)


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(WORLDS)
def test_values_are_those_of_loops_over_all_rows(tmp_path_factory: pytest.TempPathFactory, world: World) -> None:
    """At every time, in a training set; and the stored table, looked up as of the same times, has the same."""
    store = world.store(tmp_path_factory.mktemp("world"))
    asked = [(flight, day) for flight in (1, 2, 3, 4, None) for day in range(-1, 16)]
    spine = pa.table({
        "flight": pa.array([flight for flight, _ in asked], pa.int64()),
        "ts": pa.array([at(day) for _, day in asked], pa.timestamp("us")),
    })  # fmt: skip

    found = store.training_set(["late_there", "loyal_there", "risk"], spine, timestamp="ts").arrow().to_pylist()

    expected = [world.risk(flight, day) if flight else (None, None, 0) for flight, day in asked]
    assert [(row["late_there"], row["loyal_there"], row["risk"]) for row in found] == expected
    stored = store.get_feature("risk").order("event_timestamp").fetchall()
    for (flight, day), (_, _, risk) in zip(asked, expected, strict=True):
        before = [value for key, time, value in stored if key == flight and time <= at(day)]
        assert (before or [0])[-1] == risk


def world(**other: Any) -> World:
    """Return a world in which flight 1 changes from carrier a to b on day 4."""
    parts: dict[str, Any] = {
        "carriers": [Row(1, 0, 0, "a"), Row(1, 4, 4, "b"), Row(2, 1, 1, None)],
        "alliances": [Row("a", 0, 0, 1), Row("b", 0, 0, 2)],
        "late": [Row("a", 1, 1, 5), Row("a", 6, 6, 6), Row("b", 2, 2, 7), Row("b", 8, 8, 8)],
        "loyal": [Row(1, 0, 0, 1), Row(2, 5, 5, 2)],
        "ttls": (None, None),
    }
    return World(**{**parts, **other})


def test_a_materialized_table_has_a_row_for_each_change_of_what_is_looked_up(tmp_path: Path) -> None:
    """Those of a carrier only for the flights that it has then: flight 1 does not see a's change on day 6."""
    stored = world().store(tmp_path).get_feature("risk").order("flight, event_timestamp").fetchall()

    assert [(flight, (time - START).days, risk) for flight, time, risk in stored] == [
        (1, 0, 10), (1, 1, 15), (1, 4, 7), (1, 5, 27), (1, 8, 28), (2, 1, 0),
    ]  # fmt: skip


def test_serving_looks_up_as_training_does(tmp_path: Path) -> None:
    """For known and unknown flights, and those without a carrier."""
    store = world().store(tmp_path)

    assert store.get_features(["late_there", "risk"], rows=[{"flight": 1}, {"flight": 2}, {"flight": 9}]) == [
        {"late_there": 8, "risk": 28}, {"late_there": None, "risk": 0}, {"late_there": None, "risk": 0},
    ]  # fmt: skip
    assert store.check_parity().differences == ()


def test_no_join_is_written_twice(tmp_path: Path) -> None:
    """One lookup for each table and role, however many features read it."""
    sql = world().store(tmp_path).training_set(
        ["late_there", "risk", "flights.of", "loyal_there"], [{"flight": 1, "ts": at(5)}], timestamp="ts"
    ).sql  # fmt: skip

    assert sql.count(" JOIN ") == 4  # flights, and by its carrier carriers, members; and by that one alliances


def test_an_alias_gives_the_whole_of_it_another_role(tmp_path: Path) -> None:
    """The flight before is looked up with its own carrier; in a set, and by itself."""
    aliases: list[Any] = []

    def declare() -> None:
        world().declare()
        flight = Entity("leg", keys={"flight": int})
        legs = Source("legs", frame=pa.table({"flight": [2], "n": [1]}))

        class Legs(FeatureGroup, entity=flight, source=legs):
            n = Feature(int)

        class Again(FeatureGroup, entity=flight, inputs=["risk.risk", Legs.n]):
            again = Feature(int, sql="risk + n")

        aliases.append(Again.again.alias("before_it", keys={"flight": "before"}))
        FeatureSet("legs", version=1, features=[Again.again, *aliases])

    store = applied(tmp_path, declare)
    spine = [{"flight": 2, "before": 1, "ts": at(5)}, {"flight": 2, "before": 2, "ts": at(5)}]

    for asked in ("legs@1", ["again", *aliases]):
        found = store.training_set(asked, spine, timestamp="ts").arrow()
        assert found.select(["again", "before_it"]).to_pylist() == [
            {"again": 1, "before_it": None}, {"again": 1, "before_it": 1},
        ]  # fmt: skip
    assert store.training_set(aliases, [{"before": 2, "ts": at(5)}], timestamp="ts").arrow()[
        "before_it"
    ].to_pylist() == [1]


# Roles by the group's own keys


def routes(*, also: Callable[[Any, Any, Any], object] = lambda *_: None) -> None:
    """Declare routes between places, with what the weather is at both ends."""
    place = Entity("place", keys={"place": str})
    route = Entity("route", keys={"origin": str, "dest": str})
    weather = pa.table({"place": ["x", "y", "y"], "at": [at(0), at(1), at(3)], "temp": [1, 10, 20]})
    legs = pa.table({"origin": ["x", "y", "x"], "dest": ["y", "x", "q"], "km": [5, 6, 7]})

    class Weather(FeatureGroup, entity=place, source=Source("weather", frame=weather, timestamp="at")):
        temp = Feature(int)

    class Routes(FeatureGroup, entity=route, source=Source("legs", frame=legs)):
        km = Feature(int)

    class Ends(FeatureGroup, entity=route, inputs=[
        Routes.km,
        Weather.temp.alias("here", keys={"place": "origin"}),
        Weather.temp.alias("there", keys={"place": "dest"}),
        Routes.km.alias("back", keys={"origin": "dest", "dest": "origin"}),
    ]):  # fmt: skip
        warmer = Feature(int, sql="there - here")
        both = Feature(int, sql="km + back")

    also(route, Weather, Routes)


def test_an_input_is_looked_up_by_keys_of_the_groups_own_entity(tmp_path: Path) -> None:
    """By one for each end; and the same entity the other way round."""
    store = applied(tmp_path, routes)
    asked = [{"origin": one, "dest": other, "ts": at(day)} for one, other, day in [
        ("x", "y", 0), ("x", "y", 2), ("x", "y", 3), ("y", "x", 3), ("x", "q", 3),
    ]]  # fmt: skip

    found = store.training_set(["warmer", "both"], asked, timestamp="ts").arrow().to_pylist()

    assert [(row["warmer"], row["both"]) for row in found] == [
        (None, 11), (9, 11), (19, 11), (-19, 11), (None, None),
    ]  # fmt: skip
    stored = store.get_feature("warmer").order("event_timestamp, origin, dest").fetchall()
    assert [(origin, dest, (time - START).days, value) for dest, origin, time, value in stored] == [
        ("q", "x", 0, None), ("x", "q", 0, None), ("x", "y", 0, None), ("y", "x", 0, None),
        ("x", "y", 1, 9), ("y", "x", 1, -9), ("x", "y", 3, 19), ("y", "x", 3, -19),
    ]  # fmt: skip


# Keys of other kinds


def test_a_key_that_holds_at_all_times_sees_every_change(tmp_path: Path) -> None:
    """Also those before the first time that the group has of its own; to the nanosecond, where one side has them."""
    noon = pa.array([1_767_268_800_000_000_001], pa.timestamp("ns"))

    def declare() -> None:
        shop, owner = Entity("shop", keys={"shop": int}), Entity("owner", keys={"owner": str})
        shops = pa.table({"shop": [1, 2, 3], "owner": ["a", "b", None]})
        owners = pa.table({"owner": ["a", "b", "c"], "at": [at(-3), at(1), at(2)], "n": [1, 2, 3]})

        class Shops(FeatureGroup, entity=shop, source=Source("shops", frame=shops)):
            of = Feature(str, sql="owner")

        class Owners(FeatureGroup, entity=owner, source=Source("owners", frame=owners, timestamp="at")):
            n = Feature(int)

        rates = pa.table({"at": noon, "rate": [10]})

        class Rates(FeatureGroup, entity=None, source=Source("rates", frame=rates, timestamp="at"), ttl="1 day"):
            rate = Feature(int)

        class Both(FeatureGroup, entity=shop, inputs=[Rates.rate, Owners.n.alias("theirs", keys={"owner": Shops.of})]):
            both = Feature(int, sql="coalesce(rate, 0) + coalesce(theirs, 0)")

    stored = applied(tmp_path, declare).get_feature("both").order("shop, event_timestamp").to_arrow_table()

    first = noon.cast(pa.int64())[0].as_py()
    days = [(time - first) / (86_400 * 10**9) for time in stored["event_timestamp"].cast(pa.int64()).to_pylist()]
    assert [*zip(stored["shop"].to_pylist(), [round(day, 3) for day in days], stored["both"].to_pylist(), strict=True)] == [
        (1, -3.5, 1), (1, 0.0, 11), (1, 1.0, 1), (2, 0.0, 10), (2, 0.5, 12), (2, 1.0, 2), (3, 0.0, 10), (3, 1.0, 0),
    ]  # fmt: skip


def test_a_value_that_is_out_of_the_keys_range_is_nobodys(tmp_path: Path) -> None:
    """A BIGINT may give an INTEGER key; what does not fit in has no alliance."""
    store = world(alliances=[Row("a", 0, 0, 2**40), Row("b", 0, 0, 2)]).store(tmp_path)

    found = store.training_set(
        ["loyal_there"], [{"flight": 1, "ts": at(3)}, {"flight": 1, "ts": at(6)}], timestamp="ts"
    )
    assert found.arrow()["loyal_there"].to_pylist() == [None, 2]


def test_windows_of_another_entity_are_aggregated_at_the_time_asked_for(tmp_path: Path) -> None:
    """Those of the carrier of then, at every time, on a grid too, beside what the flight has itself; and in the table."""
    changes = [Row(1, 0, 0, "a"), Row(1, 6, 6, "b"), Row(2, 2, 2, "b")]
    delays = [("a", 1, 10), ("a", 3, 20), ("b", 2, 5), ("b", 5, 7), ("b", 6, 9)]

    def declare() -> None:
        flight, carrier = Entity("flight", keys={"flight": int}), Entity("carrier", keys={"carrier": str})
        flights = Source("flights", frame=frame(changes, pa.int64(), pa.string()), timestamp="at")
        late = pa.table({
            "carrier": [key for key, _, _ in delays], "at": [at(day) for _, day, _ in delays],
            "late": [value for _, _, value in delays],
        })  # fmt: skip

        class Flights(FeatureGroup, entity=flight, source=flights, keys={"flight": "key"}):
            of = Feature(str, sql="value")

        class Carriers(FeatureGroup, entity=carrier, source=Source("delays", frame=late, timestamp="at")):
            late = Feature(int, sql="sum(late)", windows=["2 days", "4 days"])
            often = Feature(int, sql="count(*)", window="4 days", every="2 days")

        class Risk(FeatureGroup, entity=flight, inputs=[
            Flights.of,
            Carriers.late["2 days"].alias("short", keys={"carrier": Flights.of}),
            Carriers.late["4 days"].alias("long", keys={"carrier": Flights.of}),
            Carriers.often.alias("times", keys={"carrier": Flights.of}),
            Request(limit_=int),
        ], materialize=True):  # fmt: skip
            risk = Feature(int, sql="coalesce(short, 0) * 1000 + coalesce(long, 0)")
            busy = Feature(int, sql="times")
            over = Feature(bool, sql="long > limit_")

    store = applied(tmp_path, declare)
    asked = [(flight, day) for flight in (1, 2, 3) for day in range(10)]
    spine = [{"flight": flight, "ts": at(day), "limit_": 12} for flight, day in asked]

    found = store.training_set(["risk", "over", "busy"], spine, timestamp="ts").arrow().to_pylist()

    def total(flight: int, day: int, days: int) -> int | None:
        of = known(changes, flight, day, None)
        within = [value for key, when, value in delays if key == of and day - days <= when < day]
        return sum(within) if within else None

    for row, (flight, day) in zip(found, asked, strict=True):
        short, long = total(flight, day, 2), total(flight, day, 4)
        assert row["risk"] == (short or 0) * 1000 + (long or 0)
        assert row["over"] == (None if long is None else long > 12)
    assert store.get_features(["over", "risk"], flight=1, request={"limit_": 1}) == {"over": None, "risk": 0}
    assert {(flight, (time - START).days) for flight, time, _ in store.get_feature("risk").fetchall()} >= {
        (1, 0), (1, 1), (1, 3), (1, 6), (2, 2), (2, 5), (2, 6),
    }  # fmt: skip
    assert store.check_parity().differences == ()


def test_a_key_may_come_from_a_request(tmp_path: Path) -> None:
    """A merchant that only the call knows, and what is stored of it."""

    def declare() -> None:
        merchant = Entity("merchant", keys={"merchant": str})
        user = Entity("user", keys={"user_id": int})
        rates = Source("rates", frame=pa.table({"merchant": ["acme"], "rate": [0.5]}))

        class Merchants(FeatureGroup, entity=merchant, source=rates):
            rate = Feature(float)

        class Payments(FeatureGroup, entity=user, inputs=[Request(payee=str)]):
            payee_key = Feature(str, sql="lower(payee)")

        class Risk(FeatureGroup, entity=user, inputs=[
            Merchants.rate.alias("payee_rate", keys={"merchant": Payments.payee_key})
        ]):  # fmt: skip
            risk = Feature(float, sql="payee_rate * 2")

    store = applied(tmp_path, declare)

    assert store.get_features(["risk"], user_id=1, request={"payee": "ACME"}) == {"risk": 1.0}
    assert store.training_set(["risk"], [{"user_id": 1, "payee": "Acme"}, {"user_id": 1, "payee": "x"}]).arrow()[
        "risk"
    ].to_pylist() == [1.0, None]


def test_a_value_for_everyone_may_give_a_key(tmp_path: Path) -> None:
    """The one rate that holds, by its name; the table tells of each change of the name and of the rate."""

    def declare() -> None:
        entity = Entity("fund", keys={"fund": str})
        funds = pa.table({"fund": ["a", "b", "b"], "at": [at(0), at(1), at(5)], "rate": [1, 2, 3]})
        leading = pa.table({"at": [at(0), at(2)], "name": ["a", "b"]})

        class Funds(FeatureGroup, entity=entity, source=Source("funds", frame=funds, timestamp="at")):
            rate = Feature(int)

        class Leading(FeatureGroup, entity=None, source=Source("leading", frame=leading, timestamp="at")):
            name_ = Feature(str, sql='"name"')

        class Best(FeatureGroup, entity=None, inputs=[Funds.rate.alias("theirs", keys={"fund": Leading.name_})]):
            best = Feature(int, sql="theirs")

    store = applied(tmp_path, declare)

    stored = store.get_feature("best").order("event_timestamp").fetchall()
    assert [((time - START).days, value) for time, value in stored] == [(0, 1), (2, 2), (5, 3)]
    found = store.training_set(["best"], [{"ts": at(day)} for day in (-1, 1, 2, 5)], timestamp="ts")
    assert found.arrow()["best"].to_pylist() == [None, 1, 2, 3]


# Plans


AIR = {
    "featproject.toml": '[project]\nname = "air"\n',
    "features/__init__.py": "",
    "features/air.py": """
from featdsl import Entity, Feature, FeatureGroup, FeatureSet, Source

flight = Entity("flight", keys={"flight": int})
carrier = Entity("carrier", keys={"carrier": str})
flights = Source("flights", frame=[{"flight": 1, "code": "a", "owner": "b"}])
delays = Source("delays", frame=[{"carrier": "a", "share": 0.5}, {"carrier": "b", "share": 0.25}])


class Flights(FeatureGroup, entity=flight, source=flights):
    of = Feature(str, sql="code")
    owner = Feature(str)


class Delays(FeatureGroup, entity=carrier, source=delays):
    share = Feature(float)


class Risk(FeatureGroup, entity=flight, inputs=[Delays.share.alias("late", keys={"carrier": Flights.of})]):
    risk = Feature(float, sql="late * 2")


risky = FeatureSet("risky", version=1, features=[Risk.risk])
""",
}


@pytest.fixture
def air(workspace: Workspace) -> Workspace:
    """A project with one such group, applied."""
    workspace.write(AIR).apply()
    return workspace


def changes(workspace: Workspace) -> dict[str, tuple[str, list[dict[str, str]]]]:
    """Return the planned change of each feature, with its reasons."""
    plan = json.loads(workspace.run("plan", "--format", "json").stdout)
    found = [each["change"] for each in plan["changes"]]
    return {each["address"]: (each["action"], each["reasons"]) for each in found}


def test_a_change_of_the_key_feature_touches_what_is_looked_up_by_it(
    air: Workspace, edit: Callable[[str, str, str], None]
) -> None:
    """As an upstream change; a set version keeps the old key too."""
    edit("features/air.py", 'sql="code"', 'sql="owner"')

    assert changes(air)["risk.risk"] == (
        "recompute", [{"code": "upstream", "change_class": "upstream", "before": "", "after": "feature flights.of"}]
    )  # fmt: skip
    air.apply()
    assert air.store.get_features(["risk"], flight=1) == {"risk": 0.5}
    assert air.store.get_features("risky@1", flight=1) == {"risk": 1.0}
    assert air.run("plan", "--check").returncode == 0


def test_another_key_feature_is_a_change_of_the_input(air: Workspace, edit: Callable[[str, str, str], None]) -> None:
    """Told with both."""
    edit("features/air.py", '{"carrier": Flights.of}', '{"carrier": Flights.owner}')

    assert changes(air) == {
        "risk.risk": ("change", [{
            "code": "input", "change_class": "definition", "before": "delays.share by carrier = flights.of",
            "after": "delays.share by carrier = flights.owner",
        }])
    }  # fmt: skip
    air.apply()
    assert air.store.get_features(["risk"], flight=1) == {"risk": 0.5}


def test_lineage_includes_the_key_feature(air: Workspace) -> None:
    """And the columns that it is made of."""
    described = air.store.describe("risk.risk")

    assert described.made_of == (
        "feature delays.share (air)", "feature flights.of (air)", "source delays (air)", "source flights (air)",
    )  # fmt: skip
    assert described.definition["columns"] == ["delays.share", "flights.code"]
    assert air.store.describe("flights.of").used_by == ("feature risk.risk (air)", "set risky@1 (air)")


# Declarations that do not fit


def declare_wrong(alias: Callable[[Any, Any, Any], Any]) -> Callable[[], None]:
    """Return what declares a group of routes over one wrong input."""

    def more(route: Any, weather: Any, legs: Any) -> None:
        class Wrong(FeatureGroup, entity=route, inputs=[legs.km.alias("here_km"), alias(weather, legs, route)]):
            wrong = Feature(int, sql="wrong_one + here_km")

    return lambda: routes(also=more)


def _elsewhere(weather: Any, _legs: Any, _route: Any) -> Any:
    class Stations(FeatureGroup, entity=weather.declaration.entity, inputs=[weather.temp]):
        name_ = Feature(str, sql="CAST(temp AS VARCHAR)")

    return weather.temp.alias("wrong_one", keys={"place": Stations.name_})


@pytest.mark.parametrize(
    ("alias", "said"),
    [
        (lambda weather, *_: weather.temp.alias("wrong_one"),
         "group wrong reads weather.temp, but lacks its key place."),
        (lambda weather, *_: weather.temp.alias("wrong_one", keys={"place": "orgin"}),
         "group wrong looks up weather.temp by 'orgin', which is not a key of the group's entity."),
        (lambda weather, *_: weather.temp.alias("wrong_one", keys={"plce": "origin"}),
         "group wrong reads weather.temp by the key 'plce', which its entity place does not have."),
        (lambda weather, legs, _: weather.temp.alias("wrong_one", keys={"place": legs.km}),
         "group wrong takes the key place, which is VARCHAR, from routes.km, which is BIGINT."),
        (_elsewhere,
         "group wrong takes the key place from stations.name_, but lacks the key place of that feature."),
        (lambda weather, *_: weather.temp.alias("wrong_one", keys={"place": Feature(str)}),
         "Feature (unnamed) is used before it belongs to a group."),
        (lambda weather, *_: weather.temp.alias("wrong_one", keys={"place": 5}),
         "FeatureAlias 'wrong_one': keys.place: 5 is neither a key column nor a feature whose value is the key"),
    ],
)  # fmt: skip
def test_an_input_that_does_not_fit_is_refused(
    tmp_path: Path, alias: Callable[[Any, Any, Any], Any], said: str
) -> None:
    """With its reason, file and line."""
    with pytest.raises(DeclarationError) as refused:
        applied(tmp_path, declare_wrong(alias))
    assert said in [problem.what for problem in refused.value.problems]
    assert all(
        problem.where and problem.where.file.endswith("test_foreign_keys.py") for problem in refused.value.problems
    )


def test_a_role_by_a_feature_is_for_groups_alone(tmp_path: Path) -> None:
    """A set, and a call, read roles from columns of the spine."""

    def in_a_set(_route: Any, weather: Any, legs: Any) -> None:
        FeatureSet("wrong", version=1, features=[weather.temp.alias("t", keys={"place": legs.km})])

    with pytest.raises(DeclarationError, match=r"the alias of weather\.temp looks up 'place' by a feature; a set"):
        applied(tmp_path, lambda: routes(also=in_a_set))

    aliases = []

    def alone(_route: Any, weather: Any, legs: Any) -> None:
        aliases.append(weather.temp.alias("t", keys={"place": legs.km}))

    store = applied(tmp_path, lambda: routes(also=alone))
    with pytest.raises(RequestError, match=r"The alias of weather\.temp gives the key place by a feature"):
        store.training_set(aliases, [{"place": "x", "ts": at(1)}], timestamp="ts")


def test_a_circle_by_way_of_a_key_is_refused(workspace: Workspace) -> None:
    """The group of the key feature comes first, as that of an input does."""
    workspace.write({**AIR, "features/air.py": AIR["features/air.py"].replace("late * 2", "late").replace(
        "inputs=[Delays.share", 'inputs=["back.again", Delays.share'
    ) + '''

class Back(FeatureGroup, entity=flight, inputs=[Delays.share.alias("x", keys={"carrier": Flights.of}), Risk.risk]):
    again = Feature(str, sql="CAST(risk + x AS VARCHAR)")
'''})  # fmt: skip

    done = workspace.run("plan")

    assert "These groups depend on each other: back → risk → back." in done.stderr, done.stderr


# Which rows a table has

WEATHER = """
from featdsl import Entity, Feature, FeatureGroup, Source

flight = Entity("flight", keys={"flight": int})
airport = Entity("airport", keys={"airport": str})


class Flights(FeatureGroup, entity=flight, source=Source("flights", path="data/flights/*.parquet", timestamp="ts")):
    origin = Feature(str)


class Weather(FeatureGroup, entity=airport, source=Source("weather", path="data/weather/*.parquet", timestamp="ts")):
    wind = Feature(int)


class Risk(FeatureGroup, entity=flight, inputs=[
    Flights.origin, Weather.wind.alias("there", keys={"airport": Flights.origin})
]):
    windy = Feature(int, sql="there")
"""
MATERIALIZED = WEATHER.replace(
    """Flights.origin})
]):""",
    """Flights.origin})
], materialize=True):""",
)


@pytest.fixture
def flying(workspace: Workspace) -> Workspace:
    """Forty flights on ten days from two airports, and their weather every hour."""
    workspace.write({
        "featproject.toml": '[project]\nname = "flying"\n',
        "features/__init__.py": "",
        "features/air.py": WEATHER,
    })  # fmt: skip
    fly(workspace, 0)
    workspace.parquet(
        "data/weather/0.parquet",
        "SELECT ['JFK', 'LGA'][1 + i % 2] AS airport, TIMESTAMP '2026-01-01' + to_hours((i // 2)::INT) AS ts, i AS wind FROM range(480) t(i)",
    )
    return workspace


def fly(workspace: Workspace, since: int) -> None:
    """Write a file of forty flights."""
    workspace.parquet(
        f"data/flights/{since}.parquet",
        f"SELECT i AS flight, TIMESTAMP '2026-01-01' + to_hours((i * 6)::INT) AS ts, ['JFK', 'LGA'][1 + i % 2] AS origin FROM range({since}, {since + 40}) t(i)",
    )


WINDY = "SELECT flight, hour(event_timestamp) + 24 * (day(event_timestamp) - 1), windy FROM prod.risk ORDER BY ALL"


def windy(number: int) -> list[tuple[object, ...]]:
    """Return for so many flights when they leave, in hours, and the wind at their airport in that hour."""
    return [(i, 6 * i, min(6 * i, 239) * 2 + i % 2) for i in range(number)]


def test_a_derived_group_has_rows_at_the_changes_of_its_own_entity(flying: Workspace) -> None:
    """As many as its flights have; the value at any other time is that of then, whether it is asked or served."""
    flying.apply()
    assert flying.published(WINDY) == windy(40)
    spine = "SELECT 2 AS flight, TIMESTAMP '2026-01-09 05:30:00' AS ts"
    assert flying.store.training_set(["windy"], spine, timestamp="ts").df()["windy"].tolist() == [2 * 197]
    assert flying.store.get_features(["windy"], flight=3) == {"windy": 479}

    fly(flying, 40)
    assert "risk     extended" in flying.run("refresh", COLUMNS="120").stdout
    assert flying.published(WINDY) == windy(80)
    flying.parquet(
        "data/weather/1.parquet", "SELECT 'JFK' AS airport, TIMESTAMP '2026-01-11 00:00:00' AS ts, -1 AS wind"
    )
    assert "risk     extended" in flying.run("refresh", COLUMNS="120").stdout
    later = [(i, at, -1 if i >= 40 and i % 2 == 0 else value) for i, at, value in windy(80)]
    assert flying.published(WINDY) == later


def test_a_materialized_group_has_rows_at_every_change_and_the_plan_says_how_many(flying: Workspace) -> None:
    """A table that was materialized, or was made before there was a choice, goes by a plan that says so."""
    flying.apply()
    (flying.root / "features" / "air.py").write_text(MATERIALIZED, encoding="utf-8")
    planned = flying.run("plan", COLUMNS="200").stdout
    assert "rows at" in planned
    assert "about 9,640 rows, based on its inputs" in planned
    flying.apply()
    ((rows,),) = flying.published("SELECT count(*) FROM prod.risk")
    assert rows == sum(240 - 6 * i for i in range(40))
    assert set(windy(40)) <= set(flying.published(WINDY))

    (flying.root / "features" / "air.py").write_text(WEATHER, encoding="utf-8")
    planned = flying.run("plan", COLUMNS="200").stdout
    assert "every change" in planned
    assert "own changes" in planned
    flying.apply()
    assert flying.published(WINDY) == windy(40)
    assert flying.run("plan", "--check").returncode == 0


def test_a_group_over_a_source_is_always_stored() -> None:
    """There is nothing to choose."""
    with pytest.raises(DeclarationError, match="a group over a source is always stored"):

        class Wrong(
            FeatureGroup, entity=Entity("u", keys={"u": int}), source=Source("s", path="a.csv"), materialize=True
        ):
            v = Feature(int)
