"""Python functions in Spark: their values, their mistakes and their messages are those in DuckDB."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from featdsl.definitions.plain_types import plain_type
from featdsl.definitions.sources import Column, FunctionDefinition
from featdsl.definitions.udfs import FunctionUse
from featdsl.engines.duckdb import udfs
from featdsl.engines.duckdb.udfs import _duckdb_type
from featdsl.engines.session import EngineError
from featdsl.engines.spark import python_functions, worker
from featdsl.engines.spark.session import SparkEngine, open_engine
from featdsl.engines.spark.sql_text import spark_type
from featdsl.errors import DataError, Origin

ROWS = "SELECT * FROM (VALUES (1), (2), (NULL)) AS rows_of(i)"
VALUES = {
    "BOOLEAN": "i = 1",
    "TINYINT": "i",
    "UTINYINT": "i + 200",
    "UINTEGER": "i + 4000000000",
    "UBIGINT": "i + 18446744073709551000",
    "HUGEINT": "i * 100000000000000000000",
    "BIGINT": "i - 9223372036854775807",
    "FLOAT": "i / 3",
    "DOUBLE": "i / 3",
    "DECIMAL(10,2)": "i / 4",
    "VARCHAR": "'a' || i",
    "BLOB": "'a' || i",
    "DATE": "DATE '2024-02-28' + i",
    "TIMESTAMP": "TIMESTAMP '2024-02-28 01:02:03.456789' + i * INTERVAL 1 HOUR",
    "TIMESTAMP_S": "TIMESTAMP '2024-02-28 01:02:03' + i * INTERVAL 1 HOUR",
    "TIMESTAMP_MS": "TIMESTAMP '2024-02-28 01:02:03.456' + i * INTERVAL 1 HOUR",
    "TIMESTAMP WITH TIME ZONE": "TIMESTAMPTZ '2024-02-28 01:02:03.456789+00' + i * INTERVAL 1 HOUR",
    "UUID": "'00000000-0000-0000-0000-00000000000' || i",
    "ENUM('a2', 'a1')": "'a' || i",
    "INTEGER[]": "[i, NULL, 3]",
    "INTEGER[2]": "[i, 3]",
    "STRUCT(a INTEGER, b VARCHAR)": "{'a': i, 'b': 'x' || i}",
    "MAP(VARCHAR, INTEGER)": "MAP {'x': i}",
}


ROOT = Path(__file__).parents[2]
"""The folder of the project whose functions these are."""


@pytest.fixture
def engine(spark_url: str) -> Iterator[SparkEngine]:
    """A session for the functions of this file, which workers do not have."""
    opened = open_engine(spark_url, ROOT)
    yield opened
    opened.close()


def of(function: FunctionType, columns: Sequence[Column], dtype: str) -> tuple[FunctionUse, dict[str, FunctionType]]:
    """Return the use of a function, and the functions of its project."""
    names = tuple(function.__code__.co_varnames[: function.__code__.co_argcount])
    definition = FunctionDefinition(
        module="features.some", qualname=function.__name__, parameters=names, fingerprint="f1", text=""
    )
    use = FunctionUse(
        name="python_1", feature="some.value", function=definition, columns=tuple(columns), dtype=dtype,
        origin=Origin("features/some.py", 1),
    )  # fmt: skip
    return use, {"f1": function}


def in_duckdb(connection: Any, use: FunctionUse, functions: dict[str, FunctionType]) -> list[Any]:
    """Return the results over the rows of the table `given`, in order."""
    call = f"python_1({', '.join(column.name for column in use.columns)})"
    with udfs.opened(connection, [use], functions, ROOT), udfs_errors():
        rows = connection.execute(
            f"SELECT i, {_shown(f'CAST({call} AS {plain_type(use.dtype)})', use)} FROM given ORDER BY i"
        ).fetchall()
    return [value for _, value in rows]


def _shown(value: str, use: FunctionUse) -> str:
    """Return a value as Python can have it: for an instant, it would need another package."""
    return f"CAST({value} AS VARCHAR)" if "ZONE" in use.dtype else value


def udfs_errors() -> Any:
    """Raise DuckDB's errors as EngineError, which the functions' own errors replace."""
    from featdsl.engines.duckdb.errors import translated
    from featdsl.errors import FeatdslError

    class Translated:
        def __enter__(self) -> None:
            self.inner = translated()
            self.inner.__enter__()

        def __exit__(self, *raised: object) -> None:
            try:
                self.inner.__exit__(*raised)
            except EngineError as error:
                raise FeatdslError([]) from error

    return Translated()


def in_spark(engine: SparkEngine, use: FunctionUse, functions: dict[str, FunctionType], folder: Path) -> list[Any]:
    """Return the same over a copy of the table, in plain types."""
    import duckdb

    spark = engine._connected.spark
    spark.read.parquet(f"file://{folder}/given.parquet").createOrReplaceTempView("given")
    casts = ", ".join(f"CAST({column.name} AS {spark_type(column.dtype)})" for column in use.columns)
    with engine.calling([use], functions):
        columns = [Column(name="i", dtype="INTEGER"), Column(name="value", dtype=use.dtype)]
        written = engine.write(f"SELECT i, python_1({casts}) AS value FROM given", columns, str(folder / "results"))
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        rows = connection.execute(
            f"SELECT i, {_shown('value', use)} FROM read_parquet($1) ORDER BY i", [list(written.files)]
        ).fetchall()
    return [value for _, value in rows]


def given(folder: Path, columns: Sequence[Column]) -> Any:
    """Keep a table with columns of these types, and return a connection to it."""
    import duckdb

    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    listed = ", ".join(f"CAST({VALUES[column.dtype]} AS {column.dtype}) AS {column.name}" for column in columns)
    connection.execute(f"CREATE TABLE given AS SELECT i, {listed} FROM ({ROWS})")
    plain = ", ".join(f"CAST({column.name} AS {plain_type(column.dtype)}) AS {column.name}" for column in columns)
    connection.execute(f"COPY (SELECT i, {plain} FROM given) TO '{folder}/given.parquet' (FORMAT parquet)")
    return connection


def shown_types(**arrays: Any) -> Any:
    """Return the Arrow types and the values that a function sees."""
    pieces = [[f"{array.type} {value}" for value in array.to_pylist()] for array in arrays.values()]
    return pa.array(["; ".join(each) for each in zip(*pieces, strict=True)])


def test_functions_see_the_values_and_types_that_they_see_in_duckdb(engine: SparkEngine, tmp_path: Path) -> None:
    """All types at once, with NULLs."""
    columns = [Column(name=f"c{at}", dtype=dtype) for at, dtype in enumerate(VALUES)]
    names = ", ".join(column.name for column in columns)
    scope: dict[str, Any] = {"shown_types": shown_types}
    exec(f"def seen({names}): return shown_types({', '.join(f'{c.name}={c.name}' for c in columns)})", scope)  # noqa: S102
    use, functions = of(scope["seen"], columns, "VARCHAR")
    expected = in_duckdb(given(tmp_path, columns), use, functions)

    def plain(text: str) -> str:
        text = re.sub(r"list<\w*: (\w+)[^>]*>", r"list<\1>", text)
        return text.replace("Etc/UTC", "UTC")

    assert [*map(plain, in_spark(engine, use, functions, tmp_path))] == [*map(plain, expected)]


@pytest.mark.parametrize("dtype", [dtype for dtype in VALUES if dtype not in {"HUGEINT", "BLOB"}])
def test_results_have_the_values_that_they_have_in_duckdb(engine: SparkEngine, tmp_path: Path, dtype: str) -> None:
    """A function returns its argument."""

    def same(value: Any) -> Any:
        return value

    use, functions = of(same, [Column(name="value", dtype=dtype)], dtype)
    expected = in_duckdb(given(tmp_path, use.columns), use, functions)
    assert in_spark(engine, use, functions, tmp_path) == expected
    assert expected != [None, None, None]


@pytest.mark.parametrize(
    ("arrow", "dtype"),
    [
        (pa.int32(), "BIGINT"),
        (pa.int64(), "SMALLINT"),
        (pa.int64(), "DOUBLE"),
        (pa.int32(), "DECIMAL(10,2)"),
        (pa.uint8(), "INTEGER"),
        (pa.float32(), "DOUBLE"),
        (pa.decimal128(5, 1), "DECIMAL(10,2)"),
        (pa.decimal128(5, 1), "DOUBLE"),
        (pa.large_string(), "VARCHAR"),
        (pa.timestamp("s"), "TIMESTAMP"),
        (pa.timestamp("us", "UTC"), "TIMESTAMP"),
        (pa.null(), "DOUBLE"),
        (pa.null(), "INTEGER[]"),
        (pa.list_(pa.int8()), "BIGINT[]"),
    ],
    ids=str,
)
def test_results_of_another_type_are_converted_as_in_duckdb(
    engine: SparkEngine, tmp_path: Path, arrow: Any, dtype: str
) -> None:
    """Only where the type fits the declared one."""

    def other(value: Any) -> Any:
        if str(arrow).startswith("list"):
            return pa.array([None if one is None else [one, None] for one in value.to_pylist()], arrow)
        if str(arrow) == "large_string":
            return pc.cast(value, arrow)
        return pa.array([None if str(arrow) == "null" else one for one in value.to_pylist()], arrow)

    use, functions = of(other, [Column(name="value", dtype="TINYINT")], dtype)
    expected = in_duckdb(given(tmp_path, use.columns), use, functions)
    assert in_spark(engine, use, functions, tmp_path) == expected


def fails(value: Any) -> Any:
    """Raise an error of its own."""
    if len(value):
        raise ValueError("a | mistake <with> signs\nand 'quotes'")
    return value


def exits(value: Any) -> Any:
    """End the process."""
    sys.exit(3)


def returns_a_list(value: Any) -> Any:
    """Return no array."""
    return value.to_pylist()


def returns_too_many(value: Any) -> Any:
    """Return more values than rows."""
    return pa.array([1] * (len(value) + 7), pa.int64())


def returns_texts(value: Any) -> Any:
    """Return another type."""
    return pa.array(["x"] * len(value))


def returns_lists(value: Any) -> Any:
    """Return a nested type."""
    return pa.array([{"a": [1.5]}] * len(value), pa.struct([("a", pa.list_(pa.float64()))]))


@pytest.mark.parametrize(
    "function", [fails, exits, returns_a_list, returns_texts, returns_lists], ids=lambda each: each.__name__
)
def test_mistakes_are_told_as_in_duckdb(engine: SparkEngine, tmp_path: Path, function: FunctionType) -> None:
    """With the line of the function's file."""
    use, functions = of(function, [Column(name="value", dtype="TINYINT")], "BIGINT")
    connection = given(tmp_path, use.columns)
    with pytest.raises(DataError) as in_store:
        in_duckdb(connection, use, functions)
    with pytest.raises(DataError) as elsewhere:
        in_spark(engine, use, functions, tmp_path)
    assert elsewhere.value.problems == in_store.value.problems
    assert in_store.value.problems[0].where.file == "tests/spark/test_python_functions.py"  # type: ignore[union-attr]
    assert not (tmp_path / "results").exists()


def test_too_many_values_are_told(engine: SparkEngine, tmp_path: Path) -> None:
    """The number of rows in a batch differs between engines."""
    use, functions = of(returns_too_many, [Column(name="value", dtype="TINYINT")], "BIGINT")
    given(tmp_path, use.columns)
    with pytest.raises(DataError, match=r"some.value: features.some:returns_too_many returns \d+ values for \d rows"):
        in_spark(engine, use, functions, tmp_path)


def test_a_value_that_the_type_does_not_have_is_an_error(engine: SparkEngine, tmp_path: Path) -> None:
    """A larger type fits a smaller one if its values do."""

    def large(value: Any) -> Any:
        return pa.array([300] * len(value), pa.int64())

    use, functions = of(large, [Column(name="value", dtype="TINYINT")], "TINYINT")
    given(tmp_path, use.columns)
    with pytest.raises(EngineError, match="300"):
        in_spark(engine, use, functions, tmp_path)


def test_functions_bring_the_modules_of_their_project(spark_url: str, tmp_path: Path) -> None:
    """Workers do not have them."""
    engine = open_engine(spark_url, tmp_path)
    folder = tmp_path / "features_of_test"
    folder.mkdir()
    (folder / "__init__.py").write_text("", encoding="utf-8")
    (folder / "amounts.py").write_text(
        "RATE = 3\ndef scaled(x):\n    import pyarrow.compute as pc\n    return pc.multiply(x, RATE)\n",
        encoding="utf-8",
    )
    (folder / "group.py").write_text(
        "from features_of_test import amounts\nfrom features_of_test.amounts import scaled\n"
        "def value(amount):\n    return scaled(amounts.scaled(amount))\n",
        encoding="utf-8",
    )
    sys.path.insert(0, str(tmp_path))
    try:
        from features_of_test import group  # type: ignore[import-not-found]
    finally:
        sys.path.remove(str(tmp_path))
    use, functions = of(group.value, [Column(name="amount", dtype="BIGINT")], "BIGINT")
    connection = given(tmp_path, use.columns)
    try:
        expected = in_duckdb(connection, use, functions)
        assert in_spark(engine, use, functions, tmp_path) == expected
    finally:
        for name in [name for name in sys.modules if name.startswith("features_of_test")]:
            del sys.modules[name]
        engine.close()


def test_modules_are_pickled_by_value_for_a_moment_only(engine: SparkEngine, tmp_path: Path) -> None:
    """Another user of pyspark in the process is not affected."""
    from pyspark import cloudpickle

    use, functions = of(pc_of_nothing, [Column(name="value", dtype="TINYINT")], "TINYINT")
    with engine.calling([use], functions):
        assert cloudpickle.list_registry_pickle_by_value() == set()


def pc_of_nothing(value: Any) -> Any:
    """Use a library of the worker."""
    return pc.add(value, 0)


def test_what_functions_print_is_no_output(engine: SparkEngine, tmp_path: Path, capsys: Any) -> None:
    """Standard output holds results."""

    def prints(value: Any) -> Any:
        print("here")  # noqa: T201
        return value

    use, functions = of(prints, [Column(name="value", dtype="TINYINT")], "TINYINT")
    given(tmp_path, use.columns)
    in_spark(engine, use, functions, tmp_path)
    assert capsys.readouterr().out == ""


def test_a_type_that_spark_lacks_is_refused(engine: SparkEngine) -> None:
    """Before anything runs."""
    use, functions = of(pc_of_nothing, [Column(name="value", dtype="TIME")], "BIGINT")
    with (
        pytest.raises(EngineError, match="values of type TIME cannot be exchanged with Spark"),
        engine.calling([use], functions),
    ):
        pass


ARROW_TYPES = [
    pa.bool_(), pa.int8(), pa.uint64(), pa.float32(), pa.float64(), pa.string(), pa.large_string(), pa.string_view(), pa.binary(),
    pa.large_binary(), pa.binary_view(), pa.binary(16), pa.date32(), pa.date64(), pa.time32("ms"), pa.time64("us"), pa.timestamp("s"),
    pa.timestamp("ms"), pa.timestamp("us"), pa.timestamp("ns"), pa.timestamp("us", "UTC"), pa.duration("us"), pa.decimal128(12, 3),
    pa.list_(pa.int8()), pa.large_list(pa.int8()), pa.list_(pa.int8(), 3), pa.map_(pa.string(), pa.int32()), pa.null(),
    pa.struct([("a", pa.int8()), ("Two words", pa.list_(pa.string()))]), pa.month_day_nano_interval(),
]  # fmt: skip


@pytest.mark.parametrize("arrow", ARROW_TYPES, ids=str)
def test_arrow_types_are_named_as_duckdb_names_them(arrow: Any) -> None:
    """Workers do not have DuckDB."""
    assert worker.duckdb_type(arrow) == _duckdb_type(arrow)


def test_the_code_of_workers_imports_nothing_of_this_package() -> None:
    """They do not have it."""
    named = {value.__name__ for value in vars(worker).values() if isinstance(value, ModuleType)}
    assert not [name for name in named if name.startswith("featdsl")]
    assert "featdsl" not in Path(worker.__file__).read_text(encoding="utf-8").replace("featdsl-function", "")


def test_a_module_may_be_loaded_under_two_names(
    engine: SparkEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the program of a command is, whose file may be below the project."""
    from pyspark import cloudpickle

    (tmp_path / "twice.py").write_text("", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    module = importlib.import_module("twice")
    monkeypatch.setitem(sys.modules, "twice", module)
    monkeypatch.setitem(sys.modules, "another_name", module)
    with python_functions._by_value(tmp_path):
        assert "twice" in cloudpickle.list_registry_pickle_by_value()
    assert "twice" not in cloudpickle.list_registry_pickle_by_value()
