"""The example project at the top of the repository, held against what pandas makes of the same files.

Nothing here that computes an expected value uses featdsl or DuckDB.
"""

from __future__ import annotations

import math
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.conftest import Workspace

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]

SPINE = """
    SELECT row_number() OVER (ORDER BY time_hour, minute, carrier, flight, origin) AS number,
           tailnum, carrier, origin, dest, time_hour + to_minutes(minute) - INTERVAL 1 HOUR AS asked_at,
           dep_delay > 15 AS late
    FROM 'data/flights.parquet'
    WHERE dep_delay IS NOT NULL
    ORDER BY number
"""

Row = Mapping[str, Any]


def copy(folder: Path) -> Workspace:
    """Return a copy of the example, without a store."""
    for name in ("features", "data", "examples"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "featproject.toml", folder)
    return Workspace(folder)


@pytest.fixture(scope="module")
def flights(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The example, applied once for all tests that only read."""
    workspace = copy(tmp_path_factory.mktemp("flights"))
    workspace.apply()
    return workspace


@pytest.fixture(scope="module")
def training(flights: Workspace) -> pd.DataFrame:
    """The training set of every departure."""
    return training_set(flights, "departure_delay@1", SPINE)


def training_set(flights: Workspace, features: str, spine: str) -> pd.DataFrame:
    """Return a training set whose spine names files relative to the example's folder."""
    text = spine.replace("'data/", f"'{flights.root}/data/")
    return flights.store.training_set(features, text, timestamp="asked_at").df()


# What pandas makes of it


def read(name: str) -> pd.DataFrame:
    """Return a table of the example's data."""
    return pd.read_parquet(ROOT / "data" / f"{name}.parquet")


def departed() -> pd.DataFrame:
    """Return the flights that left, with the instant at which each did."""
    rows = read("flights").dropna(subset=["dep_delay"])
    return rows.assign(departed_at=rows["time_hour"] + pd.to_timedelta(rows["minute"] + rows["dep_delay"], unit="min"))


def arrived() -> pd.DataFrame:
    """Return the flights that arrived: the first time after departure that the destination's clock shows arr_time."""
    rows = departed().dropna(subset=["arr_delay"])
    zones = read("airports").set_index("faa")["tzone"]
    zone = rows["dest"].map(zones).fillna("America/Puerto_Rico")
    return pd.concat([_landed(leg, name) for name, leg in rows.groupby(zone)])


def _landed(rows: pd.DataFrame, zone: str) -> pd.DataFrame:
    left = rows["departed_at"].dt.tz_localize("UTC").dt.tz_convert(zone).dt.tz_localize(None)
    minutes = rows["arr_time"].astype(int) // 100 * 60 + rows["arr_time"].astype(int) % 100
    clock = left.dt.normalize() + pd.to_timedelta(minutes, unit="min")
    clock = clock.where(clock >= left, clock + pd.Timedelta(days=1))
    # Of a clock that shows 1:14 twice the first counts; one that was not put forward shows 2:03 for 3:03.
    first = pd.Series(data=True, index=rows.index).to_numpy()
    landed = clock.dt.tz_localize(zone, ambiguous=first, nonexistent=pd.Timedelta(hours=1))
    return rows.assign(arrived_at=landed.dt.tz_convert("UTC").dt.tz_localize(None))


def by(rows: pd.DataFrame, key: str, time: str) -> dict[str, pd.DataFrame]:
    """Return the rows of each key, oldest first."""
    return {
        str(name): part.sort_values([time, "flight"] if "flight" in part else time) for name, part in rows.groupby(key)
    }


def latest(rows: pd.DataFrame | None, time: str, at: pd.Timestamp, ttl: timedelta) -> Row:
    """Return the youngest row that is known at a time and younger than its ttl, or nothing."""
    if rows is None:
        return {}
    known = rows[(rows[time] <= at) & (rows[time] > at - ttl)]
    return {} if known.empty else known.iloc[-1].to_dict()


def recent(rows: pd.DataFrame | None, at: pd.Timestamp, window: timedelta) -> list[int]:
    """Return the delays in the window that ends before a time."""
    if rows is None:
        return []
    known = rows[(rows["departed_at"] < at) & (rows["departed_at"] >= at - window)]
    return [int(delay) for delay in known["dep_delay"]]


def mean(values: list[int]) -> float | None:
    """Return the mean of what there is."""
    return sum(values) / len(values) if values else None


def value(row: Row, column: str) -> Any:
    """Return what a row holds, None for a gap."""
    found = row.get(column)
    return None if found is None or pd.isna(found) else found


def wind_chill(temperature: float | None, wind: float | None) -> float | None:
    """Return the wind chill of the National Weather Service where it is defined."""
    if temperature is None or temperature > 50 or wind is None or wind <= 3:
        return temperature
    return 35.74 + 0.6215 * temperature - 35.75 * wind**0.16 + 0.4275 * temperature * wind**0.16


def deicing(temperature: float | None, precipitation: float | None) -> bool | None:
    """Return whether it freezes and rains; unknown unless one of them says no."""
    freezes = None if temperature is None else temperature <= 32
    falls = None if precipitation is None else precipitation > 0
    if freezes is False or falls is False:
        return False
    return None if freezes is None or falls is None else True


def oracle() -> Callable[[Row], dict[str, Any]]:
    """Return a function that gives a departure the values it must have, one row at a time, by looking at all rows."""
    planes, airports = read("planes").set_index("tailnum"), read("airports").set_index("faa")
    weather = read("weather")
    stations = by(weather.assign(known_at=weather["time_hour"] + pd.Timedelta(hours=1)), "origin", "known_at")
    aircraft = by(arrived(), "tailnum", "arrived_at")
    carriers, origins = (by(departed(), key, "departed_at") for key in ("carrier", "origin"))

    def expected(row: Row) -> dict[str, Any]:
        at = row["asked_at"]
        plane = planes.loc[row["tailnum"]].to_dict() if row["tailnum"] in planes.index else {}
        dest = airports.loc[row["dest"]].to_dict() if row["dest"] in airports.index else {}
        leg = latest(aircraft.get(row["tailnum"]), "arrived_at", at, timedelta(days=1))
        sky = latest(stations[row["origin"]], "known_at", at, timedelta(hours=6))
        day = recent(carriers.get(row["carrier"]), at, timedelta(hours=24))
        hours = recent(origins.get(row["origin"]), at, timedelta(hours=2))
        built, maker = value(plane, "year"), value(plane, "manufacturer")
        temperature, precipitation = value(sky, "temp"), value(sky, "precip")
        wind = None if value(sky, "wind_speed") == max(weather["wind_speed"]) else value(sky, "wind_speed")
        return {
            "age": None if built is None else 2013 - built,
            "seats": value(plane, "seats"),
            "engines": value(plane, "engines"),
            "manufacturer": maker and maker.split()[0],
            "last_arrival_delay": value(leg, "arr_delay"),
            "departure_delay_24h": mean(day),
            "late_share_24h": mean([int(delay > 15) for delay in day]),
            "origin_delay_2h": mean(hours),
            "origin_departures_2h": len(hours),
            "origin_delay_minutes_2h": sum(hours) if hours else None,
            "deicing": deicing(temperature, precipitation),
            "wind_chill": wind_chill(temperature, wind),
            "wind_speed": wind,
            "wind_gust": value(sky, "wind_gust"),
            "precipitation": precipitation,
            "pressure": value(sky, "pressure"),
            "visibility": value(sky, "visib"),
            "dest_latitude": value(dest, "lat"),
            "dest_longitude": value(dest, "lon"),
        }

    return expected


def sampled(training: pd.DataFrame) -> pd.DataFrame:
    """Return a few hundred departures of the whole year, the first and the last ones among them."""
    return pd.concat([training.head(60), training.iloc[60:-20:700], training.tail(20)])


def same(found: Any, expected: Any) -> bool:
    """Return whether two values are equal, floats up to rounding; a gap equals a gap."""
    if found is None or pd.isna(found):
        return expected is None
    if isinstance(expected, str) or expected is None:
        return bool(found == expected)
    return math.isclose(found, expected, rel_tol=1e-9, abs_tol=1e-9)


# Tests


def test_plan_and_apply(tmp_path: Path) -> None:
    """A fresh store has changes pending; after apply it has none."""
    workspace = copy(tmp_path)
    assert workspace.run("plan", "--check").returncode == 2
    workspace.apply()
    assert workspace.run("plan", "--check").returncode == 0


def test_every_departure_comes_back_in_order(training: pd.DataFrame) -> None:
    """A training set has all rows of its spine in order, and a column for each of the set's features."""
    assert len(training) == 328_521
    assert list(training["number"]) == list(range(1, 328_522))
    assert list(training.columns[7:]) == [
        "age", "seats", "engines", "manufacturer", "last_arrival_delay", "departure_delay_24h", "late_share_24h",
        "origin_delay_2h", "origin_departures_2h", "origin_delay_minutes_2h", "deicing", "wind_chill", "wind_speed",
        "wind_gust", "precipitation", "pressure", "visibility", "dest_latitude", "dest_longitude",
    ]  # fmt: skip


@pytest.mark.slow
def test_values_are_those_of_a_brute_force(training: pd.DataFrame) -> None:
    """Every feature of a few hundred departures is what a search of the raw rows gives."""
    sample, expected = sampled(training), oracle()
    wrong = [
        (row["number"], name, row[name], wanted)
        for row in sample.to_dict("records")
        for name, wanted in expected(row).items()
        if not same(row[name], wanted)
    ]
    assert len(sample) == 550
    assert wrong == []


def test_the_sample_sees_every_feature_known_and_unknown(training: pd.DataFrame) -> None:
    """What is compared with the brute force means something: each feature has values there, and gaps."""
    gaps = sampled(training)[list(training.columns[7:])].drop(columns="origin_departures_2h").isna().mean()
    assert 0 < gaps.min() < gaps.max() < 0.8


def test_a_join_a_day_late_would_leak(flights: Workspace) -> None:
    """The aircraft's last arrival delay says little an hour ahead; a day later it tells the answer."""
    ahead = training_set(flights, "aircraft_rotation.last_arrival_delay", SPINE)
    behind = training_set(
        flights, "aircraft_rotation.last_arrival_delay", SPINE.replace("- INTERVAL 1 HOUR", "+ INTERVAL 23 HOURS")
    )
    assert ahead["last_arrival_delay"].corr(ahead["late"].astype(float)) == pytest.approx(0.164, abs=0.0005)
    assert behind["last_arrival_delay"].corr(behind["late"].astype(float)) == pytest.approx(0.438, abs=0.0005)


def test_a_delay_is_unknown_until_the_aircraft_has_left(flights: Workspace) -> None:
    """What a departure adds to its carrier's delays shows from the minute at which it left, not from its schedule."""
    [(late, scheduled, left)] = flights.published(
        f"""
        SELECT dep_delay, time_hour + to_minutes(minute), time_hour + to_minutes(minute + dep_delay)
        FROM '{flights.root}/data/flights.parquet' WHERE carrier = 'HA' ORDER BY dep_delay DESC NULLS LAST LIMIT 1
        """
    )
    times = [left, left + timedelta(minutes=1)]
    spine = pd.DataFrame({"carrier": ["HA", "HA"], "asked_at": times})
    values = flights.store.training_set("carrier_delays.departure_delay_24h", spine, timestamp="asked_at").df()
    assert (late, left - scheduled) == (1301, timedelta(minutes=1301))
    before, after = values["departure_delay_24h"]
    assert math.isnan(before)
    assert after == late


def test_dirt_in_the_weather_is_unknown(flights: Workspace) -> None:
    """The wind of 1,048 mph at EWR is no wind."""
    found = flights.published(
        "SELECT temperature, wind_speed FROM prod.weather "
        "WHERE airport = 'EWR' AND event_timestamp = TIMESTAMP '2013-02-12 09:00:00'"
    )
    assert found == [(39.02, None)]


def test_the_online_store_serves_every_feature(flights: Workspace) -> None:
    """No feature of the set is read from the tables, and the values are those of the tables."""
    keys = {"tailnum": "N14228", "carrier": "UA", "origin": "EWR", "dest": "IAH"}
    answer = flights.store.serve("departure_delay@1", [keys])
    (stored,) = flights.published(
        "SELECT age, seats, engines, manufacturer FROM prod.aircraft WHERE tailnum = 'N14228'"
    )
    assert (dict(answer.from_tables), answer.state) == ({}, 1)
    assert tuple(answer.rows[0].values())[:4] == stored


def test_what_holds_for_good_is_served(flights: Workspace) -> None:
    """An aircraft's register entry is what it was; a leg flown in 2013 is too old to tell anything."""
    served = flights.store.get_features(["age", "seats", "manufacturer", "last_arrival_delay"], tailnum="N14228")
    assert served == {"age": 14, "seats": 149, "manufacturer": "BOEING", "last_arrival_delay": None}


@pytest.mark.slow
def test_the_example_program_gains_from_other_teams(flights: Workspace) -> None:
    """The program runs as its first lines say, and a model of shared features is far better than one without."""
    done = subprocess.run(
        [sys.executable, "-m", "examples.train_departure_delay"],
        cwd=flights.root,
        # One thread: threads that share cores with other tests only wait for each other.
        env={**os.environ, "PYTHONPATH": str(flights.root), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "328,521 departures: 245,688 to train on, 82,833 to test on" in done.stdout
    own, shared = (float(score) for score in re.findall(r"ROC AUC, .*: (\S+) \(", done.stdout))
    assert own > 0.64
    assert shared > own + 0.08
    assert re.search(
        r"^online store \(state 1, published .* UTC\): age, .*, dest_longitude$", done.stdout, re.MULTILINE
    )
    assert "tables (" not in done.stdout
    assert "served: {'age': 14, 'seats': 149" in done.stdout
