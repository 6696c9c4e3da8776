"""Small random projects that are published to an online store in memory, at times that the test chooses."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st

from featdsl import Entity, Feature, FeatureGroup, FeatureSet, FeatureStore, Request, Source
from featdsl.apply import events, refresh, table_refresh
from featdsl.definitions.moments import moment
from featdsl.engines import Compilers, Runtime
from featdsl.engines.duckdb.compiler import COMPILER
from featdsl.online.fetch import LatestRequest
from featdsl.online.manifest import Manifest, read_manifest
from featdsl.online.memory import InMemoryOnlineStore
from featdsl.online.parity import identical
from featdsl.online.publish import PublishRequest, PublishSummary, publish
from featdsl.online.read import OnlineReads
from featdsl.online.records import read_record, step_at
from featdsl.project import settings
from featdsl.publishing import PendingState
from featdsl.query.answer import Answer
from featdsl.query.parity import same
from featdsl.serving import StoredTables
from featdsl.states import States
from featdsl.stores import open_store
from tests.declared import applied

START = datetime(2026, 3, 1, tzinfo=UTC)
"""When the first publication is made. A month before it is shorter than the months around."""
HOUR = 3_600_000_000
DAY = 24 * HOUR
USERS = (1, 2, 3)
SHOPS = ("a", "b")

WINDOWS: Mapping[str, Mapping[str, Any]] = {
    "left": {"window": "1 day"},
    "right": {"window": "1 day", "closed": "right"},
    "both": {"window": "6 hours", "closed": "both"},
    "neither": {"window": "6 hours", "closed": "neither"},
    "delayed": {"window": "1 day", "delay": "1 hour"},
    "shifted": {"window": "10 hours", "offset": "1 day", "delay": "1 hour", "closed": "right"},
    "life": {"window": "lifetime"},
    "late_life": {"window": "lifetime", "offset": "4 hours"},
    "last": {"last_n": 2},
    "last_in": {"last_n": 2, "window": "1 day", "delay": "1 hour"},
    "grid": {"window": "5 hours", "every": "4 hours"},
    "wide_grid": {"window": "1 day", "every": "7 days"},
    "month_grid": {"window": "2 days", "every": "1 month", "delay": "1 hour"},
    "month": {"window": "1 month"},
    "month_delayed": {"window": "1 month", "delay": "30 hours"},
    "months_apart": {"window": "1 month", "offset": "1 month", "closed": "both"},
    "months_then_hours": {"window": "12 hours", "offset": "1 month"},
}


@dataclass(frozen=True)
class Row:
    """A row of a source. Times are hours after START, `tick` microseconds more; None is NULL."""

    number: int
    user: int | None
    shop: str | None
    hour: int
    tick: int = 0
    known: int = 0
    lasts: int | None = None
    value: int | None = None

    @property
    def time(self) -> int:
        """Microseconds since 1970."""
        return moment(START) + self.hour * HOUR + self.tick


@dataclass(frozen=True)
class Shape:
    """How the project is declared: what decides when values change."""

    ttl: str | None = None
    ends: bool = False
    late: bool = False
    fine: bool = False
    dates: bool = False
    windows: tuple[str, ...] = ("left",)
    together: bool = False


@dataclass(frozen=True)
class World:
    """A project and its rows, by source: those of users' states, of what users do, and of shops."""

    shape: Shape
    states: tuple[Row, ...]
    acts: tuple[Row, ...]
    shops: tuple[Row, ...]

    def declare(self) -> None:
        """Declare everything, and the set all@1 with all of it."""
        shape = self.shape
        user, shop = Entity("user", keys={"user_id": int}), Entity("shop", keys={"shop": str})
        visit = Entity("visit", keys={"user_id": int, "shop": str})
        more: dict[str, Any] = {"timestamp": "ts", "tie_break": "n"}
        more |= {"available_at": "known"} if shape.late else {}
        ending: dict[str, Any] = {"valid_to": "ended"} if shape.ends else {}
        states = Source("states", path="states-*.parquet", **more, **ending)
        acts = Source("acts", path="acts-*.parquet", **more)
        shops = Source("shops", path="shops-*.parquet", **{**more, "timestamp": "day" if shape.dates else "ts"})

        class State(FeatureGroup, entity=user, source=states, ttl=shape.ttl):
            value = Feature(int, sql="v")
            size = Feature(float, sql="v / 3")
            favourite = Feature(str, sql="s")

        windows = {
            f"{kind}_{name}": Feature(dtype, sql=sql, **WINDOWS[name])
            for name in shape.windows
            for kind, dtype, sql in (("n", int, "count(*)"), ("sum", int, "sum(v)"), ("last", int, "last(v)"))
        }

        class Acts(FeatureGroup, entity=user, source=acts, features=windows):
            """What users do."""

        class Shops(FeatureGroup, entity=shop, source=shops, ttl=shape.ttl):
            rating = Feature(int, sql="v")

        class Visits(FeatureGroup, entity=visit, source=acts, keys={"shop": "s"}):
            spent = Feature(int, sql="v")

        class Everyone(FeatureGroup, entity=None, source=acts):
            newest = Feature(int, sql="v")

        first = f"n_{shape.windows[0]}"

        class Both(FeatureGroup, entity=user, inputs=[State.value, getattr(Acts, first)]):
            combined = Feature(int, sql=f"coalesce(value, -1) * 100 + {first}")

        class There(FeatureGroup, entity=user, inputs=[
            State.value, Shops.rating.alias("theirs", keys={"shop": State.favourite})
        ]):  # fmt: skip
            there = Feature(int, sql="coalesce(theirs, 0) * 10 + coalesce(value, 0)")

        class Asked(FeatureGroup, entity=user, inputs=[State.value, Both.combined, Request(amount=int)]):
            asked = Feature(int, sql="coalesce(value, 0) + combined + amount")

        class Age(FeatureGroup, entity=user, inputs=[State.value]):
            age = Feature(int, sql="date_diff('minute', TIMESTAMP '2026-01-01', as_of_timestamp) + coalesce(value, 0)")

        FeatureSet("all", version=1, features=[
            State, Acts, Shops.rating, Visits.spent, Everyone.newest, Both.combined, There.there, Asked.asked, Age.age,
            Shops.rating.alias("rating_from", keys={"shop": "origin"}),
        ])  # fmt: skip
        FeatureSet("some", version=1, features=[State.value, getattr(Acts, first), Both.combined])


@dataclass
class Place:
    """A world on disk, with its tables and an online store."""

    root: Path
    online: InMemoryOnlineStore = field(default_factory=InMemoryOnlineStore)
    horizon: int = 2 * DAY

    def write(self, world: World, part: str = "a") -> None:
        """Write one file of each source."""
        for name, rows in (("states", world.states), ("acts", world.acts), ("shops", world.shops)):
            pq.write_table(frame(rows, fine=world.shape.fine), self.root / f"{name}-{part}.parquet")

    def apply(self, world: World) -> None:
        """Apply the declarations of a world."""
        self.of(world.declare)

    def of(self, declare: Callable[[], object]) -> Place:
        """Apply declarations."""
        applied(self.root, declare)
        self.project = settings.load(self.root)
        self.states = States(self.project, "prod")
        return self

    def refresh(self) -> None:
        """Refresh all tables."""
        here = settings.load(self.root)
        refresh.refresh(
            here, open_store(here), table_refresh.RefreshRequest(), Runtime(Compilers(COMPILER)), listen=events.ignore
        )

    def publish(self, at: int, *, full: bool = False, online: InMemoryOnlineStore | None = None) -> PublishSummary:
        """Publish the newest state as of a time."""

        def newest() -> PendingState:
            state = self.states.newest()
            return PendingState(state, state.session, {})

        return publish(online or self.online, newest, PublishRequest(at=at, horizon=self.horizon, full=full))

    def read(self, features: Any, request: LatestRequest) -> tuple[Answer, Answer]:
        """Return what the online store and what the tables have."""
        tables = StoredTables(self.project, self.states)
        online = OnlineReads(self.online, tables).read(features, str(features), request)
        assert online is not None
        return online, tables.read(*tables.select(features), request)

    def trained(self, features: Any, request: LatestRequest, moments: Sequence[int]) -> list[dict[str, Any]]:
        """Return what a training set has for each row of keys at each moment."""
        given = request.request if isinstance(request.request, Mapping) else {}
        spine = [
            {**row, **given, "#i": i, "#t": plain(moment_)}
            for i, (moment_, row) in enumerate((m, row) for m in moments for row in request.rows)
        ]
        types = {"user_id": pa.int64(), "#i": pa.int64(), "#t": pa.timestamp("us"), "amount": pa.int64()}
        columns = {name: pa.array([row[name] for row in spine], types.get(name, pa.string())) for name in spine[0]}
        found = FeatureStore(self.root).training_set(features, pa.table(columns), timestamp="#t").arrow().to_pylist()
        return [{name: value for name, value in row.items() if name not in spine[0]} for row in found]


def plain(time: int) -> datetime:
    """Return microseconds since 1970 as a naive time."""
    return datetime(1970, 1, 1) + timedelta(microseconds=time)  # noqa: DTZ001 - UTC


def frame(rows: Sequence[Row], *, fine: bool = False) -> pa.Table:
    """Return rows as Arrow."""
    unit = pa.timestamp("ns" if fine else "us")
    times = [plain(row.time) for row in rows]
    return pa.table({
        "n": pa.array([row.number for row in rows], pa.int64()),
        "user_id": pa.array([row.user for row in rows], pa.int64()),
        "s": pa.array([row.shop for row in rows], pa.string()),
        "shop": pa.array([row.shop for row in rows], pa.string()),
        "ts": pa.array(times, unit),
        "day": pa.array([time.date() for time in times], pa.date32()),
        "known": pa.array([time + timedelta(hours=row.known) for time, row in zip(times, rows, strict=True)], unit),
        "ended": pa.array(
            [None if row.lasts is None else time + timedelta(hours=row.lasts) for time, row in zip(times, rows, strict=True)],
            unit,
        ),
        "v": pa.array([row.value for row in rows], pa.int64()),
    })  # fmt: skip


ENTITIES = [
    {"user_id": user, "shop": shop, "origin": origin}
    for user, shop, origin in [(1, "a", "b"), (2, "b", "a"), (3, None, "b"), (None, "a", None), (9, "z", "a")]
]


def changes(online: InMemoryOnlineStore) -> list[int]:
    """Return the moments at which published values change."""
    _, tables = online.published
    found: set[int] = set()
    for records in tables.values():
        for record in records.values():
            until, _, *later = read_record(record)
            found.update(later[::2], () if until is None else (until,))
    return sorted(found)


def differences(place: Place, at: int, *, seed: int, count: int = 6) -> list[str]:
    """Return where online store, tables and training differ, at and after a time."""
    draw = random.Random(seed)  # noqa: S311 - no secret
    upto = at + place.horizon
    within = [each for each in changes(place.online) if at < each <= upto]
    near = [each + tick for each in draw.sample(within, min(len(within), count)) for tick in (-1, 0, 1)]
    moments = sorted({at, *(each for each in near if each >= at), *(draw.randint(at, upto) for _ in range(count))})
    found = []
    for features, request in (
        ("all@1", LatestRequest(ENTITIES, {"amount": 5}, with_status=True)),
        ("some@1", LatestRequest([{"user_id": row["user_id"]} for row in ENTITIES], with_status=True)),
    ):
        trained = place.trained(features, request, moments)
        for number, time in enumerate(moments):
            online, tables = place.read(features, replace(request, at=time))
            for i, row in enumerate(request.rows):
                for column in online.dtypes:
                    values = (
                        online.rows[i][column],
                        tables.rows[i][column],
                        trained[number * len(request.rows) + i][column],
                    )
                    if not (identical(values[0], values[1]) and same(values[1], values[2])):
                        found.append(f"{features} {column} of {row} at {plain(time)}: {values}")
                    statuses = (online.statuses[i][column], tables.statuses[i][column])  # type: ignore[index]
                    if statuses[0] != statuses[1]:
                        found.append(f"{features} {column} of {row} at {plain(time)}: {statuses}")
    return found


def unequal(one: InMemoryOnlineStore, other: InMemoryOnlineStore, at: int) -> list[str]:
    """Return the records that differ in what they say from a time on, as far as both reach."""
    (first, tables), (second, others) = one.published, other.published
    assert first is not None
    assert second is not None
    found = []
    for name in sorted({*_listed(read_manifest(first.manifest)), *_listed(read_manifest(second.manifest))}):
        own, their = tables.get(name, {}), others.get(name, {})
        found += [f"{name}: {key!r}" for key in own.keys() ^ their.keys()]
        for key in own.keys() & their.keys():
            pair = read_record(own[key]), read_record(their[key])
            moments = {at, *(time for record in pair for time in record[2::2] if time >= at)}
            found += [
                f"{name}: {key!r} at {plain(time)}: {steps}"
                for time in sorted(moments)
                if None not in (steps := (step_at(pair[0], time), step_at(pair[1], time))) and steps[0] != steps[1]
            ]
    return found


def _listed(manifest: Manifest) -> Iterator[str]:
    yield from manifest.tables


# Strategies


def rows(*, most: int = 8) -> st.SearchStrategy[tuple[Row, ...]]:
    """Rows of a few users and shops, old ones, recent ones and some of the future."""
    hours = st.one_of(
        st.integers(-6, 6), st.integers(-60, 50), st.integers(-24 * 100, 24),
        st.sampled_from([-24 * 28, -24 * 29, -24 * 30, -24 * 31, -24 * 31 - 1, -24 * 59, -24 * 7, -24 * 3]),
    )  # fmt: skip
    row = st.builds(
        Row, st.just(0), st.sampled_from([*USERS, None]), st.sampled_from([*SHOPS, None]), hours,
        st.sampled_from([0, 0, 0, 1, 999_999]), st.sampled_from([0, 0, 1, 30]),
        st.sampled_from([None, None, 0, 1, 30, 24 * 40]), st.none() | st.integers(0, 9),
    )  # fmt: skip
    return st.lists(row, max_size=most).map(
        lambda drawn: tuple(replace(each, number=i) for i, each in enumerate(drawn))
    )


def shapes() -> st.SearchStrategy[Shape]:
    """Any shape."""
    windows = st.lists(st.sampled_from(sorted(WINDOWS)), min_size=1, max_size=5, unique=True).map(tuple)
    return st.builds(
        Shape, st.sampled_from([None, "2 days", "7 hours"]), st.booleans(), st.booleans(), st.booleans(), st.booleans(), windows
    )  # fmt: skip


def worlds() -> st.SearchStrategy[World]:
    """Any world."""
    return st.builds(World, shapes(), rows(), rows(most=14), rows(most=6))


@dataclass(frozen=True)
class Change:
    """What happens to the files of a world some hours after the publication before."""

    kind: str
    hours: int
    states: tuple[Row, ...]
    acts: tuple[Row, ...]
    shops: tuple[Row, ...]

    def to(self, world: World, number: int, place: Place) -> None:
        """Change the files: new rows in a new file, the first file with other rows or without some, or nothing."""
        own = [_apart(rows, number) for rows in (self.states, self.acts, self.shops)]
        mine = replace(world, states=own[0], acts=own[1], shops=own[2])
        if self.kind == "more":
            place.write(mine, f"later-{number}")
        if self.kind == "edited":
            place.write(mine)
        if self.kind == "fewer":
            kept = [tuple(row for row in each if row.user != 1) for each in (world.states, world.acts, world.shops)]
            place.write(replace(world, states=kept[0], acts=kept[1], shops=kept[2]))
        place.refresh()


def _apart(rows: Sequence[Row], change: int) -> tuple[Row, ...]:
    """Return rows with numbers that no first row and no row of another change has."""
    return tuple(replace(row, number=row.number + 100 * (change + 1)) for row in rows)


def histories() -> st.SearchStrategy[list[Change]]:
    """A few changes."""
    kinds = st.sampled_from(["more", "more", "edited", "fewer", "nothing"])
    change = st.builds(Change, kinds, st.sampled_from([0, 1, 9, 25, 49]), rows(), rows(), rows(most=4))
    return st.lists(change, min_size=1, max_size=3)
