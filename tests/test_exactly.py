"""A key or a value of a call is taken if it is of the declared type without loss, alike on every path."""

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
from featdsl.errors import RequestError
from featdsl.exactly import Misfit, taken
from tests.budgets import examples
from tests.conftest import Workspace
from tests.declared import applied as declared

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
    """Whatever library it comes from."""
    found = taken(value, dtype)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(("dtype", "value"), REFUSED)
def test_a_value_that_would_lose_something_is_none(dtype: str, value: object) -> None:
    """It is not rounded, cut or guessed at."""
    with pytest.raises(Misfit):
        taken(value, dtype)


# Every path


KEYS: dict[str, list[Any]] = {
    "BIGINT": [1, 2, 3],
    "VARCHAR": ["1", "01", "a"],
    "DATE": [date(2024, 1, 1), date(2024, 1, 2), date(2024, 1, 3)],
    "DECIMAL(6,2)": [Decimal("1.00"), Decimal("1.25"), Decimal("2.50")],
}


def store_of(folder: Path, dtype: str) -> FeatureStore:
    """Return a store in which each key has the number of its place."""
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
    """A store for each type of key."""
    return {dtype: store_of(tmp_path_factory.mktemp("keys"), dtype) for dtype in KEYS}


ASKED = st.one_of(
    st.sampled_from([each for keys in KEYS.values() for each in keys]),
    st.sampled_from([1.0, 1.5, 2.5, Decimal("1.5"), datetime(2024, 1, 1), datetime(2024, 1, 2, 13), "2", "2.5", None]),
)


def outcome(read: Any) -> object:
    """Return what a read gives, or that it was refused."""
    try:
        return read()
    except RequestError:
        return "refused"


@settings(max_examples=examples(60, 600), deadline=None)
@given(dtype=st.sampled_from(sorted(KEYS)), asked=ASKED)
def test_each_path_takes_the_same_keys(stores: dict[str, FeatureStore], dtype: str, asked: Any) -> None:
    """No path answers with another entity's value; what one refuses no other gives a value for."""
    store, keys = stores[dtype], KEYS[dtype]
    places = {str(key): 10 * place for place, key in enumerate(keys, start=1)}
    equal = [10 * place for place, key in enumerate(keys, start=1) if type(key) is type(asked) and key == asked]
    try:
        same = taken(asked, dtype)
        expected = equal[0] if equal else places.get(str(same), next((v for k, v in places.items() if Decimal(k) == Decimal(str(same))), None) if dtype == "DECIMAL(6,2)" and same is not None else None)  # fmt: skip
    except Misfit:
        expected = None
    frame = [{"k": asked}]
    paths = {
        "by name": lambda: store.get_features(["v"], k=asked)["v"],
        "rows": lambda: store.get_features(["v"], rows=frame)[0]["v"],
        "pandas": lambda: store.get_features(["v"], rows=pd.DataFrame({"k": pd.Series([asked], dtype=object)}))[0]["v"],
        "spine": lambda: store.training_set(["v"], pa.table({"k": pa.array([asked])})).relation.fetchall()[0][-1],
    }
    found = {name: outcome(path) for name, path in paths.items()}
    assert all(each in {expected, "refused", None} for each in found.values()), (found, expected)
    if equal:
        assert set(found.values()) == {expected}
    if "refused" in (found["by name"], found["rows"]):
        assert found["by name"] == found["rows"] == found["pandas"]


def test_each_value_of_a_batch_is_judged_alone(stores: dict[str, FeatureStore]) -> None:
    """A float beside large integers changes none of them; the row that does not fit is named."""
    store = stores["BIGINT"]
    rows = [{"k": 1}, {"k": 2.0}, {"k": 9007199254740993}, {"k": None}, {"k": "3"}]
    assert [row["v"] for row in store.get_features(["v"], rows=rows)] == [10, 20, None, None, 30]
    with pytest.raises(RequestError, match=r"The key k is BIGINT, which 'x' is not, in row 2\."):
        store.get_features(["v"], rows=[{"k": 1}, {"k": "x"}])
    with pytest.raises(RequestError, match="has the value 'x' in row 2; the key is BIGINT"):
        store.training_set(["v"], pd.DataFrame({"k": ["1", "x"]}))


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame, pa.table], ids=["pandas", "polars", "pyarrow"])
def test_rows_may_be_a_frame(stores: dict[str, FeatureStore], frame: Any) -> None:
    """In the order of the frame."""
    assert stores["BIGINT"].get_features(["v"], rows=frame({"k": [3, 1]})) == [{"v": 30}, {"v": 10}]


@pytest.mark.parametrize("rows", [5, "k", {"k": 1}, [1]])
def test_rows_that_are_none_are_refused(stores: dict[str, FeatureStore], rows: Any) -> None:
    """With the keys that there are."""
    with pytest.raises(RequestError, match="rows="):
        stores["BIGINT"].get_features(["v"], rows=rows)


def test_names_that_differ_by_case_alone_are_refused(stores: dict[str, FeatureStore]) -> None:
    """One of them would be read for the other."""
    for spine in (
        pd.DataFrame({"K": [1], "k": [2]}),
        pl.DataFrame({"K": [1], "k": [2]}),
        pa.table({"K": [1], "k": [2]}),
    ):
        with pytest.raises(RequestError, match="are one name to SQL"):
            stores["BIGINT"].training_set(["v"], spine)


def rows_as(kind: str, values: list[Any]) -> Any:
    """Return a spine of one key column as one kind of frame."""
    if kind == "dicts":
        return [{"k": value} for value in values]
    return pd.DataFrame({"k": pd.Series(values, dtype=object)})


@pytest.mark.parametrize("kind", ["dicts", "objects"])
@pytest.mark.parametrize("beside", [1.5, 2.0, float("nan"), None, np.float64(0.5), Decimal("0.5")], ids=repr)
def test_what_stands_beside_a_large_integer_in_a_spine_changes_it_not(tmp_path: Path, kind: str, beside: Any) -> None:
    """A column of floats would hold it no longer."""
    large = 2**53 + 1

    def declare() -> None:
        entity = Entity("e", keys={"k": int})

        class G(FeatureGroup, entity=entity, source=Source("r", frame=pa.table({"k": [large, 2], "v": [10, 20]}))):
            v = Feature(int)

        del G

    found = declared(tmp_path, declare).training_set(["v"], rows_as(kind, [large, beside])).relation.fetchall()
    assert [row[-1] for row in found] == [10, 20 if beside == 2.0 else None]


@pytest.mark.parametrize(
    ("suffix", "text"),
    [("csv", "k\n{large}\n{beside}\n"), ("json", '{{"k": {large}}}\n{{"k": {beside}}}\n')],
    ids=["csv", "json"],
)
@pytest.mark.parametrize("beside", ["1.5", "2.0", "1e300", "0.1234567890123456789"])
def test_what_stands_beside_a_large_integer_in_a_file_changes_it_not(
    tmp_path: Path, suffix: str, text: str, beside: str
) -> None:
    """Sniffed together they would be floats. What is no integer is nobody's key, or is refused as such a text."""
    large = 2**53 + 1

    def declare() -> None:
        entity = Entity("e", keys={"k": int})

        class G(FeatureGroup, entity=entity, source=Source("r", frame=pa.table({"k": [large, 2], "v": [10, 20]}))):
            v = Feature(int)

        del G

    store, file = declared(tmp_path, declare), tmp_path / f"spine.{suffix}"
    file.write_text(text.format(large=large, beside=beside))
    try:
        found = store.training_set(["v"], str(file)).relation.fetchall()
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
    """A text is taken by both or by none, whatever DuckDB and Python can read."""

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
    """In lists and in columns of objects, as in columns of times."""
    times = [pd.Timestamp("2024-01-01"), pd.Timestamp("2024-01-01 00:00:00.000000001")]

    def declare() -> None:
        entity = Entity("e", keys={"k": "TIMESTAMP_NS"})
        rows = pa.table({"k": pa.array(times, pa.timestamp("ns")), "v": [10, 20]})

        class G(FeatureGroup, entity=entity, source=Source("r", frame=rows)):
            v = Feature(int)

        del G

    store = declared(tmp_path, declare)
    for asked in (times[::-1], [times[1], None]):
        found = store.training_set(["v"], rows_as(kind, asked)).relation.fetchall()
        assert [row[-1] for row in found] == [{times[0]: 10, times[1]: 20}.get(time) for time in asked]


@pytest.mark.parametrize(
    "spine", [[{"k": "2024-01-01 00:00:00.000000001"}], "SELECT '2024-01-01 00:00:00.000000001' AS k"]
)
def test_a_text_with_more_digits_than_the_type_is_refused(tmp_path: Path, spine: Any) -> None:
    """As in a call."""

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
    """As in a call."""
    found = stores["BIGINT"].training_set(["v"], [{"k": np.int64(1)}, {"k": np.int32(3)}]).relation.fetchall()
    assert [row[-1] for row in found] == [10, 30]
    with pytest.raises(RequestError, match="have no columns"):
        stores["BIGINT"].training_set(["v"], [{}])


# Threads, processes, asyncio


def _summed(training: Any) -> int:
    return int(training.df()["v"].sum())


def _read(store: FeatureStore) -> Any:
    return store.get_features(["v"], k=2)["v"]


def test_stores_and_training_sets_go_to_threads_and_processes(stores: dict[str, FeatureStore]) -> None:
    """One object in eight threads, pickled, in spawned and forked processes, and in asyncio."""
    store = stores["BIGINT"]
    training = store.training_set(["v"], pd.DataFrame({"k": [1, 2, 3] * 1000}))
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: _summed(training), range(24))) == {60_000}
        assert set(pool.map(lambda _: _read(store), range(24))) == {20}
    again = pickle.loads(pickle.dumps((store, training)))  # noqa: S301 - made right here
    assert (_read(again[0]), _summed(again[1])) == (20, 60_000)
    assert again[1].lock == training.lock
    for method in ("spawn", "fork"):
        with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(method)) as processes:
            assert list(processes.map(_read, [store] * 3, timeout=60)) == [20] * 3

    async def all_at_once() -> list[Any]:
        return await asyncio.gather(*(asyncio.to_thread(_read, store) for _ in range(8)))

    assert asyncio.run(all_at_once()) == [20] * 8


def test_a_store_is_used_after_a_fork(stores: dict[str, FeatureStore]) -> None:
    """The child opens its own session; that of the parent is neither used nor closed."""
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
    """From the first call of a fresh object on."""
    store = applied.store
    spine = "SELECT user_id, event_timestamp AS ts FROM prod.user_profile"
    begin = threading.Barrier(8)

    def read(_: int) -> int:
        begin.wait()
        return len(store.training_set(["income"], spine, timestamp="ts").relation.fetchall())

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(read, range(8))) == {20}
