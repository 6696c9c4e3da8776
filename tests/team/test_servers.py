"""The servers that these tests use, through DuckDB's extensions."""

from __future__ import annotations

import gzip

import duckdb
import pytest

from featdsl.engines.duckdb import connections, extensions
from featdsl.engines.duckdb import session as duckdb_session
from featdsl.project.engine_settings import S3Table
from featdsl.project.settings import Project, ProjectTable, Settings
from tests.conftest import Workspace
from tests.servers import S3, Postgres

NAMES = ["avro", "delta", "ducklake", "httpfs", "iceberg", "postgres_scanner", "sqlite_scanner"]


@pytest.fixture
def session(workspace: Workspace) -> duckdb.DuckDBPyConnection:
    """A session as the project makes them."""
    return duckdb_session.connect(Project(workspace.root, Settings(project=ProjectTable(name="shop"))))


@pytest.mark.parametrize("name", NAMES)
def test_extensions_load_from_wheels(session: duckdb.DuckDBPyConnection, name: str) -> None:
    """Each extension loads from its wheel's file; loading it twice changes nothing."""
    extensions.load(session, name)
    extensions.load(session, name)
    query = "SELECT loaded, installed FROM duckdb_extensions() WHERE extension_name = ?"
    assert session.execute(query, [name]).fetchall() == [(True, False)]


def test_postgres_keeps_what_it_holds(session: duckdb.DuckDBPyConnection, postgres: Postgres) -> None:
    """A server that crashes restarts on its port with the committed data."""
    name = postgres.database()
    postgres.execute("CREATE TABLE shoes AS SELECT 42 AS size", name)
    postgres.stop(crash=True)
    postgres.start()
    extensions.load(session, "postgres_scanner")
    session.execute(f"ATTACH '{postgres.url(name)}' AS shop (TYPE postgres, READ_ONLY)")
    assert session.execute("SELECT size FROM shop.public.shoes").fetchall() == [(42,)]


def test_s3_keeps_what_it_holds(session: duckdb.DuckDBPyConnection, s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    """A session writes and reads; a restarted server has its objects once it answers again."""
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    url = f"s3://{s3.bucket}/servers/shoes.parquet"
    connections.open_urls(session, [url], S3Table(endpoint=s3.endpoint, url_style="path", use_ssl=False))
    session.execute(f"COPY (SELECT 42 AS size) TO '{url}' (FORMAT parquet)")
    s3.stop()
    s3.start()
    assert session.execute(f"SELECT size FROM '{url}'").fetchall() == [(42,)]
    assert s3.keys("servers/") == ["servers/shoes.parquet"]
    (shown,) = session.execute("SELECT secret_string FROM duckdb_secrets()").fetchone() or ("",)
    assert s3.secret not in shown


def test_duckdb_fetches_its_own_copy_where_it_may(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """With permission to install, DuckDB downloads the extension; afterwards that copy is enough."""
    file = extensions._wheel(duckdb.connect(), "sqlite_scanner")
    assert file is not None
    ((platform,),) = duckdb.sql("PRAGMA platform").fetchall()
    repository = workspace.root / "repository" / file.parent.name / platform
    repository.mkdir(parents=True)
    (repository / f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes(), 1))
    monkeypatch.setattr(extensions, "find_spec", lambda _: None)
    folders = {
        "extension_directory": str(workspace.root / "installed"),
        "custom_extension_repository": str(workspace.root / "repository"),
    }
    for allowed in (True, False):
        connection = duckdb.connect(config={**folders, "autoinstall_known_extensions": allowed})
        extensions.load(connection, "sqlite_scanner")
        query = "SELECT loaded, installed FROM duckdb_extensions() WHERE extension_name = 'sqlite_scanner'"
        assert connection.execute(query).fetchall() == [(True, True)]
