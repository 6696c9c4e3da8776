"""Values of every DuckDB type, from the declared feature through the stored table to each client, without loss."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import duckdb
import polars as pl
import pytest
from duckdb import DuckDBPyConnection, DuckDBPyRelation

from featdsl import DataError, Entity, Feature, FeatureGroup, FeatureStore, Source
from featdsl.query.training_set import TrainingSet
from tests.declared import applied

VALUES: dict[str, tuple[object, str, list[str]]] = {
    "boolean": (bool, "BOOLEAN", ["true", "false"]),
    "tinyint": ("TINYINT", "TINYINT", ["-128", "127"]),
    "ubigint": ("UBIGINT", "UBIGINT", ["0", "18446744073709551615"]),
    "bigint": (int, "BIGINT", ["-9223372036854775808", "9223372036854775807"]),
    "hugeint": (
        "HUGEINT", "HUGEINT",
        ["-170141183460469231731687303715884105728", "170141183460469231731687303715884105727"],
    ),
    "uhugeint": ("UHUGEINT", "UHUGEINT", ["0", "340282366920938463463374607431768211455"]),
    "bignum": ("BIGNUM", "BIGNUM", ["'-1234567890123456789012345678901234567890123456789'", "'0'"]),
    "real": ("FLOAT", "FLOAT", ["'nan'", "'inf'", "'-inf'", "3.4028235e38", "1e-45"]),
    "double": (float, "DOUBLE", ["'nan'", "'inf'", "'-inf'", "-0.0", "1.7976931348623157e308", "5e-324"]),
    "money": ("decimal( 18, 2 )", "DECIMAL(18,2)", ["9999999999999999.99", "-0.01"]),
    "small_decimal": ("DECIMAL(4, 1)", "DECIMAL(4,1)", ["-999.9", "0.1"]),
    "wide_decimal": ("DECIMAL(38, 10)", "DECIMAL(38,10)", ["'1234567890123456789012345678.0123456789'"]),
    "text": (str, "VARCHAR", ["''", "'é€😀'", "'it''s -- fine'", "'a' || chr(0) || 'b'", "'a\nb'"]),
    "some_bytes": (bytes, "BLOB", [r"'\x00\xFF'", "''"]),
    "bits": ("BIT", "BIT", ["'0101'", "'1'", "'000000000000'"]),
    "day": (dt.date, "DATE", ["'0001-01-01'", "'9999-12-31'", "'0044-03-15 (BC)'"]),
    "far_day": ("DATE", "DATE", ["'infinity'", "'-infinity'", "'5877642-06-25 (BC)'"]),
    "time_of_day": (dt.time, "TIME", ["'00:00:00'", "'23:59:59.999999'"]),
    "time_ns": ("TIME_NS", "TIME_NS", ["'12:00:00.123456789'"]),
    "time_zoned": ("TIMETZ", "TIME WITH TIME ZONE", ["'12:00:00+02'", "'23:59:59.999999-15:30'"]),
    "moment": (
        dt.datetime, "TIMESTAMP",
        ["'0001-01-01'", "'9999-12-31 23:59:59.999999'", "'infinity'", "'-infinity'", "'290309-12-22 (BC) 00:00:00'"],
    ),
    "moment_s": ("TIMESTAMP_S", "TIMESTAMP_S", ["'2026-01-01 10:00:01'"]),
    "moment_ms": ("TIMESTAMP_MS", "TIMESTAMP_MS", ["'2026-01-01 10:00:00.123'"]),
    "moment_ns": ("TIMESTAMP_NS", "TIMESTAMP_NS", ["'2026-01-01 10:00:00.123456789'"]),
    "instant": ("timestamptz", "TIMESTAMP WITH TIME ZONE", ["'2026-01-01 00:00:00+05'", "'9999-12-31 23:59:59.999999+00'"]),
    "duration": (dt.timedelta, "INTERVAL", ["'1 month 2 days 3 microseconds'", "'-7 days'"]),
    "listed": (list[int], "BIGINT[]", ["[1, NULL]", "[]"]),
    "list_of_lists": ("varchar[][]", "VARCHAR[][]", ["[['é', NULL], NULL, []]", "[]"]),
    "list_of_instants": ("TIMESTAMPTZ[]", "TIMESTAMP WITH TIME ZONE[]", ["['2026-01-01 00:00:00+05', NULL]"]),
    "pair": ('struct(Kind varchar, "two words" integer)', 'STRUCT(Kind VARCHAR, "two words" INTEGER)', [
        "{'Kind': 'x', 'two words': NULL}",
        "{'Kind': NULL, 'two words': NULL}",
    ]),
    "deep": ("STRUCT(seen TIMESTAMPTZ, l STRUCT(x DECIMAL(4, 1), v FLOAT[])[])",
             "STRUCT(seen TIMESTAMP WITH TIME ZONE, l STRUCT(x DECIMAL(4,1), v FLOAT[])[])", [
        "{'seen': TIMESTAMPTZ '2026-01-01 00:00:00+05', 'l': [{'x': 1.5, 'v': ['nan', NULL]}, NULL]}",
        "{'seen': NULL, 'l': []}",
    ]),
    "prices": ("MAP(VARCHAR, DOUBLE)", "MAP(VARCHAR, DOUBLE)", ["MAP {'a': 1.0, 'b': NULL}", "MAP {}"]),
    "map_of_lists": ("MAP(INTEGER, VARCHAR[])", "MAP(INTEGER, VARCHAR[])", ["MAP {1: ['x', NULL], 2: NULL}"]),
    "level": (r"ENUM('low', 'it''s  high, (ok)')", r"ENUM('low', 'it''s  high, (ok)')", ["'low'", "'it''s  high, (ok)'"]),
    "levels": ("enum('a', 'b')[]", "ENUM('a', 'b')[]", ["['a', NULL, 'b']"]),
    "identifier": (UUID, "UUID", ["'00000000-0000-0000-0000-000000000000'", "'ffffffff-ffff-ffff-ffff-ffffffffffff'"]),
    "document": ("JSON", "JSON", ["""'{"a": [1, null], "é": "\\u00e9"}'""", "'null'"]),
    "either": ("UNION(n INTEGER, s VARCHAR)", "UNION(n INTEGER, s VARCHAR)", ["union_value(n := 1)", "union_value(s := 'x')"]),
    "vector": ("FLOAT[3]", "FLOAT[3]", ["[1, 2, 3]", "['nan', 'inf', NULL]"]),
    "embedding": ("FLOAT[384]", "FLOAT[384]", ["list_transform(range(384), lambda x: x / 7)"]),
    "matrix": ("FLOAT[2][3]", "FLOAT[2][3]", ["[[1, 2], [3, NULL], [5, 6]]"]),
}  # fmt: skip
"""By feature: what is declared, how DuckDB writes that type, and values as SQL."""
ROWS = 1 + max(len(values) for _, _, values in VALUES.values())
CLIENTS = {
    "pandas": {
        "hugeint", "uhugeint", "bignum", "money", "wide_decimal", "bits", "time_zoned",
        "far_day", "list_of_instants", "deep",
    },
    "polars": {"hugeint", "uhugeint", "bignum", "bits", "time_zoned", "duration", "either"},
    "arrow": {"uhugeint", "bignum", "bits", "time_zoned"},
}  # fmt: skip
"""What a client library cannot hold as DuckDB hands it over."""


def query() -> str:
    """Return the SQL of the rows: the values of each type, then NULLs."""
    rows = []
    for i in range(ROWS):
        cells = [
            f"CAST({values[i] if i < len(values) else 'NULL'} AS {dtype}) AS {name}"
            for name, (_, dtype, values) in VALUES.items()
        ]
        rows.append(f"SELECT {i}::BIGINT AS i, {', '.join(cells)}")
    return " UNION ALL ".join(rows)


def declare() -> None:
    """Declare a feature of each type, and one derived from it."""
    thing = Entity("thing", keys={"i": int})
    every = [Feature(declared, name=name) for name, (declared, _, _) in VALUES.items()]  # type: ignore[call-overload]

    class Plain(FeatureGroup, entity=thing, source=Source("rows", sql=query()), features=every):
        pass

    again = [
        Feature(declared, name=f"{name}_again", sql=f'"{name}"')  # type: ignore[call-overload]
        for name, (declared, _, _) in VALUES.items()
    ]

    class Derived(FeatureGroup, entity=thing, inputs=every, features=again):
        pass


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    """The features, applied once."""
    return applied(tmp_path_factory.mktemp("types"), declare)


@pytest.fixture(scope="module")
def connection() -> DuckDBPyConnection:
    """DuckDB with the same rows in a table, and nothing of featdsl."""
    found = duckdb.connect()
    found.execute("SET GLOBAL TimeZone = 'UTC'")
    found.execute(f"CREATE TABLE plain AS {query()}")
    return found


def training(store: FeatureStore, feature: str) -> TrainingSet:
    """Return every value of a feature, in order."""
    return store.training_set([feature], f"SELECT i FROM range({ROWS}) t(i)")


def plain(connection: DuckDBPyConnection, name: str) -> DuckDBPyRelation:
    """Return the same values as DuckDB alone has them."""
    return connection.sql(f"SELECT {name} AS v FROM plain ORDER BY i")


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("suffix", ["", "_again"])
def test_a_stored_value_is_the_one_that_was_computed(
    store: FeatureStore, connection: DuckDBPyConnection, name: str, suffix: str
) -> None:
    """In the same type, to the last digit; of stored features and of those computed when they are read."""
    found, expected = training(store, name + suffix).relation, plain(connection, name)
    assert str(found.types[1]) == str(expected.types[0]) == VALUES[name][1]
    texts = found.project(f"{name}{suffix}::VARCHAR").fetchall()
    assert texts == expected.project("v::VARCHAR").fetchall()
    assert texts[-1] == (None,)


@pytest.mark.parametrize("name", sorted(VALUES.keys() - CLIENTS["arrow"]))
def test_arrow_holds_what_duckdb_gives_it(store: FeatureStore, connection: DuckDBPyConnection, name: str) -> None:
    """Type and values."""
    found, expected = training(store, name).arrow()[name], plain(connection, name).to_arrow_table()["v"]
    assert str(found.type) == str(expected.type)
    assert found.equals(expected) or repr(found.to_pylist()) == repr(expected.to_pylist())  # for NaN inside of lists


@pytest.mark.parametrize("name", sorted(VALUES.keys() - CLIENTS["polars"]))
def test_polars_holds_what_duckdb_gives_it(store: FeatureStore, connection: DuckDBPyConnection, name: str) -> None:
    """Type and values."""
    found, expected = training(store, name).pl()[name], plain(connection, name).pl()["v"]
    assert found.dtype == expected.dtype
    assert found.equals(expected) or repr(found.to_list()) == repr(expected.to_list())


@pytest.mark.filterwarnings("ignore:The inplace keyword")  # what DuckDB alone does for zones
@pytest.mark.parametrize("name", sorted(VALUES.keys() - CLIENTS["pandas"]))
def test_pandas_holds_what_duckdb_gives_it(store: FeatureStore, connection: DuckDBPyConnection, name: str) -> None:
    """Type and values."""
    found, expected = training(store, name).df()[name], plain(connection, name).df()["v"]
    assert found.dtype == expected.dtype
    assert repr(found.to_list()) == repr(expected.to_list())


ZONED = {"instant", "list_of_instants", "deep"}


@pytest.mark.parametrize("name", sorted(VALUES.keys() - ZONED))
def test_serving_gives_what_duckdb_gives_python(store: FeatureStore, connection: DuckDBPyConnection, name: str) -> None:
    """Plain Python values."""
    found = [row[name] for row in store.get_features([name], rows=[{"i": i} for i in range(ROWS)])]
    assert repr(found) == repr([value for (value,) in plain(connection, name).fetchall()])


HUGE = [-170141183460469231731687303715884105728, 170141183460469231731687303715884105727]
UNSIGNED = ["0", "340282366920938463463374607431768211455"]
GREAT = ["-1234567890123456789012345678901234567890123456789", "0"]
BITS = ["0101", "1", "000000000000"]
INSTANT = dt.datetime(2025, 12, 31, 19, tzinfo=dt.UTC)
TIMES = ["12:00:00+02", "23:59:59.999999-15:30"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("hugeint", HUGE),
        ("uhugeint", [int(text) for text in UNSIGNED]),
        ("bignum", [int(text) for text in GREAT]),
        ("money", [Decimal("9999999999999999.99"), Decimal("-0.01")]),
        ("wide_decimal", [Decimal("1234567890123456789012345678.0123456789")]),
        ("bits", BITS),
        ("time_zoned", [dt.time.fromisoformat(text) for text in TIMES]),
    ],
)
def test_pandas_gets_objects_where_a_float_would_lose_digits(
    store: FeatureStore, name: str, expected: list[Any]
) -> None:
    """NULL is None among them."""
    found = training(store, name).df()[name]
    assert found.dtype == object
    assert found.to_list() == expected + [None] * (ROWS - len(expected))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("list_of_instants", [INSTANT, None]),
        ("deep", {"seen": INSTANT, "l": [{"x": Decimal("1.5"), "v": [float("nan"), None]}, None]}),
    ],
)
def test_pandas_gets_instants_in_utc_inside_of_lists_and_structs(
    store: FeatureStore, name: str, expected: object
) -> None:
    """Which DuckDB hands over only with the help of pytz."""
    frame = training(store, name).df()
    assert list(frame.columns) == ["i", name]
    assert repr(frame[name][0]).replace("zoneinfo.ZoneInfo(key='UTC')", "datetime.timezone.utc") == repr(expected)
    assert frame[name][ROWS - 1] is None


def test_pandas_cannot_hold_days_without_end(store: FeatureStore) -> None:
    """It is said, instead of another day; the other clients have them."""
    with pytest.raises(DataError, match="Could not convert DATE"):
        training(store, "far_day").df()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("uhugeint", UNSIGNED),
        ("bignum", GREAT),
        ("bits", BITS),
        ("time_zoned", TIMES),
        ("duration", ["1 month 2 days 00:00:00.000003", "-7 days"]),
        ("either", ["1", "x"]),
    ],
)
def test_polars_gets_text_where_it_has_no_type(store: FeatureStore, name: str, expected: list[str]) -> None:
    """As DuckDB writes the value."""
    found = training(store, name).pl()[name]
    assert found.dtype == pl.String
    assert found.to_list() == expected + [None] * (ROWS - len(expected))


def test_polars_gets_integers_of_128_bits(store: FeatureStore) -> None:
    """DuckDB's way for them is a decimal of 38 digits, one too few."""
    found = training(store, "hugeint").pl()["hugeint"]
    assert found.dtype == pl.Int128
    assert found.to_list() == HUGE + [None] * (ROWS - 2)


@pytest.mark.parametrize(
    ("name", "expected"), [("uhugeint", UNSIGNED), ("bignum", GREAT), ("bits", BITS), ("time_zoned", TIMES)]
)
def test_arrow_gets_text_where_it_has_no_type(store: FeatureStore, name: str, expected: list[str]) -> None:
    """As DuckDB writes the value."""
    found = training(store, name).arrow()[name]
    assert str(found.type) == "string"
    assert found.to_pylist() == expected + [None] * (ROWS - len(expected))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("instant", INSTANT),
        ("list_of_instants", [INSTANT, None]),
        ("deep", {"seen": INSTANT, "l": [{"x": Decimal("1.5"), "v": [float("nan"), None]}, None]}),
    ],
)
def test_serving_gives_instants_in_utc(store: FeatureStore, name: str, expected: object) -> None:
    """Inside of lists and structs, too."""
    assert repr(store.get_features([name], i=0)[name]) == repr(expected)
    assert store.get_features([name], i=ROWS - 1)[name] is None


def declare_vector(rows: list[dict[str, Any]]) -> None:
    """Declare an embedding over lists, as Parquet and frames have them."""
    source = Source("rows", frame=rows)

    class Vectors(FeatureGroup, entity=Entity("thing", keys={"i": int}), source=source):
        vector = Feature("FLOAT[3]", sql="CAST(vector AS FLOAT[])")


def test_a_list_is_an_embedding_where_it_has_the_length(tmp_path: Path) -> None:
    """Which each row must have."""
    store = applied(tmp_path, lambda: declare_vector([{"i": 1, "vector": [1.0, 2.5, None]}, {"i": 2, "vector": None}]))
    assert store.get_features(["vector"], i=1) == {"vector": (1.0, 2.5, None)}
    assert store.get_features(["vector"], i=2) == {"vector": None}


def test_a_list_of_another_length_is_an_error(tmp_path: Path) -> None:
    """It would be another vector."""
    with pytest.raises(DataError, match="group vectors"):
        applied(tmp_path, lambda: declare_vector([{"i": 1, "vector": [1.0, 2.0]}]))


@pytest.mark.parametrize(
    ("value", "data_type"),
    [
        ([1.0, 2.0], "FLOAT[2]"),
        ({"a": 1, "b": [2, None]}, "STRUCT(a INTEGER, b INTEGER[])"),
        (Decimal("9999999999999999.99"), "DECIMAL(18, 2)"),
        (UUID("6d3b0c1a-0000-4000-8000-000000000001"), UUID),
        (b"\x00\xff", bytes),
        (dt.date(2026, 1, 2), dt.date),
        (dt.datetime(2026, 1, 2, 3, tzinfo=dt.UTC), "TIMESTAMPTZ"),
    ],
)
def test_values_of_a_notebook_keep_their_type(tmp_path: Path, value: Any, data_type: Any) -> None:
    """Lists and structs in rows stay whole."""
    (tmp_path / "featproject.toml").write_text('[project]\nname = "notebook"\n', encoding="utf-8")
    store = FeatureStore(tmp_path)
    store.register_feature("v", data_type, data=[{"i": 1, "v": value}, {"i": 2, "v": None}], entity={"i": int})
    expected = tuple(value) if isinstance(value, list) else value
    assert store.get_features(["v"], rows=[{"i": 1}, {"i": 2}]) == [{"v": expected}, {"v": None}]


@pytest.mark.parametrize("value", [dt.date(2026, 1, 2), Decimal("1.25"), b"x", UUID(int=1), dt.timedelta(days=2)])
def test_one_value_for_everyone_may_be_of_any_plain_type(tmp_path: Path, value: Any) -> None:
    """Given as such."""
    (tmp_path / "featproject.toml").write_text('[project]\nname = "notebook"\n', encoding="utf-8")
    store = FeatureStore(tmp_path)
    store.register_feature("v", "DECIMAL(4, 2)" if isinstance(value, Decimal) else type(value), data=value)
    assert store.get_features(["v"]) == {"v": value}
