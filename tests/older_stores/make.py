"""Apply one project to a store, ask it everything, and keep both.

`python -m tests.older_stores.make NAME` makes a store in a folder; `--lake` makes a team store, and needs the extra `dev-team`.
Each archive holds the project with its store, `answers.json`, and for a lake `catalogue.sql`, in which @ROOT@ stands for the folder.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb

from featdsl import FeatureStore
from tests.servers import Postgres

HERE = Path(__file__).parent
PROJECT = {
    "features/__init__.py": "",
    "features/accounts.py": '''
import pyarrow as pa
import pyarrow.compute as pc

from featdsl import Entity, Feature, FeatureGroup, Source, python_feature

user = Entity("user", keys={"user_id": int})
accounts = Source("accounts", path="data/accounts.parquet", timestamp="updated_at")
payments = Source("payments", path="data/payments.parquet", timestamp="paid_at", tie_break="payment_id")


class Profile(FeatureGroup, entity=user, source=accounts, ttl="3650 days"):
    """Who the account holder is."""

    age = Feature(int, sql="date_diff('year', birth_date, updated_at)", description="Age in whole years.",
                  expect="age BETWEEN 0 AND 120")
    income = Feature(float, sql="annual_income", description="Gross income, USD per year.", tags={"money"})
    segment = Feature(str, sql="CASE WHEN annual_income > 9000 THEN 'high' ELSE 'low' END")

    @python_feature(float)
    def thousands(annual_income: pa.Array) -> pa.Array:
        """Gross income, thousands of USD per year."""
        return pc.divide(annual_income, 1000)


class Spending(FeatureGroup, entity=user, source=payments):
    """What an account holder pays."""

    paid_7d = Feature(float, sql="sum(amount)", window="7 days")
    payments_30d = Feature(int, sql="count(*)", window="30 days")
    largest = Feature(float, sql="max(amount)", window="14 days")
    last = Feature(float, sql="amount")
''',
    "features/lending.py": '''
from featdsl import Feature, FeatureGroup, FeatureSet, Model
from features.accounts import Profile, Spending, user


class Affordability(FeatureGroup, entity=user, inputs=[Profile.income, Spending.paid_7d]):
    """What an account holder can pay."""

    monthly = Feature(float, sql="income / 12 - coalesce(paid_7d, 0)", description="What is left, USD per month.")


risk_v1 = FeatureSet("risk", version=1, features=[Profile.age, Profile.income])
risk_v2 = risk_v1.evolve(version=2, add=[Affordability.monthly, Spending.paid_7d, Profile.segment, Profile.thousands])
default = Model("default", features=risk_v1)
''',
}
ACCOUNTS = """
    SELECT i % 4 AS user_id, TIMESTAMP '2026-01-01' + INTERVAL (i) DAY AS updated_at,
           DATE '1990-06-15' + 400 * (i % 4)::INT AS birth_date, (1000.0 * i)::DOUBLE AS annual_income
    FROM range({rows}) t(i)
"""
PAYMENTS = """
    SELECT i AS payment_id, i % 4 AS user_id, TIMESTAMP '2026-01-01' + INTERVAL (i * 7) HOUR AS paid_at, ((i % 11) * 2.5)::DECIMAL(9,2) AS amount
    FROM range({rows}) t(i)
"""
SPINE = "SELECT (i % 5)::BIGINT AS user_id, TIMESTAMP '2026-01-03' + INTERVAL (i * 31) HOUR AS at FROM range(20) t(i)"


def write_data(root: Path, rows: int) -> None:
    """Write the sources, with so many rows of accounts and ten times as many payments."""
    (root / "data").mkdir(exist_ok=True)
    for name, query in {"accounts": ACCOUNTS.format(rows=rows), "payments": PAYMENTS.format(rows=10 * rows)}.items():
        duckdb.sql(query).write_parquet(str(root / "data" / f"{name}.parquet"))


def run(root: Path, *arguments: str) -> str:
    """Run a command that must work; return what it prints."""
    command = [sys.executable, "-m", "featdsl", "-C", str(root), *arguments]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def answers(root: Path) -> dict[str, Any]:
    """Return what model code reads of a store."""
    store = FeatureStore(root)
    served = {name: [store.get_features(name, user_id=user) for user in range(5)] for name in ("risk@1", "risk@2")}
    trained = {name: _rows(store, name) for name in ("risk@1", "risk@2")}
    found: dict[str, Any] = json.loads(json.dumps({"served": served, "trained": trained}, default=str))
    return found


def _rows(store: FeatureStore, name: str) -> list[Any]:
    frame = store.training_set(name, duckdb.sql(SPINE).df(), timestamp="at").df()
    return sorted(json.loads(frame.to_json(orient="values", date_format="iso")), key=str)


def apply(root: Path, settings: str) -> None:
    """Apply the project twice and refresh it, so that its store has a history."""
    for name, text in {**PROJECT, "featproject.toml": settings}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    write_data(root, 20)
    run(root, "apply", "--yes")
    accounts = root / "features" / "accounts.py"
    accounts.write_text(
        accounts.read_text(encoding="utf-8").replace("annual_income >", "annual_income * 1.5 >"), encoding="utf-8"
    )
    run(root, "apply", "--yes")
    write_data(root, 26)
    run(root, "refresh")
    run(root, "check")


@contextmanager
def _server() -> Iterator[Postgres]:
    with tempfile.TemporaryDirectory() as folder:
        server = Postgres.made(Path(folder))
        server.start()
        try:
            yield server
        finally:
            server.stop()


def lake_settings(server: Postgres, database: str) -> str:
    """Return the settings of the project with a team store."""
    url = f"ducklake:postgres:host=127.0.0.1 port={server.port} user={server.user} dbname={database}"
    return f'[project]\nname = "bank"\n[store]\nurl = "{url}"\ndata = "lake"\n'


def _keep(root: Path, name: str) -> None:
    (root / "answers.json").write_text(json.dumps(answers(root), indent=1), encoding="utf-8")
    pack(root, HERE / f"{name}.tar.xz")


def pack(root: Path, archive_path: Path) -> None:
    """Write an archive of a project with its store."""
    with tarfile.open(archive_path, "w:xz") as archive:
        for path in sorted(root.rglob("*")):
            if not {"__pycache__", "lock.mdb"}.intersection(path.parts):  # LMDB's locks are those of one machine
                archive.add(path, path.relative_to(root), recursive=False)


def main() -> None:
    """Make an archive beside this file."""
    name, *options = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "bank"
        root.mkdir()
        if not options:
            apply(root, '[project]\nname = "bank"\n')
            _keep(root, name)
            return
        with _server() as server:
            os.environ["PGPASSWORD"] = server.password
            database = server.database()
            apply(root, lake_settings(server, database))
            command = [server.program("pg_dump"), "--no-owner", "--no-privileges", "-d", server.url(database)]
            dumped = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            (root / "catalogue.sql").write_text(dumped.replace(str(root), "@ROOT@"), encoding="utf-8")
            _keep(root, name)


if __name__ == "__main__":
    main()
