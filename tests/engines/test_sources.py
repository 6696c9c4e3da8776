"""Rows from every kind of place, read as declared."""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from featdsl import DeclarationError, Entity, Feature, FeatureGroup, Source
from featdsl.definitions import fingerprints
from tests.budgets import examples
from tests.conftest import Workspace
from tests.declared import applied as in_memory

PROJECT = {"featproject.toml": '[project]\nname = "shop"\n\n[variables]\nfactor = 3\n'}
ROWS = "SELECT i AS user_id, TIMESTAMP '2026-01-01' AS ts, 10 * i AS size FROM range(1, 4) t(i)"
EXPECTED = [(1, 10), (2, 20), (3, 30)]


def declare(workspace: Workspace, source: str) -> Workspace:
    """Declare one group over a source, which is given as code."""
    return workspace.write(
        {
            **PROJECT,
            "features/shop.py": f"""
import datetime

from featdsl import Entity, Feature, FeatureGroup, Source

user = Entity("user", keys={{"user_id": int}})
{source}


class Shoes(FeatureGroup, entity=user, source=shoes):
    size = Feature(int)
""",
        }
    )


def stored(workspace: Workspace) -> list[tuple[object, ...]]:
    """Apply, and return what an analyst then sees."""
    workspace.apply()
    return workspace.published("SELECT user_id, size FROM prod.shoes ORDER BY ALL")


def test_parquet_files_by_glob(workspace: Workspace) -> None:
    """Every file that matches counts."""
    for i in (1, 2, 3):
        workspace.parquet(f"data/part-{i}.parquet", f"SELECT * FROM ({ROWS}) WHERE user_id = {i}")
    declare(workspace, 'shoes = Source("shoes", path="data/part-*.parquet", timestamp="ts")')
    assert stored(workspace) == EXPECTED


def test_several_paths(workspace: Workspace) -> None:
    """A list of globs is one source."""
    for i in (1, 2, 3):
        workspace.parquet(f"data/{i}.parquet", f"SELECT * FROM ({ROWS}) WHERE user_id = {i}")
    declare(workspace, 'shoes = Source("shoes", path=["data/1.parquet", "data/[23].parquet"], timestamp="ts")')
    assert stored(workspace) == EXPECTED


def test_csv_with_options(workspace: Workspace) -> None:
    """Options go to DuckDB's reader."""
    workspace.write(
        {"shoes.csv": "user_id;ts;size\n1;2026-01-01;10\n2;2026-01-01;20\n3;2026-01-01;30\n4;2026-01-01;-\n"}
    )
    declare(
        workspace, 'shoes = Source("shoes", path="shoes.csv", options={"delim": ";", "nullstr": ["-"]}, timestamp="ts")'
    )
    assert stored(workspace) == [*EXPECTED, (4, None)]


def test_gzipped_csv(workspace: Workspace) -> None:
    """The ending tells the format."""
    (workspace.root / "shoes.csv.gz").write_bytes(gzip.compress(b"user_id,size\n1,10\n2,20\n3,30\n"))
    declare(workspace, 'shoes = Source("shoes", path="shoes.csv.gz")')
    assert stored(workspace) == EXPECTED


@pytest.mark.parametrize("name", ["shoes.jsonl", "shoes.ndjson", "shoes.json"])
def test_json_lines(workspace: Workspace, name: str) -> None:
    """One object a line."""
    lines = [f'{{"user_id": {i}, "ts": "2026-01-01T00:00:00", "size": {10 * i}}}\n' for i in (1, 2, 3)]
    workspace.write({name: "".join(lines)})
    declare(workspace, f'shoes = Source("shoes", path="{name}", timestamp="ts")')
    assert stored(workspace) == EXPECTED


def test_a_format_by_name(workspace: Workspace) -> None:
    """An ending that tells nothing needs `format=`."""
    workspace.write({"shoes.txt": "user_id,size\n1,10\n2,20\n3,30\n"})
    declare(workspace, 'shoes = Source("shoes", path="shoes.txt", format="csv")')
    assert stored(workspace) == EXPECTED


def test_a_table_of_a_duckdb_file(workspace: Workspace) -> None:
    """Read-only, and free for others as soon as the apply is over."""
    path = workspace.root / "warehouse.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute(f"CREATE SCHEMA mart; CREATE TABLE mart.shoes AS {ROWS}")
    declare(workspace, 'shoes = Source("shoes", database="warehouse.duckdb", table="mart.shoes", timestamp="ts")')
    assert stored(workspace) == EXPECTED
    with duckdb.connect(str(path)) as connection:
        connection.execute("DROP TABLE mart.shoes")


def test_an_unknown_table_of_a_duckdb_file(workspace: Workspace) -> None:
    """The nearest one may have been meant."""
    with duckdb.connect(str(workspace.root / "warehouse.duckdb")) as connection:
        connection.execute(f"CREATE TABLE shoes AS {ROWS}")
    declare(workspace, 'shoes = Source("shoes", database="warehouse.duckdb", table="main.shos", timestamp="ts")')
    assert workspace.run("plan").stderr == (
        "Missing table\n"
        "  source shoes: warehouse.duckdb has no table main.shos.\n"
        "  features/shop.py:7\n"
        '  Did you mean "shoes"?\n'
    )


def test_a_duckdb_file_that_is_in_use(workspace: Workspace) -> None:
    """Who writes it at the moment is told."""
    with duckdb.connect(str(workspace.root / "warehouse.duckdb")) as connection:
        connection.execute(f"CREATE TABLE shoes AS {ROWS}")
        declare(workspace, 'shoes = Source("shoes", database="warehouse.duckdb", table="shoes", timestamp="ts")')
        done = workspace.spawn("plan")
    assert done.returncode == 1
    assert f"(PID {os.getpid()})" in done.stderr
    assert "server" not in done.stderr


def test_sql_over_other_sources_with_variables(workspace: Workspace) -> None:
    """Jinja names sources and variables."""
    workspace.parquet("raw.parquet", ROWS)
    declare(
        workspace,
        'raw = Source("raw", path="raw.parquet", timestamp="ts")\n'
        'shoes = Source("shoes", timestamp="ts", sql="""\n'
        "    SELECT user_id, ts, sum(size) * {{ var('factor') }} AS size FROM {{ raw }}\n"
        '    {% if var("factor") > 2 %} WHERE user_id > 1 {% endif %} GROUP BY ALL""")',
    )
    assert stored(workspace) == [(2, 60), (3, 90)]


def test_rows_in_memory(workspace: Workspace) -> None:
    """For tests and notebooks."""
    declare(workspace, 'shoes = Source("shoes", frame=[{"user_id": i, "size": 10 * i} for i in (1, 2, 3)])')
    assert stored(workspace) == EXPECTED
    assert workspace.run("plan", "--check").returncode == 0


def test_a_saved_plan_takes_rows_in_memory_along(workspace: Workspace) -> None:
    """Another process applies it without importing the features."""
    declare(workspace, 'shoes = Source("shoes", frame=[{"user_id": i, "size": 10 * i} for i in (1, 2, 3)])')
    assert workspace.run("plan", "--out", "plan.json").returncode == 0
    (workspace.root / "features" / "shop.py").unlink()
    assert workspace.run("apply", "plan.json").returncode == 0
    assert workspace.published("SELECT user_id, size FROM prod.shoes ORDER BY ALL") == EXPECTED


def test_rows_in_memory_are_the_same_in_any_order(workspace: Workspace) -> None:
    """The fingerprint is of the rows, not of how they came."""
    declare(workspace, 'shoes = Source("shoes", frame=[{"user_id": i, "size": 10 * i} for i in (1, 2, 3)])')
    workspace.apply()
    declare(workspace, 'shoes = Source("shoes", frame=[{"size": 10 * i, "user_id": i} for i in (3, 1, 2)])')
    assert workspace.run("plan", "--check").returncode == 0
    declare(workspace, 'shoes = Source("shoes", frame=[{"size": 11 * i, "user_id": i} for i in (3, 1, 2)])')
    assert workspace.run("plan", "--check").returncode == 2


def test_timestamps_with_a_zone_become_utc(workspace: Workspace) -> None:
    """The stored time is the instant, whatever zone it was written in."""
    workspace.parquet(
        "shoes.parquet",
        "SELECT 1 AS user_id, 10 AS size, TIMESTAMPTZ '2026-01-01 12:00:00+05:00' AS ts "
        "UNION ALL SELECT 2, 20, TIMESTAMPTZ '2026-01-01 12:00:00-03:00'",
    )
    declare(workspace, 'shoes = Source("shoes", path="shoes.parquet", timestamp="ts")')
    workspace.apply()
    rows = workspace.published("SELECT user_id, event_timestamp::VARCHAR FROM prod.shoes ORDER BY ALL")
    assert rows == [(1, "2026-01-01 07:00:00"), (2, "2026-01-01 15:00:00")]


def test_paths_start_at_the_project(workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> None:
    """It does not matter where the command is run."""
    workspace.parquet("data/shoes.parquet", ROWS)
    declare(workspace, 'shoes = Source("shoes", path="data/shoes.parquet", timestamp="ts")')
    below = workspace.root / "data" / "deeper"
    below.mkdir()
    assert Workspace(Path(below)).run("apply", "--yes").returncode == 0
    assert workspace.published("SELECT user_id, size FROM prod.shoes ORDER BY ALL") == EXPECTED


# Which of two rows at one time wins


@pytest.mark.parametrize("more", [{}, {"available_at": "loaded"}])
@settings(max_examples=examples(4, 20), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_several_columns_choose_between_rows(
    tmp_path_factory: pytest.TempPathFactory, more: dict[str, Any], data: st.DataObject
) -> None:
    """The first one that differs decides, the greatest wins, NULL is the least; windows take the rows in that order."""
    some = st.none() | st.integers(0, 2)
    cells = data.draw(st.lists(st.tuples(some, some, st.integers(0, 1)), min_size=1, max_size=8, unique=True))
    drawn = [(*cell, number) for number, cell in enumerate(cells)]
    rows = pa.table(
        {
            "user_id": [1] * len(drawn),
            "ts": pa.array([day * 86_400_000_000 for *_, day, _ in drawn], pa.timestamp("us")),
            "loaded": pa.array([0] * len(drawn), pa.timestamp("us")),
            "a": pa.array([row[0] for row in drawn], pa.int64()),
            "b": pa.array([row[1] for row in drawn], pa.int64()),
            "v": [row[3] for row in drawn],
        }
    )

    def declare() -> None:
        user = Entity("user", keys={"user_id": int})
        source = Source("rows", frame=rows, timestamp="ts", tie_break=("a", "b"), **more)

        class Rows(FeatureGroup, entity=user, source=source):
            v = Feature(int)

        class Windows(FeatureGroup, entity=user, source=source):
            last_v = Feature(int, sql="last(v)", window="lifetime")

    store = in_memory(tmp_path_factory.mktemp("store"), declare)
    spine = pa.table({"user_id": [1, 1], "t": pa.array([0, 86_400_000_000], pa.timestamp("us"))})
    table = store.training_set(["v", "last_v"], spine, timestamp="t").arrow()

    def rank(row: tuple[int | None, int | None, int, int]) -> tuple[int, int, int]:
        a, b, day, _ = row
        return (day, -1 if a is None else a, -1 if b is None else b)

    expected = [max((row for row in drawn if row[2] <= day), key=rank, default=None) for day in (0, 1)]
    assert table["v"].to_pylist() == [row and row[3] for row in expected]
    before = max((row for row in drawn if row[2] < 1), key=rank, default=None)
    assert table["last_v"].to_pylist()[1] == (before and before[3])


def test_one_column_in_a_list_is_that_column(workspace: Workspace) -> None:
    """It is the definition that it is alone; several are another one, with a diff that names them."""
    workspace.parquet("data/rows.parquet", f"SELECT *, 1 AS a, 2 AS b FROM ({ROWS})")
    source = 'shoes = Source("shoes", path="data/rows.parquet", timestamp="ts", tie_break={})'
    declare(workspace, source.format('"a"')).apply()

    declare(workspace, source.format('["a"]'))
    assert workspace.run("plan", "--check").returncode == 0
    declare(workspace, source.format('("b", "a")'))

    assert "tie_break: a → b, a" in workspace.run("plan").stdout
    workspace.apply()
    declare(workspace, source.format('("b", "c")'))
    assert "source shoes has no column 'c', its tie_break=." in workspace.run("plan").stderr


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"a", "b"}, "is not a column or a list of columns"),
        ([], "the list is empty"),
        (("a", "a"), "lists a column twice"),
        ([1], "tie_break"),
    ],
)
def test_what_chooses_between_rows_has_an_order(columns: Any, said: str) -> None:
    """A set has none; an empty list and a column twice are mistakes."""
    with pytest.raises(DeclarationError, match=said):
        Source("rows", frame=pa.table({"a": [1]}), timestamp="a", tie_break=columns)


def test_a_source_without_new_options_has_the_fingerprint_of_before() -> None:
    """Stores that were applied before there were several tie breaks, units, zones and ends hold these."""
    common: dict[str, Any] = {"format": "csv", "location": ["a.csv"], "options": [], "sql": "", "inputs": {}}
    assert (
        fingerprints.source(**common, time=("ts", "version"), available_at="known")
        == "68ae830a24cb3ad50be3c5308e1ac1e8"
    )
    assert fingerprints.source(**common, time=("ts", None), available_at=None) == "e7760ebc64537dea852364efbdba2122"
