"""What model code reads: training sets of any spine, values for serving, at any time the value that was known then."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featdsl import (
    AmbiguousFeatureError,
    DeclarationError,
    Entity,
    Feature,
    FeatureGroup,
    FeatureNotFoundError,
    FeatureSet,
    FeatureStore,
    RequestError,
    Source,
)
from tests.conftest import ACCOUNTS, BANK, Workspace
from tests.declared import JOINS, applied, join_by
from tests.waiting import PATIENCE

SPINE = "SELECT * FROM (VALUES (3, TIMESTAMP '2026-01-08', 'a'), (0, '2026-01-01', 'b'), (3, '2026-01-08', 'a'), (9, '2026-01-08', 'c')) t(user_id, ts, note)"
"""Out of order, with a duplicate, an unknown user, and a column of its own."""
JOINED = [
    (3, datetime(2026, 1, 8), "a", 33, 7000.0),  # noqa: DTZ001 - naive is UTC
    (0, datetime(2026, 1, 1), "b", 36, 0.0),  # noqa: DTZ001
    (3, datetime(2026, 1, 8), "a", 33, 7000.0),  # noqa: DTZ001
    (9, datetime(2026, 1, 8), "c", None, None),  # noqa: DTZ001
]
"""The spine, and what was known of age and income at its times."""


def moment(day: int, hour: int = 0) -> datetime:
    """Return a moment of January 2026, naive as stored times are."""
    return datetime(2026, 1, day, hour)  # noqa: DTZ001


def arrow_spine() -> pa.Table:
    """Return the spine as Arrow."""
    return duckdb.sql(SPINE).to_arrow_table()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The bank, applied once for the tests that only read it."""
    workspace = Workspace(tmp_path_factory.mktemp("bank")).write(BANK).parquet("data/accounts.parquet", ACCOUNTS)
    workspace.apply()
    return workspace


@pytest.fixture
def store(shared: Workspace) -> FeatureStore:
    """A fresh store of the bank."""
    return shared.store


# Spines of every kind


@pytest.mark.parametrize(
    "spine",
    [
        pytest.param(lambda: arrow_spine().to_pandas(), id="pandas"),
        pytest.param(lambda: pl.from_arrow(arrow_spine()), id="polars"),
        pytest.param(lambda: pl.from_arrow(arrow_spine()).lazy(), id="polars, lazy"),
        pytest.param(arrow_spine, id="pyarrow"),
        pytest.param(lambda: duckdb.connect().sql(SPINE), id="a relation of another connection"),
        pytest.param(lambda: SPINE, id="SQL"),
        pytest.param(lambda: f"{SPINE};  -- the whole spine", id="SQL that ends in a comment"),
        pytest.param(lambda: arrow_spine().to_pylist(), id="a list of dicts"),
    ],
)
def test_a_spine_of_any_kind_comes_back_whole_and_in_order(store: FeatureStore, spine: Any) -> None:
    """Its rows, duplicates too, and its columns, followed by the features."""
    training = store.training_set("credit_risk@1", spine(), timestamp="ts")

    assert training.relation.columns == ["user_id", "ts", "note", "age", "income"]
    assert training.relation.fetchall() == JOINED


@pytest.mark.parametrize(
    ("name", "options"), [("s p.parquet", "parquet"), ("spine.parquet", "parquet"), ("spine.csv", "csv")]
)
def test_a_spine_may_be_a_file(store: FeatureStore, tmp_path: Path, name: str, options: str) -> None:
    """By its path, as text or as a Path."""
    path = tmp_path / name
    duckdb.execute(f"COPY ({SPINE}) TO '{path}' (FORMAT {options})")

    for spine in (path, str(path)):
        assert store.training_set("credit_risk@1", spine, timestamp="ts").relation.fetchall() == JOINED


def test_a_large_spine_keeps_its_order(store: FeatureStore) -> None:
    """Whatever threads do, row i stays row i."""
    spine = "SELECT i % 7 AS user_id, TIMESTAMP '2026-01-08' AS ts, i FROM range(300000) t(i) ORDER BY i DESC"

    found = store.training_set(["age"], spine, timestamp="ts").arrow()

    assert found["i"].to_pylist() == list(range(299_999, -1, -1))


def test_a_large_spine_that_may_come_in_any_order_is_not_sorted(store: FeatureStore) -> None:
    """The rows are the same."""
    spine = "SELECT i % 7 AS user_id, TIMESTAMP '2026-01-08' AS ts, i FROM range(300000) t(i) ORDER BY i DESC"
    ordered = store.training_set(["age", "income"], spine, timestamp="ts")

    found = store.training_set(["age", "income"], spine, timestamp="ts", ordered=False)

    assert found.arrow().sort_by("i").equals(ordered.arrow().sort_by("i"))
    assert "ORDER BY" not in found.sql.splitlines()[-1]
    assert "ORDER BY" in ordered.sql.splitlines()[-1]


def test_a_spine_in_sql_reads_published_views(store: FeatureStore) -> None:
    """Entities and times often come from features that are there already."""
    spine = "SELECT user_id, max(event_timestamp) AS ts FROM prod.user_profile GROUP BY user_id ORDER BY user_id"

    training = store.training_set(["income"], spine, timestamp="ts")

    assert [row[2] for row in training.relation.fetchall()] == [16000.0, 17000.0, 18000.0, 19000.0]


def test_an_empty_spine_gives_no_rows(store: FeatureStore) -> None:
    """And all the columns."""
    training = store.training_set(["age"], arrow_spine().slice(0, 0), timestamp="ts")

    assert training.arrow().column_names == ["user_id", "ts", "note", "age"]
    assert training.arrow().num_rows == 0


def test_columns_are_found_whatever_their_case(store: FeatureStore) -> None:
    """SQL does not tell USER_ID from user_id; the spine keeps its spelling."""
    training = store.training_set(["age"], [{"USER_ID": 3, "Ts": moment(8)}], timestamp="ts")

    assert training.arrow().to_pylist() == [{"USER_ID": 3, "Ts": moment(8), "age": 33}]


def test_a_column_may_have_any_name(store: FeatureStore) -> None:
    """Names that are words of SQL, that hold quotes, or that features of the query use inside."""
    row = {"user_id": 3, "ts": moment(8), "select": 1, 'a "quote"': 2, "#f0": 3, "event_timestamp": 4, "l0": 5}

    training = store.training_set(["age"], [row], timestamp="ts")

    assert training.arrow().to_pylist() == [{**row, "age": 33}]


# Results of every kind


def test_a_training_set_is_a_frame_of_each_library(store: FeatureStore) -> None:
    """pandas, polars, pyarrow and DuckDB show the same rows."""
    training = store.training_set("credit_risk@1", SPINE, timestamp="ts")

    assert isinstance(training.df(), pd.DataFrame)
    assert isinstance(training.pl(), pl.DataFrame)
    assert isinstance(training.arrow(), pa.Table)
    assert training.pl().rows() == training.relation.fetchall() == JOINED
    assert training.arrow().to_pylist() == training.pl().to_dicts()
    assert training.df()["income"].tolist()[:3] == [7000.0, 0.0, 7000.0]


def test_features_have_their_declared_types(store: FeatureStore) -> None:
    """Whatever the source's types were."""
    relation = store.training_set("credit_risk@1", SPINE, timestamp="ts").relation

    assert [str(dtype) for dtype in relation.types[3:]] == ["BIGINT", "DOUBLE"]


def test_the_lock_tells_what_was_read(store: FeatureStore) -> None:
    """The set, the state of the store, and the fingerprint of each feature: small JSON to keep with a model."""
    lock = store.training_set("credit_risk@1", SPINE, timestamp="ts").lock

    assert (lock["format"], lock["set"], lock["store"]["serial"]) == (2, "credit_risk@1", 1)
    assert {column: each["feature"] for column, each in lock["features"].items()} == {
        "age": "user_profile.age",
        "income": "user_profile.income",
    }
    assert all(len(each["fingerprint"]) == 32 for each in lock["features"].values())


# Keys and times that do not fit


def test_keys_that_pandas_turned_into_floats_still_match(store: FeatureStore) -> None:
    """A gap makes a column of integers a column of floats; a fraction and a gap are nobody's key."""
    spine = pd.DataFrame({"user_id": [3.0, None, 0.5, 0.0, 1e300], "ts": [moment(8)] * 5})

    training = store.training_set(["age"], spine, timestamp="ts")

    assert training.arrow()["age"].to_pylist() == [33, None, None, 36, None]


@pytest.mark.parametrize("key", [2**63 + 5, -(2**40)])
def test_a_key_beyond_the_range_of_the_feature_is_unknown(store: FeatureStore, key: int) -> None:
    """It can be nobody's, so its value is NULL; other rows are not to suffer."""
    spine = f"SELECT unnest([3, {key}]) AS user_id, TIMESTAMP '2026-01-08' AS ts"

    assert store.training_set(["age"], spine, timestamp="ts").arrow()["age"].to_pylist() == [33, None]


def test_a_set_is_asked_for_alone(store: FeatureStore) -> None:
    """In a list beside features it is no feature, and the message says so."""
    with pytest.raises(RequestError, match="credit_risk@1 is a set version, and a list can only have features"):
        store.get_features(["age", "credit_risk@1"], user_id=3)


@pytest.mark.parametrize("asked", [None, 5, [5], [None]])
def test_what_names_no_feature_is_refused(store: FeatureStore, asked: Any) -> None:
    """In words, whatever it is."""
    with pytest.raises(RequestError, match="names no feature") as refused:
        store.get_features(asked, user_id=3)
    assert "Name features as UserProfile.age" in str(refused.value)


def test_keys_as_text_are_numbers_where_each_says_one(store: FeatureStore) -> None:
    """A silent cast would round some, so the first one that is no whole number is named."""
    asked = {"user_id": "3", "ts": moment(8)}
    as_number = store.training_set(["age"], [{**asked, "user_id": 3}], timestamp="ts").relation.fetchall()[0][-1]
    assert store.training_set(["age"], [asked], timestamp="ts").relation.fetchall()[0][-1] == as_number
    with pytest.raises(RequestError, match="has the value '3.5' in row 2; the key is BIGINT"):
        store.training_set(["age"], [asked, {**asked, "user_id": "3.5"}], timestamp="ts")


def test_a_spine_without_the_key_is_refused(store: FeatureStore) -> None:
    """With the nearest of its own columns."""
    with pytest.raises(RequestError, match=r'no column .user_id.(?s:.*)Did you mean "userid"\?'):
        store.training_set(["age"], [{"userid": 3, "ts": moment(8)}], timestamp="ts")


def test_a_spine_needs_to_say_at_which_times_it_asks(store: FeatureStore) -> None:
    """The only column of times is suggested."""
    with pytest.raises(RequestError, match='needs a time(?s:.*)timestamp="ts"'):
        store.training_set(["age"], SPINE)


def test_times_as_text_are_refused(store: FeatureStore) -> None:
    """They are to be parsed first."""
    with pytest.raises(RequestError, match="timestamp 'ts' is VARCHAR, not a DATE or TIMESTAMP"):
        store.training_set(["age"], [{"user_id": 3, "ts": "2026-01-08"}], timestamp="ts")


def test_a_spine_with_a_column_of_a_features_name_is_refused(store: FeatureStore) -> None:
    """Never a silent suffix: an alias is suggested."""
    with pytest.raises(RequestError, match=r"already has a column .[Aa]ge.(?s:.*)\.alias\("):
        store.training_set(["age"], [{"user_id": 3, "ts": moment(8), "Age": 1}], timestamp="ts")


def test_what_is_no_frame_is_refused(store: FeatureStore) -> None:
    """With what a spine may be."""
    with pytest.raises(RequestError, match="int is not a frame"):
        store.training_set(["age"], 42, timestamp="ts")


def test_sql_that_cannot_run_is_refused(store: FeatureStore) -> None:
    """As a mistake of the request, in the engine's words."""
    with pytest.raises(RequestError, match="Spine cannot be read(?s:.*)nowhere"):
        store.training_set(["age"], "SELECT * FROM nowhere", timestamp="ts")


@pytest.mark.parametrize(
    ("spine", "quoted"),
    [
        ("bad.parquet", []),
        ("bad.jsonl", []),
        ("SELECT 1 AS user_id,\n, 2", ["  LINE 2: , 2"]),
        ("SELECT 1 AS user_id,\nCAST('x' AS TIMESTAMP) AS ts", ["  LINE 2: CAST('x' AS TIMESTAMP) AS ts"]),
    ],
    ids=["parquet", "json", "parser", "cast"],
)
def test_a_spine_that_cannot_be_read_shows_nothing_but_what_was_given(
    store: FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spine: str, quoted: list[str]
) -> None:
    """No statement that featdsl makes around it, and the lines of SQL as its author counts them."""
    monkeypatch.chdir(tmp_path)
    for name in ("bad.parquet", "bad.jsonl"):
        Path(name).write_text("not this\n", encoding="utf-8")

    with pytest.raises(RequestError) as raised:
        store.training_set(["age"], spine, timestamp="ts")

    summary, said, *rest = str(raised.value).split("\n")
    assert summary == "Spine cannot be read"
    assert " Error: " in said
    assert rest == [*quoted, "  Give a frame, a relation, a SELECT, or the path of a Parquet or CSV file."]


@pytest.mark.parametrize("spine", ["SELECT 1; SELECT 2", "DROP TABLE x", ""])
def test_sql_that_is_no_single_select_is_refused(store: FeatureStore, spine: str) -> None:
    """A spine is rows to read, not something to run."""
    with pytest.raises(RequestError, match="The SQL of a spine is one SELECT"):
        store.training_set(["age"], spine, timestamp="ts")


def test_null_keys_and_null_times_know_nothing(store: FeatureStore) -> None:
    """Their rows stay, with NULL."""
    spine = "SELECT * FROM (VALUES (NULL, TIMESTAMP '2026-01-08'), (3, NULL), (3, '2026-01-08')) t(user_id, ts)"

    assert store.training_set(["age"], spine, timestamp="ts").arrow()["age"].to_pylist() == [None, None, 33]


@pytest.mark.parametrize(
    ("time", "income"),
    [
        ("DATE '2026-01-08'", 7000.0),
        ("TIMESTAMPTZ '2026-01-08 00:00:00+00'", 7000.0),
        ("TIMESTAMPTZ '2026-01-08 01:00:00+02'", 3000.0),
        ("TIMESTAMP_S '2026-01-08 00:00:00'", 7000.0),
        ("TIMESTAMP_NS '2026-01-08 00:00:00'", 7000.0),
    ],
)
def test_times_are_instants_of_any_type(store: FeatureStore, time: str, income: float) -> None:
    """A date is its midnight in UTC; an offset counts."""
    spine = f"SELECT 3 AS user_id, {time} AS ts"

    assert store.training_set(["income"], spine, timestamp="ts").arrow()["income"].to_pylist() == [income]


def test_the_machines_time_zone_changes_nothing(shared: Workspace) -> None:
    """Naive times are UTC, also where the clock on the wall says otherwise."""
    script = """
from featdsl import FeatureStore
spine = "SELECT 3 AS user_id, unnest([TIMESTAMPTZ '2026-01-08 00:00:00+00', '2026-01-07 23:59:59+00']) AS ts"
store = FeatureStore()
print(store.training_set(["income"], spine, timestamp="ts").arrow()["income"].to_pylist())
spine = "SELECT 3 AS user_id, TIMESTAMP '2026-01-08' AS ts"
print(store.training_set(["income"], spine, timestamp="ts").arrow()["income"].to_pylist())
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=shared.root, env={**os.environ, "TZ": "Pacific/Auckland"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip

    assert done.stdout.splitlines() == ["[7000.0, 3000.0]", "[7000.0]"]


# Values for serving


def test_values_of_now_by_key(store: FeatureStore) -> None:
    """A dict of plain Python values, in the order asked for."""
    found = store.get_features(["income", "user_profile.age"], user_id=3)

    assert list(found.items()) == [("income", 19000.0), ("age", 33)]
    assert [type(value) for value in found.values()] == [float, int]


def test_values_of_many_come_in_order(store: FeatureStore) -> None:
    """One dict for each row, duplicates and unknown keys too."""
    found = store.get_features("credit_risk@2", rows=[{"user_id": key} for key in (3, 9, 0, 3, None)])

    assert [each["age"] for each in found] == [33, None, 36, 33, None]
    assert found[1] == {"age": None, "income": None, "monthly": None}
    assert store.get_features(["age"], rows=[]) == []


def test_one_feature_is_named_by_object_without_a_list(store: FeatureStore) -> None:
    """As by name; a declaration can be iterated, and is no list of features."""
    user, rows = Entity("user", keys={"user_id": int}), Source("accounts", path="data/accounts.parquet")

    class UserProfile(FeatureGroup, entity=user, source=rows):
        income = Feature(float)

    assert store.get_features(UserProfile.income, user_id=3) == {"income": 19000.0}
    assert store.get_features(UserProfile.income.alias("pay"), user_id=3) == {"pay": 19000.0}
    assert store.training_set(UserProfile.income, SPINE, timestamp="ts").df()["income"].tolist()[0] == 7000.0


def test_a_set_is_named_by_object(store: FeatureStore) -> None:
    """As model code imports it."""
    declared = FeatureSet("credit_risk", version=1, features=["user_profile.age"])

    assert store.get_features(declared, user_id=3) == {"age": 33, "income": 19000.0}


def test_an_unknown_feature_raises_with_the_nearest_names(store: FeatureStore) -> None:
    """A LookupError too, for code that catches those."""
    with pytest.raises(FeatureNotFoundError, match='No feature "incom" has been applied(?s:.*)"user_profile.income"'):
        store.get_features(["incom"], user_id=3)
    assert issubclass(FeatureNotFoundError, LookupError)


def test_an_unknown_set_raises_with_the_nearest_names(store: FeatureStore) -> None:
    """A version that is not applied is none."""
    with pytest.raises(FeatureNotFoundError, match='"credit_risk@3"(?s:.*)"credit_risk@1"'):
        store.get_features("credit_risk@3", user_id=3)


def test_keys_that_do_not_fit_are_refused(store: FeatureStore) -> None:
    """Unknown, missing, of a wrong type, or given twice: each with what is expected."""
    for keys, said in [
        ({"user": 3}, 'Did you mean "user_id"'),
        ({}, "need the key 'user_id'"),
        ({"user_id": "x"}, "The keys are: user_id: BIGINT"),
        ({"user_id": True}, "The keys are: user_id: BIGINT"),
        ({"user_id": 3, "rows": [{"user_id": 3}]}, "both rows= and keys by name"),
    ]:
        with pytest.raises(RequestError, match=said):
            store.get_features(["age"], **keys)


def test_every_stored_value_of_a_feature(store: FeatureStore) -> None:
    """Keys, times, values."""
    relation = store.get_feature("income")

    assert relation.columns == ["user_id", "event_timestamp", "income"]
    assert relation.filter("user_id = 3").order("event_timestamp").limit(2).fetchall() == [
        (3, moment(4), 3000.0),
        (3, moment(8), 7000.0),
    ]


# Features of every kind


def table(**columns: list[Any]) -> pa.Table:
    """Return rows by column."""
    return pa.table(columns)


def airports() -> None:
    """Declare weather and names of airports, routes between them, and one rate for everyone."""
    airport = Entity("airport", keys={"airport": str})
    route = Entity("route", keys={"airport": str, "carrier": str})
    weather = Source(
        "weather",
        frame=table(airport=["A", "A", "B"], at=[date(2026, 1, 1), date(2026, 1, 3), date(2026, 1, 2)], temp=[1.0, 3.0, 20.0]),
        timestamp="at",
    )  # fmt: skip
    names = Source("names", frame=table(code=["A", "B"], name=["Alta", "Berlin"]))
    flown = Source(
        "flown",
        frame=table(airport=["A", "A"], carrier=["X", "Y"], at=[moment(1), moment(2)], n=[5, 6]),
        timestamp="at",
    )
    rates = Source("rates", frame=table(at=[moment(1), moment(5)], rate=[0.1, 0.5]), timestamp="at")
    constants = Source("constants", frame=table(answer=[42]))

    class Weather(FeatureGroup, entity=airport, source=weather):
        temp = Feature(float)

    class Names(FeatureGroup, entity=airport, source=names, keys={"airport": "code"}):
        name = Feature(str)

    class Flown(FeatureGroup, entity=route, source=flown):
        flights = Feature(int, sql="n")

    class Rates(FeatureGroup, entity=None, source=rates):
        rate = Feature(float)

    class Constants(FeatureGroup, entity=None, source=constants):
        answer = Feature(int)

    class Charged(
        FeatureGroup, entity=route, inputs=[Flown.flights, Rates.rate, Weather.temp, Names.name], materialize=True
    ):
        charge = Feature(float, sql="flights * rate")
        label = Feature(str, sql="name || ' ' || temp")

    class Doubled(FeatureGroup, entity=route, inputs=[Charged.charge, Constants.answer], materialize=True):
        doubled = Feature(float, sql="charge * 2 + answer")

    FeatureSet(
        "trip",
        version=1,
        features=[
            Weather.temp.alias("temp_here"),
            Weather.temp.alias("temp_there", keys={"airport": "dest"}),
            Names.name.alias("dest_name", keys={"airport": "dest"}),
            Flown.flights,
            Rates.rate,
            Doubled.doubled.alias("doubled_there", keys={"airport": "dest"}),
        ],
    )


@pytest.fixture(scope="module")
def travel(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    """A store of airports, routes and rates."""
    return applied(tmp_path_factory.mktemp("travel"), airports)


def test_a_set_spans_entities_and_roles(travel: FeatureStore) -> None:
    """The spine carries all keys; the airport is looked up as origin and as destination."""
    spine = [
        {"airport": "A", "dest": "B", "carrier": "X", "ts": moment(4)},
        {"airport": "B", "dest": "A", "carrier": "Y", "ts": moment(2)},
    ]

    found = travel.training_set("trip@1", spine, timestamp="ts").arrow().to_pylist()

    assert [{name: row[name] for name in row if name not in spine[0]} for row in found] == [
        {"temp_here": 1.0 + 2.0, "temp_there": 20.0, "dest_name": "Berlin", "flights": 5, "rate": 0.1, "doubled_there": None},
        {"temp_here": 20.0, "temp_there": 1.0, "dest_name": "Alta", "flights": None, "rate": 0.1, "doubled_there": 6 * 0.1 * 2 + 42},
    ]  # fmt: skip


def test_an_alias_is_read_without_a_set(travel: FeatureStore) -> None:
    """For serving, by the role's column."""

    class Weather(FeatureGroup, entity=Entity("airport", keys={"airport": str}), source=Source("w", path="w.csv")):
        temp = Feature(float)

    there = Weather.temp.alias("there", keys={"airport": "dest"})

    assert travel.get_features([there], dest="B") == {"there": 20.0}


def test_values_without_an_entity_need_no_key(travel: FeatureStore) -> None:
    """One that changes over time, and one that does not."""
    assert travel.get_features(["rate", "answer"]) == {"rate": 0.5, "answer": 42}
    assert travel.get_features(["answer"], rows=[{}, {}]) == [{"answer": 42}, {"answer": 42}]


def test_values_without_an_entity_have_times(travel: FeatureStore) -> None:
    """A spine of times alone is enough."""
    spine = [{"ts": moment(day)} for day in (4, 5, 1)] + [{"ts": datetime(2025, 12, 31)}]  # noqa: DTZ001

    found = travel.training_set(["rate", "answer"], spine, timestamp="ts").arrow()

    assert found["rate"].to_pylist() == [0.1, 0.5, 0.1, None]
    assert found["answer"].to_pylist() == [42] * 4


def test_rows_without_times_hold_always(travel: FeatureStore) -> None:
    """A spine needs no times where no feature has any."""
    found = travel.training_set(["name"], [{"airport": "B"}, {"airport": "C"}])

    assert found.arrow()["name"].to_pylist() == ["Berlin", None]


def test_features_derived_from_other_entities_and_from_derived_ones(travel: FeatureStore) -> None:
    """A route's charge is made of its flights and everyone's rate, and the double of it from that."""
    spine = [{"airport": "A", "carrier": "Y", "ts": moment(day)} for day in (1, 2, 5)]

    found = travel.training_set(["charge", "label", "doubled"], spine, timestamp="ts").arrow()

    assert found["charge"].to_pylist() == [None, 6 * 0.1, 6 * 0.5]
    assert found["label"].to_pylist() == ["Alta 1.0", "Alta 1.0", "Alta 3.0"]
    assert found["doubled"].to_pylist() == [None, 6 * 0.1 * 2 + 42, 6 * 0.5 * 2 + 42]


def test_a_derived_table_has_a_row_wherever_an_input_changes(travel: FeatureStore) -> None:
    """Also one of another entity, or of none."""
    rows = travel.get_feature("charge").filter("carrier = 'Y'").order("event_timestamp").fetchall()

    assert [(row[2], row[3]) for row in rows] == [
        (moment(1), None),
        (moment(2), 6 * 0.1),
        (moment(3), 6 * 0.1),
        (moment(5), 6 * 0.5),
    ]


def declare_derived(inputs: list[str], **features: str) -> None:
    """Declare a user's number, a rate that changes, and a group of the user derived from them."""
    user = Entity("user", keys={"user_id": int})

    class Numbers(FeatureGroup, entity=user, source=Source("numbers", frame=table(user_id=[1, 2], n=[10, 20]))):
        n = Feature(int)

    class Rates(
        FeatureGroup, entity=None, source=Source("rates", frame=table(at=[moment(1)], rate=[0.5]), timestamp="at")
    ):
        rate = Feature(float)

    class Derived(
        FeatureGroup,
        entity=user,
        inputs=inputs,
        features={name: Feature(float, sql=sql) for name, sql in features.items()},
    ):
        """Made of the others."""


def test_an_input_that_no_feature_reads_says_nothing(tmp_path: Path) -> None:
    """A rate that changes over time does not make times for what is not made of it."""
    store = applied(tmp_path, lambda: declare_derived(["numbers.n", "rates.rate"], double="n * 2"))

    assert store.training_set(["double"], [{"user_id": 2}]).arrow()["double"].to_pylist() == [40.0]


def test_a_rate_for_everyone_gives_times_to_a_number_that_has_none(tmp_path: Path) -> None:
    """From the first rate on, each user has a product."""
    store = applied(tmp_path, lambda: declare_derived(["numbers.n", "rates.rate"], product="n * rate"))

    assert store.get_feature("product").order("user_id").fetchall() == [(1, moment(1), 5.0), (2, moment(1), 10.0)]


def test_a_feature_that_reads_no_input_is_refused(tmp_path: Path) -> None:
    """It would have no rows."""
    with pytest.raises(DeclarationError, match=r"feature derived\.one reads none of its group's inputs: 1\.0"):
        applied(tmp_path, lambda: declare_derived(["numbers.n"], one="1.0"))


def test_a_group_whose_inputs_tell_no_entities_is_refused(tmp_path: Path) -> None:
    """A rate for everyone does not tell which users there are."""
    with pytest.raises(DeclarationError, match="group derived reads no input with the key user_id"):
        applied(tmp_path, lambda: declare_derived(["rates.rate"], double="rate * 2"))


def test_a_bare_name_of_several_groups_is_ambiguous(tmp_path: Path) -> None:
    """The candidates are listed; the address is not ambiguous."""

    def declare() -> None:
        source = Source("one", frame=table(score=[1]))
        for name in ("left", "right"):

            class Group(FeatureGroup, entity=None, source=source, name=name):
                score = Feature(int)

    store = applied(tmp_path, declare)

    with pytest.raises(AmbiguousFeatureError, match=r"left\.score, right\.score"):
        store.get_features(["score"])
    assert store.get_features(["left.score"]) == {"score": 1}
    with pytest.raises(RequestError, match="would both be the column score"):
        store.get_features(["left.score", "right.score"])


def test_a_source_with_zoned_times_is_read_in_utc(tmp_path: Path) -> None:
    """Noon in Oslo is eleven in UTC."""

    def declare() -> None:
        noon = datetime(2026, 1, 1, 12, tzinfo=UTC) - timedelta(hours=1)
        source = Source("rows", frame=table(user_id=[1], at=[noon], v=[7]), timestamp="at")

        class Group(FeatureGroup, entity=Entity("user", keys={"user_id": int}), source=source):
            v = Feature(int)

    spine = [{"user_id": 1, "ts": moment(1, 11)}, {"user_id": 1, "ts": moment(1, 10)}]

    assert applied(tmp_path, declare).training_set(["v"], spine, timestamp="ts").arrow()["v"].to_pylist() == [7, None]


def test_a_feature_may_be_called_as_a_column_that_the_group_sorts_by(tmp_path: Path) -> None:
    """The feature `version` is another thing than the source's column, which breaks ties."""

    def declare() -> None:
        rows = table(user_id=[1, 1], at=[moment(1), moment(1)], version=[1, 2], v=[10, 20])
        source = Source("rows", frame=rows, timestamp="at", tie_break="version")

        class Group(FeatureGroup, entity=Entity("user", keys={"user_id": int}), source=source):
            version = Feature(int, sql="-version")
            at = Feature(str, sql="'' || v")

    assert applied(tmp_path, declare).get_features(["version", "at"], user_id=1) == {"version": -2, "at": "20"}


def test_values_of_every_type_come_back_as_python_has_them(tmp_path: Path) -> None:
    """Lists, dates, texts with quotes, structs."""

    def declare() -> None:
        class Group(FeatureGroup, entity=None, source=Source("one", frame=table(x=[1]))):
            listed = Feature(list[float], sql="[x, 2.5]")
            day = Feature(date, sql="DATE '2026-01-01' + x::INTEGER")
            at = Feature(datetime, sql="TIMESTAMP '2026-01-01 10:00:00'")
            text = Feature(str, sql="'it''s -- fine'")
            flag = Feature(bool, sql="x = 1")
            zoned = Feature("TIMESTAMPTZ", sql="TIMESTAMPTZ '2026-01-01 12:00:00+02'")
            never = Feature("TIMESTAMPTZ", sql="CASE WHEN x > 1 THEN TIMESTAMPTZ '2026-01-01' END")
            pair = Feature("STRUCT(a BIGINT, b VARCHAR)", sql="{'a': x, 'b': 'z'}")

    assert applied(tmp_path, declare).get_features(
        ["listed", "day", "at", "text", "flag", "pair", "zoned", "never"]
    ) == {
        "listed": [1.0, 2.5],
        "day": date(2026, 1, 2),
        "at": moment(1, 10),
        "text": "it's -- fine",
        "flag": True,
        "pair": {"a": 1, "b": "z"},
        "zoned": datetime(2026, 1, 1, 10, tzinfo=UTC),
        "never": None,
    }


# Against an oracle that shares no code


DAYS = [moment(day) for day in range(1, 7)]
NEAR = [None, *(day + timedelta(microseconds=shift) for day in DAYS for shift in (-1, 0, 1))]


@st.composite
def histories(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Rows of a few users over a few days: gaps, NULLs, and ties that their versions tell apart."""
    keys = st.tuples(st.sampled_from([0, 1, 2, None]), st.sampled_from([*DAYS, None]), st.integers(0, 3))
    listed = draw(st.lists(keys, unique=True, max_size=14))
    return [
        {"user_id": user, "at": at, "version": version, "v": draw(st.sampled_from([None, 1, 2, 3, 50]))}
        for user, at, version in listed
    ]


spines = st.lists(st.tuples(st.sampled_from([0, 1, 2, 3, None]), st.sampled_from(NEAR)), min_size=1, max_size=12)


def known(rows: list[dict[str, Any]], user: int | None, time: datetime | None, ttl: timedelta | None) -> Any:
    """Return the value that was known of a user at a time, by looking at every row."""
    latest = None
    for row in rows:
        if user is None or time is None or row["at"] is None or row["user_id"] != user or row["at"] > time:
            continue
        if latest is None or (row["at"], row["version"]) > (latest["at"], latest["version"]):
            latest = row
    if latest is None or (ttl is not None and latest["at"] <= time - ttl):
        return None
    return latest["v"]


def arrow(rows: list[dict[str, Any]]) -> pa.Table:
    """Return rows as Arrow, typed also when there are none."""
    types = {"user_id": pa.int64(), "at": pa.timestamp("us"), "version": pa.int64(), "v": pa.int64()}
    return pa.table({name: pa.array([row[name] for row in rows], dtype) for name, dtype in types.items()})


def declare_two(first: list[dict[str, Any]], second: list[dict[str, Any]], ttl: str | None) -> None:
    """Declare two groups over two histories, one derived from both, and one derived from that."""
    user = Entity("user", keys={"user_id": int})
    one = Source("one", frame=arrow(first), timestamp="at", tie_break="version")
    other = Source("other", frame=arrow(second), timestamp="at", tie_break="version")

    class One(FeatureGroup, entity=user, source=one, ttl=ttl):
        x = Feature(int, sql="v")

    class Other(FeatureGroup, entity=user, source=other):
        y = Feature(int, sql="v * 100")

    class Both(FeatureGroup, entity=user, inputs=[One.x, Other.y]):
        total = Feature(int, sql="coalesce(x, 0) + coalesce(y, 0)")
        product = Feature(int, sql="x * y")

    class More(FeatureGroup, entity=user, inputs=[Both.total, One.x]):
        more = Feature(int, sql="total + coalesce(x, 7)")


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(histories(), histories(), spines, st.sampled_from([None, 1, 2]))
def test_values_equal_those_of_a_loop_over_all_rows(
    tmp_path_factory: pytest.TempPathFactory,
    first: list[dict[str, Any]],
    second: list[dict[str, Any]],
    asked: list[tuple[int | None, datetime | None]],
    ttl: int | None,
) -> None:
    """Base features, features derived from two groups, and features derived from derived ones, by each join.

    The stored table of a derived group, looked up as of the same time, holds what is computed when it is read.
    """
    store = applied(
        tmp_path_factory.mktemp("oracle"), lambda: declare_two(first, second, f"{ttl} days" if ttl else None)
    )
    spine = pa.table({
        "user_id": pa.array([user for user, _ in asked], pa.int64()),
        "ts": pa.array([time for _, time in asked], pa.timestamp("us")),
    })  # fmt: skip
    expected = []
    for user, time in asked:
        x = known(first, user, time, timedelta(days=ttl) if ttl else None)
        y = known(second, user, time, None)
        y = None if y is None else y * 100
        total = (x or 0) + (y or 0)
        product = None if x is None or y is None else x * y
        expected.append({"x": x, "y": y, "total": total, "product": product, "more": total + (7 if x is None else x)})

    for join in JOINS:
        with pytest.MonkeyPatch.context() as patch:
            join_by(join, patch)
            found = store.training_set(list(expected[0]), spine, timestamp="ts").arrow()
        assert found.drop_columns(["user_id", "ts"]).to_pylist() == expected
    _stored_values_equal(store, asked, expected)


def _stored_values_equal(
    store: FeatureStore, asked: list[tuple[int | None, datetime | None]], expected: list[dict[str, Any]]
) -> None:
    for feature in ("total", "product", "more"):
        stored = store.get_feature(feature).fetchall()
        for (user, time), values in zip(asked, expected, strict=True):
            before = [row for row in stored if user is not None and time and row[0] == user and row[1] <= time]
            if before:
                assert max(before, key=lambda row: row[1])[2] == values[feature]


# One state of the store


def doubled(workspace: Workspace) -> None:
    """Apply another definition of income while others read: a restored copy would take the store's files away for a moment."""
    path = workspace.root / "features/accounts/__init__.py"
    path.write_text(path.read_text(encoding="utf-8").replace('sql="annual_income"', 'sql="annual_income * 2"'), "utf-8")
    done = workspace.run("apply", "--yes")
    assert done.returncode == 0, done.stderr


def test_a_store_that_lives_long_sees_the_next_apply(bank: Workspace) -> None:
    """Without being told; a training set that was made before keeps the state that it was made from."""
    bank.apply()
    store = bank.store
    training = store.training_set(["income"], SPINE, timestamp="ts")
    assert store.get_features(["income"], user_id=3) == {"income": 19000.0}

    doubled(bank)

    assert store.get_features(["income"], user_id=3) == {"income": 38000.0}
    assert training.arrow()["income"].to_pylist() == [7000.0, 0.0, 7000.0, None]
    assert training.lock["store"]["serial"] == 1
    again = store.training_set(
        ["income"], "SELECT user_id, event_timestamp AS ts FROM prod.user_profile", timestamp="ts"
    )
    assert max(again.arrow()["income"].to_pylist()) == 38000.0


def test_a_store_without_an_apply_says_so(bank: Workspace) -> None:
    """And works once there is one."""
    store = bank.store
    with pytest.raises(FeatureNotFoundError, match="Nothing has been applied yet; run: featdsl apply"):
        store.get_features(["age"], user_id=3)

    bank.apply()

    assert store.get_features(["age"], user_id=3) == {"age": 33}


def test_threads_share_a_store(bank: Workspace) -> None:
    """Serving reads from many threads, while others train, and while an apply comes in between."""
    bank.apply()
    store = bank.store

    published = Event()

    def read(number: int) -> Any:
        if number == 20:
            doubled(bank)
            published.set()
        if number > 60:
            published.wait(PATIENCE)
        if number % 2:
            return store.get_features(["age", "income"], user_id=3)
        return store.training_set("credit_risk@1", SPINE, timestamp="ts").relation.fetchall()

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(read, range(80)))

    assert all(rows == JOINED for rows in found[::2])
    assert {values["income"] for values in found[1::2]} == {19000.0, 38000.0}


def test_a_store_is_opened_over_and_over_beside_one_that_stays_open(shared: Workspace) -> None:
    """The engine waits for no session that is gone: DuckDB 2.0.0 may, if a file is attached only where it is not yet."""
    script = """
from featdsl import FeatureStore
spine = "SELECT DISTINCT user_id, TIMESTAMP '2026-01-08' AS ts FROM prod.user_profile WHERE user_id = 3"
stays = FeatureStore()
for store in (stays, *(FeatureStore() for _ in range(5))):
    store.get_features(["age"], user_id=3)
for _ in range(10):
    print(FeatureStore().training_set(["age"], spine, timestamp="ts").relation.fetchall()[0][-1])
"""
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=shared.root, capture_output=True, text=True, timeout=PATIENCE, check=False)

    assert (done.stdout.splitlines(), done.stderr) == (["33"] * 10, "")


def test_reading_loads_neither_the_planner_nor_frames_that_nobody_asked_for(shared: Workspace) -> None:
    """Model servers start quickly: no parser, no graph, no templates, no pandas."""
    script = """
import sys, duckdb
from featdsl import FeatureStore
store = FeatureStore()
store.get_features("credit_risk@2", user_id=3)
store.training_set(["age"], "SELECT 3 AS user_id, TIMESTAMP '2026-01-08' AS ts", timestamp="ts").relation.fetchall()
unwanted = {"featdsl.plan.document", "featdsl.plan.planner", "featdsl.plan.steps", "featdsl.catalog.loader", "featdsl.catalog.build", "featdsl.plan.diff", "featdsl.catalog.bind", "featdsl.render",
            "sqlglot", "networkx", "jinja2", "polars", "rich", "rapidfuzz"}
if duckdb.__version__ >= "2":  # before, DuckDB itself loads these to look at a parameter
    unwanted |= {"pandas", "pyarrow", "numpy"}
print(sorted(unwanted & sys.modules.keys()))
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=shared.root, capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_reading_writes_nothing(shared: Workspace) -> None:
    """A store that may only be read is enough; no lock is taken."""
    before = {path: path.stat().st_mtime_ns for path in (shared.root / ".featdsl").rglob("*")}

    store = shared.store
    store.get_features(["age"], user_id=3)
    store.training_set("credit_risk@1", SPINE, timestamp="ts").df()

    assert {path: path.stat().st_mtime_ns for path in (shared.root / ".featdsl").rglob("*")} == before


def test_a_spine_may_have_times_with_a_zone_inside_a_struct(shared: Workspace) -> None:
    """Such as the logs of a server: the struct comes back as it is."""
    spine = "SELECT 3 AS user_id, TIMESTAMP '2026-01-08' AS ts, {'at': TIMESTAMPTZ '2026-01-07 12:00:00+00'} AS call"
    frame = shared.store.training_set(["age"], spine, timestamp="ts").df()
    assert frame["call"].tolist() == [{"at": datetime(2026, 1, 7, 12, tzinfo=UTC)}]
