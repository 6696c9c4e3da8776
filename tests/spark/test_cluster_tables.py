"""Groups over tables of the cluster's own catalogue, and training sets that Spark computes."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from featdsl import FeatureStore
from featdsl.definitions.sources import Column
from featdsl.engines.external import ParquetRows
from featdsl.engines.spark.connect import connect
from featdsl.engines.spark.session import SparkEngine
from featdsl.errors import RequestError, UnreachableError
from tests.conftest import ACCOUNTS, Workspace
from tests.spark.projects import Twins, rows, twins

Edit = Callable[[str, str, str], None]
DECLARED = 'Source("accounts", path="data/accounts.parquet", timestamp="updated_at")'
FEATURES = ["age", "income", "monthly"]
SPINE = "SELECT i % 5 AS user_id, TIMESTAMP '2026-01-03' + INTERVAL (i * 7) HOUR AS at, i AS label FROM range(60) t(i)"


def insert(url: str, table: str, path: Path, *, create: bool = False) -> None:
    """Add the rows of a Parquet file to a table of the cluster."""
    connected = connect(url)
    begin = f"CREATE TABLE {table} USING parquet AS" if create else f"INSERT INTO {table}"
    connected.spark.sql(f"{begin} SELECT * FROM parquet.`{path}`")
    connected.close()


@pytest.fixture
def table(spark_url: str) -> Iterator[str]:
    """The name of a table of the cluster that is dropped in the end."""
    if "FEATDSL_SPARK_URL" not in os.environ:
        pytest.skip("Sail's catalogue lasts as long as a session")
    name = f"spark_catalog.default.t_{uuid.uuid4().hex}"
    yield name
    connected = connect(spark_url)
    connected.spark.sql(f"DROP TABLE IF EXISTS {name}")
    connected.close()


@pytest.fixture
def bank_in_days(bank: Workspace, edit: Edit) -> Workspace:
    """The small project with an age in days, which Spark computes."""
    edit(
        "features/accounts/__init__.py",
        "date_diff('year', birth_date, updated_at)",
        "date_diff('day', birth_date, updated_at)",
    )
    edit("features/accounts/__init__.py", "age BETWEEN 0 AND 120", "age > 0")
    return bank


def test_a_table_of_the_cluster_is_applied_and_refreshed(
    bank_in_days: Workspace, edit: Edit, tmp_path: Path, spark_url: str, table: str
) -> None:
    """Its columns are known to the plan, and a refresh adds the rows after the last event time."""
    both = twins(bank_in_days, tmp_path / "spark", spark_url)
    path = both.spark.root / "features/accounts/__init__.py"
    text = path.read_text(encoding="utf-8").replace(
        DECLARED, f'Source("accounts", table="{table}", timestamp="updated_at", lookback="1 day")'
    )
    path.write_text(text, encoding="utf-8")
    insert(spark_url, table, both.spark.root / "data/accounts.parquet", create=True)
    both.run("apply", "--yes")
    both.compare()
    more = ACCOUNTS.replace("range(20)", "range(20, 27)")
    both.spark.parquet("data/more.parquet", more)
    insert(spark_url, table, both.spark.root / "data/more.parquet")
    both.duckdb.parquet("data/accounts.parquet", f"{ACCOUNTS} UNION ALL {more}")
    both.run("refresh")
    both.compare()
    assert rows(both.spark, "SELECT count(*) FROM prod.user_profile")[1] == ["(27,)"]


def test_duckdb_cannot_compute_a_table_of_the_cluster(
    bank_in_days: Workspace, edit: Edit, spark_url: str, table: str
) -> None:
    """A group of DuckDB over it is refused at its line, with the option to give; trying it says so, too."""
    insert(spark_url, table, bank_in_days.root / "data/accounts.parquet", create=True)
    edit("featproject.toml", 'name = "bank"\n', f'name = "bank"\n\n[engine]\nurl = "{spark_url}"\n')
    edit("features/accounts/__init__.py", DECLARED, f'Source("accounts", table="{table}", timestamp="updated_at")')
    done = bank_in_days.run("plan")
    assert done.returncode == 1
    assert f"which cannot read source accounts: the table {table} of a cluster." in done.stderr
    assert "features/accounts/__init__.py:8" in done.stderr
    assert 'Give user_profile the option engine="spark".' in done.stderr
    tried = bank_in_days.run("try", "user_profile")
    assert tried.returncode == 1
    assert "which DuckDB cannot read" in tried.stderr
    assert "Traceback" not in tried.stderr


@pytest.fixture
def both(bank_in_days: Workspace, tmp_path: Path, spark_url: str) -> Twins:
    """The small project, applied on DuckDB and on Spark, with a spine as a file."""
    found = twins(bank_in_days, tmp_path / "spark", spark_url)
    found.run("apply", "--yes")
    found.spark.parquet("spine.parquet", SPINE)
    return found


def sorted_rows(store: FeatureStore, spine: object, **options: object) -> object:
    """Return the rows of a training set in one order."""
    keys = [("label", "ascending")]
    return store.training_set(FEATURES, spine, timestamp="at", **options).arrow().sort_by(keys)  # type: ignore[arg-type]


def test_spark_computes_a_training_set(both: Twins, tmp_path: Path) -> None:
    """From a file, with the values, the types and the lock of one that DuckDB computes."""
    duckdb, spark = both.stores
    path = str(both.spark.root / "spine.parquet")
    expected = sorted_rows(duckdb, SPINE)
    assert sorted_rows(spark, path, engine="spark", to=tmp_path / "one") == expected
    assert list((tmp_path / "one").glob("*.parquet"))
    assert not (tmp_path / "one.tables").exists()
    training = spark.training_set(FEATURES, path, timestamp="at", engine="spark", to=tmp_path / "three")
    assert training.lock == spark.training_set(FEATURES, path, timestamp="at").lock
    assert "60 rows" in training.explanation


def test_the_join_of_the_server_has_the_same_values(
    both: Twins, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the server has an ASOF join, it is used, and the portable form gives what it gives."""
    path, store = str(both.spark.root / "spine.parquet"), both.spark.store
    written: list[str] = []
    write = SparkEngine.write

    def noted(engine: SparkEngine, query: str, columns: Sequence[Column], folder: str) -> ParquetRows:
        written.append(query)
        return write(engine, query, columns, folder)

    monkeypatch.setattr(SparkEngine, "write", noted)
    native = sorted_rows(store, path, engine="spark", to=tmp_path / "native")
    monkeypatch.setattr(SparkEngine, "has_asof_join", False)
    assert sorted_rows(store, path, engine="spark", to=tmp_path / "portable") == native
    is_apache = "FEATDSL_SPARK_URL" in os.environ
    assert ["ASOF JOIN" in query for query in written] == [is_apache, False]


def test_a_spine_may_be_a_table_of_the_cluster(both: Twins, tmp_path: Path, spark_url: str, table: str) -> None:
    """Spark reads the spine where it is."""
    path = both.spark.root / "spine.parquet"
    insert(spark_url, table, path, create=True)
    there = sorted_rows(both.spark.store, table, engine="spark", to=str(tmp_path / "two"))
    assert there == sorted_rows(both.duckdb.store, SPINE)


def test_tables_of_duckdb_are_lent_to_spark(both: Twins, tmp_path: Path, spark_url: str) -> None:
    """A training set on Spark reads tables that DuckDB has built."""
    with (both.duckdb.root / "featproject.toml").open("a", encoding="utf-8") as file:
        file.write(f'\n[engine]\nurl = "{spark_url}"\n')
    path = str(both.spark.root / "spine.parquet")
    assert sorted_rows(both.duckdb.store, path, engine="spark", to=tmp_path / "out") == sorted_rows(
        both.duckdb.store, path
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"to": None}, "Name a new folder"),
        ({"spine": SPINE}, "not a path or a table"),
        ({"spine": "nothing/*.parquet"}, "nothing"),
        ({"spine": "spark_catalog.default.nothing"}, "nothing"),
        ({"timestamp": None}, "each row of the spine needs a time"),
        ({"timestamp": "att"}, "no column 'att'"),
        ({"engine": "flink"}, "Give one of: spark"),
    ],
)
def test_a_training_set_that_cannot_be(both: Twins, tmp_path: Path, options: dict[str, object], message: str) -> None:
    """Each mistake has an error of its own, and nothing is written."""
    given: dict[str, object] = {
        "spine": str(both.spark.root / "spine.parquet"), "timestamp": "at", "engine": "spark", "to": tmp_path / "out", **options,
    }  # fmt: skip
    with pytest.raises((RequestError, UnreachableError), match=message):
        both.spark.store.training_set(FEATURES, **given)  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (SPINE.replace("AS user_id", "AS user"), "no column 'user_id'"),
        (SPINE.replace("i % 5 AS user_id", "(i % 5)::VARCHAR AS user_id"), "is VARCHAR; the features need BIGINT"),
        (SPINE.replace("i AS label", "i AS age"), "already has a column 'age'"),
    ],
)
def test_a_spine_that_does_not_fit(both: Twins, tmp_path: Path, query: str, message: str) -> None:
    """Spark converts no keys: the column is named, with its type."""
    both.spark.parquet("spine.parquet", query)
    with pytest.raises(RequestError, match=message):
        both.spark.store.training_set(
            FEATURES, str(both.spark.root / "spine.parquet"), timestamp="at", engine="spark", to=tmp_path / "out"
        )
    assert not (tmp_path / "out").exists()
