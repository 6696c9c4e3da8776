"""Sources, stored tables and written files of a session: the rows are those that DuckDB reads."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from featdsl.definitions.plain_types import plain_type
from featdsl.definitions.sources import Column, SourceDefinition
from featdsl.engines.external import ParquetRows, TableFiles
from featdsl.engines.session import EngineError
from featdsl.engines.spark import sources
from featdsl.engines.spark.session import SparkEngine
from featdsl.engines.spark.sql_text import source_relation, table_relation
from featdsl.errors import Origin, SourceFileError


@pytest.fixture
def duckdb_session() -> Iterator[Any]:
    """DuckDB in UTC."""
    import duckdb

    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection


def source(format_: Any = "parquet", **changes: Any) -> SourceDefinition:
    """Return a source."""
    known: dict[str, Any] = {"timestamp": None, "tie_break": None, "fingerprint": "", "name": "some", **changes}
    return SourceDefinition(project="p", owner="o", description="", format=format_, origin=Origin("f.py", 3), **known)


def columns(**dtypes: str) -> tuple[Column, ...]:
    """Return columns."""
    return tuple(Column(name=name, dtype=dtype) for name, dtype in dtypes.items())


def written(engine: SparkEngine, query: str, of: Sequence[Column], folder: Path) -> list[tuple[Any, ...]]:
    """Return the rows of a query as DuckDB reads them from the files that the engine writes."""
    import duckdb

    result = engine.write(query, of, str(folder / uuid.uuid4().hex))
    if not result.files:
        assert result.rows == 0
        return []
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        rows = connection.sql("SELECT * FROM read_parquet($1, hive_partitioning = false)", params=[list(result.files)])
        assert [*zip(rows.columns, map(str, rows.types), strict=True)] == [(c.name, plain_type(c.dtype)) for c in of]
        texts = connection.sql(
            "SELECT CAST(COLUMNS(*) AS VARCHAR) FROM read_parquet($1, hive_partitioning = false)",
            params=[list(result.files)],
        ).fetchall()
    assert len(texts) == result.rows
    return sorted(texts, key=str)


def as_duckdb_reads(connection: Any, reading: str, of: Sequence[Column]) -> list[tuple[Any, ...]]:
    """Return the same rows as DuckDB reads them."""
    listed = ", ".join(f'CAST(CAST("{c.name}" AS {plain_type(c.dtype)}) AS VARCHAR)' for c in of)
    return sorted(connection.sql(f"SELECT {listed} FROM {reading}").fetchall(), key=str)


def put(connection: Any, path: Path, query: str) -> str:
    """Write a Parquet file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    connection.execute(f"COPY ({query}) TO '{str(path).replace(chr(39), chr(39) * 2)}' (FORMAT parquet)")
    return str(path)


def opened(engine: SparkEngine, of: SourceDefinition, files: Sequence[str] | None = None) -> str:
    """Open a source, and return the query of its rows."""
    engine.open_source(of, files)
    return f"SELECT * FROM {source_relation(of.name)}"


ALL_TYPES = """
    SELECT 1::TINYINT AS a, -5::SMALLINT AS b, 70000 AS c, 9223372036854775807 AS d, 200::UTINYINT AS e, 60000::USMALLINT AS f,
      4000000000::UINTEGER AS g, 18446744073709551615::UBIGINT AS h, 0.1::FLOAT AS i, 1e300::DOUBLE AS j, 1.25::DECIMAL(5,2) AS k,
      'text' AS l, 'bytes'::BLOB AS m, DATE '0001-01-01' AS n, TIMESTAMP '1500-01-01 01:02:03.456789' AS o,
      TIMESTAMPTZ '2024-05-06 07:08:09.123456+02' AS p, TIMESTAMP_S '2024-05-06 07:08:09' AS q,
      TIMESTAMP_MS '2024-05-06 07:08:09.123' AS r, [1, NULL, 3] AS s, {'x': 1, 'two words': 'y'} AS t, MAP {'k': 1.5::DOUBLE} AS u, true AS v
    UNION ALL SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'NaN'::FLOAT, '-inf'::DOUBLE, NULL, '', NULL, NULL, NULL, NULL,
      NULL, NULL, [], NULL, NULL, false
"""


def test_values_of_all_types_are_those_that_duckdb_reads(
    engine: SparkEngine, tmp_path: Path, duckdb_session: Any
) -> None:
    """In the types in which engines exchange them."""
    path = put(duckdb_session, tmp_path / "all.parquet", ALL_TYPES)
    rows = duckdb_session.sql(f"FROM '{path}'")
    of = tuple(Column(name=name, dtype=str(dtype)) for name, dtype in zip(rows.columns, rows.types, strict=True))
    assert sources.reads(source(columns=of))
    query = opened(engine, source(columns=of), [path])
    assert written(engine, query, of, tmp_path) == as_duckdb_reads(duckdb_session, f"'{path}'", of)


def test_columns_have_the_planned_order_and_types_whatever_the_files_have(
    engine: SparkEngine, tmp_path: Path, duckdb_session: Any
) -> None:
    """Files of one source differ in types, letter case, order and columns."""
    files = [
        put(duckdb_session, tmp_path / "1.parquet", "SELECT 1::INTEGER AS A, 2.5::DECIMAL(5,2) AS b, DATE '2024-01-02' AS t"),
        put(duckdb_session, tmp_path / "2.parquet", "SELECT 1.255::DECIMAL(8,3) AS b, 5000000000 AS a, TIMESTAMP '2024-01-02 03:04:05' AS t"),
        put(duckdb_session, tmp_path / "3.parquet", "SELECT 7::TINYINT AS a, 'x' AS c, DATE '2024-01-03' AS t"),
    ]  # fmt: skip
    of = columns(c="VARCHAR", a="BIGINT", b="DECIMAL(8,3)", t="TIMESTAMP")
    query = opened(engine, source(columns=of), files)
    reading = f"read_parquet({files}, union_by_name = true)"
    assert written(engine, query, of, tmp_path) == as_duckdb_reads(duckdb_session, reading, of)


def test_a_column_that_some_files_lack_is_null_there(engine: SparkEngine, tmp_path: Path, duckdb_session: Any) -> None:
    """Also if it cannot be NULL in the others, which Sail would fill with zeros."""
    files = [
        put(duckdb_session, tmp_path / "1.parquet", "SELECT 1 AS a, 2 AS b, {'x': 1} AS c"),
        put(duckdb_session, tmp_path / "2.parquet", "SELECT 3 AS a"),
    ]
    of = columns(a="INTEGER", b="INTEGER", c="STRUCT(x INTEGER)")
    query = opened(engine, source(columns=of), files)
    assert written(engine, query, of, tmp_path) == [("1", "2", "{'x': 1}"), ("3", None, None)]


@pytest.mark.parametrize(
    ("kept", "dtype"),
    [
        ("1.25::DECIMAL(5,2)", "DOUBLE"),
        ("4000000000::UINTEGER", "INTEGER"),
        ("1.5::DOUBLE", "INTEGER"),
        ("'1'", "INTEGER"),
        ("5000000000", "INTEGER"),
        ("1.25::DECIMAL(5,2)", "DECIMAL(5,1)"),
        ("'x'::BLOB", "VARCHAR"),
        ("TIMESTAMP '2024-01-02'", "DATE"),
    ],
)
def test_a_column_of_another_type_is_refused(
    engine: SparkEngine, tmp_path: Path, duckdb_session: Any, kept: str, dtype: str
) -> None:
    """Spark itself would read some of them wrong, and say nothing: 1.25 as 125."""
    path = put(duckdb_session, tmp_path / "1.parquet", f"SELECT {kept} AS a")
    with pytest.raises(
        EngineError, match=r'source some has "a" as \w.*, but \w.* is expected|Expected \w+, actual'
    ) as raised:
        engine.open_source(source(columns=columns(a=dtype)), [path])
    assert raised.value.kind == "binding"


def test_a_missing_column_and_a_missing_file_are_told(engine: SparkEngine, tmp_path: Path, duckdb_session: Any) -> None:
    """Sail itself skips missing files."""
    path = put(duckdb_session, tmp_path / "1.parquet", "SELECT 1 AS a")
    with pytest.raises(EngineError, match='source some has no column "b"') as lacking:
        engine.open_source(source(columns=columns(b="INTEGER")), [path])
    assert (lacking.value.kind, lacking.value.detail.lacks, lacking.value.detail.name) == ("binding", "column", "b")
    with pytest.raises(EngineError, match="gone.parquet") as gone:
        engine.open_source(source(columns=columns(a="INTEGER")), [path, str(tmp_path / "gone.parquet")])
    assert (gone.value.kind, gone.value.detail.lacks) == ("missing", "files")
    with pytest.raises(EngineError, match="No files found") as none:
        engine.open_source(source(columns=columns(a="INTEGER"), location=("none/*.parquet",)))
    assert none.value.kind == "missing"


def test_columns_of_types_that_spark_lacks_are_left_out(
    engine: SparkEngine, tmp_path: Path, duckdb_session: Any
) -> None:
    """They are refused where a feature reads them; a copy has the others."""
    path = put(duckdb_session, tmp_path / "1.parquet", "SELECT 1 AS a")
    of = columns(a="INTEGER", b="TIME", c="TIMESTAMP_NS")
    assert written(engine, opened(engine, source("csv", columns=of), [path]), of[:1], tmp_path) == [("1",)]


@pytest.mark.parametrize("name", ["two words", "a[1]{2}*?", "é%20+&=#;,'", "100%"])
def test_paths_are_no_patterns_and_no_urls(engine: SparkEngine, tmp_path: Path, duckdb_session: Any, name: str) -> None:
    """Spark takes them for patterns, Sail for URLs."""
    path = put(duckdb_session, tmp_path / name / f"{name}.parquet", "SELECT 1 AS a")
    put(duckdb_session, tmp_path / "a1" / "other.parquet", "SELECT 2 AS a")
    of = columns(a="INTEGER")
    query = opened(engine, source(columns=of, options=(("hive_partitioning", "false"),)), [path])
    assert written(engine, query, of, tmp_path / name) == [("1",)]


def test_patterns_of_a_source_are_those_of_duckdb(engine: SparkEngine, tmp_path: Path, duckdb_session: Any) -> None:
    """Relative to the project, if nobody has listed the files."""
    for at in (1, 2, 3):
        put(duckdb_session, tmp_path / "deep" / str(at) / "x.parquet", f"SELECT {at} AS a")
    of = columns(a="INTEGER")
    query = opened(engine, source(columns=of, location=("deep/**/x.parquet",)))
    assert written(engine, query, of, tmp_path) == [("1",), ("2",), ("3",)]


PARTITIONED = "SELECT i AS a, CASE WHEN i > 1 THEN i END AS p, 'x y/' || (i % 2) AS q, DATE '2024-01-01' + i::INTEGER AS d FROM range(6) AS r(i)"


@pytest.mark.parametrize("most", [6, 3])
def test_columns_in_names_of_folders(engine: SparkEngine, tmp_path: Path, duckdb_session: Any, most: int) -> None:
    """With signs, without a value, and of some of the files only."""
    duckdb_session.execute(f"COPY ({PARTITIONED}) TO '{tmp_path}/t' (FORMAT parquet, PARTITION_BY (p, q, d))")
    found = duckdb_session.execute(f"SELECT file FROM glob('{tmp_path}/t/**/*.parquet') ORDER BY file").fetchall()
    files = [file for (file,) in found][:most]
    rows = duckdb_session.sql(f"FROM read_parquet({files})")
    of = tuple(Column(name=name, dtype=str(dtype)) for name, dtype in zip(rows.columns, rows.types, strict=True))
    assert {c.name: c.dtype for c in of}["d"] == "DATE"
    query = opened(engine, source(columns=of), files)
    assert written(engine, query, of, tmp_path) == as_duckdb_reads(duckdb_session, f"read_parquet({files})", of)


def test_names_of_folders_are_left_alone_on_request(engine: SparkEngine, tmp_path: Path, duckdb_session: Any) -> None:
    """`hive_partitioning = false`, and folders of different names, as in DuckDB."""
    path = put(duckdb_session, tmp_path / "p=7" / "1.parquet", "SELECT 1 AS p")
    of = columns(p="INTEGER")
    query = opened(engine, source(columns=of, options=(("hive_partitioning", "false"),)), [path])
    assert written(engine, query, of, tmp_path) == [("1",)]
    other = put(duckdb_session, tmp_path / "q=7" / "1.parquet", "SELECT 2 AS p")
    assert written(engine, opened(engine, source(columns=of), [path, other]), of, tmp_path) == [("1",), ("2",)]


def test_a_source_without_files_has_no_rows(engine: SparkEngine, tmp_path: Path) -> None:
    """A copy of no rows may be no file at all."""
    of = columns(a="INTEGER", b="STRUCT(x INTEGER)")
    assert written(engine, opened(engine, source("csv", columns=of), []), of, tmp_path) == []


def test_a_closed_source_is_gone(engine: SparkEngine, tmp_path: Path, duckdb_session: Any) -> None:
    """Another may take its name."""
    path = put(duckdb_session, tmp_path / "1.parquet", "SELECT 1 AS a")
    query = opened(engine, source(columns=columns(a="INTEGER")), [path])
    engine.close_source(source())
    with pytest.raises(EngineError, match="source_some") as raised:
        written(engine, query, columns(a="INTEGER"), tmp_path)
    assert (raised.value.kind, raised.value.detail.lacks) == ("missing", "table")


def test_sources_in_sql_of_spark_read_other_sources(engine: SparkEngine, tmp_path: Path, duckdb_session: Any) -> None:
    """Templates write their names in DuckDB's quotes, which are those of texts in Spark."""
    path = put(duckdb_session, tmp_path / "1.parquet", "SELECT 1 AS a, 'it''s' AS b")
    of = columns(a="INTEGER", b="VARCHAR")
    opened(engine, source(columns=of), [path])
    sql = 'SELECT a, concat(b, \'source."some"\', "!") AS b FROM source."some" -- not source."other"'
    query = opened(engine, source("sql", name="over", sql="SELECT 1", variants=(("spark", sql),), columns=of))
    assert written(engine, query, of, tmp_path) == [("1", 'it\'ssource."some"!')]


# The catalogue of the cluster


@pytest.fixture
def table(engine: SparkEngine) -> Iterator[str]:
    """The name of a table in the catalogue of the cluster."""
    name = f"default.t_{uuid.uuid4().hex}"
    yield name
    engine._connected.spark.sql(f"DROP TABLE IF EXISTS {name}")


def create(engine: SparkEngine, table: str, query: str) -> None:
    """Create a table."""
    engine._connected.spark.sql(f"CREATE TABLE {table} USING parquet AS {query}")


CLUSTER_TYPES = """
    SELECT CAST(1 AS TINYINT) AS a, CAST(1 AS SMALLINT) AS b, 1 AS c, 1L AS d, CAST(1.5 AS FLOAT) AS e, 1.5D AS f, 1.25 AS g, 'x' AS h,
      X'AB' AS i, DATE '2024-01-02' AS j, TIMESTAMP_NTZ '2024-01-02 03:04:05.123456' AS k, TIMESTAMP_LTZ '2024-01-02 03:04:05' AS l,
      array(1, 2) AS m, map('k', 1.5D) AS n, struct(1 AS x, 'y' AS `two words`) AS o, true AS p
"""


def test_tables_of_the_catalogue_have_columns_in_types_of_duckdb(
    engine: SparkEngine, tmp_path: Path, table: str
) -> None:
    """And their rows are read."""
    create(engine, table, CLUSTER_TYPES)
    of = source("cluster", location=(table,))
    found = engine.columns(of).columns
    assert [column.dtype for column in found] == [
        "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "FLOAT", "DOUBLE", "DECIMAL(3,2)", "VARCHAR", "BLOB", "DATE", "TIMESTAMP",
        "TIMESTAMP WITH TIME ZONE", "INTEGER[]", "MAP(VARCHAR, DOUBLE)", 'STRUCT(x INTEGER, "two words" VARCHAR)', "BOOLEAN",
    ]  # fmt: skip
    planned = source("cluster", location=(table,), columns=tuple(reversed(found)))
    (row,) = written(engine, opened(engine, planned), planned.columns, tmp_path)
    assert row[::-1] == (
        "1", "1", "1", "1", "1.5", "1.5", "1.25", "x", "\\xAB", "2024-01-02", "2024-01-02 03:04:05.123456", "2024-01-02 03:04:05+00",
        "[1, 2]", "{k=1.5}", "{'x': 1, 'two words': y}", "true",
    )  # fmt: skip


def test_a_type_that_duckdb_lacks_is_named_with_its_column(engine: SparkEngine) -> None:
    """DuckDB has no intervals of months alone."""
    schema = engine._connected.spark.sql("SELECT 1 AS a, INTERVAL '1' MONTH AS b").schema
    with pytest.raises(SourceFileError) as raised:
        sources.columns_of(schema, source("cluster", location=("db.t",)))
    (problem,) = raised.value.problems
    assert (problem.summary, problem.what) == (
        "Unsupported column type",
        "source some: db.t has 'b' as INTERVAL MONTH.",
    )
    assert problem.where == Origin("f.py", 3)


def test_a_table_that_the_catalogue_lacks_is_missing(engine: SparkEngine) -> None:
    """As a table in a database is."""
    with pytest.raises(EngineError) as raised:
        engine.columns(source("cluster", location=("default.no_such",)))
    assert (raised.value.kind, raised.value.detail.lacks) == ("missing", "table")


# Stored tables


def test_stored_tables_are_the_rows_of_their_parts(engine: SparkEngine, tmp_path: Path, duckdb_session: Any) -> None:
    """A later part replaces the end of an earlier one."""
    first = put(
        duckdb_session, tmp_path / "1.parquet",
        "SELECT i AS \"k\", TIMESTAMP '2024-01-01' + i * INTERVAL 1 HOUR AS event_timestamp, i AS v, TIMESTAMP 'infinity' AS \"#until\" FROM range(5) AS r(i)",
    )  # fmt: skip
    second = put(
        duckdb_session, tmp_path / "2.parquet",
        "SELECT 3 AS \"k\", TIMESTAMP '2024-01-01 03:00:00' AS event_timestamp, 30::BIGINT AS v, NULL::TIMESTAMP AS \"#until\"",
    )  # fmt: skip
    of = (*columns(k="BIGINT", event_timestamp="TIMESTAMP", v="BIGINT"), Column(name="#until", dtype="TIMESTAMP"))
    parts = (((first,), "2024-01-01 03:00:00"), ((), "2025-01-01 00:00:00"), ((second,), None))
    engine.open_tables({"t": TableFiles(of, parts), "empty": TableFiles(of, ())})
    rows = written(engine, f"SELECT * FROM {table_relation('t')}", of[:3], tmp_path)
    assert [(k, v) for k, _, v in rows] == [("0", "0"), ("1", "1"), ("2", "2"), ("3", "30")]
    assert written(engine, f"SELECT * FROM {table_relation('empty')}", of[:3], tmp_path) == []


# Writing


def test_nothing_is_written_over_other_files(engine: SparkEngine, tmp_path: Path, duckdb_session: Any) -> None:
    """A folder is new, and what was in it stays."""
    kept = put(duckdb_session, tmp_path / "used" / "1.parquet", "SELECT 1 AS a")
    with pytest.raises(EngineError, match="exists"):
        engine.write("SELECT 1 AS a", columns(a="INTEGER"), str(tmp_path / "used"))
    assert Path(kept).exists()


def test_a_query_without_rows_is_written(engine: SparkEngine, tmp_path: Path) -> None:
    """With a file or without."""
    result = engine.write("SELECT 1 AS a WHERE false", columns(a="INTEGER"), str(tmp_path / "new"))
    assert result.rows == 0
    assert isinstance(result, ParquetRows)


def test_a_query_of_other_types_is_refused_before_it_runs(engine: SparkEngine, tmp_path: Path) -> None:
    """A cast that changes values belongs into the query."""
    with pytest.raises(EngineError, match='the query has "a" as DOUBLE, but INTEGER is expected'):
        engine.write("SELECT 1.5D AS a", columns(a="INTEGER"), str(tmp_path / "new"))
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("changes", "is_read"),
    [
        ({}, True),
        ({"options": (("union_by_name", "true"), ("hive_partitioning", "true"))}, True),
        ({"options": (("filename", "true"),)}, False),
        ({"options": (("binary_as_string", "true"),)}, False),
        ({"schema": columns(a="INTEGER")}, False),
        ({"columns": columns(a="UUID")}, False),
        ({"columns": columns(a="TIME[]")}, False),
        ({"columns": columns(a="STRUCT(x HUGEINT)")}, False),
        ({"format_": "delta"}, True),
        ({"format_": "delta", "options": (("version", "1"),)}, False),
        ({"format_": "iceberg"}, True),
        ({"format_": "cluster"}, True),
        ({"format_": "sql"}, True),
        *(({"format_": each}, False) for each in ("csv", "json", "frame", "python", "push", "table")),
    ],
    ids=str,
)
def test_which_sources_spark_reads_itself(changes: dict[str, Any], is_read: bool) -> None:  # noqa: FBT001 - one of two answers
    """It reads a copy of those that it might read differently."""
    assert sources.reads(source(**changes)) is is_read


# Tables of Delta and Iceberg


@pytest.mark.parametrize("kind", ["delta", "iceberg"])
def test_tables_of_other_formats_are_read(engine: SparkEngine, tmp_path: Path, kind: str) -> None:
    """Sail has both formats; Apache Spark has them with packages of theirs."""
    if not engine.version.startswith("sail"):
        pytest.skip("Apache Spark needs packages of these formats")
    rows = engine._connected.spark.sql(
        "SELECT CAST(1 AS TINYINT) AS a, TIMESTAMP_NTZ '2024-01-02 03:04:05.123456' AS t, 'x' AS b"
    )
    rows.write.format(kind).save(f"file://{tmp_path}/table")
    of = columns(b="VARCHAR", a="INTEGER", t="TIMESTAMP")
    query = opened(engine, source(kind, location=("table",), columns=of))
    assert written(engine, query, of, tmp_path) == [("x", "1", "2024-01-02 03:04:05.123456")]
