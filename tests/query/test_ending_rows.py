"""Rows that end: from `valid_to` on, until a later row begins, there is no value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from featdsl import DataError, DeclarationError, Entity, Feature, FeatureGroup, FeatureSet, FeatureStore, Source
from featdsl.apply import events, refresh, table_refresh
from featdsl.engines import Compilers, Runtime
from featdsl.engines.duckdb.compiler import COMPILER
from featdsl.project import settings as project_settings
from featdsl.stores import open_store
from tests.budgets import examples
from tests.conftest import Workspace
from tests.declared import JOINS, applied, join_by

START = datetime(2020, 1, 1)  # noqa: DTZ001 - naive is UTC
USERS = (1, 2)
SPAN = range(-1, 14)
"""The days that are asked for."""
NOW = 1_000
"""A day after all others, as today is."""


@dataclass(frozen=True)
class Row:
    """A value of a user from one day until before another, known from a third."""

    user: int
    day: int
    end: int | None
    known: int
    value: int | None


def at(day: int | None) -> datetime | None:
    """Return the midnight so many days after the start."""
    return None if day is None else START + timedelta(days=day)


def frame(rows: Sequence[Row], *, fine: bool = False) -> pa.Table:
    """Return rows as Arrow."""
    time = pa.timestamp("ns" if fine else "us")
    return pa.table({
        "user_id": pa.array([row.user for row in rows], pa.int64()),
        "ts": pa.array([at(row.day) for row in rows], time),
        "ended": pa.array([at(row.end) for row in rows], time),
        "known": pa.array([at(row.known) for row in rows], time),
        "v": pa.array([row.value for row in rows], pa.int64()),
    })  # fmt: skip


def held(rows: Sequence[Row], user: int, day: int, *, late: bool, ttl: int | None) -> int | None:
    """Return the value that a user had, by looking at every row."""
    found = [row for row in rows if row.user == user and row.day <= day and (not late or row.known <= day)]
    found = [row for row in found if late or row.end != row.day]  # which never holds
    last = max(found, key=lambda row: (row.day, row.known), default=None)
    if last is None or (last.end is not None and day >= last.end) or (ttl and last.day <= day - ttl):
        return None
    return last.value


@st.composite
def histories(draw: st.DrawFn) -> list[Row]:
    """Draw rows of two users, one for each day and day of knowledge; some end at once, before the next or long after."""
    places = draw(st.lists(st.tuples(st.sampled_from(USERS), st.integers(0, 9)), unique=True, max_size=8))
    return [
        Row(user, day, draw(st.none() | st.integers(day, 12)), draw(st.integers(day, 11)), draw(st.none() | st.integers(0, 9)))
        for user, day in places
    ]  # fmt: skip


@dataclass(frozen=True)
class World:
    """Two groups whose rows end, and what is made of both."""

    one: Sequence[Row]
    other: Sequence[Row]
    late: bool
    ttl: int | None
    fine: bool

    def declare(self) -> None:
        """Declare them over frames."""
        self._declare({"one": frame(self.one, fine=self.fine), "other": frame(self.other)}, "frame")

    def declare_files(self) -> None:
        """Declare them over files."""
        self._declare({"one": "one-*.parquet", "other": "other-*.parquet"}, "path")

    def _declare(self, places: dict[str, Any], kind: str) -> None:
        user = Entity("user", keys={"user_id": int})
        more = {"timestamp": "ts", "valid_to": "ended", **({"available_at": "known"} if self.late else {})}
        first, second = (Source(name, **{kind: place}, **more) for name, place in places.items())

        class One(FeatureGroup, entity=user, source=first, ttl=f"{self.ttl} days" if self.ttl else None):
            a = Feature(int, sql="v")

        class Other(FeatureGroup, entity=user, source=second):
            b = Feature(int, sql="v")
            n = Feature(int, sql="count(*)", window="5 days")

        class Both(FeatureGroup, entity=user, inputs=[One.a, Other.b]):
            both = Feature(int, sql="coalesce(a, 0) + 100 * coalesce(b, 0)")

        FeatureSet("all", version=1, features=[One.a, Other.b, Both.both])

    def expected(self, user: int, day: int) -> tuple[Any, ...]:
        """Return a, b and both."""
        a = held(self.one, user, day, late=self.late, ttl=self.ttl)
        b = held(self.other, user, day, late=self.late, ttl=None)
        return a, b, (a or 0) + 100 * (b or 0)


worlds = st.builds(
    World, histories(), histories(), late=st.booleans(), ttl=st.sampled_from([None, 2, 5]), fine=st.booleans()
)
ASKED = [(user, day) for user in USERS for day in SPAN]


def read(store: FeatureStore) -> list[tuple[Any, ...]]:
    """Return a, b and both for every user and day."""
    spine = pa.table({
        "user_id": [user for user, _ in ASKED], "t": pa.array([at(day) for _, day in ASKED], pa.timestamp("us")),
    })  # fmt: skip
    table = store.training_set(["a", "b", "both"], spine, timestamp="t").arrow()
    return list(zip(*(table[name].to_pylist() for name in ("a", "b", "both")), strict=True))


@pytest.mark.parametrize("join", JOINS)
@settings(max_examples=examples(2, 8), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(world=worlds)
def test_values_are_those_of_plain_python(tmp_path_factory: pytest.TempPathFactory, join: str, world: World) -> None:
    """In training, in what is served now, and in the stored rows of what is derived, by every join."""
    root = tmp_path_factory.mktemp("store")
    with pytest.MonkeyPatch.context() as patch:
        join_by(join, patch)
        store = applied(root, world.declare)
        assert read(store) == [world.expected(user, day) for user, day in ASKED]

    served = store.get_features(["a", "b", "both"], rows=[{"user_id": user} for user in USERS])
    assert [tuple(row.values()) for row in served] == [world.expected(user, NOW) for user in USERS]

    stored = store.get_feature("both").fetchall()
    for user, day in ASKED:
        before = [row for row in stored if row[0] == user and row[1].replace(tzinfo=None) <= (at(day) or START)]
        found = max(before, key=lambda row: row[1], default=None)
        assert (found[2] if found else 0) == world.expected(user, day)[2]


@settings(max_examples=examples(2, 6), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(world=worlds, cut=st.integers(0, 10))
def test_a_refresh_is_a_rebuild(tmp_path_factory: pytest.TempPathFactory, world: World, cut: int) -> None:
    """Of new files, whose rows begin after others have ended, or before that."""
    root = tmp_path_factory.mktemp("store")

    def keep(part: str, *, new: bool) -> None:
        for name, rows in (("one", world.one), ("other", world.other)):
            some = [row for row in rows if ((row.known if world.late else row.day) >= cut) == new]
            pq.write_table(frame(some), root / f"{name}-{part}.parquet")  # type: ignore[no-untyped-call]

    keep("a", new=False)
    store = applied(root, world.declare_files)
    keep("b", new=True)
    here = project_settings.load(root)
    refresh.refresh(
        here, open_store(here), table_refresh.RefreshRequest(), Runtime(Compilers(COMPILER)), listen=events.ignore
    )

    assert read(FeatureStore(root)) == [world.expected(user, day) for user, day in ASKED]
    assert store


def store_of(root: Path, rows: pa.Table, **more: Any) -> FeatureStore:
    """Apply one group of rows that end."""

    def declare() -> None:
        user = Entity("user", keys={"user_id": int})

        class Rows(FeatureGroup, entity=user, source=Source("rows", **{"frame": rows, "valid_to": "ended", **more})):
            v = Feature(int)

    root.mkdir(exist_ok=True)
    return applied(root, declare)


def values(store: FeatureStore, *times: Any) -> list[Any]:
    """Return the values of user 1 at times."""
    spine = pa.table({"user_id": [1] * len(times), "t": pa.array(times)})
    return list(store.training_set(["v"], spine, timestamp="t").arrow()["v"].to_pylist())


def test_the_end_itself_is_out(tmp_path: Path) -> None:
    """A row holds from its timestamp until before its end, to the microsecond."""
    store = store_of(tmp_path, frame([Row(1, 0, 2, 0, 7)]), timestamp="ts")
    end, moment = START + timedelta(days=2), timedelta(microseconds=1)

    assert values(store, START - moment, START, end - moment, end) == [None, 7, 7, None]


def test_nanoseconds_of_an_end_count(tmp_path: Path) -> None:
    """Also where timestamps have none."""
    rows = frame([Row(1, 0, 2, 0, 7)])
    end = pa.array([86_400 * 10**9 * 18_264 + 500], pa.timestamp("ns"))
    store = store_of(tmp_path, rows.set_column(2, "ended", end), timestamp="ts")
    asked = pa.array([86_400 * 10**9 * 18_264 + more for more in (0, 499, 500)], pa.timestamp("ns"))
    spine = pa.table({"user_id": [1] * 3, "t": asked})

    assert store.training_set(["v"], spine, timestamp="t").arrow()["v"].to_pylist() == [7, 7, None]


def test_a_history_as_warehouses_export_it(workspace: Workspace) -> None:
    """Dates, a far date for rows that go on, one replaced on its day, and a user who leaves and comes back."""
    workspace.write({
        "featproject.toml": '[project]\nname = "history"\n',
        "plans.csv": "user_id,since,until,plan\n1,2026-01-01,2026-01-05,free\n1,2026-01-05,2026-01-05,typo\n"
        "1,2026-01-05,2026-01-10,paid\n1,2026-02-01,9999-12-31,free\n2,2026-01-01,,paid\n",
        "features/plans.py": """
from featdsl import Entity, Feature, FeatureGroup, FeatureSet, Source

user = Entity("user", keys={"user_id": int})
periods = Source("periods", path="plans.csv", timestamp="since", valid_to="until")


class Plans(FeatureGroup, entity=user, source=periods):
    plan = Feature(str)


class Paying(FeatureGroup, entity=user, inputs=[Plans.plan]):
    paying = Feature(bool, sql="coalesce(plan = 'paid', false)")


current = FeatureSet("current", version=1, features=[Plans.plan, Paying.paying])
""",
    }).apply()  # fmt: skip

    days = [date(2026, 1, day) for day in (1, 4, 5, 9, 10, 31)]
    spine = pa.table({"user_id": [1] * len(days), "day": pa.array(days)})
    found = workspace.store.training_set(["plan", "paying"], spine, timestamp="day").arrow().to_pylist()
    assert [row["plan"] for row in found] == ["free", "free", "paid", "paid", None, None]
    assert [row["paying"] for row in found] == [False, False, True, True, False, False]
    stored = "SELECT plan, valid_to::VARCHAR FROM prod.plans WHERE user_id = 1 ORDER BY event_timestamp"
    assert workspace.published(stored) == [
        ("free", "2026-01-05 00:00:00"), ("paid", "2026-01-10 00:00:00"), ("free", "9999-12-31 00:00:00"),
    ]  # fmt: skip
    derived = "SELECT event_timestamp::DATE::VARCHAR, paying FROM prod.paying WHERE user_id = 1 ORDER BY ALL"
    assert workspace.published(derived)[:4] == [
        ("2026-01-01", False), ("2026-01-05", True), ("2026-01-10", False), ("2026-02-01", False),
    ]  # fmt: skip
    assert "valid_to" in workspace.run("show", "periods").stdout
    assert workspace.run("check", "--parity").returncode == 0


def test_a_row_that_ends_before_it_begins_is_an_error(tmp_path: Path) -> None:
    """That names it; one that ends as it begins never holds, so the row before goes on."""
    with pytest.raises(DataError) as refused:
        store_of(tmp_path, frame([Row(1, 3, 2, 3, 7)]), timestamp="ts")
    assert str(refused.value).splitlines()[:2] == [
        "Row ends before it begins",
        "  group rows: ended is 2020-01-03 00:00:00, before its ts 2020-01-04 00:00:00, user_id = 1.",
    ]

    store = store_of(tmp_path, frame([Row(1, 0, None, 0, 7), Row(1, 3, 3, 3, 8)]), timestamp="ts")
    assert values(store, at(3), at(4)) == [7, 7]


def test_rows_of_one_time_that_end_otherwise_differ(tmp_path: Path) -> None:
    """Equal in every feature, they are two rows still."""
    with pytest.raises(DataError, match="one row for each user_id and event_timestamp"):
        store_of(tmp_path, frame([Row(1, 0, 2, 0, 7), Row(1, 0, 3, 0, 7)]), timestamp="ts")


def test_ends_in_relative_days_and_in_local_times(tmp_path: Path) -> None:
    """They are read as timestamps are."""
    days = pa.table({"user_id": [1], "ts": [0], "ended": [5], "v": [7]})
    store = store_of(tmp_path / "days", days, timestamp="ts", time_unit="day")
    assert values(store, 0, 4, 5) == [7, 7, None]

    local = frame([Row(1, 0, 2, 0, 7)])
    store = store_of(tmp_path / "local", local, timestamp="ts", timezone="Asia/Kolkata")
    end = START + timedelta(days=2) - timedelta(hours=5, minutes=30)
    assert values(store, end - timedelta(seconds=1), end) == [7, None]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"valid_to": "endet"}, "no column 'endet', its valid_to=(?s:.*)Did you mean \"ended\""),
        ({"valid_to": "v"}, "its valid_to 'v' is BIGINT, not a DATE or TIMESTAMP"),
        ({"timestamp": None}, "valid_to= is the time when a row ends, so it needs timestamp="),
    ],
)
def test_what_is_no_end_is_refused(tmp_path: Path, more: dict[str, Any], said: str) -> None:
    """By name and type."""
    with pytest.raises(DeclarationError, match=said):
        store_of(tmp_path, frame([Row(1, 0, 2, 0, 7)]), **{"timestamp": "ts", **more})


def test_no_feature_takes_the_name_of_the_column_of_ends(tmp_path: Path) -> None:
    """Which is in the table and the view."""

    def declare() -> None:
        source = Source("rows", frame=frame([]), timestamp="ts", valid_to="ended")

        class Rows(FeatureGroup, entity=Entity("user", keys={"user_id": int}), source=source):
            valid_to = Feature(datetime, sql="ended")

    with pytest.raises(DeclarationError, match="'valid_to' is already a column of the group's table"):
        applied(tmp_path, declare)


def test_windows_count_rows_whenever_they_end(tmp_path: Path) -> None:
    """A window looks at when rows began."""
    rows = [Row(1, 0, 1, 0, 7), Row(1, 1, 1, 1, 8), Row(1, 2, None, 2, 9)]
    store = applied(tmp_path, World([], rows, late=False, ttl=None, fine=False).declare)
    spine = pa.table({"user_id": [1], "t": pa.array([at(4)], pa.timestamp("us"))})

    assert store.training_set(["n"], spine, timestamp="t").arrow()["n"].to_pylist() == [3]


def test_an_end_is_part_of_the_definition(bank: Workspace, edit: Any) -> None:
    """Plan shows it as a change of values."""
    bank.parquet(
        "data/accounts.parquet",
        "SELECT 1 AS user_id, TIMESTAMP '2026-01-01' AS updated_at, DATE '1990-01-01' AS birth_date, "
        "50000.0 AS annual_income, TIMESTAMP '2026-01-02' AS closed",
    )
    bank.apply()
    edit("features/accounts/__init__.py", 'timestamp="updated_at"', 'timestamp="updated_at", valid_to="closed"')

    planned = bank.run("plan", "--preview").stdout

    assert "valid_to: none → closed" in planned
    bank.apply()
    assert bank.store.get_features(["income"], user_id=1) == {"income": None}
