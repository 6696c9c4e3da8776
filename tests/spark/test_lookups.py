"""Lookups on Spark: the values of a spine are those worked out by hand, and those of loops over all rows."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, given, settings

from featdsl import Entity, Feature, FeatureGroup, FeatureStore, Source
from featdsl.definitions.plain_types import plain_type
from featdsl.definitions.sources import Column
from featdsl.engines.lookups import Spine, Want
from featdsl.engines.spark.lookups import compile_sql
from featdsl.engines.spark.translate import Unproved
from tests.declared import applied
from tests.query import test_ending_rows as ending
from tests.query import test_foreign_keys as foreign
from tests.query import test_point_in_time as by_hand
from tests.spark.elsewhere import Elsewhere, Lent
from tests.trying import worlds

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas:FutureWarning")
FEW = settings(
    max_examples=3, deadline=None, phases=[Phase.explicit, Phase.generate], suppress_health_check=list(HealthCheck)
)
"""An example is a store of its own."""


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Lent:
    """A store with a group for each case that was worked out by hand."""

    def declare() -> None:
        for number, case in enumerate(by_hand.CASES):
            name = "_".join(case["keys"])
            if name not in entities:
                entities[name] = Entity(name, keys={key: by_hand.TYPES[key] for key in case["keys"]})
            source = Source(f"rows{number}", frame=by_hand.rows(case["rows"]), **case["source"])
            features = {feature: Feature(**options) for feature, options in case["features"].items()}
            type(
                f"Group{number}",
                (FeatureGroup,),
                {},
                entity=entities[name],
                source=source,
                features=features,
                **case["group"],
            )

    entities: dict[str, Entity] = {}
    root = tmp_path_factory.mktemp("cases")
    applied(root, declare)
    return Lent(root)


@pytest.mark.parametrize("number", range(len(by_hand.CASES)), ids=[case["name"] for case in by_hand.CASES])
def test_each_feature_has_the_value_that_was_known(cases: Lent, number: int, spark: SparkSession) -> None:
    """The cases that were worked out by hand."""
    case = by_hand.CASES[number]
    spine = by_hand.rows(case["spine"])
    spine = spine.set_column(spine.column_names.index("ts"), "ts", spine["ts"].cast(pa.timestamp("us")))

    found = Elsewhere(cases, spark).training_set(
        [f"group{number}.{name}" for name in case["expect"]], spine, "ts", case["keys"]
    )

    assert found == list(zip(*case["expect"].values(), strict=True))


@FEW
@given(ending.worlds)
def test_values_end_and_expire(tmp_path: Path, spark: SparkSession, world: ending.World) -> None:
    """Rows that end, that expire, or that became known late, at every day."""
    world = replace(world, fine=False)
    root = _applied(tmp_path, world.declare)
    asked = [(user, day) for user in (*ending.USERS, 3) for day in ending.SPAN]
    spine = pa.table({"user_id": [user for user, _ in asked], "ts": [ending.at(day) for _, day in asked]})

    found = Elsewhere(root, spark).training_set(["one.a", "other.b", "both.both"], spine, "ts", ["user_id"])

    assert found == [world.expected(user, day) for user, day in asked]


@FEW
@given(foreign.WORLDS)
def test_values_are_keys_of_other_values(tmp_path: Path, spark: SparkSession, world: foreign.World) -> None:
    """A carrier that a flight had, an alliance that the carrier had, what was known of it; keys that fit no type."""
    root = _applied(tmp_path, world.declare)
    asked = [(flight, day) for flight in (1, 2, 3, 4, None) for day in range(-1, 16)]
    spine = pa.table({
        "flight": pa.array([flight for flight, _ in asked], pa.int64()),
        "ts": pa.array([foreign.at(day) for _, day in asked], pa.timestamp("us")),
    })  # fmt: skip

    found = Elsewhere(root, spark).training_set(
        ["risk.late_there", "risk.loyal_there", "risk.risk"], spine, "ts", ["flight"]
    )

    assert found == [world.risk(flight, day) if flight else (None, None, 0) for flight, day in asked]


@FEW
@given(worlds.worlds())
def test_values_are_of_windows_derived_and_of_a_request(
    tmp_path: Path, spark: SparkSession, world: worlds.World
) -> None:
    """Every kind of feature in one query, one row for each row of the spine, repeated ones too."""
    root = tmp_path / uuid.uuid4().hex
    root.mkdir()
    worlds.write(world, root)
    applied(root, worlds.declare(world))
    names = ["latest.n", "latest.x", "latest.friend", "recent.total", "recent.rows", "derived.surplus", "derived.scaled",
             "social.both"]  # fmt: skip

    found = Elsewhere(root, spark).training_set(names, worlds.spine(world), "asked", ["user_id"])

    assert found == [tuple(row[name.partition(".")[2]] for name in names) for row in worlds.expected(world)]


VALUES = {
    "flag": ("BOOLEAN", "n % 2 = 0"), "tiny": ("TINYINT", "-n"), "unsigned": ("UBIGINT", "18446744073709551615 - n"),
    "small": ("USMALLINT", "65535 - n"), "huge": ("HUGEINT", "-99999999999999999999999999999999999999 + n"),
    "single": ("FLOAT", "n / 3"), "real": ("DOUBLE", "CASE n WHEN 1 THEN 'NaN' WHEN 2 THEN '-inf' ELSE n / 3 END"),
    "money": ("DECIMAL(18,2)", "n / 4"), "text": ("VARCHAR", "'ä \\'' \" ' || n"), "bytes": ("BLOB", "encode('ä' || n)"),
    "day": ("DATE", "DATE '1899-12-31' + n::INTEGER"), "time": ("TIMESTAMP", "TIMESTAMP '1969-12-31 23:59:59.999999' - to_days(n::INTEGER)"),
    "instant": ("TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ '1969-12-31 23:59:59.999999+02:00' + to_days(n::INTEGER)"),
    "seconds": ("TIMESTAMP_S", "TIMESTAMP '2026-01-01' + to_days(n::INTEGER)"), "identity": ("UUID", "lpad(n::VARCHAR, 32, '0')"),
    "kind": ("ENUM('b', 'a')", "CASE WHEN n % 2 = 0 THEN 'a' ELSE 'b' END"), "listed": ("INTEGER[]", "[n, NULL]"),
    "four": ("DOUBLE[2]", "[n, n / 3]"), "inside": ('STRUCT(a INTEGER, "b c" VARCHAR[])', "{'a': n, 'b c': ['x', NULL]}"),
    "mapped": ("MAP(VARCHAR, DECIMAL(9,3))", "MAP {'k': n / 8, 'l': NULL}"),
}  # fmt: skip
"""Types of features, and a value of each for a number n."""
KEYS = {
    "text": ("VARCHAR", "'é' || n"), "money": ("DECIMAL(9,2)", "n / 4"), "day": ("DATE", "DATE '1899-12-31' + n::INTEGER"),
    "time": ("TIMESTAMP", "TIMESTAMP '1969-12-31 23:59:59.999999' - to_days(n::INTEGER)"), "huge": ("HUGEINT", "n + 1e20::HUGEINT"),
    "bytes": ("BLOB", "encode('ä' || n)"), "flag": ("BOOLEAN", "n % 2 = 0"), "identity": ("UUID", "lpad(n::VARCHAR, 32, '0')"),
}  # fmt: skip


@pytest.fixture(scope="module")
def typed(tmp_path_factory: pytest.TempPathFactory) -> Lent:
    """Values and keys of every type, with times and without; some are NULL."""
    values = ", ".join(
        f"CASE WHEN n % 3 > 0 THEN CAST({sql} AS {'VARCHAR' if dtype.startswith('ENUM') else dtype}) END AS {name}"
        for name, (dtype, sql) in VALUES.items()
    )
    keys = ", ".join(f"CAST({sql} AS {dtype}) AS k_{name}" for name, (dtype, sql) in KEYS.items())
    query = (
        f"SELECT n % 3 AS k, TIMESTAMP '2026-01-01' + to_days(n::INTEGER) AS at, {values}, {keys} FROM range(8) t(n)"
    )

    def declare() -> None:
        number = Entity("number", keys={"k": int})
        first, second = ({name: Feature(dtype) for name, (dtype, _) in VALUES.items()} for _ in range(2))

        class Timed(FeatureGroup, entity=number, source=Source("rows", sql=query, timestamp="at"), features=first):
            """Values of every type."""

        class Untimed(FeatureGroup, entity=number, source=Source("last", sql=f"{query} WHERE n > 4"), features=second):
            """Values of every type."""

        for name, (dtype, _) in KEYS.items():
            entity = Entity(f"by_{name}", keys={f"k_{name}": dtype})
            source = Source(f"by_{name}", sql=f"{query} WHERE n IN (1, 4)", timestamp="at")
            type(f"By{name.title()}", (FeatureGroup,), {}, entity=entity, source=source, features={"k": Feature(int)})

    root = tmp_path_factory.mktemp("typed")
    applied(root, declare)
    return Lent(root)


@pytest.mark.parametrize("group", ["timed", "untimed"])
def test_a_value_of_any_type_is_found_whole(typed: Lent, group: str, spark: SparkSession) -> None:
    """And NULL is a value of each."""
    elsewhere, names = Elsewhere(typed, spark), [f"{group}.{name}" for name in VALUES]
    at = [datetime(2026, 1, day) for day in range(1, 10)] * 3  # noqa: DTZ001 - naive is UTC
    spine = pa.table({"k": pa.array([i // 9 for i in range(27)]), "at": pa.array(at, pa.timestamp("us"))})

    found = elsewhere.training_set(names, spine, "at", ["k"])

    training = FeatureStore(typed.root).training_set(names, spine, timestamp="at")
    columns = ", ".join(f"CAST({name} AS {plain_type(dtype)}) AS {name}" for name, (dtype, _) in VALUES.items())
    wanted = training.relation.project(columns).to_arrow_table()
    assert list(map(repr, found)) == list(map(repr, zip(*(each.to_pylist() for each in wanted.columns), strict=True)))


def test_values_of_any_type_pass_through_other_lookups(typed: Lent, spark: SparkSession) -> None:
    """Those of a table with other keys, whichever comes first."""
    elsewhere, names = Elsewhere(typed, spark), [f"timed.{name}" for name in VALUES]
    at = pa.array([datetime(2026, 1, 6)] * 3, pa.timestamp("us"))  # noqa: DTZ001 - naive is UTC
    spine = pa.table({"k": [0, 1, 2], "k_text": ["é1", "é0", "é4"], "at": at})

    alone = elsewhere.training_set(names, spine.drop_columns(["k_text"]), "at", ["k"])
    after = elsewhere.training_set([*names, "by_text.k"], spine, "at", ["k", "k_text"])
    before = elsewhere.training_set(["by_text.k", *names], spine, "at", ["k", "k_text"])

    assert list(map(repr, after)) == [repr((*row, key)) for row, key in zip(alone, (1, None, 1), strict=True)]
    assert list(map(repr, before)) == [repr((key, *row)) for row, key in zip(alone, (1, None, 1), strict=True)]


@pytest.mark.parametrize("name", list(KEYS))
def test_a_key_of_any_proved_type_finds_its_rows(typed: Lent, name: str, spark: SparkSession) -> None:
    """In the plain type of the key."""
    elsewhere, dtype = Elsewhere(typed, spark), plain_type(KEYS[name][0])
    key = f"CAST(CAST({KEYS[name][1]} AS {KEYS[name][0]}) AS {dtype})"
    keys = elsewhere.session.arrow(
        f"SELECT {key} AS k_{name}, n FROM range(6) t(n) ORDER BY n", {f"k_{name}": str(dtype), "n": "BIGINT"}
    )
    at = pa.array([datetime(2026, 1, 4)] * len(keys), pa.timestamp("us"))  # noqa: DTZ001 - naive is UTC
    spine = pa.table({f"k_{name}": keys[f"k_{name}"], "at": at})

    found = elsewhere.training_set([f"by_{name}.k"], spine, "at", [f"k_{name}"])

    assert found == [(1 if n == 1 or (name == "flag" and n % 2) else None,) for n in range(6)]


def test_rows_come_back_in_order_with_all_columns(cases: Lent, spark: SparkSession) -> None:
    """Of any relation as the spine; a column of it may have the name of a key in another letter case."""
    elsewhere = Elsewhere(cases, spark)
    feature = elsewhere.feature("group0.v")
    rows = "SELECT id AS `#row`, 1 - id AS `User_ID`, 'x' AS `a b`, TIMESTAMP_NTZ '2026-01-03' AS at FROM range(3)"
    spine = Spine(
        sql=f"({rows})",
        columns=["a b", "User_ID"],
        keys={"user_id": "`User_ID`"},
        time="at",
        numbered=True,
        ordered=True,
    )

    found = elsewhere.rows(compile_sql([Want("value", feature)], spine, elsewhere.snapshot.versions))

    assert found == [("x", 1, 3.0), ("x", 0, None), ("x", -1, None)]


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"keys": (Column(name="user_id", dtype="DOUBLE"),)}, "a key of type DOUBLE is not proved on Spark"),
        ({"clock": "TIMESTAMP_NS"}, "TIMESTAMP_NS has no type on Spark"),
        ({"dtype": "INTERVAL"}, "INTERVAL has no type on Spark"),
    ],
)
def test_what_has_no_equal_on_spark_is_refused(cases: Lent, changed: dict[str, Any], reason: str) -> None:
    """Keys that compare otherwise, times and values that Spark has no type for."""
    feature = replace(cases.snapshot.catalog.features["group0.v"], **changed)
    spine = Spine(sql="spine", columns=[], keys={"user_id": "user_id"}, time="at")

    with pytest.raises(Unproved, match=f"^{reason}$"):
        compile_sql([Want("v", feature)], spine, {(feature.address, feature.fingerprint): feature})


def _applied(folder: Path, declare: Any) -> Path:
    """Apply declarations in a folder of their own."""
    root = folder / uuid.uuid4().hex
    root.mkdir()
    applied(root, declare)
    return root
