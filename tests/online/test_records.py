"""Values of every type survive in records, and each accepted spelling of a key finds its entity."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featdsl import Entity, Feature, FeatureGroup, FeatureSet, RequestError, Source
from featdsl.definitions import coercion
from featdsl.definitions.moments import moment
from featdsl.online.fetch import LatestRequest
from featdsl.online.parity import identical
from featdsl.online.records import NOBODY, is_key_type, key_encoder, read_record, step_at, write_records
from featdsl.query.answer import Answer
from tests.engines.test_types import ROWS, VALUES, declare
from tests.online.worlds import START, Place

NOW = moment(START)

# Values


@pytest.fixture(scope="module")
def typed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Answer, Answer]:
    """What the online store and the tables have of a set with a stored and a derived feature of each type."""

    def declare_set() -> None:
        declare()
        listed = [f"plain.{name}" for name in VALUES] + [f"derived.{name}_again" for name in VALUES]
        FeatureSet("all", version=1, features=listed)

    place = Place(tmp_path_factory.mktemp("types")).of(declare_set)
    place.publish(NOW)
    return place.read("all@1", LatestRequest([{"i": i} for i in range(ROWS)], at=NOW))


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("suffix", ["", "_again"])
def test_a_value_is_the_same_python_value_online_as_in_the_tables(
    typed: tuple[Answer, Answer], name: str, suffix: str
) -> None:
    """Of the same type, to the last bit; NULL, too."""
    online, tables = typed

    assert online.from_tables == {}
    pairs = [
        (one[f"{name}{suffix}"], two[f"{name}{suffix}"]) for one, two in zip(online.rows, tables.rows, strict=True)
    ]
    assert [pair for pair in pairs if not identical(*pair)] == []
    assert pairs[-1] == (None, None)
    assert None not in pairs[0]


# Keys

TRUTHS = [(True, "true", np.array([True])[0]), (False, " FALSE ", np.array([False])[0])]
NOON = dt.datetime(2026, 1, 1, 12)  # noqa: DTZ001 - naive is UTC
AN_ID = UUID("0b6fbd1c-1b4f-4d2e-9f7e-2a7f3a8d9c11")
SPELLINGS: dict[str, list[tuple[Any, ...]]] = {
    "BIGINT": [(5, "5", " +5 ", 5.0, Decimal("5.00"), np.int64(5), np.int8(5), np.float64(5)), (-1, "-1", np.int32(-1))],
    "TINYINT": [(0, "0", "-0", np.uint8(0)), (-128,)],
    "UBIGINT": [(18446744073709551615, "18446744073709551615", np.uint64(18446744073709551615)), (0, "0")],
    "HUGEINT": [
        (-170141183460469231731687303715884105728, "-170141183460469231731687303715884105728"),
        (1, "1", np.int64(1)),
        (2**64, str(2**64), Decimal(2**64)),
    ],
    "UHUGEINT": [(2**128 - 1, str(2**128 - 1)), (7, "7", np.uint8(7))],
    "DOUBLE": [(0.0, -0.0, 0, "0", np.float32(0)), (0.1, "0.1", Decimal("0.1")), (1e300,), (float("inf"),)],
    "FLOAT": [(0.5, "0.5", np.float32(0.5), Decimal("0.5")), (np.float32(0.1), "0.1", Decimal("0.1"))],
    "DECIMAL(18,2)": [(Decimal("1.10"), Decimal("1.1"), "1.1", "1.100", Decimal("110E-2")), (0, Decimal("-0.00"), "0", Decimal("0E+1"))],
    "VARCHAR": [("5", np.str_("5")), ("05",), ("",), ("é€😀",), ("a\x00b",)],
    "BOOLEAN": TRUTHS,
    "UUID": [(AN_ID, str(AN_ID), str(AN_ID).upper(), AN_ID.hex, f"{{{AN_ID}}}")],
    "BLOB": [(b"\x00\xff", bytearray(b"\x00\xff"), memoryview(b"\x00\xff")), (b"",)],
    "DATE": [(dt.date(2026, 1, 1), "2026-01-01", dt.datetime(2026, 1, 1), np.datetime64("2026-01-01"))],  # noqa: DTZ001
    "TIMESTAMP": [
        (NOON, NOON.replace(tzinfo=dt.UTC), "2026-01-01 14:00:00+02:00", np.datetime64("2026-01-01T12:00:00")),
        (dt.datetime(9999, 12, 31, 23, 59, 59, 999999),),  # noqa: DTZ001
        (dt.datetime(1, 1, 1), dt.date(1, 1, 1)),  # noqa: DTZ001
    ],
    "TIMESTAMP_S": [(NOON, "2026-01-01T12:00:00")],
    "TIMESTAMP_MS": [(NOON.replace(microsecond=1000), "2026-01-01T12:00:00.001")],
    "TIMESTAMP WITH TIME ZONE": [(NOON.replace(tzinfo=dt.UTC), NOON, "2026-01-01 14:00:00+02:00")],
    "ENUM('low', '1')": [("low", np.str_("low")), ("1",)],
}  # fmt: skip
"""By type, the spellings of each of some keys."""


def as_sql(value: Any) -> str:
    """Return a key as SQL text that DuckDB casts."""
    match value:
        case bytes():
            return "'" + "".join(f"\\x{byte:02X}" for byte in value) + "'::BLOB"
        case str():
            return "'" + value.replace("'", "''").replace("\x00", "' || chr(0) || '") + "'"
        case dt.datetime() if value.tzinfo:
            return f"'{value.isoformat()}'"
    return f"'{value}'"


FORMLESS: dict[str, tuple[Any, str]] = {
    "BIGINT[]": ([1], "[1]"),
    "STRUCT(a BIGINT)": ({"a": 1}, "{'a': 1}"),
    "INTERVAL": ("1 day", "'1 day'"),
    "TIMESTAMP_NS": ("2026-01-01 00:00:00.000000001", "'2026-01-01 00:00:00.000000001'"),
    "TIME": (dt.time(1), "'01:00:00'"),
}
"""Keys of types that have no one form in bytes, and their SQL."""
KEYS = {
    **{dtype: [as_sql(spellings[0]) for spellings in keys] for dtype, keys in SPELLINGS.items()},
    **{dtype: [sql] for dtype, (_, sql) in FORMLESS.items()},
}


def declare_keyed(dtype: str, keys: list[str]) -> None:
    """Declare an entity whose key has a type, with these keys as SQL; the value is the number of the key."""
    name = set_of(dtype)
    values = ", ".join(f"({sql}, {i})" for i, sql in enumerate(keys))
    thing = Entity(name, keys={name: dtype})
    source = Source(name, sql=f"SELECT CAST(k AS {dtype}) AS {name}, v::BIGINT AS v FROM (VALUES {values}) t(k, v)")
    v = Feature(int, name="v")

    class Things(FeatureGroup, entity=thing, source=source, name=f"of_{name}", features=[v]):
        pass

    FeatureSet(name, version=1, features=[f"of_{name}.v"])


def set_of(dtype: str) -> str:
    """Return the name of the set with keys of a type."""
    return "k_" + "".join(each if each.isalnum() else "_" for each in dtype.lower())


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A set for each type of key, published."""

    def declare_all() -> None:
        for dtype, keys in KEYS.items():
            declare_keyed(dtype, keys)

    place = Place(tmp_path_factory.mktemp("keys")).of(declare_all)
    place.publish(NOW)
    return place


def read(place: Place, dtype: str, keys: list[Any]) -> tuple[Answer, Answer]:
    """Return what the online store and the tables have of keys of a type."""
    return place.read(f"{set_of(dtype)}@1", LatestRequest([{set_of(dtype): key} for key in keys], at=NOW))


@pytest.mark.parametrize("dtype", SPELLINGS)
def test_every_spelling_of_a_key_finds_its_entity(keyed: Place, dtype: str) -> None:
    """Online as in the tables, and no spelling finds the entity of another key."""
    keys = SPELLINGS[dtype]
    online, tables = read(keyed, dtype, [spelling for spellings in keys for spelling in spellings])

    assert online.from_tables == {}
    assert online.rows == tables.rows == [{"v": i} for i, spellings in enumerate(keys) for _ in spellings]


@pytest.mark.parametrize(
    ("dtype", "key"),
    [
        ("BIGINT", 0.5), ("BIGINT", 2**70), ("TINYINT", 300), ("BIGINT", None), ("FLOAT", 0.1), ("DECIMAL(18,2)", "1.234"),
        ("UBIGINT", -1), ("VARCHAR", None), ("DOUBLE", float("nan")), ("BIGINT", float("nan")),
    ],
)  # fmt: skip
def test_a_key_that_no_entity_can_have_is_nobody(keyed: Place, dtype: str, key: Any) -> None:
    """As in the tables, where it is no error either."""
    online, tables = read(keyed, dtype, [key])

    assert (online.from_tables, online.rows, tables.rows) == ({}, [{"v": None}], [{"v": None}])


@pytest.mark.parametrize(
    ("dtype", "key"),
    [
        ("BIGINT", True), ("BIGINT", "x"), ("BIGINT", b"1"), ("VARCHAR", 5), ("BOOLEAN", 0), ("BOOLEAN", "no"), ("UUID", "x"),
        ("DECIMAL(18,2)", 1.1), ("DATE", "2026-01-01 10:00:00"), ("DATE", 20260101), ("TIMESTAMP_S", "2026-01-01 10:00:00.5"),
        ("BLOB", "x"),
    ],
)  # fmt: skip
def test_a_key_of_a_wrong_type_is_refused(keyed: Place, dtype: str, key: Any) -> None:
    """With the error that the tables give."""
    with pytest.raises(RequestError, match="Wrong type of key"):
        read(keyed, dtype, [key])


@pytest.mark.parametrize("dtype", FORMLESS)
def test_keys_without_one_form_in_bytes_are_read_from_the_tables(keyed: Place, dtype: str) -> None:
    """And the answer says so."""
    online, _ = read(keyed, dtype, [FORMLESS[dtype][0]])

    assert online.rows == [{"v": 0}]
    assert online.from_tables == {"v": "it is not published"}
    assert not is_key_type(dtype)


def test_keys_that_no_call_can_give_are_left_out(tmp_path: Path) -> None:
    """Infinite dates, which Python reads as the last one, and dates before the year 1."""
    days = ["'9999-12-31'", "'infinity'", "'-infinity'", "'0044-03-15 (BC)'"]
    place = Place(tmp_path).of(lambda: declare_keyed("DATE", days))
    place.publish(NOW)

    online, _ = read(place, "DATE", [dt.date(9999, 12, 31), dt.date(1, 1, 1)])

    assert online.rows == [{"v": 0}, {"v": None}]
    _, tables = place.online.published
    assert [len(records) for records in tables.values()] == [1]


@given(st.lists(st.one_of(st.integers(), st.text(), st.binary(), st.booleans(), st.none()), max_size=3), st.data())
def test_equal_keys_and_equal_bytes_go_together(first: list[Any], data: st.DataObject) -> None:
    """Composite keys of one type list have equal bytes if and only if they are equal."""
    dtypes = [
        {int: "HUGEINT", str: "VARCHAR", bytes: "BLOB", bool: "BOOLEAN"}.get(type(value), "VARCHAR") for value in first
    ]
    strategies = {
        "HUGEINT": st.integers(-(2**127), 2**127 - 1),
        "VARCHAR": st.text(),
        "BLOB": st.binary(),
        "BOOLEAN": st.booleans(),
    }
    one = [data.draw(strategies[dtype]) for dtype in dtypes]
    other = [data.draw(st.just(value) | strategies[dtype]) for value, dtype in zip(one, dtypes, strict=True)]
    encode = key_encoder(dtypes)

    assert (encode(one) == encode(other)) == (one == other)
    assert encode(one) != NOBODY


# Steps


def test_a_record_has_each_step_once_and_the_time_until_it_holds() -> None:
    """Steps equal to the one before are left out; of a record, each moment has one step, none at its end."""
    rows = [(7, 100, 10, "a", 1), (7, 100, 20, "a", 1), (7, 100, 30, "b", 1), (None, None, 10, None, None)]

    (key, record), (nobody, of_nobody) = write_records(iter(rows), ["BIGINT"])

    assert (key, nobody) == (msgpack.packb([7]), NOBODY)
    assert read_record(record) == [100, ["a", 1], 30, ["b", 1]]
    assert [step_at(read_record(record), now) for now in (0, 10, 29, 30, 99, 100)] == [
        ["a", 1], ["a", 1], ["a", 1], ["b", 1], ["b", 1], None,
    ]  # fmt: skip
    assert read_record(of_nobody) == [None, [None, None]]


def test_a_value_of_a_type_without_a_form_is_a_clear_error() -> None:
    """Nothing is written instead of it."""
    with pytest.raises(TypeError, match="have no form in a record"):
        list(write_records(iter([(1, None, 0, object())]), ["BIGINT"]))


def test_the_encoder_of_keys_raises_what_reads_understand() -> None:
    """A number that is no key of the type is Nobody; the rest does not fit."""
    encode = key_encoder(["INTEGER"])
    with pytest.raises(coercion.Nobody):
        encode([0.5])
    with pytest.raises(coercion.Misfit):
        encode(["x"])


def test_no_encoder_is_needed_without_keys() -> None:
    """A value for everyone has one key."""
    encode: Callable[[list[Any]], bytes] = key_encoder([])
    assert encode([]) == msgpack.packb([])
