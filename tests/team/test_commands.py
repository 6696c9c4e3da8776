"""The command line over a team store, in real processes: what teams do, and the errors when it goes wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from featdsl import FeatureStore
from featdsl.errors import StoreError
from tests.conftest import ACCOUNTS, BANK, Workspace
from tests.servers import S3, Postgres
from tests.waiting import PATIENCE


def settings(postgres: Postgres, database: str, *, name: str = "bank", data: str = "../shared", more: str = "") -> str:
    """Return a featproject.toml with a team store; the password is in the environment."""
    url = f"ducklake:postgres:host=127.0.0.1 port={postgres.port} user={postgres.user} dbname={database}"
    return f'[project]\nname = "{name}"\n[store]\nurl = "{url}"\ndata = "{data}"\n{more}'


@pytest.fixture
def team(tmp_path: Path, postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """The small project, applied to a team store."""
    monkeypatch.setenv("PGPASSWORD", postgres.password)
    files = {**BANK, "featproject.toml": settings(postgres, postgres.database())}
    root = tmp_path / "bank"
    root.mkdir()
    workspace = Workspace(root).write(files).parquet("data/accounts.parquet", ACCOUNTS)
    workspace.apply()
    return workspace


def told(workspace: Workspace, *arguments: str, **environment: str) -> str:
    """Run a command that must succeed; return its output."""
    done = workspace.run(*arguments, **environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def grow(workspace: Workspace) -> None:
    """Change the definition of income, so that the next plan rebuilds it."""
    path = workspace.root / "features/accounts/__init__.py"
    path.write_text(path.read_text().replace('sql="annual_income"', 'sql="annual_income * 2"'))


SPINE = "SELECT i AS user_id, TIMESTAMPTZ '2026-01-15 00:00:00+00' AS at FROM range(4) t(i)"


def test_a_project_is_applied_read_and_has_nothing_left_to_plan(team: Workspace) -> None:
    """As with an embedded store; a training lock file names the snapshot of its state."""
    assert team.run("plan", "--check").returncode == 0
    found = told(team, "get", "income", "monthly", "--key", "user_id=3", "--format", "json")
    assert json.loads(found) == {"income": 19000.0, "monthly": 19000.0 / 12}
    store = team.store
    assert store.get_features(["age", "income"], user_id=2) == {"age": 34, "income": 18000.0}
    views = "SELECT user_id, event_timestamp AS at FROM prod.user_profile"
    assert (
        len(store.training_set(["income"], views, timestamp="at").relation.project("user_id, income").fetchall()) == 20
    )

    before = store.training_set(["income"], SPINE, timestamp="at")
    rows, lock = before.relation.project("user_id, income").fetchall(), before.lock
    assert [row[-1] for row in rows] == [12000.0, 13000.0, 14000.0, 11000.0]
    grow(team)
    told(team, "apply", "--yes")
    told(team, "gc", "--keep", "1 second", "--yes")
    assert [
        row[-1]
        for row in store.training_set(["income"], SPINE, timestamp="at").relation.project("user_id, income").fetchall()
    ] == [2 * row[-1] for row in rows]
    again = store.training_set(["income"], SPINE, timestamp="at", as_of_snapshot=lock)
    assert (
        again.relation.project("user_id, income").fetchall()
        == rows
        == before.relation.project("user_id, income").fetchall()
    )
    assert again.lock == lock
    viewed = store.training_set(["income"], views, timestamp="at", as_of_snapshot=lock["store"]["snapshot"])
    assert min(viewed.relation.project("user_id, income").fetchall())[-1] == 0.0
    for other in (9999, 0, 1):  # the latter were before the first apply was published
        with pytest.raises(StoreError, match=f"has no snapshot {other},"):
            store.training_set(["income"], SPINE, timestamp="at", as_of_snapshot=other)


def test_environments_states_and_garbage_collection(team: Workspace) -> None:
    """A trial environment, a rollback and garbage collection, as with an embedded store."""
    grow(team)
    told(team, "apply", "--yes", "--env", "trial")
    assert FeatureStore(team.root, env="trial").get_features(["income"], user_id=3) == {"income": 38000.0}
    assert team.store.get_features(["income"], user_id=3) == {"income": 19000.0}
    assert "income" in told(team, "diff", "prod", "trial")
    told(team, "apply", "--yes")
    assert team.store.get_features(["income"], user_id=3) == {"income": 38000.0}
    told(team, "rollback", "1", "--yes")
    assert team.store.get_features(["income"], user_id=3) == {"income": 19000.0}
    told(team, "env", "drop", "trial")
    told(team, "gc", "--keep", "1 second", "--yes")
    assert team.store.get_features(["income"], user_id=3) == {"income": 19000.0}


def test_two_projects_share_a_store(team: Workspace, tmp_path: Path) -> None:
    """Neither plans to remove the other's definitions; dataframe rows are stored where other machines find them."""
    toml = (team.root / "featproject.toml").read_text().replace('name = "bank"', 'name = "shop"')
    source = """
from featdsl import Entity, Feature, FeatureGroup, Source

item = Entity("item", keys={"sku": str})


class Prices(FeatureGroup, entity=item, source=Source("prices", frame=[{"sku": "a", "price": 2.5}])):
    price = Feature(float)
"""
    root = tmp_path / "shop"
    root.mkdir()
    shop = Workspace(root).write(
        {"featproject.toml": toml, "features/__init__.py": "", "features/shop/__init__.py": source}
    )
    told(shop, "plan", "--out", "plan.json")
    told(shop, "apply", "plan.json", "--yes")
    assert shop.store.get_features(["price"], sku="a") == {"price": 2.5}
    assert list((tmp_path / "shared/frames").glob("*.parquet")) != []
    assert (team.run("plan", "--check").returncode, shop.run("plan", "--check").returncode) == (0, 0)


def test_a_store_in_a_folder_moves_into_a_team_store(
    bank: Workspace, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its history, environments and tables; earlier plans and lock files stay valid. A non-empty target is refused."""
    monkeypatch.setenv("PGPASSWORD", postgres.password)
    bank.apply()
    grow(bank)
    told(bank, "apply", "--yes", "--env", "trial")
    old = bank.store
    spine = old.training_set(["income"], SPINE, timestamp="at")
    rows, history = spine.relation.project("user_id, income").fetchall(), told(bank, "history", "--format", "json")
    bank.write({"featproject.toml": settings(postgres, postgres.database(), data="shared")})
    assert "Copied 4 tables with 80 rows, state 2" in told(bank, "store", "migrate", "--yes")

    assert (
        bank.store.training_set(["income"], SPINE, timestamp="at").relation.project("user_id, income").fetchall()
        == rows
    )
    assert told(bank, "history", "--format", "json") == history
    assert FeatureStore(bank.root, env="trial").get_features(["income"], user_id=3) == {"income": 38000.0}
    lock = bank.store.training_set(["income"], SPINE, timestamp="at").lock
    assert {**lock["store"], "snapshot": None} == {**spine.lock["store"], "snapshot": None}
    assert bank.run("plan", "--check", "--env", "trial").returncode == 0
    refused = bank.run("store", "migrate", "--yes")
    assert refused.returncode == 1
    assert "Store is not empty" in refused.stderr
    told(bank, "apply", "--yes")
    assert bank.store.get_features(["income"], user_id=3) == {"income": 38000.0}


STOPPED = """
import os, signal, sys
from featdsl.stores.ducklake import writer

def stopped(*arguments, **options):
    os.kill(os.getpid(), signal.SIGINT)

setattr(writer, "expire" if sys.argv[1] == "after" else "sign", stopped)
sys.argv = ["featdsl", *sys.argv[2:]]
from featdsl.__main__ import main
main()
"""
"""Runs a command that Ctrl-C ends inside the transaction that publishes, or right after its commit."""


@pytest.mark.parametrize("moment", ["before", "after"])
def test_an_apply_that_is_stopped_while_it_publishes_claims_nothing(team: Workspace, moment: str) -> None:
    """The transaction may have been committed, so the message names the command that shows it."""
    before = team.store._states.store.token()
    done = subprocess.run(
        [sys.executable, "-c", STOPPED, moment, "apply", "--yes", "--env", "pr_1"],
        cwd=team.root, capture_output=True, text=True, check=False, timeout=PATIENCE,
    )  # fmt: skip

    assert done.returncode == 1, done.stderr
    assert done.stderr.strip() == "Stopped while publishing. See whether the new state is published: featdsl history"
    assert (team.store._states.store.token() != before) == (moment == "after")
    assert team.run("apply", "--yes", "--env", "pr_1").returncode == 0


def test_refresh_computes_the_new_rows_of_a_table(team: Workspace) -> None:
    """Old rows are valid until the entity's first new row."""
    newer = ACCOUNTS.replace("range(20)", "range(30)")
    spine = "SELECT 1 AS user_id, TIMESTAMP '2026-01-20' AS at"
    lock = team.root / "model.lock"
    lock.write_text(json.dumps(team.store.training_set(["income"], spine, timestamp="at").lock), encoding="utf-8")
    team.parquet("data/accounts.parquet", newer)
    told(team, "refresh")
    told(team, "outdated", str(lock))
    found = team.store.training_set(
        ["income"], "SELECT 1 AS user_id, unnest([TIMESTAMPTZ '2026-01-20 00:00:00Z', '2026-01-31 00:00:00Z']) AS at",
        timestamp="at",
    )  # fmt: skip
    assert [row[-1] for row in found.relation.project("user_id, income").fetchall()] == [17000.0, 29000.0]
    assert team.run("plan", "--check").returncode == 0

    team.parquet("data/accounts.parquet", newer.replace("1000.0 * i", "1000.0 * i + 1"))
    # The file was edited, so all its rows are compared, whatever the event time.
    told(team, "refresh", "--from", "2026-01-10")
    assert "user_profile.income has changed rows from 2026-01-01" in team.run("outdated", str(lock)).stdout


def test_a_store_keeps_its_data_in_a_bucket(
    tmp_path: Path, postgres: Postgres, s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tables and dataframe rows, with credentials from the environment; another machine needs no folder."""
    for name, value in {**s3.environment, "PGPASSWORD": postgres.password}.items():
        monkeypatch.setenv(name, value)
    prefix = tmp_path.name
    toml = settings(postgres, postgres.database(), data=f"s3://{s3.bucket}/{prefix}", more=s3.settings)
    source = """

prices = Source("prices", frame=[{"user_id": 1, "price": 2.5}, {"user_id": 2, "price": 4.0}])


class Prices(FeatureGroup, entity=user, source=prices):
    price = Feature(float)
"""
    files = {**BANK, "featproject.toml": toml}
    files["features/accounts/__init__.py"] += source
    (tmp_path / "one").mkdir()
    (tmp_path / "other").mkdir()
    one = Workspace(tmp_path / "one").write(files).parquet("data/accounts.parquet", ACCOUNTS)
    told(one, "apply", "--yes")
    other = Workspace(tmp_path / "other").write(files).parquet("data/accounts.parquet", ACCOUNTS)
    assert other.store.get_features(["price", "income"], user_id=2) == {"price": 4.0, "income": 18000.0}
    assert other.run("plan", "--check").returncode == 0
    keys = s3.keys(f"{prefix}/")
    assert {key.removeprefix(f"{prefix}/").partition("/")[0] for key in keys} == {"lake", "frames"}
    assert s3.secret not in postgres.execute(
        "SELECT * FROM ducklake_metadata", toml.partition("dbname=")[2].partition('"')[0]
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("port=", "port=1 options="), ["Store cannot be reached", "Connection refused"]),
        (("user=featdsl", "user=nobody"), ["Store cannot be reached", "password authentication failed"]),
        (("dbname=", "dbname=no"), ["Store cannot be reached", "does not exist"]),
    ],
)
def test_an_unreachable_server_is_reported(
    workspace: Workspace, postgres: Postgres, change: tuple[str, str], said: list[str]
) -> None:
    """In a few lines with the database and the host, and never with the password."""
    url = f"ducklake:postgres:host=127.0.0.1 port={postgres.port} user={postgres.user} dbname={postgres.database()}"
    address = f"{url.replace(*change)} password={postgres.password}"
    workspace.write({**BANK, "featproject.toml": '[project]\nname = "bank"\n[store]\nurl = "env:FEATURES"\n'})
    done = workspace.run("plan", FEATURES=address)
    assert done.returncode == 1
    assert all(each in done.stderr for each in [*said, "on 127.0.0.1"]), done.stderr
    assert "Traceback" not in done.stderr
    assert postgres.password not in done.stderr + done.stdout


def test_other_data_than_the_store_has_are_refused(team: Workspace) -> None:
    """Before anything is written to that location."""
    path = team.root / "featproject.toml"
    path.write_text(path.read_text().replace('data = "../shared"', 'data = "../elsewhere"'))
    done = team.run("refresh", "--full")
    assert done.returncode == 1
    assert done.stderr.startswith("Store data is elsewhere\n")
    assert "/shared, but [store] data says " in done.stderr
    assert done.stderr.endswith("  Correct [store] data, or remove it.\n")
    assert not (team.root.parent / "elsewhere").exists()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('url = "env:FEATURES"', "the environment variable FEATURES is not set"),
        ('url = "ducklake:postgres:dbname=x password=hush"', "it contains a password"),
        ('url = "ducklake:postgres:postgresql://ann:hush@db/x"', "it contains a password"),
        ('url = "postgres://ann:hush@db/x"', "write a team store as"),
        ('url = "ducklake:postgres:hush"', "name=value"),
    ],
)
def test_an_unusable_address_is_reported(workspace: Workspace, line: str, said: str) -> None:
    """Without anything that may be secret in it."""
    workspace.write({**BANK, "featproject.toml": f'[project]\nname = "bank"\n[store]\n{line}\n'})
    done = workspace.run("plan")
    assert done.returncode == 1
    assert said in done.stderr
    assert "hush" not in done.stderr
