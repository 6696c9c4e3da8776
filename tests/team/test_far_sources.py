"""Rows from real servers (PostgreSQL, S3, HTTP) and from tables in lake formats, and no leaked secrets."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import pandas as pd
import pytest

from tests.conftest import Workspace
from tests.engines.test_sources import EXPECTED, ROWS, declare
from tests.servers import S3, Files, Postgres
from tests.waiting import wait_until

SHOES = """
CREATE TABLE shoes AS SELECT i AS user_id, TIMESTAMP '2026-01-01' AS ts, 10 * i AS size FROM generate_series(1, 3) i
"""
WAREHOUSE = 'shoes = Source("shoes", table="public.shoes", database="env:WAREHOUSE_URL", timestamp="ts")'
SPINE = pd.DataFrame(
    {"user_id": [3, 1, 9, 2], "ts": pd.to_datetime(["2026-02-01", "2026-02-01", "2026-02-01", "2025-12-31"])}
)
TRAINED = [30, 10, None, None]
"""The sizes at the spine's times: none for an unknown user, and none before the first size."""


def rows(workspace: Workspace) -> list[tuple[object, ...]]:
    """Return the applied values, as an analyst reads them."""
    return workspace.published("SELECT user_id, size FROM prod.shoes ORDER BY ALL")


def trained(workspace: Workspace) -> list[object]:
    """Return the sizes of a training set."""
    frame = workspace.store.training_set(["shoes.size"], SPINE, timestamp="ts").df()
    merged = SPINE.merge(frame, on=["user_id", "ts"], how="left", sort=False)
    return [None if pd.isna(size) else int(size) for size in merged["size"]]


def applied(workspace: Workspace, **environment: str) -> None:
    """Apply in a process of its own, with these variables."""
    done = workspace.run("apply", "--yes", **environment)
    assert done.returncode == 0, done.stdout + done.stderr


def refused(workspace: Workspace, *arguments: str, **environment: str) -> str:
    """Return the error output of a command that must fail."""
    done = workspace.run(*arguments, **environment)
    assert done.returncode == 1, done.stdout
    assert "Traceback" not in done.stderr
    return done.stderr


def written(folder: Path) -> str:
    """Return the content of all files, and the rows of DuckDB files, whose bytes do not show them plainly."""
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
    """A project over a PostgreSQL table."""
    name = postgres.database()
    postgres.execute(SHOES, name)
    return Warehouse(declare(workspace, WAREHOUSE), postgres, name)


class Warehouse:
    """A project, and the database that it reads."""

    def __init__(self, workspace: Workspace, server: Postgres, name: str) -> None:
        self.workspace, self.server, self.name = workspace, server, name

    @property
    def variable(self) -> dict[str, str]:
        """The environment variables that name the database."""
        return {"WAREHOUSE_URL": self.server.url(self.name)}


# PostgreSQL


def test_a_table_of_postgres(warehouse: Warehouse) -> None:
    """Planned, applied and trained on; after the apply, readers need no server."""
    planned = warehouse.workspace.run("plan", **warehouse.variable)
    assert "source shoes" in planned.stdout, planned.stderr
    applied(warehouse.workspace, **warehouse.variable)
    assert rows(warehouse.workspace) == EXPECTED
    warehouse.server.stop()
    assert trained(warehouse.workspace) == TRAINED


def test_refresh_takes_new_rows_of_a_server(warehouse: Warehouse) -> None:
    """A table shows no sign of change, so its rows are queried; stored rows are kept."""
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


def test_no_secret_is_stored_or_printed(warehouse: Warehouse) -> None:
    """No file of the project or store, and no plan in any format, contains the password or the address."""
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


def test_the_value_of_the_variable_is_not_part_of_the_definition(warehouse: Warehouse) -> None:
    """The same database at another address is no change, and the plan has the same bytes."""
    before = warehouse.workspace.run("plan", "--format", "json", **warehouse.variable).stdout
    other = warehouse.server.database()
    warehouse.server.execute(SHOES, other)
    elsewhere = {"WAREHOUSE_URL": f"postgres:{warehouse.server.url(other)}"}
    assert warehouse.workspace.run("plan", "--format", "json", **elsewhere).stdout == before
    applied(warehouse.workspace, **warehouse.variable)
    assert warehouse.workspace.run("plan", "--check", **elsewhere).returncode == 0


def test_a_dropped_column_is_found_by_plan(warehouse: Warehouse) -> None:
    """The error names the columns of the last apply."""
    applied(warehouse.workspace, **warehouse.variable)
    warehouse.server.execute("ALTER TABLE shoes RENAME COLUMN size TO length", warehouse.name)
    said = refused(warehouse.workspace, "plan", **warehouse.variable)
    assert "shoes.size reads the column 'size', which does not exist" in said
    assert "features/shop.py" in said


def test_an_unknown_table_is_reported(warehouse: Warehouse) -> None:
    """With the file and line that name it, and the nearest name."""
    declare(warehouse.workspace, WAREHOUSE.replace("public.shoes", "public.shos"))
    assert refused(warehouse.workspace, "plan", **warehouse.variable) == (
        "Missing table\n"
        "  source shoes: env:WAREHOUSE_URL has no table public.shos.\n"
        "  features/shop.py:7\n"
        '  Did you mean "shoes"?\n'
    )


def test_a_server_out_of_reach(warehouse: Warehouse) -> None:
    """Plan names the host and the fix, and so does the apply of a saved plan."""
    done = warehouse.workspace.run("plan", "--out", "plan.json", **warehouse.variable)
    assert done.returncode == 0, done.stderr
    warehouse.server.stop()
    port = warehouse.server.port
    problem = (
        "Source cannot be read\n"
        f"  source shoes: the database env:WAREHOUSE_URL at 127.0.0.1:{port} cannot be opened: "
        f'connection to server at "127.0.0.1", port {port} failed: Connection refused\n'
        "  features/shop.py:7\n"
        "  {}Check that this machine can reach the server, and the value of WAREHOUSE_URL.\n"
    )
    assert refused(warehouse.workspace, "plan", **warehouse.variable) == problem.format("")
    said = refused(warehouse.workspace, "apply", "plan.json", "--yes", **warehouse.variable)
    assert problem.format("Nothing was published. ") in said
    assert not (warehouse.workspace.root / ".featdsl" / "store.duckdb").exists()


def test_a_wrong_password(warehouse: Warehouse) -> None:
    """The error says that it is wrong, and does not contain it."""
    url = warehouse.variable["WAREHOUSE_URL"].replace(warehouse.server.password, "Wr0ng:p@ss/word")
    said = refused(warehouse.workspace, "plan", WAREHOUSE_URL=url)
    assert 'password authentication failed for user "featdsl"' in said
    assert "Wr0ng" not in said
    assert "p@ss" not in said
    assert "word" not in said.replace("password", "")


@pytest.mark.parametrize(("value", "told"), [
    ("", "the variable WAREHOUSE_URL is not set"),
    ("host=wh password=geheim", "env:WAREHOUSE_URL is neither an existing database file nor the address of a server"),
])  # fmt: skip
def test_a_variable_that_names_no_database(warehouse: Warehouse, value: str, told: str) -> None:
    """The error does not repeat its value."""
    said = refused(warehouse.workspace, "plan", WAREHOUSE_URL=value)
    assert told in said
    assert "geheim" not in said


def test_rows_that_the_server_cannot_compute(warehouse: Warehouse) -> None:
    """The error is readable and does not contain the connection string."""
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
    """Apply ends with the reason, and nothing is published."""
    warehouse.server.execute(
        "CREATE VIEW boots AS SELECT user_id, ts, size, pg_sleep(20) IS NULL AS slept FROM shoes", warehouse.name
    )
    declare(warehouse.workspace, WAREHOUSE.replace("public.shoes", "public.boots"))
    path = warehouse.workspace.root / "features" / "shop.py"
    path.write_text(f"{path.read_text(encoding='utf-8')}    slept = Feature(bool)\n", encoding="utf-8")
    reads = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%boots%' AND wait_event = 'PgSleep'"
    with ThreadPoolExecutor(1) as other:
        apply = other.submit(refused, warehouse.workspace, "apply", "--yes", **warehouse.variable)
        wait_until(lambda: warehouse.server.execute(reads) != "0", failed=apply.done, every=0.1)
        warehouse.server.stop(crash=True)
        said = apply.result()
    assert "Data cannot be computed\n  group shoes: " in said
    assert "Nothing was published." in said
    assert warehouse.server.password not in said
    assert not (warehouse.workspace.root / ".featdsl" / "store.duckdb").exists()


def test_planning_without_the_server(warehouse: Warehouse) -> None:
    """Against an export, unchanged sources need no server, and new ones are reported as unchecked."""
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
    """A SQLite or DuckDB file, named by its path or by a variable."""
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
    """Return a function that makes a project over an S3 source, given as code."""

    def make(source: str) -> Workspace:
        declare(workspace, source)
        settings = workspace.root / "featproject.toml"
        settings.write_text(f"{settings.read_text(encoding='utf-8')}\n{s3.settings}", encoding="utf-8")
        return workspace

    return make


def test_parquet_files_of_s3(bucket: Callable[[str], Workspace], s3: S3, tmp_path: Path) -> None:
    """All matching files are read; no key is stored or printed; readers need no S3."""
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
    """However late their rows are; without new files, nothing is read."""
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
    """The error names the missing object, its bucket and the setting to check, and no key."""
    workspace = bucket(f'shoes = Source("shoes", path="s3://{s3.bucket}/none/*.parquet", timestamp="ts")')
    fix = (
        "Check the bucket, [engine.s3] in featproject.toml, and the variables AWS_ACCESS_KEY_ID and"
        " AWS_SECRET_ACCESS_KEY."
    )
    said = refused(workspace, "plan", **s3.environment)
    assert f"source shoes: no file matches s3://{s3.bucket}/none/*.parquet.\n  features/shop.py:7\n  {fix}" in said
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
        assert fix in each
        assert s3.secret not in each
        assert s3.key not in each


# HTTP


def test_parquet_over_http(workspace: Workspace, files: Files) -> None:
    """Plan reads the file's metadata once, however many definitions use it, by a request for the file's end."""
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
    """The error names its address; so does the error for a server that does not answer."""
    url = f"{files.url}/shoes.parquet"
    declare(workspace, f'shoes = Source("shoes", path="{url}", timestamp="ts")')
    said = refused(workspace, "plan")
    assert url in said
    assert "404" in said
    files.stop()
    gone = refused(workspace, "plan")
    assert f"Could not connect to server error for HTTP HEAD to '{url}'" in gone
    assert "  Check the URL, and that this machine can reach it." in gone


# Lake tables


def delta(place: str, options: dict[str, str]) -> str:
    """Write a Delta table in two commits; return the path for a source."""
    import deltalake

    frame = duckdb.sql(ROWS).to_arrow_table()
    deltalake.write_deltalake(place, frame.slice(0, 1), storage_options=options or None)
    deltalake.write_deltalake(place, frame.slice(1), mode="append", storage_options=options or None)
    return place


def iceberg(place: str, options: dict[str, str]) -> str:
    """Write an Iceberg table in two commits; return the path for a source."""
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
    """Every commit counts, in a local folder and on S3."""
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
    """In a folder without a version hint, the newest version is read only on request."""
    (workspace.root / "lake").mkdir()
    iceberg(str(workspace.root / "lake"), {})
    source = 'shoes = Source("shoes", path="lake/shop/shoes", format="iceberg", timestamp="ts")'
    declare(workspace, source)
    assert 'options={"version": "?"} reads the newest version.' in refused(workspace, "plan")
    declare(workspace, source.replace("timestamp=", 'options={"version": "?"}, timestamp='))
    applied(workspace)
    assert rows(workspace) == EXPECTED
