"""Rows from servers that are real: a PostgreSQL, an S3, HTTP; tables in formats of lakes; and what is told of their secrets."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import pandas as pd
import pytest

from tests.conftest import Workspace
from tests.servers import S3, Files, Postgres
from tests.test_sources import EXPECTED, ROWS, declare

SHOES = """
CREATE TABLE shoes AS SELECT i AS user_id, TIMESTAMP '2026-01-01' AS ts, 10 * i AS size FROM generate_series(1, 3) i
"""
WAREHOUSE = 'shoes = Source("shoes", table="public.shoes", database="env:WAREHOUSE_URL", timestamp="ts")'
SPINE = pd.DataFrame(
    {"user_id": [3, 1, 9, 2], "ts": pd.to_datetime(["2026-02-01", "2026-02-01", "2026-02-01", "2025-12-31"])}
)
TRAINED = [30, 10, None, None]
"""The sizes at the times of the spine: of a user that is not there, and of one before there was a size, there is none."""


def rows(workspace: Workspace) -> list[tuple[object, ...]]:
    """Return the applied values, as an analyst reads them."""
    return workspace.published("SELECT user_id, size FROM prod.shoes ORDER BY ALL")


def trained(workspace: Workspace) -> list[object]:
    """Return the sizes of a training set."""
    frame = workspace.store.training_set(["shoes.size"], SPINE, timestamp="ts").df()
    merged = SPINE.merge(frame, on=["user_id", "ts"], how="left", sort=False)
    return [None if pd.isna(size) else int(size) for size in merged["size"]]


def applied(workspace: Workspace, **environment: str) -> None:
    """Apply as a process of its own, with these variables."""
    done = workspace.run("apply", "--yes", **environment)
    assert done.returncode == 0, done.stdout + done.stderr


def refused(workspace: Workspace, *arguments: str, **environment: str) -> str:
    """Return what a command says that fails."""
    done = workspace.run(*arguments, **environment)
    assert done.returncode == 1, done.stdout
    assert "Traceback" not in done.stderr
    return done.stderr


def written(folder: Path) -> str:
    """Return all that files hold, and all rows of those that are DuckDB's, which the bytes do not show plainly."""
    parts = []
    for file in sorted(each for each in folder.rglob("*") if each.is_file()):
        parts.append(file.read_bytes().decode("latin-1"))
        if file.suffix == ".duckdb":
            with duckdb.connect(str(file), read_only=True) as connection:
                query = "SELECT schema_name, table_name FROM duckdb_tables() UNION ALL SELECT schema_name, view_name FROM duckdb_views() WHERE NOT internal"
                for schema, table in connection.execute(query).fetchall():
                    found = connection.execute(f'SELECT t::VARCHAR FROM "{schema}"."{table}" t').fetchall()
                    parts.extend(str(row) for row in found)
                parts.extend(str(row) for row in connection.execute("SELECT sql FROM duckdb_views()").fetchall())
    return "\n".join(parts)


@pytest.fixture
def warehouse(workspace: Workspace, postgres: Postgres) -> Warehouse:
    """A project over a table of a PostgreSQL."""
    name = postgres.database()
    postgres.execute(SHOES, name)
    return Warehouse(declare(workspace, WAREHOUSE), postgres, name)


class Warehouse:
    """A project, and the database that it reads."""

    def __init__(self, workspace: Workspace, server: Postgres, name: str) -> None:
        self.workspace, self.server, self.name = workspace, server, name

    @property
    def variable(self) -> dict[str, str]:
        """What tells a process where the database is."""
        return {"WAREHOUSE_URL": self.server.url(self.name)}


# PostgreSQL


def test_a_table_of_postgres(warehouse: Warehouse) -> None:
    """Planned, applied and trained on; once applied, readers need no server."""
    planned = warehouse.workspace.run("plan", **warehouse.variable)
    assert "source shoes" in planned.stdout, planned.stderr
    applied(warehouse.workspace, **warehouse.variable)
    assert rows(warehouse.workspace) == EXPECTED
    warehouse.server.stop()
    assert trained(warehouse.workspace) == TRAINED


def test_refresh_takes_new_rows_of_a_server(warehouse: Warehouse) -> None:
    """No file tells whether a table has changed, so its rows are asked; what was there is kept."""
    workspace = warehouse.workspace
    applied(workspace, **warehouse.variable)
    same = workspace.run("refresh", **warehouse.variable)
    assert "Everything is up to date." in same.stdout, same.stderr
    warehouse.server.execute("INSERT INTO shoes VALUES (2, '2026-02-01', 21)", warehouse.name)
    done = workspace.run("refresh", **warehouse.variable)
    assert done.returncode == 0, done.stderr
    assert rows(workspace) == sorted([*EXPECTED, (2, 21)])
    warehouse.server.stop()
    said = refused(workspace, "refresh", **warehouse.variable)
    assert f"the database env:WAREHOUSE_URL at 127.0.0.1:{warehouse.server.port} cannot be opened" in said
    assert warehouse.server.password not in said + written(workspace.root)


def test_no_secret_is_kept_or_told(warehouse: Warehouse) -> None:
    """Neither a file of the project and its store nor a plan in any format holds the password or the address."""
    workspace, variable = warehouse.workspace, warehouse.variable
    said = [workspace.run("plan", "--format", form, **variable) for form in ("text", "markdown", "json")]
    said.append(workspace.run("plan", "--out", "plan.json", **variable))
    said.append(workspace.run("apply", "plan.json", "--yes", **variable))
    said += [workspace.run(*each.split(), **variable) for each in ("show shoes.size", "export out.json", "history")]
    assert [each.returncode for each in said] == [0] * len(said), [each.stderr for each in said]
    everything = written(workspace.root) + "".join(each.stdout + each.stderr for each in said)
    assert everything.count("env:WAREHOUSE_URL") > 3
    assert warehouse.server.password not in everything
    assert warehouse.name not in everything


def test_what_the_variable_says_is_no_part_of_the_definition(warehouse: Warehouse) -> None:
    """The same database elsewhere is nothing to plan, and a plan has the same bytes."""
    before = warehouse.workspace.run("plan", "--format", "json", **warehouse.variable).stdout
    other = warehouse.server.database()
    warehouse.server.execute(SHOES, other)
    elsewhere = {"WAREHOUSE_URL": f"postgres:{warehouse.server.url(other)}"}
    assert warehouse.workspace.run("plan", "--format", "json", **elsewhere).stdout == before
    applied(warehouse.workspace, **warehouse.variable)
    assert warehouse.workspace.run("plan", "--check", **elsewhere).returncode == 0


def test_a_dropped_column_is_found_by_plan(warehouse: Warehouse) -> None:
    """What was there at the last apply is named."""
    applied(warehouse.workspace, **warehouse.variable)
    warehouse.server.execute("ALTER TABLE shoes RENAME COLUMN size TO length", warehouse.name)
    said = refused(warehouse.workspace, "plan", **warehouse.variable)
    assert "shoes.size reads the column 'size', which does not exist" in said
    assert "features/shop.py" in said


def test_an_unknown_table_is_told(warehouse: Warehouse) -> None:
    """With the file and line that name it, and what may have been meant."""
    declare(warehouse.workspace, WAREHOUSE.replace("public.shoes", "public.shos"))
    assert refused(warehouse.workspace, "plan", **warehouse.variable) == (
        "Missing table\n"
        "  source shoes: env:WAREHOUSE_URL has no table public.shos.\n"
        "  features/shop.py:7\n"
        '  Did you mean "shoes"?\n'
    )


def test_a_server_out_of_reach(warehouse: Warehouse) -> None:
    """Plan tells the host and what to do, and so does the apply of a plan that was saved."""
    done = warehouse.workspace.run("plan", "--out", "plan.json", **warehouse.variable)
    assert done.returncode == 0, done.stderr
    warehouse.server.stop()
    port = warehouse.server.port
    problem = (
        "Source cannot be read\n"
        f"  source shoes: the database env:WAREHOUSE_URL at 127.0.0.1:{port} cannot be opened: "
        f'connection to server at "127.0.0.1", port {port} failed: Connection refused\n'
        "  features/shop.py:7\n"
        "  {}Check that its server can be reached from here, and what WAREHOUSE_URL says.\n"
    )
    assert refused(warehouse.workspace, "plan", **warehouse.variable) == problem.format("")
    said = refused(warehouse.workspace, "apply", "plan.json", "--yes", **warehouse.variable)
    assert problem.format("Nothing was published. ") in said
    assert not (warehouse.workspace.root / ".featdsl" / "store.duckdb").exists()


def test_a_wrong_password(warehouse: Warehouse) -> None:
    """It is told that it is wrong, and not what it is."""
    url = warehouse.variable["WAREHOUSE_URL"].replace(warehouse.server.password, "Wr0ng:p@ss/word")
    said = refused(warehouse.workspace, "plan", WAREHOUSE_URL=url)
    assert 'password authentication failed for user "featdsl"' in said
    assert "Wr0ng" not in said
    assert "p@ss" not in said
    assert "word" not in said.replace("password", "")


@pytest.mark.parametrize(("value", "told"), [
    ("", "the variable WAREHOUSE_URL is not set"),
    ("host=wh password=geheim", "env:WAREHOUSE_URL names neither a database file that is there nor a server"),
])  # fmt: skip
def test_a_variable_that_names_no_database(warehouse: Warehouse, value: str, told: str) -> None:
    """What it says is not repeated."""
    said = refused(warehouse.workspace, "plan", WAREHOUSE_URL=value)
    assert told in said
    assert "geheim" not in said


def test_rows_that_the_server_cannot_compute(warehouse: Warehouse) -> None:
    """What goes wrong while rows are read is told in words, without the way to the server."""
    warehouse.server.execute(
        "CREATE VIEW boots AS SELECT user_id, ts, size / (user_id - 3) AS size FROM shoes", warehouse.name
    )
    declare(warehouse.workspace, WAREHOUSE.replace("public.shoes", "public.boots"))
    said = refused(warehouse.workspace, "apply", "--yes", **warehouse.variable)
    assert (
        "Data cannot be computed\n  group shoes: IO Error: Failed to fetch header for COPY: ERROR:  division by zero\n"
        in said
    )
    assert "Nothing was published." in said
    assert warehouse.server.password not in said


def test_a_server_that_dies_while_it_is_read(warehouse: Warehouse) -> None:
    """Apply ends with what happened, and nothing is published."""
    warehouse.server.execute(
        "CREATE VIEW boots AS SELECT user_id, ts, size, pg_sleep(20) IS NULL AS slept FROM shoes", warehouse.name
    )
    declare(warehouse.workspace, WAREHOUSE.replace("public.shoes", "public.boots"))
    path = warehouse.workspace.root / "features" / "shop.py"
    path.write_text(f"{path.read_text(encoding='utf-8')}    slept = Feature(bool)\n", encoding="utf-8")
    reads = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%boots%' AND wait_event = 'PgSleep'"
    with ThreadPoolExecutor(1) as other:
        apply = other.submit(refused, warehouse.workspace, "apply", "--yes", **warehouse.variable)
        until = time.monotonic() + 90
        while warehouse.server.execute(reads) == "0" and not apply.done() and time.monotonic() < until:
            time.sleep(0.1)
        warehouse.server.stop(crash=True)
        said = apply.result()
    assert "Data cannot be computed\n  group shoes: " in said
    assert "Nothing was published." in said
    assert warehouse.server.password not in said
    assert not (warehouse.workspace.root / ".featdsl" / "store.duckdb").exists()


def test_planning_without_the_server(warehouse: Warehouse) -> None:
    """Beside an export, what is as it was needs no server, and what is new is said not to be checked."""
    workspace = warehouse.workspace
    applied(workspace, **warehouse.variable)
    assert workspace.run("export", "out.json").returncode == 0
    warehouse.server.stop()
    same = workspace.run("plan", "--against", "out.json", "--check")
    assert same.returncode == 0, same.stdout + same.stderr
    declare(workspace, WAREHOUSE.replace("public.shoes", "public.boots"))
    for variable in ({}, warehouse.variable):
        other = workspace.run("plan", "--against", "out.json", "--format", "json", **variable)
        (notice,) = json.loads(other.stdout)["notices"]
        assert notice["what"] == (
            "The columns of source shoes were not checked, so nothing that shoes reads of it: "
            "env:WAREHOUSE_URL cannot be read here."
        )


def test_preview_reads_the_server(warehouse: Warehouse) -> None:
    """Old and new values are computed from its rows."""
    applied(warehouse.workspace, **warehouse.variable)
    path = warehouse.workspace.root / "features" / "shop.py"
    path.write_text(
        path.read_text(encoding="utf-8").replace("Feature(int)", 'Feature(int, sql="size + 1")'), encoding="utf-8"
    )
    shown = warehouse.workspace.run("plan", "--preview", **warehouse.variable)
    assert "100" in shown.stdout, shown.stdout + shown.stderr
    warehouse.server.stop()
    path.write_text(path.read_text(encoding="utf-8").replace("size + 1", "size + 2"), encoding="utf-8")
    assert warehouse.server.password not in refused(warehouse.workspace, "plan", "--preview", **warehouse.variable)


# SQLite


@pytest.mark.parametrize(("database", "variable"), [
    ("sqlite:shop.db", {}), ("env:SHOP", {"SHOP": "sqlite:shop.db"}), ("env:SHOP", {"SHOP": "shop.duckdb"}),
])  # fmt: skip
def test_a_database_in_a_file(workspace: Workspace, database: str, variable: dict[str, str]) -> None:
    """SQLite's or DuckDB's own, named by its path or by a variable."""
    connection = sqlite3.connect(workspace.root / "shop.db")
    connection.execute("CREATE TABLE shoes (user_id INTEGER, ts TIMESTAMP, size INTEGER)")
    connection.executemany("INSERT INTO shoes VALUES (?, '2026-01-01 00:00:00', ?)", EXPECTED)
    connection.commit()
    connection.close()
    with duckdb.connect(str(workspace.root / "shop.duckdb")) as other:
        other.execute(f"CREATE TABLE shoes AS {ROWS}")
    declare(workspace, f'shoes = Source("shoes", table="shoes", database="{database}", timestamp="ts")')
    applied(workspace, **variable)
    assert rows(workspace) == EXPECTED


# S3


@pytest.fixture
def bucket(workspace: Workspace, s3: S3) -> Callable[[str], Workspace]:
    """Make a project over a source of the S3, given as code."""

    def make(source: str) -> Workspace:
        declare(workspace, source)
        settings = workspace.root / "featproject.toml"
        settings.write_text(f"{settings.read_text(encoding='utf-8')}\n{s3.settings}", encoding="utf-8")
        return workspace

    return make


def test_parquet_files_of_s3(bucket: Callable[[str], Workspace], s3: S3, tmp_path: Path) -> None:
    """Every file that matches counts; nothing of the key is kept or told; readers need no S3."""
    prefix = tmp_path.name
    workspace = bucket(f'shoes = Source("shoes", path="s3://{s3.bucket}/{prefix}/*.parquet", timestamp="ts")')
    for i in (1, 2, 3):
        workspace.parquet("part.parquet", f"SELECT * FROM ({ROWS}) WHERE user_id = {i}")
        s3.put(workspace.root / "part.parquet", f"{prefix}/part-{i}.parquet")
    said = [workspace.run("plan", "--format", form, **s3.environment) for form in ("text", "markdown", "json")]
    said.append(workspace.run("plan", "--out", "plan.json", **s3.environment))
    said.append(workspace.run("apply", "plan.json", "--yes", **s3.environment))
    assert [each.returncode for each in said] == [0] * len(said), [each.stderr for each in said]
    assert rows(workspace) == EXPECTED
    assert trained(workspace) == TRAINED
    everything = written(workspace.root) + "".join(each.stdout + each.stderr for each in said)
    assert f"s3://{s3.bucket}/{prefix}/" in everything
    assert s3.secret not in everything
    assert s3.key not in everything


def test_new_files_of_s3_are_read_alone(bucket: Callable[[str], Workspace], s3: S3, tmp_path: Path) -> None:
    """However late their rows are; where there are none, nothing is read."""
    prefix = tmp_path.name
    workspace = bucket(f'shoes = Source("shoes", path="s3://{s3.bucket}/{prefix}/*.parquet", timestamp="ts")')
    for i, when in ((1, "2026-02-01"), (2, "2026-01-01"), (3, "2026-03-01")):
        workspace.parquet(
            "part.parquet", f"SELECT * REPLACE (TIMESTAMP '{when}' AS ts) FROM ({ROWS}) WHERE user_id = {i}"
        )
        s3.put(workspace.root / "part.parquet", f"{prefix}/part-{i}.parquet")
        if i == 1:
            applied(workspace, **s3.environment)
            continue
        done = workspace.run("refresh", **s3.environment)
        assert f"{when} 00:00:00  1 new file" in done.stdout, done.stdout + done.stderr
    assert rows(workspace) == EXPECTED
    assert "Everything is up to date" in workspace.run("refresh", **s3.environment).stdout


def test_s3_out_of_reach(bucket: Callable[[str], Workspace], s3: S3) -> None:
    """What is missing is told with the bucket, where to look, and no key."""
    workspace = bucket(f'shoes = Source("shoes", path="s3://{s3.bucket}/none/*.parquet", timestamp="ts")')
    mend = (
        "Check the bucket, [engine.s3] of featproject.toml, and the variables AWS_ACCESS_KEY_ID and"
        " AWS_SECRET_ACCESS_KEY."
    )
    said = refused(workspace, "plan", **s3.environment)
    assert f"source shoes: no file matches s3://{s3.bucket}/none/*.parquet.\n  features/shop.py:7\n  {mend}" in said
    declare_other = workspace.root / "features" / "shop.py"
    declare_other.write_text(
        declare_other.read_text(encoding="utf-8").replace(f"s3://{s3.bucket}/", "s3://nothing-here/"), encoding="utf-8"
    )
    missing = refused(workspace, "plan", **s3.environment)
    assert "NoSuchBucket: The specified bucket does not exist" in missing
    s3.stop()
    gone = refused(workspace, "plan", **s3.environment)
    assert f"Could not connect to server error for HTTP GET to 'http://{s3.endpoint}/nothing-here/" in gone
    for each in (said, missing, gone):
        assert mend in each
        assert s3.secret not in each
        assert s3.key not in each


# HTTP


def test_parquet_over_http(workspace: Workspace, files: Files) -> None:
    """Plan looks at the file once, whatever is made of it, and asks for its end only."""
    workspace.parquet("shoes.parquet", ROWS)
    (workspace.root / "shoes.parquet").rename(files.folder / "shoes.parquet")
    declare(workspace, f'shoes = Source("shoes", path="{files.url}/shoes.parquet?version=3", timestamp="ts")')
    more = "\n\nclass More(FeatureGroup, entity=user, source=shoes):\n    twice = Feature(int, sql='2 * size')\n"
    path = workspace.root / "features" / "shop.py"
    assert workspace.run("plan").returncode == 0
    once = sorted(files.requests)
    assert once
    assert once.count("HEAD /shoes.parquet?version=3") == 1
    path.write_text(path.read_text(encoding="utf-8") + more, encoding="utf-8")
    files.requests.clear()
    assert workspace.run("plan").returncode == 0
    assert sorted(files.requests) == once
    applied(workspace)
    assert rows(workspace) == EXPECTED
    assert trained(workspace) == TRAINED


def test_a_file_that_http_does_not_have(workspace: Workspace, files: Files) -> None:
    """It is told with its address, and so is a server that does not answer."""
    url = f"{files.url}/shoes.parquet"
    declare(workspace, f'shoes = Source("shoes", path="{url}", timestamp="ts")')
    said = refused(workspace, "plan")
    assert url in said
    assert "404" in said
    files.stop()
    gone = refused(workspace, "plan")
    assert f"Could not connect to server error for HTTP HEAD to '{url}'" in gone
    assert "  Check the address, and that it can be reached from here." in gone


# Tables of lakes


def delta(place: str, options: dict[str, str]) -> str:
    """Write a Delta table in two commits; return the path that a source gives."""
    import deltalake

    frame = duckdb.sql(ROWS).to_arrow_table()
    deltalake.write_deltalake(place, frame.slice(0, 1), storage_options=options or None)
    deltalake.write_deltalake(place, frame.slice(1), mode="append", storage_options=options or None)
    return place


def iceberg(place: str, options: dict[str, str]) -> str:
    """Write an Iceberg table in two commits; return the path that a source gives."""
    from pyiceberg.catalog.sql import SqlCatalog

    frame = duckdb.sql(ROWS).to_arrow_table()
    warehouse = place if "://" in place else f"file://{place}"
    known = {"s3.endpoint": options["AWS_ENDPOINT_URL"], "s3.access-key-id": options["AWS_ACCESS_KEY_ID"],
             "s3.secret-access-key": options["AWS_SECRET_ACCESS_KEY"], "s3.region": "us-east-1"} if options else {}  # fmt: skip
    catalog = SqlCatalog("lake", uri="sqlite:///:memory:", warehouse=warehouse, **known)
    catalog.create_namespace("shop")
    table = catalog.create_table("shop.shoes", schema=frame.schema)
    table.append(frame.slice(0, 1))
    table.append(frame.slice(1))
    return str(table.metadata_location).removeprefix("file://")


@pytest.mark.filterwarnings("default")  # what writes the tables warns of what it is made of
@pytest.mark.parametrize("write", [delta, iceberg])
@pytest.mark.parametrize("far", [False, True])
def test_a_table_of_a_lake(
    bucket: Callable[[str], Workspace], s3: S3, tmp_path: Path, write: Callable[..., str], *, far: bool
) -> None:
    """Every commit counts, on this machine and on S3."""
    options = {**s3.environment, "AWS_ENDPOINT_URL": f"http://{s3.endpoint}", "AWS_ALLOW_HTTP": "true"} if far else {}
    place = f"s3://{s3.bucket}/{tmp_path.name}" if far else str(tmp_path / "lake")
    if not far:
        (tmp_path / "lake").mkdir()
    path = write(place, options)
    kind = write.__name__
    workspace = bucket(f'shoes = Source("shoes", path="{path}", format="{kind}", timestamp="ts")')
    applied(workspace, **s3.environment)
    assert rows(workspace) == EXPECTED
    assert trained(workspace) == TRAINED


@pytest.mark.filterwarnings("default")
def test_the_newest_version_of_an_iceberg_table(workspace: Workspace) -> None:
    """A folder without a hint of its version is read by the newest only where that is asked for."""
    (workspace.root / "lake").mkdir()
    iceberg(str(workspace.root / "lake"), {})
    source = 'shoes = Source("shoes", path="lake/shop/shoes", format="iceberg", timestamp="ts")'
    declare(workspace, source)
    assert 'options={"version": "?"} takes the newest that is there.' in refused(workspace, "plan")
    declare(workspace, source.replace("timestamp=", 'options={"version": "?"}, timestamp='))
    applied(workspace)
    assert rows(workspace) == EXPECTED
