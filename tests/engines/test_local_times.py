"""Local times: which instants they are, where clocks are set back or forward too."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from featdsl import DataError, DeclarationError, Entity, Feature, FeatureGroup, FeatureStore, RequestError, Source
from featdsl.definitions.time_reading import TimeReading
from featdsl.engines.duckdb import source_times
from tests.budgets import examples
from tests.conftest import Workspace
from tests.declared import applied

ZONES = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "America/St_Johns", "Asia/Kolkata",
         "Pacific/Chatham", "Europe/Dublin", "UTC"]  # fmt: skip
"""Half hours, a day that was left out, clocks that are set back in winter, none at all."""
AUTUMN = datetime(2025, 10, 26, 2, 30)  # noqa: DTZ001 - local: it comes twice in Berlin
SPRING = datetime(2025, 3, 30, 2, 30)  # noqa: DTZ001 - local: it never comes in Berlin


@cache
def changes(zone: str) -> list[datetime]:
    """Return the instants, to the second, from which on the clocks of a zone are other, from 1975 to 2035."""
    place, step = ZoneInfo(zone), timedelta(days=5)
    found, at = [], datetime(1975, 1, 1, tzinfo=UTC)
    while at.year < 2035:
        low, high = at, at + step
        if low.astimezone(place).utcoffset() != high.astimezone(place).utcoffset():
            while high - low > timedelta(seconds=1):
                middle = (low + (high - low) / 2).replace(microsecond=0)
                is_before = middle.astimezone(place).utcoffset() == at.astimezone(place).utcoffset()
                low, high = (middle, high) if is_before else (low, middle)
            found.append(high)
        at += step
    return found


def instants_of(local: datetime, zone: str) -> list[datetime]:
    """Return the instants, in order, at which the clocks of a zone show a time."""
    place = ZoneInfo(zone)
    both = {local.replace(tzinfo=place, fold=fold).astimezone(UTC) for fold in (0, 1)}
    return sorted(each for each in both if each.astimezone(place).replace(tzinfo=None) == local)


@st.composite
def zoned(draw: st.DrawFn) -> tuple[str, datetime]:
    """Draw a zone and a local time, mostly near a change of its clocks."""
    zone = draw(st.sampled_from(ZONES))
    span = timedelta(hours=draw(st.sampled_from([2, 40])))
    middle = draw(st.sampled_from(changes(zone) or [datetime(2000, 1, 1, tzinfo=UTC)]))
    local = middle.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    return zone, local + draw(st.timedeltas(-span, span) | st.sampled_from([timedelta(0), timedelta(hours=-1)]))


@settings(max_examples=examples(20, 300), deadline=None)
@given(asked=zoned(), dtype=st.sampled_from(["TIMESTAMP", "TIMESTAMP_NS", "TIMESTAMP_S", "TIMESTAMP_MS", "DATE"]))
def test_instants_are_those_of_plain_python(asked: tuple[str, datetime], dtype: str) -> None:
    """By `zoneinfo`, for each rule and each type of naive times."""
    zone, local = asked
    if dtype == "DATE":
        local = datetime(local.year, local.month, local.day)  # noqa: DTZ001 - local
    elif dtype in {"TIMESTAMP_S", "TIMESTAMP_MS"}:
        local = local.replace(microsecond=local.microsecond // 1000 * 1000 * (dtype == "TIMESTAMP_MS"))
    known = instants_of(local, zone)
    before = local.replace(tzinfo=ZoneInfo(zone), fold=0).astimezone(UTC)
    for rule in ("refuse", "earlier", "later"):
        sql = source_times.instant("x", dtype, TimeReading(zone=zone, ambiguous=rule), "TIMESTAMP")  # type: ignore[arg-type]
        query = f"SELECT {sql} FROM (SELECT CAST($1::TIMESTAMP AS {dtype}) AS x)"
        if rule == "refuse" and len(known) != 1:
            said = "comes twice" if known else "never comes"
            with pytest.raises(duckdb.Error, match=said):
                duckdb.execute(query, [local])
            continue
        expected = (known[-1] if rule == "later" else known[0]) if known else before
        assert duckdb.execute(query, [local]).fetchall() == [(expected.replace(tzinfo=None),)]


def store_of(root: Path, rows: pa.Table, **times: Any) -> FeatureStore:
    """Apply a value and a window over rows of `user_id`, `ts` and `v`."""
    root.mkdir(exist_ok=True)

    def declare() -> None:
        user = Entity("user", keys={"user_id": int})
        source = Source("rows", frame=rows, timestamp="ts", **times)

        class Rows(FeatureGroup, entity=user, source=source):
            v = Feature(int)
            shown = Feature("VARCHAR", sql="CAST(ts AS VARCHAR)")

        class Windows(FeatureGroup, entity=user, source=source):
            n = Feature(int, sql="count(*)", window="1 hour")

    return applied(root, declare)


def rows(*times: Any, dtype: Any = None) -> pa.Table:
    """Return rows of user 1 at local times, whose values count from 0."""
    return pa.table({"user_id": [1] * len(times), "ts": pa.array(times, dtype), "v": list(range(len(times)))})


def found(store: FeatureStore, features: list[str], times: Any, **how: Any) -> list[tuple[Any, ...]]:
    """Return the values of user 1 at times of a spine."""
    table = store.training_set(
        features, pa.table({"user_id": [1] * len(times), "t": times}), timestamp="t", **how
    ).arrow()
    return list(zip(*(table[name].to_pylist() for name in features), strict=True))


def utc(*time: int) -> datetime:
    """Return an instant."""
    return datetime(*time, tzinfo=UTC)  # type: ignore[arg-type, misc] - year, month, day, hour, minute


def test_local_times_are_instants_of_their_zone(tmp_path: Path) -> None:
    """Noon in Berlin is 10:00 in summer, 11:00 in winter; SQL of features sees the local time."""
    summer, winter = datetime(2025, 7, 1, 12), datetime(2025, 12, 1, 12)  # noqa: DTZ001 - local
    store = store_of(tmp_path, rows(summer, winter), timezone="Europe/Berlin")
    asked = [utc(2025, 7, 1, 9, 59), utc(2025, 7, 1, 10), utc(2025, 12, 1, 10, 59), utc(2025, 12, 1, 11)]

    assert [v for (v,) in found(store, ["v"], asked)] == [None, 0, 0, 1]
    assert found(store, ["n"], [utc(2025, 7, 1, 10, 30), utc(2025, 7, 1, 11, 1)]) == [(1,), (0,)]
    assert store.get_features(["v", "shown"], user_id=1) == {"v": 1, "shown": "2025-12-01 12:00:00"}


def test_a_date_is_midnight_in_its_zone(tmp_path: Path) -> None:
    """In New York that is 5:00 in winter."""
    store = store_of(tmp_path, rows(date(2025, 1, 2)), timezone="America/New_York")

    assert found(store, ["v"], [utc(2025, 1, 2, 4, 59), utc(2025, 1, 2, 5)]) == [(None,), (0,)]


@pytest.mark.parametrize(("rule", "hour"), [("earlier", 0), ("later", 1)])
def test_the_hour_that_comes_twice(tmp_path: Path, rule: str, hour: int) -> None:
    """Is the first one or the second one, as the source says."""
    store = store_of(tmp_path, rows(AUTUMN), timezone="Europe/Berlin", ambiguous=rule)

    times = [utc(2025, 10, 26, hour, 29), utc(2025, 10, 26, hour, 30)]
    assert found(store, ["v"], times) == [(None,), (0,)]


@pytest.mark.parametrize(("time", "said"), [(AUTUMN, "comes twice"), (SPRING, "never comes")])
def test_unless_it_is_said_such_times_are_a_data_error(tmp_path: Path, time: datetime, said: str) -> None:
    """It names the time and the zone; the fix that it shows works."""
    with pytest.raises(DataError) as refused:
        store_of(tmp_path, rows(time), timezone="Europe/Berlin")
    assert f"ts is {time}, which {said} in Europe/Berlin" in str(refused.value)
    assert 'ambiguous="earlier"' in str(refused.value)
    assert "Invalid Input" not in str(refused.value)

    assert store_of(tmp_path, rows(time), timezone="Europe/Berlin", ambiguous="earlier").get_features(
        ["v"], user_id=1
    ) == {"v": 0}


def test_rows_that_come_to_be_of_one_instant_tie(tmp_path: Path) -> None:
    """2:30 never comes: it counts on from before the gap, so it is 3:30, and later than 3:10."""
    times = [datetime(2025, 3, 30, 3, 10), SPRING, datetime(2025, 3, 30, 3, 30)]  # noqa: DTZ001 - local
    with pytest.raises(DataError, match="one row for each"):
        store_of(tmp_path / "tie", rows(*times), timezone="Europe/Berlin", ambiguous="earlier")

    store = store_of(tmp_path / "won", rows(*times), timezone="Europe/Berlin", ambiguous="earlier", tie_break="v")
    assert found(store, ["v"], [utc(2025, 3, 30, 1, 10), utc(2025, 3, 30, 1, 30)]) == [(0,), (2,)]

    known = rows(*times[:2]).append_column("known", pa.array([utc(2025, 1, 1)] * 2))
    store = store_of(tmp_path / "known", known, timezone="Europe/Berlin", ambiguous="earlier", available_at="known")
    assert found(store, ["v"], [utc(2025, 3, 30, 1, 10), utc(2025, 3, 30, 1, 30)]) == [(0,), (1,)]


def test_a_spine_may_have_local_times_too(tmp_path: Path) -> None:
    """Of the zone that the call names; else they are UTC."""
    noon = datetime(2025, 7, 1, 12)  # noqa: DTZ001 - local
    store = store_of(tmp_path, rows(noon), timezone="Europe/Berlin")
    asked = [noon - timedelta(minutes=1), noon]

    assert found(store, ["v"], asked, timezone="Europe/Berlin") == [(None,), (0,)]
    assert found(store, ["v"], [noon - timedelta(hours=2, minutes=1), noon - timedelta(hours=2)]) == [(None,), (0,)]
    with pytest.raises(RequestError, match="t is 2025-10-26 02:30:00, which comes twice in Europe/Berlin"):
        found(store, ["v"], [AUTUMN], timezone="Europe/Berlin")
    assert found(store, ["v"], [AUTUMN], timezone="Europe/Berlin", ambiguous="later") == [(0,)]
    with pytest.raises(RequestError, match='timezone="Europe/Berlin" is for times without a zone'):
        found(store, ["v"], [utc(2025, 1, 1)], timezone="Europe/Berlin")
    with pytest.raises(RequestError, match='no time zone "Europe/Berlni".\n  Did you mean "Europe/Berlin"'):
        found(store, ["v"], [AUTUMN], timezone="Europe/Berlni")
    with pytest.raises(RequestError, match="ambiguous='first' is no rule"):
        found(store, ["v"], [AUTUMN], timezone="Europe/Berlin", ambiguous="first")


def test_nanoseconds_of_local_times_are_kept(tmp_path: Path) -> None:
    """A row half a microsecond after noon does not count at noon."""
    noon = 1_751_371_200_000_000_000  # 2025-07-01 12:00
    store = store_of(tmp_path, rows(noon + 500, dtype=pa.timestamp("ns")), timezone="Europe/Berlin")
    asked = pa.array([noon + more - 7_200 * 10**9 for more in (0, 499, 500)], pa.timestamp("ns"))

    assert found(store, ["v"], asked) == [(None,), (None,), (0,)]


def test_an_unknown_zone_is_refused_with_near_names(tmp_path: Path) -> None:
    """Where it is declared."""
    with pytest.raises(DeclarationError, match='no time zone "Europe/Berln".\n.*\n  Did you mean "Europe/Berlin"'):
        store_of(tmp_path, rows(SPRING), timezone="Europe/Berln")


def test_a_zone_that_no_time_needs_is_refused(tmp_path: Path) -> None:
    """Instants have theirs."""
    with pytest.raises(DeclarationError, match="is for times without a zone, but ts is TIMESTAMP WITH TIME ZONE"):
        store_of(tmp_path, rows(utc(2025, 1, 1)), timezone="Europe/Berlin")


def test_options_that_need_others() -> None:
    """Say so."""
    with pytest.raises(
        DeclarationError, match="ambiguous= chooses between two readings of a local time, so it needs timezone="
    ):
        Source("rows", frame=rows(SPRING), timestamp="ts", ambiguous="later")
    with pytest.raises(DeclarationError, match="timezone= is the time zone of the timestamp, so it needs timestamp="):
        Source("rows", frame=rows(SPRING), timezone="Europe/Berlin")
    with pytest.raises(DeclarationError, match="ambiguous"):
        Source("rows", frame=rows(SPRING), timestamp="ts", timezone="Europe/Berlin", ambiguous="first")  # type: ignore[arg-type]


def test_when_rows_were_known_is_local_too(tmp_path: Path) -> None:
    """Instants beside it stay as they are."""
    frame = rows(utc(2025, 7, 1, 9)).append_column("known", pa.array([datetime(2025, 7, 1, 12)]))  # noqa: DTZ001 - local
    store = store_of(tmp_path, frame, timezone="Europe/Berlin", available_at="known")

    assert found(store, ["v"], [utc(2025, 7, 1, 9, 59), utc(2025, 7, 1, 10)]) == [(None,), (0,)]


def test_a_zone_is_part_of_the_definition(workspace: Workspace) -> None:
    """Plan shows another zone and another rule as changes of values, show tells them, refresh goes on with them."""
    code = """
from featdsl import Entity, Feature, FeatureGroup, Source

user = Entity("user", keys={"user_id": int})
days = Source("days", path="rows*.csv", timestamp="seen", timezone="Europe/Berlin")


class Rows(FeatureGroup, entity=user, source=days):
    v = Feature(int)
"""
    files = {"featproject.toml": '[project]\nname = "zones"\n', "rows.csv": "user_id,seen,v\n1,2025-07-01 12:00:00,7\n"}
    workspace.write({**files, "features/rows.py": code}).apply()
    query = "SELECT event_timestamp::VARCHAR FROM prod.rows ORDER BY ALL"
    assert workspace.published(query) == [("2025-07-01 10:00:00",)]
    assert "Europe/Berlin" in workspace.run("show", "days").stdout
    assert workspace.run("plan", "--check").returncode == 0

    workspace.write({"rows2.csv": "user_id,seen,v\n1,2025-12-01 12:00:00,8\n"})
    assert workspace.run("refresh").returncode == 0
    assert workspace.published(query) == [("2025-07-01 10:00:00",), ("2025-12-01 11:00:00",)]
    workspace.write({"rows3.csv": "user_id,seen,v\n1,2025-10-26 02:30:00,9\n"})
    refused = workspace.run("refresh")
    assert refused.returncode == 1
    assert "seen is 2025-10-26 02:30:00, which comes twice in Europe/Berlin" in refused.stderr

    workspace.write({"features/rows.py": code.replace('Berlin"', 'London", ambiguous="later"')})
    planned = workspace.run("plan").stdout

    assert "timezone: Europe/Berlin → Europe/London" in planned
    assert "ambiguous: refuse → later" in planned


@settings(max_examples=examples(3, 15), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_values_at_local_times_are_those_of_plain_python(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Rows of a file around a change of clocks, at instants and at local times."""
    zone, rule = data.draw(st.sampled_from(ZONES)), data.draw(st.sampled_from(["earlier", "later"]))
    middle = (
        data.draw(st.sampled_from(changes(zone) or [utc(2000, 1, 1)])).astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    )
    minutes = data.draw(st.lists(st.integers(-200, 200), min_size=1, max_size=6, unique=True))
    locals_ = [middle + timedelta(minutes=each) for each in minutes]

    def instant(local: datetime) -> datetime:
        known = instants_of(local, zone)
        if known:
            return known[-1] if rule == "later" else known[0]
        return local.replace(tzinfo=ZoneInfo(zone), fold=0).astimezone(UTC)

    times = [instant(local) for local in locals_]
    root = tmp_path_factory.mktemp("store")
    pq.write_table(rows(*locals_), root / "rows.parquet")  # type: ignore[no-untyped-call]
    store = store_of(root, rows(*locals_), timezone=zone, ambiguous=rule, tie_break="v")

    def value(now: datetime) -> tuple[int | None, int]:
        seen = [(time, v) for v, time in enumerate(times) if time <= now]
        return (max(seen)[1] if seen else None, sum(now - timedelta(hours=1) <= time < now for time in times))

    asked = times + [time + timedelta(minutes=data.draw(st.integers(-90, 90))) for time in times]
    assert found(store, ["v", "n"], asked) == [value(now) for now in asked]
    at_local = found(store, ["v", "n"], locals_, timezone=zone, ambiguous=rule)
    assert at_local == [value(time) for time in times]
