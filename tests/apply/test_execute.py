"""Applying: what is published, all of it or nothing, exactly as planned, without touching what is pinned or others'."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest
from click.testing import CliRunner

from featdsl.cli.main import main
from featdsl.definitions.snapshot import Snapshot
from featdsl.project.settings import load
from featdsl.stores import open_store
from tests.altered import altered
from tests.conftest import ACCOUNTS, BANK, Workspace
from tests.waiting import PATIENCE

Edit = Callable[[str, str, str], None]


def featdsl(workspace: Workspace, *arguments: str, code: int = 0) -> str:
    """Return what a command says, run within this process; fail on another exit code."""
    done = CliRunner().invoke(main, ["-C", str(workspace.root), *arguments])
    assert done.exit_code == code, done.output
    return done.output


def registry(workspace: Workspace) -> Snapshot:
    """Return what the project's registry holds."""
    return open_store(load(workspace.root)).read()


def contents(folder: Path) -> dict[str, str]:
    """Return the hash of each file below a folder, but for the lock, which tells who was last, the secret and a plan's memory."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in {"lock", "secret"} and not path.name.startswith("memory-")
    }


# What analysts see


def test_a_group_is_a_view_of_all_its_rows(applied: Workspace) -> None:
    """An analyst with nothing but DuckDB reads prod.user_profile."""
    rows = applied.published("SELECT * FROM prod.user_profile WHERE user_id = 2 ORDER BY event_timestamp LIMIT 2")

    assert rows == [(2, datetime(2026, 1, 3), 34, 2000.0), (2, datetime(2026, 1, 7), 34, 6000.0)]  # noqa: DTZ001 - stored in UTC


def test_a_set_version_is_a_view_of_the_values_of_now(applied: Workspace) -> None:
    """One row for each entity, under the names that the set gives its features."""
    rows = applied.published("SELECT user_id, age, income FROM prod.credit_risk_v1 ORDER BY user_id")

    assert rows == [(0, 36, 16000.0), (1, 35, 17000.0), (2, 34, 18000.0), (3, 33, 19000.0)]


def test_a_set_view_computes_derived_features(applied: Workspace) -> None:
    """The second version adds the monthly income."""
    rows = applied.published("SELECT user_id, monthly FROM prod.credit_risk_v2 WHERE user_id = 3")

    assert rows == [(3, 19000.0 / 12)]


def test_a_set_view_knows_the_time_in_any_time_zone(applied: Workspace) -> None:
    """The session's zone decides nothing: stored times are UTC."""
    with duckdb.connect(str(applied.root / ".featdsl" / "store.duckdb"), read_only=True) as connection:
        connection.execute("SET TimeZone = 'Pacific/Auckland'")
        assert connection.execute("SELECT count(income) FROM prod.credit_risk_v1").fetchall() == [(4,)]


def test_a_removed_set_version_takes_its_view_along(applied: Workspace, edit: Edit) -> None:
    """Its declaration goes, its view goes, the other version's stays."""
    edit(
        "features/lending/__init__.py",
        "credit_risk_v2 = credit_risk_v1.evolve(version=2, add=[Affordability.monthly])\n",
        "",
    )
    featdsl(applied, "apply", "--yes")

    views = applied.published("SELECT view_name FROM duckdb_views() WHERE schema_name = 'prod' ORDER BY 1")
    assert views == [("affordability",), ("affordability_now",), ("credit_risk_v1",), ("user_profile",)]


def test_a_group_and_a_set_version_that_would_share_a_view_are_refused(bank: Workspace, edit: Edit) -> None:
    """prod.credit_risk_v1 cannot be both."""
    edit("features/lending/__init__.py", "entity=user, inputs", 'entity=user, name="credit_risk_v1", inputs')

    said = featdsl(bank, "plan", code=1)

    assert "set credit_risk@1 and group credit_risk_v1 would both be prod.credit_risk_v1." in said
    assert "features/lending/__init__.py:" in said


# All or nothing


def catalogue(workspace: Workspace) -> list[list[tuple[object, ...]]]:
    """Return the rows of each table of the registry and the text of each view, but for what checks found."""
    tables = ("meta", "environments", "documents", "views", "tables", "history", "files")
    return [
        *(workspace.published(f"FROM registry.{name} ORDER BY ALL") for name in tables),
        workspace.published("SELECT schema_name, view_name, sql FROM duckdb_views() ORDER BY ALL"),
    ]


def test_a_failed_check_leaves_all_that_is_published(applied: Workspace, edit: Edit) -> None:
    """No table, no view, no orphan file: of the apply that failed there is only what its checks found."""
    data, before = contents(applied.root / ".featdsl" / "data"), catalogue(applied)
    edit("features/accounts/__init__.py", "age BETWEEN 0 AND 120", "age BETWEEN 0 AND 35")
    edit("features/accounts/__init__.py", 'sql="annual_income"', 'sql="annual_income + 1"')

    said = featdsl(applied, "apply", "--yes", code=1)

    assert "user_profile.age: 5 rows break the rule: age BETWEEN 0 AND 35" in said
    assert "user_id = 0, event_timestamp = 2026-01-01 00:00:00, age = 36" in said
    assert (contents(applied.root / ".featdsl" / "data"), catalogue(applied)) == (data, before)
    files = {file for file in contents(applied.root / ".featdsl") if not file.startswith("history/")}
    assert files == {"store.duckdb", *(f"data/{file}" for file in data)}


def test_a_first_apply_that_fails_leaves_no_store(bank: Workspace, edit: Edit) -> None:
    """Duplicate rows are found after the table is built; nothing of it stays."""
    other = ACCOUNTS.replace("1000.0 * i AS", "1000.0 * i + 1 AS")
    bank.parquet("data/accounts.parquet", f"{ACCOUNTS} UNION ALL {other}")

    said = featdsl(bank, "apply", "--yes", code=1)

    assert "user_profile: 20 rows break the rule: one row for each user_id and event_timestamp" in said
    assert contents(bank.root / ".featdsl") == {}


GENERATIONS = {
    "featproject.toml": '[project]\nname = "clock"\n\n[variables]\ngeneration = 0\n',
    "features/__init__.py": "",
    "features/clock/__init__.py": """
from featdsl import Entity, Feature, FeatureGroup, FeatureSet, Source

user = Entity("user", keys={"user_id": int})
rows = Source("rows", path="rows.parquet")


class Left(FeatureGroup, entity=user, source=rows):
    left = Feature(int, sql="{{ var('generation') }}")


class Right(FeatureGroup, entity=user, source=rows):
    right = Feature(int, sql="{{ var('generation') }}")
""",
}
"""Two groups that carry the same number, which each apply changes in both."""

READER = """
import sys, time
from pathlib import Path
import duckdb
from featdsl import FeatureStore

root = Path(sys.argv[1])
store, seen, torn = FeatureStore(root), set(), []
while not (root / "stop").exists():
    found = store.get_features(["left", "right"], user_id=1)
    with duckdb.connect(str(root / ".featdsl" / "store.duckdb"), read_only=True) as connection:
        views = connection.execute("SELECT l.left, r.right FROM prod.left l, prod.right r").fetchall()
    for pair in [tuple(found.values()), *views]:
        seen.add(pair[0])
        if pair[0] != pair[1]:
            torn.append(pair)
    (root / "started").touch()
print(len(seen), torn)
"""
"""Reads both groups, as models do and as analysts do, until told to stop; tells what it saw torn."""


def generation(workspace: Workspace, number: int) -> None:
    """Set the number that the next apply gives to both groups."""
    workspace.write({"featproject.toml": f'[project]\nname = "clock"\n\n[variables]\ngeneration = {number}\n'})


@pytest.fixture
def clock(workspace: Workspace) -> Workspace:
    """The two groups, applied with generation 0."""
    workspace.write(GENERATIONS).parquet("rows.parquet", "SELECT 1 AS user_id")
    featdsl(workspace, "apply", "--yes")
    return workspace


@pytest.mark.slow
def test_a_reader_sees_all_of_an_apply_or_none_of_it(clock: Workspace) -> None:
    """While applies run, a reader in a process of its own never finds two generations together."""
    reader = subprocess.Popen([sys.executable, "-c", READER, str(clock.root)], stdout=subprocess.PIPE, text=True)
    while not (clock.root / "started").exists():
        assert reader.poll() is None
        time.sleep(0.05)
    for number in range(1, 13):
        generation(clock, number)
        featdsl(clock, "apply", "--yes")
    (clock.root / "stop").touch()
    said, _ = reader.communicate(timeout=PATIENCE)

    generations, torn = said.split(maxsplit=1)
    assert torn.strip() == "[]"
    assert int(generations) > 3


@pytest.mark.slow
def test_an_apply_that_is_killed_leaves_the_store_whole(clock: Workspace) -> None:
    """After kill -9 at any moment readers find one generation, and the next apply works and sweeps up."""
    moments = random.Random(4)  # noqa: S311 - no secret
    for number in range(1, 11):
        generation(clock, number)
        apply = subprocess.Popen(
            [sys.executable, "-m", "featdsl", "apply", "--yes"], cwd=clock.root, stdout=subprocess.DEVNULL
        )
        time.sleep(moments.uniform(0.3, 1.2))
        os.kill(apply.pid, signal.SIGKILL)
        apply.wait()
        found = clock.store.get_features(["left", "right"], user_id=1)
        assert found["left"] == found["right"]
        assert clock.published("SELECT l.left - r.right FROM prod.left l, prod.right r") == [(0,)]

    generation(clock, 11)
    featdsl(clock, "apply", "--yes")
    assert clock.store.get_features(["left", "right"], user_id=1) == {"left": 11, "right": 11}


def test_what_a_killed_apply_left_is_swept_up_by_the_next(clock: Workspace) -> None:
    """Half a catalogue, and data files of a serial that was never published, belong to nobody."""
    store = clock.root / ".featdsl"
    orphans = [store / "data" / "000002-0badcafe.duckdb", store / "store.0badcafe.partial"]
    for orphan in orphans:
        orphan.write_bytes(b"half")
    published = sorted((store / "data").glob("000001-*"))

    generation(clock, 1)
    featdsl(clock, "apply", "--yes")

    assert [orphan for orphan in orphans if orphan.exists()] == []
    assert [path.exists() for path in published] == [True]


# Saved plans


def test_a_saved_plan_runs_as_it_was_saved(bank: Workspace, edit: Edit) -> None:
    """What features/ has become since does not matter: the reviewed plan is what runs."""
    featdsl(bank, "plan", "--out", str(bank.root / "plan.json"))
    edit("features/accounts/__init__.py", 'sql="annual_income"', 'sql="annual_income * 2"')

    featdsl(bank, "apply", str(bank.root / "plan.json"))

    assert bank.store.get_features(["income"], user_id=3) == {"income": 19000.0}
    featdsl(bank, "plan", "--check", code=2)


def test_a_plan_for_an_earlier_state_is_refused(applied: Workspace, edit: Edit) -> None:
    """Someone else applied in between: exit code 4, and nothing is written."""
    edit("features/accounts/__init__.py", 'sql="annual_income"', 'sql="annual_income * 2"')
    featdsl(applied, "plan", "--out", str(applied.root / "plan.json"))
    edit("features/accounts/__init__.py", "Age in whole years.", "Age in full years.")
    applied.parquet("data/accounts.parquet", ACCOUNTS.replace("range(20)", "range(24)"))
    featdsl(applied, "refresh")  # which makes a state, and no plan stale
    featdsl(applied, "apply", "--yes")
    before = contents(applied.root / ".featdsl")

    said = featdsl(applied, "apply", str(applied.root / "plan.json"), code=4)

    assert "The plan was made for state 1 of the store, which is now at 3: there was an apply since." in said
    assert contents(applied.root / ".featdsl") == before


def test_a_plan_for_another_store_is_refused(applied: Workspace, edit: Edit) -> None:
    """A store that was made anew has another lineage, even at the same serial."""
    edit("features/accounts/__init__.py", "Age in whole years.", "Age in full years.")
    featdsl(applied, "plan", "--out", str(applied.root / "plan.json"))
    shutil.rmtree(applied.root / ".featdsl")
    featdsl(applied, "apply", "--yes")

    assert "of another store" in featdsl(applied, "apply", str(applied.root / "plan.json"), code=4)


def test_a_saved_plan_with_rows_in_memory_finds_them(workspace: Workspace) -> None:
    """A frame is kept by the hash of its rows, so that another process can apply the plan."""
    workspace.write({
        "featproject.toml": '[project]\nname = "memory"\n',
        "features/__init__.py": """
import pyarrow as pa
from featdsl import Entity, Feature, FeatureGroup, Source

user = Entity("user", keys={"user_id": int})
rows = Source("rows", frame=pa.table({"user_id": [1, 2], "score": [0.5, 1.5]}))


class Scores(FeatureGroup, entity=user, source=rows):
    score = Feature(float)
""",
    })  # fmt: skip
    assert workspace.run("plan", "--out", "plan.json").returncode == 0

    assert workspace.run("apply", "plan.json").returncode == 0

    assert workspace.store.get_features(["score"], user_id=2) == {"score": 1.5}


# The registry


def test_history_tells_who_did_what(applied: Workspace, edit: Edit) -> None:
    """Each apply is an entry, the newest first, with its changes in words."""
    edit("features/accounts/__init__.py", 'sql="annual_income"', 'sql="annual_income * 2"')
    featdsl(applied, "apply", "--yes")

    newest, oldest = open_store(load(applied.root)).history()

    assert (newest.serial, oldest.serial) == (2, 1)
    assert (newest.project, newest.rows) == ("bank", 40)
    assert [(each.action, each.kind, each.address, each.change_class) for each in newest.changes] == [
        ("recompute", "feature", "affordability.monthly", "upstream"),
        ("change", "feature", "user_profile.income", "definition"),
    ]
    assert len(oldest.changes) == 10
    assert abs(datetime.now(UTC) - datetime.fromisoformat(newest.applied_at)).total_seconds() < 60


def test_history_sums_each_apply_up(applied: Workspace, edit: Edit) -> None:
    """A few words tell what it did."""
    edit("features/accounts/__init__.py", "Age in whole years.", "Age in full years.")
    featdsl(applied, "apply", "--yes")

    assert open_store(load(applied.root)).history()[0].summary == "1 changed"


def test_the_registry_knows_the_columns_that_features_are_made_of(applied: Workspace) -> None:
    """Lineage goes through derived features down to the columns of stored data."""
    features = registry(applied).catalog.features

    assert features["user_profile.age"].roots == ("accounts.birth_date", "accounts.updated_at")
    assert features["affordability.monthly"].roots == ("accounts.annual_income",)


def test_the_registry_pins_the_fingerprints_of_a_set(applied: Workspace) -> None:
    """A set version lists its features at the fingerprints that they had when it was applied."""
    snapshot = registry(applied)

    assert {member.feature: member.fingerprint for member in snapshot.catalog.sets["credit_risk@1"].members} == {
        name: snapshot.catalog.features[name].fingerprint for name in ("user_profile.age", "user_profile.income")
    }


def test_the_registry_lets_go_of_what_nobody_reads(applied: Workspace, edit: Edit) -> None:
    """Without a set that pins it, an old definition is forgotten; its table is kept for those who go back."""
    lending = "features/lending/__init__.py"
    edit(lending, 'loan_default = Model("loan_default", features=credit_risk_v1)\n', "")
    edit(
        lending,
        'credit_risk_v1 = FeatureSet("credit_risk", version=1, features=[UserProfile.age, UserProfile.income])\n',
        "",
    )
    edit(lending, "credit_risk_v2 = credit_risk_v1.evolve(version=2, add=[Affordability.monthly])\n", "")
    edit("features/accounts/__init__.py", 'sql="annual_income"', 'sql="annual_income * 2"')

    featdsl(applied, "apply", "--yes")

    snapshot = registry(applied)
    assert sorted(address for address, _ in snapshot.versions) == [
        "affordability.monthly",
        "user_profile.age",
        "user_profile.income",
    ]
    current = {feature.table for feature in snapshot.versions.values()}
    assert sorted(name.rpartition("_")[0] for name in current) == ["affordability", "user_profile"]
    assert sorted(name.rpartition("_")[0] for name in snapshot.tables.keys() - current) == [
        "affordability",
        "user_profile",
    ]


# Pins


@pytest.fixture
def corrected(applied: Workspace, edit: Edit) -> Workspace:
    """The project after the accounts team has corrected income, which is now twice what it was."""
    edit("features/accounts/__init__.py", 'sql="annual_income"', 'sql="annual_income * 2"')
    featdsl(applied, "apply", "--yes")
    return applied


def test_a_pinned_set_keeps_its_values_in_training(corrected: Workspace) -> None:
    """credit_risk@1 was applied with the old income, and its training sets go on with that."""
    spine = "SELECT 3 AS user_id, TIMESTAMP '2026-01-08' AS ts"

    old = corrected.store.training_set("credit_risk@1", spine, timestamp="ts").relation.fetchall()
    new = corrected.store.training_set(["income"], spine, timestamp="ts").relation.fetchall()

    assert [row[2:] for row in old] == [(33, 7000.0)]
    assert [row[2:] for row in new] == [(14000.0,)]


def test_a_pinned_set_keeps_its_values_in_serving(corrected: Workspace) -> None:
    """What serves equals what trained: the old income, and what the second version derives from it."""
    assert corrected.store.get_features("credit_risk@1", user_id=3) == {"age": 33, "income": 19000.0}
    assert corrected.store.get_features("credit_risk@2", user_id=3)["monthly"] == 19000.0 / 12
    assert corrected.store.get_features(["income", "monthly"], user_id=3) == {
        "income": 38000.0,
        "monthly": 38000.0 / 12,
    }


def test_a_pinned_set_keeps_its_values_in_its_view(corrected: Workspace) -> None:
    """Analysts of the set see the old values, those of the group the new ones."""
    assert corrected.published("SELECT income FROM prod.credit_risk_v1 WHERE user_id = 3") == [(19000.0,)]
    assert corrected.published("SELECT max(income) FROM prod.user_profile WHERE user_id = 3") == [(38000.0,)]


def test_a_new_version_adopts_the_new_definition(corrected: Workspace, edit: Edit) -> None:
    """The lending team moves on when it chooses to."""
    edit(
        "features/lending/__init__.py",
        "loan_default =",
        "credit_risk_v3 = credit_risk_v1.evolve(version=3)\nloan_default =",
    )
    featdsl(corrected, "apply", "--yes")

    assert corrected.store.get_features("credit_risk@3", user_id=3) == {"age": 33, "income": 38000.0}
    assert corrected.store.get_features("credit_risk@1", user_id=3) == {"age": 33, "income": 19000.0}


def test_going_back_to_a_pinned_definition_builds_nothing(corrected: Workspace, edit: Edit) -> None:
    """Its table is still there, for the pin's sake, and so is that of what was derived from it."""
    edit("features/accounts/__init__.py", 'sql="annual_income * 2"', 'sql="annual_income"')

    made = json.loads(featdsl(corrected, "plan", "--format", "json"))

    assert [step["group"] for step in made["steps"] if step["step"] == "build_table"] == []


def test_editing_the_list_of_an_applied_version_suggests_the_next(applied: Workspace, edit: Edit) -> None:
    """A version never changes; what to write instead is said."""
    edit(
        "features/lending/__init__.py", "features=[UserProfile.age, UserProfile.income])", "features=[UserProfile.age])"
    )

    said = featdsl(applied, "plan", code=1)

    assert "credit_risk@1 was applied with other features; a version never changes." in said
    assert "- user_profile.income" in said
    assert ".evolve(version=3, add=[...], remove=[...])" in said


# Projects that share a store


@pytest.fixture
def neighbours(tmp_path: Path) -> tuple[Workspace, Workspace]:
    """Two projects, each in a folder of its own, with one store between them, both applied."""
    bank, shop = Workspace(tmp_path / "bank"), Workspace(tmp_path / "shop")
    store = '\n[store]\npath = "../store"\n'
    bank.write({**BANK, "featproject.toml": BANK["featproject.toml"] + store}).parquet(
        "data/accounts.parquet", ACCOUNTS
    )
    shop.write({**GENERATIONS, "featproject.toml": GENERATIONS["featproject.toml"] + store})
    shop.write({"features/clock/__init__.py": GENERATIONS["features/clock/__init__.py"].replace('"user"', '"visitor"')})
    shop.parquet("rows.parquet", "SELECT 1 AS user_id")
    for each in (bank, shop):
        featdsl(each, "apply", "--yes")
    return bank, shop


def test_projects_that_share_a_store_leave_each_other_nothing_to_do(neighbours: tuple[Workspace, Workspace]) -> None:
    """Each sees only its own; the one store is the same by whatever path it is reached."""
    for each in neighbours:
        assert "Nothing to do" in featdsl(each, "plan", "--check")


def test_a_plan_never_touches_another_project(neighbours: tuple[Workspace, Workspace]) -> None:
    """The shop removes all that it has; what the bank has stays and can be read."""
    bank, shop = neighbours
    shop.write({"features/clock/__init__.py": ""})

    said = featdsl(shop, "plan")
    featdsl(shop, "apply", "--yes")

    assert "user_profile" not in said
    assert "Plan: 6 to remove." in said
    assert bank.store.get_features(["age", "income"], user_id=3) == {"age": 33, "income": 19000.0}
    assert "Nothing to do" in featdsl(bank, "plan", "--check")


def test_a_name_of_another_project_is_refused(neighbours: tuple[Workspace, Workspace], edit: Edit) -> None:
    """Two projects cannot both have the group user_profile."""
    _, shop = neighbours
    path = shop.root / "features/clock/__init__.py"
    path.write_text(path.read_text().replace("class Left(", "class UserProfile("))

    assert "The group user_profile belongs to the project bank." in featdsl(shop, "plan", code=1)


def test_what_another_project_lost_is_not_ours_to_repair(neighbours: tuple[Workspace, Workspace]) -> None:
    """The bank's data file is gone: the bank's plan says so, the shop's does not."""
    bank, shop = neighbours
    snapshot = registry(bank)
    (bank.root.parent / "store" / snapshot.tables[snapshot.catalog.features["user_profile.age"].table].file).unlink()

    assert "is missing from the store" in featdsl(bank, "plan")
    assert "Nothing to do" in featdsl(shop, "plan", "--check")


# Drift


def test_a_deleted_data_file_is_built_again(applied: Workspace) -> None:
    """The plan says what is lost, exits with 2 under --check, and apply repairs it."""
    for file in (applied.root / ".featdsl" / "data").iterdir():
        file.unlink()

    assert featdsl(applied, "plan", "--check", code=2).count("is missing from the store; apply recreates it") == 2
    featdsl(applied, "apply", "--yes")

    assert applied.store.get_features(["age", "monthly"], user_id=3) == {"age": 33, "monthly": 19000.0 / 12}
    assert "Nothing to do" in featdsl(applied, "plan", "--check")


def test_a_model_that_moves_on_from_what_goes_adopts_nothing(applied: Workspace, edit: Edit) -> None:
    """Its new set version has no feature in the place of the one that is removed."""
    lending = "features/lending/__init__.py"
    edit(
        lending, "version=1, features=[UserProfile.age, UserProfile.income]", "version=3, features=[UserProfile.income]"
    )
    edit(lending, "version=2", "version=4")
    path = applied.root / "features/accounts/__init__.py"
    text = path.read_text()
    path.write_text(text[: text.index("    age")] + text[text.index("    income") :])

    said = featdsl(applied, "plan")

    assert "lending: 1 model drops features" in said
    assert "- model loan_default  drops user_profile.age" in said


def test_rows_that_only_a_pin_holds_are_missed(applied: Workspace, edit: Edit) -> None:
    """A hand has deleted some: nothing can make them again, and the verdict does not say that all is well."""
    old = registry(applied).catalog.features["user_profile.income"].table
    edit("features/accounts/__init__.py", '"annual_income"', '"annual_income * 2"')
    featdsl(applied, "apply", "--yes")
    with altered(applied.root / ".featdsl" / registry(applied).tables[old].file) as connection:
        connection.execute(f"DELETE FROM {old} WHERE user_id = 3")

    said = featdsl(applied, "plan")

    assert "Nothing to do: the store matches the code. But values of old versions are lost.\n" in said
    assert f"table {old} is lost, and only credit_risk@1, credit_risk@2 still hold it" in " ".join(said.split())
    assert max(map(len, said.splitlines())) <= 100


@pytest.mark.parametrize("view", ["prod.user_profile", "prod.credit_risk_v1"])
def test_a_dropped_view_is_published_again(applied: Workspace, view: str) -> None:
    """A careless DROP VIEW is noticed, and nothing but the view is made again."""
    with altered(applied.root / ".featdsl" / "store.duckdb") as connection:
        connection.execute(f"DROP VIEW {view}")

    said = featdsl(applied, "plan", "--check", code=2)
    featdsl(applied, "apply", "--yes")

    assert f"view {view} is missing from the store; apply recreates it" in said
    assert "Steps: 1 view to publish." in said
    assert applied.published(f"SELECT count(DISTINCT user_id) FROM {view}") == [(4,)]


def test_a_store_that_was_moved_is_repaired(applied: Workspace, tmp_path: Path) -> None:
    """Views name files by absolute paths: in another folder all of them are made again, and read that folder's files."""
    there = Workspace(tmp_path.parent / f"{tmp_path.name}-moved")
    shutil.copytree(applied.root, there.root)
    shutil.rmtree(applied.root / ".featdsl")

    assert there.store.get_features(["age"], user_id=3) == {"age": 33}
    featdsl(there, "plan", "--check", code=2)
    featdsl(there, "apply", "--yes")

    assert there.published("SELECT count(*) FROM prod.user_profile") == [(20,)]
    assert "Nothing to do" in featdsl(there, "plan", "--check")


def test_a_lost_table_that_only_a_pin_holds_is_told_where_it_is_read(corrected: Workspace) -> None:
    """A refresh computes it again, as it was defined then, from its source as that is now."""
    snapshot = registry(corrected)
    (income,) = [m for m in snapshot.catalog.sets["credit_risk@1"].members if m.column == "income"]
    old = snapshot.versions["user_profile.income", income.fingerprint]
    (corrected.root / ".featdsl" / snapshot.tables[old.table].file).unlink()

    said = featdsl(corrected, "plan")

    assert f"table {old.table} is lost, and only credit_risk@1, credit_risk@2 still hold it" in " ".join(said.split())
    assert "it was lost from the store" in featdsl(corrected, "refresh")
    assert "is lost" not in featdsl(corrected, "plan")
    again = registry(corrected).tables[old.table]
    assert (again.rows, again.columns) == (snapshot.tables[old.table].rows, snapshot.tables[old.table].columns)


def test_many_groups_share_few_files(workspace: Workspace) -> None:
    """The tables of one apply go into files of 32, and a failed one leaves none of them."""
    workspace.write(
        {
            "featproject.toml": '[project]\nname = "many"\n[engine]\nthreads = 2\n',
            "features/many.py": """
from featdsl import Entity, Feature, FeatureGroup, Source

user = Entity("user", keys={"user_id": int})
rows = Source("rows", path="rows.parquet")
for n in range(40):
    class Group(FeatureGroup, entity=user, source=rows, name=f"g_{n}"):
        v = Feature(int, sql=f"v * {n}", expect="v < 1000")
""",
        }
    )
    with duckdb.connect() as connection:
        connection.execute(
            f"COPY (SELECT i AS user_id, i AS v FROM range(1, 3) t(i)) TO '{workspace.root / 'rows.parquet'}'"
        )
    workspace.apply()
    data = workspace.root / ".featdsl" / "data"
    assert len(list(data.iterdir())) == 2
    assert sum(path.stat().st_size for path in data.iterdir()) < 40 * 100_000  # not a quarter of a MiB each
    union = " UNION ALL ".join(f"SELECT {n} AS n, v FROM prod.g_{n} WHERE user_id = 2" for n in range(40))
    assert workspace.published(f"{union} ORDER BY n") == [(n, 2 * n) for n in range(40)]
    file = workspace.root / "features" / "many.py"
    file.write_text(file.read_text(encoding="utf-8").replace("v * {n}", "v * {n} * 20"), encoding="utf-8")
    assert "1000" in workspace.run("apply", "--yes").stderr
    assert len(list(data.iterdir())) == 2


def test_large_tables_are_not_in_small_blocks(workspace: Workspace) -> None:
    """They take half as much again there, where values repeat; a small table takes a block of a file at least."""
    workspace.write(
        {
            "featproject.toml": '[project]\nname = "sizes"\n[engine]\nthreads = 2\n',
            "features/sizes.py": """
from featdsl import Entity, Feature, FeatureGroup, Source

user = Entity("user", keys={"user_id": int})
few, many = (Source(name, path=f"{name}.parquet") for name in ("few", "many"))

class Few(FeatureGroup, entity=user, source=few):
    v = Feature(str, sql="v")

class Many(FeatureGroup, entity=user, source=many):
    v = Feature(str, sql="v")
""",
        }
    )
    with duckdb.connect() as connection:
        for name, rows in {"few": 10, "many": 200_000}.items():
            query = f"SELECT i AS user_id, 'tail number ' || i % 4000 AS v FROM range({rows}) t(i)"
            connection.execute(f"COPY ({query}) TO '{workspace.root / name}.parquet'")
    workspace.apply()
    laid = {}
    for path in (workspace.root / ".featdsl" / "data").iterdir():
        with duckdb.connect(str(path), read_only=True) as connection:
            ((block,),) = connection.execute("SELECT block_size FROM pragma_database_size()").fetchall()
            laid |= {name: block for (name,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()}
    assert {name.partition("_")[0]: block for name, block in laid.items()} == {"few": 65_536, "many": 262_144}
