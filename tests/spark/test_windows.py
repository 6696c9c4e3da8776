"""Windows on Spark: what they hold at each time, against an oracle in plain Python that shares nothing with featdsl."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from featdsl import Entity, Feature, FeatureGroup, FeatureStore, Source
from featdsl.engines.spark.translate import Unproved
from tests.declared import applied
from tests.engines import test_windows as oracle
from tests.spark.elsewhere import Elsewhere

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas:FutureWarning")
EVERYWHERE = ("rows", "total", "over_two")
"""Aggregates of the oracle over each of its windows."""
SOMEWHERE = ("n", "kinds", "mean", "low", "high", "first_v", "last_v", "all_v", "at_most_w", "many", "ratio")
"""Aggregates over a few windows: they depend on the order of rows, or are filled or combined in other ways."""
FEATURES = [
    *(f"{where}__{what}" for where in oracle.WINDOWS for what in EVERYWHERE),
    *(f"{where}__{what}" for where in ("both", "last", "grid") for what in SOMEWHERE),
]


def root_of(folder: Path, rows: Sequence[oracle.Row], features: dict[str, Feature[Any]], *, late: bool) -> Path:
    """Apply windowed features over rows in a folder of their own."""

    def declare() -> None:
        user = Entity("user", keys={"user_id": int})
        known = "loaded" if late else None
        source = Source("rows", frame=oracle.table(rows), timestamp="ts", tie_break="n", available_at=known)

        class Windows(FeatureGroup, entity=user, source=source, features=features):
            """Windows over the rows."""

    root = folder / uuid.uuid4().hex
    root.mkdir()
    applied(root, declare)
    return root


def spine_of(asked: Sequence[Any]) -> pa.Table:
    """Return users and times as a spine."""
    return pa.table({
        "user_id": pa.array([user for user, _ in asked], pa.int64()),
        "at": pa.array([time for _, time in asked], pa.timestamp("us")),
    })  # fmt: skip


def history(random: Random) -> list[oracle.Row]:
    """Return random rows of three users, many at the same times; one value in ten is NULL."""

    def mostly(value: Any) -> Any:
        return value if random.random() < 0.9 else None

    def hour() -> Any:
        return oracle.START + random.randrange(14) * 3 * oracle.HOUR / 2

    return [
        oracle.Row(
            mostly(random.randrange(3)),
            mostly(hour()),
            mostly(random.randrange(-3, 6)),
            mostly(random.randrange(-3, 6)),
            random.randrange(3),
            mostly(hour()),
        )
        for _ in range(90)
    ]


@pytest.mark.parametrize("late", [False, True])
def test_every_window_holds_exactly_its_rows(
    tmp_path: Path,
    spark: SparkSession,
    late: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """Gaps, ties, NULLs, events on the edges and a tick beside them, empty windows: each value of each feature."""
    random = Random(7)  # noqa: S311 - rows of a test
    rows = history(random)
    times = [
        oracle.START + random.randrange(41) * oracle.HOUR / 2 + random.randrange(-1, 2) * oracle.TICK for _ in range(60)
    ]
    asked = [(random.choice([0, 1, 2, 3, None]), time) for time in times] + [(1, None)]
    features = {}
    for name in FEATURES:
        where, _, what = name.partition("__")
        dtype, sql, *_ = oracle.AGGREGATES[what]
        features[name] = Feature(dtype, sql=sql, **oracle.WINDOWS[where])
    root = root_of(tmp_path, rows, features, late=late)

    found = Elsewhere(root, spark).training_set(
        [f"windows.{each}" for each in features], spine_of(asked), "at", ["user_id"]
    )

    wrong = [
        (name, asked[i], value, wanted)
        for i, (user, time) in enumerate(asked)
        for name, value in zip(features, found[i], strict=True)
        if not oracle.same(value, wanted := oracle.expected(rows, user, time, name, late=late))
    ]
    assert wrong[:20] == []


def test_grids_of_weeks_and_months_are_those_of_duckdb(tmp_path: Path, spark: SparkSession) -> None:
    """Before and after the times that multiples count from; months clamp to their last day."""
    grids = [
        ("7 days", "1 day"),
        ("1 month", "1 day"),
        ("5 months", "1 month"),
        ("1 year", "31 days"),
        ("90 minutes", "1 hour"),
    ]
    features = {
        f"f{i}": Feature(int, sql="sum(n)", window=window, every=every, delay="1 month")
        for i, (every, window) in enumerate(grids)
    }
    times = [
        f"{year}-{day}" for year in (1969, 1999, 2000, 2024) for day in ("01-01 00:00", "02-29 01:30", "03-31 23:59")
    ]
    stamps = [datetime.fromisoformat(time) for time in times if time[5:10] != "02-29" or int(time[:4]) % 4 == 0]
    every_hour = [stamps[0] + i * 7 * oracle.HOUR for i in range(200)]
    rows = [oracle.Row(1, time, 1, 1, i, time) for i, time in enumerate([*stamps, *every_hour])]
    asked = [
        (1, time + shift)
        for time in stamps
        for shift in (oracle.HOUR * 0, oracle.HOUR * 24 * 31, oracle.HOUR * 24 * 45)
    ]
    store = Elsewhere(root_of(tmp_path, rows, features, late=False), spark)
    names = [f"windows.{name}" for name in features]

    found = store.training_set(names, spine_of(asked), "at", ["user_id"])

    wanted = FeatureStore(store.root).training_set(names, spine_of(asked), timestamp="at").arrow()
    assert found == list(zip(*(wanted[name].to_pylist() for name in features), strict=True))
    assert any(value for row in found for value in row)


def test_windows_of_everyone_and_of_an_entity_that_a_value_names(tmp_path: Path, spark: SparkSession) -> None:
    """One window looked up by two columns, by a value, and by none; the table over it has the same values."""

    def declare() -> None:
        shop, user = Entity("shop", keys={"shop": int}), Entity("user", keys={"user_id": int})
        rows = [oracle.Row(i % 3, oracle.START + i * oracle.HOUR, i % 4, 1, i, None) for i in range(20)]
        events = Source(
            "events", frame=oracle.table(rows).rename_columns(["shop", "ts", "v", "w", "n", "loaded"]), timestamp="ts"
        )
        users = Source("users", frame=oracle.table(rows[3:9]), timestamp="ts")

        class Shops(FeatureGroup, entity=shop, source=events):
            total = Feature(int, sql="sum(v)", window="7 hours", closed="right")
            seen = Feature(int, sql="count(*)", last_n=3)

        class Everywhere(FeatureGroup, entity=None, source=Source("all", frame=oracle.table(rows), timestamp="ts")):
            overall = Feature(int, sql="sum(v)", window="5 hours")

        class Users(FeatureGroup, entity=user, source=users):
            shop_of = Feature(int, sql="v")

        class Both(
            FeatureGroup,
            entity=user,
            inputs=[
                Shops.total.alias("own", keys={"shop": "user_id"}),
                Shops.total.alias("theirs", keys={"shop": Users.shop_of}),
                Shops.seen.alias("seen", keys={"shop": Users.shop_of}),
                Everywhere.overall,
            ],
            materialize=True,
        ):
            first = Feature(int, sql="own")
            second = Feature(int, sql="theirs")
            third = Feature(int, sql="seen")
            fourth = Feature(int, sql="overall")

    applied(tmp_path, declare)
    store = Elsewhere(tmp_path, spark)
    names = [f"both.{name}" for name in ("first", "second", "third", "fourth")]
    spine = spine_of(
        [(user, oracle.START + i * oracle.HOUR / 2) for user in (0, 1, 2, 7, None) for i in range(0, 44, 3)]
    )

    found = store.training_set(names, spine, "at", ["user_id"])
    wanted_rows, found_rows = store.derived_rows("both")

    wanted = FeatureStore(store.root).training_set(names, spine, timestamp="at").arrow()
    assert found == list(zip(*(wanted[name.partition(".")[2]].to_pylist() for name in names), strict=True))
    assert all(any(row[i] for row in found) for i in range(4))
    assert found_rows == wanted_rows != []


def test_a_feature_may_have_sql_for_spark(tmp_path: Path, spark: SparkSession) -> None:
    """It is used as written over the rows of the window, and over none for an empty window."""
    features: dict[str, Any] = {
        "named": Feature(int, sql="sum(v)", window="3 hours"),
        "lasting": Feature(int, sql="count(v)", last_n=2),
    }
    rows = [oracle.Row(1, oracle.START + i * oracle.HOUR, i, 1, i, None) for i in range(5)]
    store = Elsewhere(root_of(tmp_path, rows, features, late=False), spark)
    own = {"windows.named": "count_if(v >= 2)", "windows.lasting": "max(v) -- the largest"}
    for address, sql in own.items():
        store.give(address, sql)
    asked = [(1, oracle.START + 4 * oracle.HOUR), (1, oracle.START), (2, oracle.START)]

    found = store.training_set(list(own), spine_of(asked), "at", ["user_id"])

    assert found == [(2, 3), (0, None), (0, None)]


def test_a_value_may_depend_on_the_time_of_the_read(tmp_path: Path, spark: SparkSession) -> None:
    """Around aggregates, which may be over no rows, and over the values of other features."""

    def declare() -> None:
        user = Entity("user", keys={"user_id": int})
        source = Source("rows", frame=oracle.table(rows), timestamp="ts")

        class Windows(FeatureGroup, entity=user, source=source):
            seen = Feature("TIMESTAMP", sql="CASE WHEN count(*) > 1 THEN as_of_timestamp END", window="3 hours")

        class Later(FeatureGroup, entity=user, inputs=[Windows.seen]):
            both = Feature("TIMESTAMP", sql="coalesce(seen, as_of_timestamp)")
            same = Feature(bool, sql="seen = as_of_timestamp")

    rows = [oracle.Row(1, oracle.START + i * oracle.HOUR, i, 1, i, None) for i in range(3)]
    applied(tmp_path, declare)
    at = [oracle.START + i * oracle.HOUR for i in range(7)]
    names = ["windows.seen", "later.both", "later.same"]

    found = Elsewhere(tmp_path, spark).training_set(names, spine_of([(1, time) for time in at]), "at", ["user_id"])

    assert found == [(time if 2 <= i <= 4 else None, time, True if 2 <= i <= 4 else None) for i, time in enumerate(at)]


def test_an_order_that_spark_does_not_have_is_refused(tmp_path: Path, spark: SparkSession) -> None:
    """DuckDB orders an enum by its declaration, and NULLs last within lists."""

    def declare() -> None:
        user = Entity("user", keys={"user_id": int})
        query = "SELECT 1 AS user_id, TIMESTAMP '2026-01-01' AS ts, CAST('a' AS ENUM('b', 'a')) AS kind, [1, NULL] AS listed"
        source = Source("rows", sql=query, timestamp="ts")

        class Windows(FeatureGroup, entity=user, source=source):
            last_kind = Feature(str, sql="max(kind)", last_n=2)
            newest = Feature("INTEGER[]", sql="last(listed)", window="1 day")
            kinds = Feature(int, sql="count(kind)", window="1 day")

    applied(tmp_path, declare)
    store = Elsewhere(tmp_path, spark)
    spine = spine_of([(1, oracle.START)])

    for name, dtype in (("last_kind", r"ENUM\('b', 'a'\)"), ("newest", r"INTEGER\[\]")):
        with pytest.raises(Unproved, match=f"^the order of {dtype} is not proved on Spark$"):
            store.training_set([f"windows.{name}"], spine, "at", ["user_id"])
    assert store.training_set(["windows.kinds"], spine, "at", ["user_id"]) == [(0,)]


def test_windows_over_unknown_rows_are_refused(tmp_path: Path, spark: SparkSession) -> None:
    """The types of their columns decide what the aggregates are."""
    features: dict[str, Any] = {"n": Feature(int, sql="count(*)", window="1 day")}
    store = Elsewhere(root_of(tmp_path, [], features, late=False), spark)
    store.events = {}

    with pytest.raises(Unproved, match=r"^the types of the rows that windows\.n aggregates are not known$"):
        store.training_set(["windows.n"], spine_of([(1, oracle.START)]), "at", ["user_id"])
