"""Keys and request-time data are accepted if they fit the declared type without loss, in the same way on every path."""

# ruff: noqa: DTZ001 - naive times are UTC

from __future__ import annotations

import asyncio
import multiprocessing
import pickle
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featdsl import Entity, Feature, FeatureGroup, FeatureStore, Source
from featdsl.definitions.coercion import Misfit, coerced
from featdsl.errors import RequestError
from tests.budgets import examples
from tests.conftest import Workspace
from tests.declared import applied as declared
from tests.waiting import PATIENCE

PLUS_TWO = timezone(timedelta(hours=2))
NEW_YEAR = datetime(2024, 1, 1)

TAKEN: list[tuple[str, object, object]] = [
    ("BIGINT", 1, 1), ("BIGINT", 1.0, 1), ("BIGINT", Decimal(1), 1), ("BIGINT", "1", 1), ("BIGINT", np.int32(1), 1),
    ("BIGINT", np.float64(1), 1), ("BIGINT", 2**63 - 1, 2**63 - 1), ("BIGINT", float("nan"), None), ("BIGINT", pd.NA, None),
    ("BIGINT", np.float64("nan"), None), ("BIGINT", None, None), ("TINYINT", -128, -128), ("HUGEINT", 2**100, str(2**100)),
    ("DOUBLE", 1, 1.0), ("DOUBLE", Decimal("0.5"), 0.5), ("DOUBLE", np.float32(0.5), 0.5), ("DOUBLE", "0.5", 0.5),
    ("DECIMAL(10,2)", "1.25", "1.25"), ("DECIMAL(10,2)", Decimal("1.250"), "1.250"),
    ("DECIMAL(38,10)", "1234567890123456789012345678.0000000001", "1234567890123456789012345678.0000000001"),
    ("VARCHAR", "a", "a"), ("VARCHAR", np.str_("a"), "a"), ("BOOLEAN", True, True), ("BOOLEAN", np.True_, True),
    ("BOOLEAN", "true", True), ("DATE", date(2024, 1, 1), date(2024, 1, 1)), ("DATE", NEW_YEAR, date(2024, 1, 1)),
    ("DATE", "2024-01-01", date(2024, 1, 1)), ("DATE", pd.NaT, None), ("DATE", pd.Timestamp(NEW_YEAR), date(2024, 1, 1)),
    ("TIMESTAMP", NEW_YEAR, "2024-01-01 00:00:00.000000"), ("TIMESTAMP", date(2024, 1, 1), "2024-01-01 00:00:00"),
    ("TIMESTAMP", datetime(2024, 1, 1, 2, tzinfo=PLUS_TWO), "2024-01-01 00:00:00.000000"),
    ("TIMESTAMP", "2024-01-01T02:00:00+02:00", "2024-01-01 00:00:00.000000"),
    ("TIMESTAMP", "2024-01-01 02:00:00 +02:00", "2024-01-01 00:00:00.000000"),
    ("TIMESTAMP", np.datetime64("2024-01-01T00:00:00"), "2024-01-01 00:00:00.000000"),
    ("TIMESTAMP WITH TIME ZONE", NEW_YEAR.replace(tzinfo=UTC), "2024-01-01 00:00:00.000000+00"),
    ("TIMESTAMP_NS", pd.Timestamp("2024-01-01 00:00:00.000000001"), "2024-01-01 00:00:00.000000001"),
    ("UUID", UUID(int=1), UUID(int=1)), ("UUID", str(UUID(int=1)), UUID(int=1)), ("BLOB", b"a", b"a"),
    ("BIGINT[]", [1, 2.0], [1, 2]), ("STRUCT(a BIGINT, b VARCHAR)", {"a": 1}, {"a": 1, "b": None}),
]  # fmt: skip
REFUSED: list[tuple[str, object]] = [
    ("BIGINT", 1.5), ("BIGINT", "1.5"), ("BIGINT", Decimal("1.5")), ("BIGINT", True), ("BIGINT", "x"), ("BIGINT", 2**63),
    ("BIGINT", 2.0**60), ("BIGINT", float("inf")), ("BIGINT", NEW_YEAR), ("TINYINT", 128), ("UTINYINT", -1),
    ("DOUBLE", 2**53 + 1), ("DOUBLE", Decimal("0.10000000000000000001")), ("DOUBLE", True), ("DOUBLE", "x"), ("DECIMAL(10,2)", "1.2345"), ("DECIMAL(10,2)", Decimal("1.2345")),
    ("DECIMAL(4,2)", 100), ("DECIMAL(4,2)", 1.25), ("VARCHAR", 1), ("VARCHAR", b"a"), ("BOOLEAN", 1), ("BOOLEAN", "yes please"),
    ("DATE", datetime(2024, 1, 1, 13)), ("DATE", "2024-01-01 13:00:00"), ("DATE", 1), ("TIMESTAMP", "yesterday"),
    ("TIMESTAMP", pd.Timestamp("2024-01-01 00:00:00.000000001")), ("TIMESTAMP_MS", datetime(2024, 1, 1, 0, 0, 0, 1)),
    ("UUID", "x"), ("BLOB", "a"), ("BIGINT[]", [1.5]), ("BIGINT[]", "12"), ("STRUCT(a BIGINT)", {"b": 1}),
]  # fmt: skip


@pytest.mark.parametrize(("dtype", "value", "expected"), TAKEN)
def test_a_value_of_the_type_is_taken(dtype: str, value: object, expected: object) -> None:
    """Values of all libraries are accepted."""
    found = coerced(value, dtype)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(("dtype", "value"), REFUSED)
def test_a_value_that_would_lose_something_is_none(dtype: str, value: object) -> None:
    """The value is not rounded, truncated or guessed."""
    with pytest.raises(Misfit):
        coerced(value, dtype)


# Every path


KEYS: dict[str, list[Any]] = {
    "BIGINT": [1, 2, 3],
    "VARCHAR": ["1", "01", "a"],
    "DATE": [date(2024, 1, 1), date(2024, 1, 2), date(2024, 1, 3)],
    "DECIMAL(6,2)": [Decimal("1.00"), Decimal("1.25"), Decimal("2.50")],
}


def store_of(folder: Path, dtype: str) -> FeatureStore:
    """Return a store with the values 10, 20 and 30 for its keys."""
    rows = pa.table({"k": pa.array(KEYS[dtype]), "v": [10, 20, 30]})

    def declare() -> None:
        entity = Entity("e", keys={"k": dtype})

        class G(
            FeatureGroup, entity=entity, source=Source("s", sql=f"SELECT CAST(k AS {dtype}) AS k, v FROM {{{{ r }}}}")
        ):
            v = Feature(int)

        Source("r", frame=rows)
        del G

    return declared(folder, declare)


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, FeatureStore]:
    """Return a store for each type of key."""
    return {dtype: store_of(tmp_path_factory.mktemp("keys"), dtype) for dtype in KEYS}


REQUESTED = st.one_of(
    st.sampled_from([each for keys in KEYS.values() for each in keys]),
    st.sampled_from([1.0, 1.5, 2.5, Decimal("1.5"), datetime(2024, 1, 1), datetime(2024, 1, 2, 13), "2", "2.5", None]),
)


def outcome(read: Any) -> object:
    """Return the result of a read, or `refused`."""
    try:
        return read()
    except RequestError:
        return "refused"


@settings(max_examples=examples(25, 600), deadline=None)
@given(dtype=st.sampled_from(sorted(KEYS)), requested=REQUESTED)
def test_each_path_takes_the_same_keys(stores: dict[str, FeatureStore], dtype: str, requested: Any) -> None:
    """No path returns another entity's value, and all paths agree on refused keys."""
    store, keys = stores[dtype], KEYS[dtype]
    places = {str(key): 10 * place for place, key in enumerate(keys, start=1)}
    equal = [10 * place for place, key in enumerate(keys, start=1) if type(key) is type(requested) and key == requested]
    try:
        same = coerced(requested, dtype)
        expected = equal[0] if equal else places.get(str(same), next((v for k, v in places.items() if Decimal(k) == Decimal(str(same))), None) if dtype == "DECIMAL(6,2)" and same is not None else None)  # fmt: skip
    except Misfit:
        expected = None
    frame = [{"k": requested}]
    paths = {
        "by name": lambda: store.get_features(["v"], k=requested)["v"],
        "rows": lambda: store.get_features(["v"], rows=frame)[0]["v"],
        "pandas": lambda: store.get_features(["v"], rows=pd.DataFrame({"k": pd.Series([requested], dtype=object)}))[0][
            "v"
        ],
        "spine": lambda: store.training_set(["v"], pa.table({"k": pa.array([requested])})).relation.fetchall()[0][-1],
    }
    found = {name: outcome(path) for name, path in paths.items()}
    assert all(each in {expected, "refused", None} for each in found.values()), (found, expected)
    if equal:
        assert set(found.values()) == {expected}
    if "refused" in (found["by name"], found["rows"]):
        assert found["by name"] == found["rows"] == found["pandas"]


def test_each_value_of_a_batch_is_judged_alone(stores: dict[str, FeatureStore]) -> None:
    """A float in a batch changes no large integer; the message names the invalid row."""
    store = stores["BIGINT"]
    rows = [{"k": 1}, {"k": 2.0}, {"k": 9007199254740993}, {"k": None}, {"k": "3"}]
    assert [row["v"] for row in store.get_features(["v"], rows=rows)] == [10, 20, None, None, 30]
    with pytest.raises(RequestError, match=r"The key k is BIGINT, which 'x' is not, in row 2\."):
        store.get_features(["v"], rows=[{"k": 1}, {"k": "x"}])
    with pytest.raises(RequestError, match="has the value 'x' in row 2; the key is BIGINT"):
        store.training_set(["v"], pd.DataFrame({"k": ["1", "x"]}))


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame, pa.table], ids=["pandas", "polars", "pyarrow"])
def test_rows_may_be_a_frame(stores: dict[str, FeatureStore], frame: Any) -> None:
    """Results are in the order of the frame."""
    assert stores["BIGINT"].get_features(["v"], rows=frame({"k": [3, 1]})) == [{"v": 30}, {"v": 10}]


@pytest.mark.parametrize("rows", [5, "k", {"k": 1}, [1]])
def test_rows_that_are_none_are_refused(stores: dict[str, FeatureStore], rows: Any) -> None:
    """The message names the argument."""
    with pytest.raises(RequestError, match="rows="):
        stores["BIGINT"].get_features(["v"], rows=rows)


def test_names_that_differ_by_case_alone_are_refused(stores: dict[str, FeatureStore]) -> None:
    """SQL would read one of the columns for the other."""
    for spine in (
        pd.DataFrame({"K": [1], "k": [2]}),
        pl.DataFrame({"K": [1], "k": [2]}),
        pa.table({"K": [1], "k": [2]}),
    ):
        with pytest.raises(RequestError, match="are the same name in SQL"):
            stores["BIGINT"].training_set(["v"], spine)


def rows_as(kind: str, values: list[Any]) -> Any:
    """Return a spine with one key column, as dicts or as a DataFrame."""
    if kind == "dicts":
        return [{"k": value} for value in values]
    return pd.DataFrame({"k": pd.Series(values, dtype=object)})


LARGE = 2**53 + 1


@pytest.fixture(scope="module")
def of_large(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    """A store with the keys 2 and LARGE, which no float holds."""

    def declare() -> None:
        entity = Entity("e", keys={"k": int})

        class G(FeatureGroup, entity=entity, source=Source("r", frame=pa.table({"k": [LARGE, 2], "v": [10, 20]}))):
            v = Feature(int)

        del G

    return declared(tmp_path_factory.mktemp("large"), declare)


@pytest.mark.parametrize("kind", ["dicts", "objects"])
@pytest.mark.parametrize("beside", [1.5, 2.0, float("nan"), None, np.float64(0.5), Decimal("0.5")], ids=repr)
def test_what_stands_beside_a_large_integer_in_a_spine_changes_it_not(
    of_large: FeatureStore, kind: str, beside: Any
) -> None:
    """A column of floats would round the integer."""
    found = of_large.training_set(["v"], rows_as(kind, [LARGE, beside])).relation.fetchall()
    assert [row[-1] for row in found] == [10, 20 if beside == 2.0 else None]


@pytest.mark.parametrize(
    ("suffix", "text"),
    [("csv", "k\n{large}\n{beside}\n"), ("json", '{{"k": {large}}}\n{{"k": {beside}}}\n')],
    ids=["csv", "json"],
)
@pytest.mark.parametrize("beside", ["1.5", "2.0", "1e300", "0.1234567890123456789"])
def test_what_stands_beside_a_large_integer_in_a_file_changes_it_not(
    of_large: FeatureStore, tmp_path: Path, suffix: str, text: str, beside: str
) -> None:
    """Type detection would read both as floats. A key that is not an integer matches no entity, or is refused."""
    file = tmp_path / f"spine.{suffix}"
    file.write_text(text.format(large=LARGE, beside=beside))
    try:
        found = of_large.training_set(["v"], str(file)).relation.fetchall()
    except RequestError as error:
        assert "in row 2" in str(error)  # noqa: PT017 - named, and not taken for another
    else:
        assert [row[-1] for row in found] == [10, 20 if beside == "2.0" else None]


@pytest.mark.slow
@pytest.mark.parametrize(
    "text", ["t", "yes", "1", "f", "2024-1-1", "20240101", "2024/01/01", "2024-W01-1", "true", "2024-01-01"]
)
@pytest.mark.parametrize("dtype", ["BOOLEAN", "DATE", "TIMESTAMP"])
def test_spines_and_calls_take_the_same_texts(tmp_path: Path, text: str, dtype: str) -> None:
    """Spines and calls accept the same texts, whatever DuckDB and Python can read."""

    def declare() -> None:
        entity = Entity("e", keys={"k": dtype})
        value = {"BOOLEAN": True, "DATE": date(2024, 1, 1), "TIMESTAMP": datetime(2024, 1, 1)}[dtype]

        class G(FeatureGroup, entity=entity, source=Source("r", frame=pa.table({"k": [value], "v": [10]}))):
            v = Feature(int)

        del G

    def outcome(read: Callable[[], Any]) -> Any:
        try:
            return read()
        except RequestError:
            return "refused"

    store = declared(tmp_path, declare)
    called = outcome(lambda: store.get_features(["v"], k=text)["v"])
    trained = outcome(lambda: store.training_set(["v"], pd.DataFrame({"k": [text]})).relation.fetchall()[0][-1])
    right = {("BOOLEAN", "true"), ("DATE", "2024-01-01"), ("TIMESTAMP", "2024-01-01")}
    assert called == trained == (10 if (dtype, text) in right else "refused")


@pytest.mark.parametrize("kind", ["dicts", "objects"])
def test_nanoseconds_of_keys_are_kept_in_a_spine(tmp_path: Path, kind: str) -> None:
    """Nanoseconds are kept in lists and in object columns."""
    times = [pd.Timestamp("2024-01-01"), pd.Timestamp("2024-01-01 00:00:00.000000001")]

    def declare() -> None:
        entity = Entity("e", keys={"k": "TIMESTAMP_NS"})
        rows = pa.table({"k": pa.array(times, pa.timestamp("ns")), "v": [10, 20]})

        class G(FeatureGroup, entity=entity, source=Source("r", frame=rows)):
            v = Feature(int)

        del G

    store = declared(tmp_path, declare)
    for requested in (times[::-1], [times[1], None]):
        found = store.training_set(["v"], rows_as(kind, requested)).relation.fetchall()
        assert [row[-1] for row in found] == [{times[0]: 10, times[1]: 20}.get(time) for time in requested]


@pytest.mark.parametrize(
    "spine", [[{"k": "2024-01-01 00:00:00.000000001"}], "SELECT '2024-01-01 00:00:00.000000001' AS k"]
)
def test_a_text_with_more_digits_than_the_type_is_refused(tmp_path: Path, spine: Any) -> None:
    """Spines and calls refuse the same text."""

    def declare() -> None:
        entity = Entity("e", keys={"k": "TIMESTAMP"})

        class G(FeatureGroup, entity=entity, source=Source("r", frame=pa.table({"k": [NEW_YEAR], "v": [10]}))):
            v = Feature(int)

        del G

    store = declared(tmp_path, declare)
    with pytest.raises(RequestError, match="in row 1; the key is TIMESTAMP"):
        store.training_set(["v"], spine)
    with pytest.raises(RequestError, match="is not"):
        store.get_features(["v"], k="2024-01-01 00:00:00.000000001")


def test_scalars_of_numpy_may_stand_in_a_list(stores: dict[str, FeatureStore]) -> None:
    """Scalars of numpy in a list are accepted like in a call."""
    found = stores["BIGINT"].training_set(["v"], [{"k": np.int64(1)}, {"k": np.int32(3)}]).relation.fetchall()
    assert [row[-1] for row in found] == [10, 30]
    with pytest.raises(RequestError, match="have no columns"):
        stores["BIGINT"].training_set(["v"], [{}])


# Threads, processes, asyncio


def _summed(training: Any) -> int:
    return int(training.df()["v"].sum())


def _read(store: FeatureStore) -> Any:
    return store.get_features(["v"], k=2)["v"]


def test_stores_and_training_sets_go_to_threads_and_tasks(stores: dict[str, FeatureStore]) -> None:
    """Objects work in eight threads, pickled, and in asyncio."""
    store = stores["BIGINT"]
    training = store.training_set(["v"], pd.DataFrame({"k": [1, 2, 3] * 1000}))
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: _summed(training), range(24))) == {60_000}
        assert set(pool.map(lambda _: _read(store), range(24))) == {20}
    again = pickle.loads(pickle.dumps((store, training)))  # noqa: S301 - made right here
    assert (_read(again[0]), _summed(again[1])) == (20, 60_000)
    assert again[1].lock == training.lock

    async def all_at_once() -> list[Any]:
        return await asyncio.gather(*(asyncio.to_thread(_read, store) for _ in range(8)))

    assert asyncio.run(all_at_once()) == [20] * 8


@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_stores_go_to_processes(stores: dict[str, FeatureStore], method: str) -> None:
    """Objects work in processes that inherit them, and in new ones."""
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(method)) as processes:
        assert list(processes.map(_read, [stores["BIGINT"]] * 3, timeout=PATIENCE)) == [20] * 3


def test_a_store_is_used_after_a_fork(stores: dict[str, FeatureStore]) -> None:
    """The child opens its own session, and neither uses nor closes that of the parent."""
    store = stores["BIGINT"]
    assert _read(store) == 20
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    child = context.Process(target=lambda: queue.put(_read(store)))
    child.start()
    child.join(60)
    assert child.exitcode == 0
    assert queue.get() == 20


def test_spines_over_views_are_read_by_threads(applied: Workspace) -> None:
    """Threads may share a new object from the first call."""
    store = applied.store
    spine = "SELECT user_id, event_timestamp AS ts FROM prod.user_profile"
    begin = threading.Barrier(8)

    def read(_: int) -> int:
        begin.wait()
        return len(store.training_set(["income"], spine, timestamp="ts").relation.fetchall())

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(read, range(8))) == {20}
