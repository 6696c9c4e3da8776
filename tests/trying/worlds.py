"""Random declarations over random rows, and what plain Python says of their values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
from hypothesis import strategies as st

from featdsl import Entity, Feature, FeatureGroup, Request, Source
from featdsl.declarations.declaration import collecting

BEGIN = datetime(2026, 1, 1)  # noqa: DTZ001 - UTC without a zone, as in tables
USERS, HOURS = 4, 24
FEATURES = ("n", "x", "friend", "total", "rows", "middle", "surplus", "scaled", "both")


@dataclass(frozen=True)
class Event:
    """A row of the source: times are hours after the beginning."""

    user: int
    hour: int
    known: int
    number: int
    amount: float | None
    friend: int
    serial: int


@dataclass(frozen=True)
class World:
    """Options of declarations, the rows of their source, and the spine: users with hours."""

    late: bool
    ttl: int | None
    window: int
    closed: str
    events: tuple[Event, ...]
    spine: tuple[tuple[int, int], ...]


def hour(number: int) -> datetime:
    """Return the time so many hours after the beginning."""
    return BEGIN + timedelta(hours=number)


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Rows of a few users, some at the same time, some known late; and a spine that also has a user without rows."""
    user, time = st.integers(0, USERS - 1), st.integers(0, HOURS)
    rows = draw(
        st.lists(
            st.tuples(user, time, st.integers(0, 5), st.integers(-9, 9), st.none() | st.sampled_from([0.5, 2.0]), user),
            max_size=25,
        )
    )
    late = draw(st.booleans())
    events = tuple(
        Event(who, at, at + delay if late else at, number, amount, friend, serial)
        for serial, (who, at, delay, number, amount, friend) in enumerate(rows)
    )
    return World(
        late=late,
        ttl=draw(st.none() | st.integers(1, 8)),
        window=draw(st.integers(1, 12)),
        closed=draw(st.sampled_from(["left", "right", "both", "neither"])),
        events=events,
        spine=tuple(draw(st.lists(st.tuples(st.integers(0, USERS), time), min_size=1, max_size=12))),
    )


def table(world: World) -> pa.Table:
    """Return the rows of the source."""
    types = {"user_id": pa.int64(), "at": pa.timestamp("us"), "known": pa.timestamp("us"), "n": pa.int64(),
             "x": pa.float64(), "friend": pa.int64(), "serial": pa.int64()}  # fmt: skip
    rows = [
        {"user_id": e.user, "at": hour(e.hour), "known": hour(e.known), "n": e.number, "x": e.amount,
         "friend": e.friend, "serial": e.serial}
        for e in world.events
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=pa.schema(types))


def write(world: World, folder: Path) -> None:
    """Write the rows of the source as a file."""
    rows = table(world)
    with duckdb.connect() as connection:
        connection.register("rows", rows)
        connection.execute(f"COPY rows TO '{folder}/events.parquet' (FORMAT parquet)")


def spine(world: World) -> pa.Table:
    """Return the rows to compute values for."""
    rows = [{"user_id": user, "asked": hour(at), "factor": float(user)} for user, at in world.spine]
    return pa.Table.from_pylist(rows)


def declare(world: World) -> Callable[[], list[type[FeatureGroup]]]:
    """Return the function that makes the declarations, as groups."""

    def made() -> list[type[FeatureGroup]]:
        user = Entity("user", keys={"user_id": int})
        known = "known" if world.late else None
        events = Source("events", path="events.parquet", timestamp="at", available_at=known, tie_break="serial")
        ttl = f"{world.ttl} hours" if world.ttl else None

        class Latest(FeatureGroup, entity=user, source=events, ttl=ttl):
            n = Feature(int)
            x = Feature(float)
            friend = Feature(int)

        class Recent(FeatureGroup, entity=user, source=events):
            total = Feature(int, sql="sum(n)", window=f"{world.window} hours", closed=world.closed)  # type: ignore[arg-type]
            rows = Feature(int, sql="count(*)", window=f"{world.window} hours", closed=world.closed)  # type: ignore[arg-type]
            middle = Feature(float, sql="median(x)", window="lifetime")

        class Derived(FeatureGroup, entity=user, inputs=[Latest.n, Recent.total, Recent.rows, Request(factor=float)]):
            surplus = Feature(int, sql="total - n")
            scaled = Feature(float, sql="n * factor")

        class Social(
            FeatureGroup, entity=user, inputs=[Latest.n, Latest.n.alias("friends_n", keys={"user_id": Latest.friend})]
        ):
            both = Feature(int, sql="n + friends_n")

        return [Latest, Recent, Derived, Social]

    return made


def groups(world: World) -> list[type[FeatureGroup]]:
    """Return the declarations of a world."""
    with collecting() as collector:
        made = declare(world)()
    assert collector.problems == []
    return made


# What plain Python makes of the rows


def expected(world: World) -> list[dict[str, Any]]:
    """Return the values of each row of the spine, computed by loops."""
    return [_values(world, user, at) for user, at in world.spine]


def latest(world: World, user: int, at: int) -> Event | None:
    """Return the row that holds for a user at an hour."""
    known = [e for e in world.events if e.user == user and e.hour <= at and e.known <= at]
    newest = max(known, key=lambda e: (e.hour, e.known, e.serial), default=None)
    expired = newest is not None and world.ttl is not None and at - newest.hour >= world.ttl
    return None if expired else newest


def _values(world: World, user: int, at: int) -> dict[str, Any]:
    row = latest(world, user, at)
    in_window = [e for e in world.events if e.user == user and _is_in(world, e, at)]
    total = sum(e.number for e in in_window) if in_window else None
    n, friend = (row.number, row.friend) if row else (None, None)
    other = latest(world, friend, at) if friend is not None else None
    return {
        "n": n,
        "x": row.amount if row else None,
        "friend": friend,
        "total": total,
        "rows": len(in_window),
        "middle": median([e.amount for e in world.events if e.user == user and e.hour < at and e.known <= at]),
        "surplus": None if total is None or n is None else total - n,
        "scaled": None if n is None else float(n * user),
        "both": None if n is None or other is None else n + other.number,
    }


def _is_in(world: World, event: Event, at: int) -> bool:
    begin, end = at - world.window, at
    after = event.hour >= begin if world.closed in {"left", "both"} else event.hour > begin
    before = event.hour <= end if world.closed in {"right", "both"} else event.hour < end
    return after and before and event.known <= at


def median(values: Sequence[float | None]) -> float | None:
    """Return the median of the known values."""
    known = sorted(each for each in values if each is not None)
    half = len(known) // 2
    return None if not known else known[half] if len(known) % 2 else (known[half - 1] + known[half]) / 2
