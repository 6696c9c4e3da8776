"""Tests of outdated models and lock files: what changed since training, and by whom."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from featdsl import FeatureStore
from featdsl.query import lockfile
from tests.apply.test_execute import featdsl
from tests.apply.test_refresh import day, growing
from tests.conftest import ACCOUNTS as ROWS
from tests.conftest import Workspace
from tests.plan.test_renames import rename_feature, rename_group

pytestmark = pytest.mark.slow

__all__ = ["growing"]

Edit = Callable[[str, str, str], None]
ACCOUNTS = "features/accounts/__init__.py"
LENDING = "features/lending/__init__.py"
SPINE = "SELECT 2 AS user_id, now() AS ts"


def kept(workspace: Workspace, asked: Any = "credit_risk@1", name: str = "training.lock") -> Path:
    """Train, and save the lock file."""
    lock = FeatureStore(workspace.root).training_set(asked, SPINE, timestamp="ts").lock
    path = workspace.root / name
    path.write_text(json.dumps(lock, indent=4), encoding="utf-8")
    return path


def outdated(workspace: Workspace, *locks: Path, code: int = 2) -> list[dict[str, Any]]:
    """Return the outdated models and locks as JSON."""
    said = featdsl(workspace, "outdated", *map(str, locks), "--format", "json", code=code)
    found: list[dict[str, Any]] = json.loads(said)
    return found


def test_nothing_is_outdated_after_training(applied: Workspace) -> None:
    """A new description, owner or unrelated feature does not outdate a model."""
    lock = kept(applied)
    assert outdated(applied, code=0) == outdated(applied, lock, code=0) == []
    assert featdsl(applied, "outdated") == "No model is outdated.\n"

    path = applied.root / ACCOUNTS
    path.write_text(path.read_text().replace("Age in whole years.", "In years.") + "    more = Feature(int, sql='1')\n")
    path = applied.root / LENDING
    path.write_text(path.read_text().replace('sql="income / 12"', 'sql="income / 6"'))
    applied.apply()
    assert outdated(applied, code=0) == outdated(applied, lock, code=0) == []


def test_a_definition_that_has_changed_is_told_with_who_did_it(applied: Workspace, edit: Edit) -> None:
    """Both the declared model and the saved lock file are outdated."""
    lock = kept(applied)
    edit(ACCOUNTS, '"annual_income"', '"annual_income * 2"')
    applied.apply()
    edit(ACCOUNTS, "Age in whole years.", "Age in full years.")
    applied.apply()
    ((by_model,), (by_lock,)) = outdated(applied), outdated(applied, lock)

    assert (by_model["kind"], by_model["name"], by_model["owner"]) == ("model", "loan_default", "lending")
    assert (by_lock["kind"], by_lock["name"], by_lock["features"]) == ("lock", str(lock), "credit_risk@1")
    for found in (by_model, by_lock):
        (moved,) = found["moved"]
        assert (moved["column"], moved["feature"], moved["owner"]) == ("income", "user_profile.income", "accounts")
        assert (moved["code"], moved["before"], moved["after"]) == ("definition", "annual_income", "annual_income * 2")
        assert (moved["state"], bool(moved["user"])) == (2, True)
    said = featdsl(applied, "outdated", code=2)
    assert said.startswith("model loan_default (lending) is outdated\n  trained on credit_risk@1; since then:\n")
    assert "      - annual_income\n      + annual_income * 2\n" in said


def test_a_change_upstream_is_told_as_such(applied: Workspace, edit: Edit) -> None:
    """A feature derived from a changed one is outdated too."""
    lock = kept(applied, ["monthly"])
    edit(ACCOUNTS, '"annual_income"', '"annual_income * 2"')
    applied.apply()

    ((moved,),) = (each["moved"] for each in outdated(applied, lock))
    assert (moved["feature"], moved["code"]) == ("affordability.monthly", "definition")
    assert moved["after"] == "because user_profile.income changed"


def test_a_feature_that_is_gone_is_told(applied: Workspace, edit: Edit) -> None:
    """A lock file still knows the removed feature."""
    edit(LENDING, "\n\ncredit_risk_v1 =", '\n    yearly = Feature(float, sql="income")\n\n\ncredit_risk_v1 =')
    applied.apply()
    lock = kept(applied, ["yearly", "age"])
    edit(LENDING, '    yearly = Feature(float, sql="income")\n', "")
    applied.apply()

    ((moved,),) = (each["moved"] for each in outdated(applied, lock))
    assert (moved["feature"], moved["code"], moved["state"]) == ("affordability.yearly", "gone", 3)
    assert "affordability.yearly was removed in state 3, by " in featdsl(applied, "outdated", str(lock), code=2)


def test_a_rename_makes_nothing_outdated(applied: Workspace, edit: Edit) -> None:
    """Not while the old name works nor after it is dropped; later changes appear under the new name."""
    lock, of_set = kept(applied, ["income", "monthly"]), kept(applied, "credit_risk@2", "set.lock")
    rename_feature(edit)
    rename_group(edit)
    applied.apply()
    assert outdated(applied, lock, of_set, code=0) == []
    edit(ACCOUNTS, ', renamed_from="income"', "")
    edit(ACCOUNTS, ', renamed_from="user_profile"', "")
    applied.apply()
    assert outdated(applied, lock, of_set, code=0) == []

    edit(ACCOUNTS, '"annual_income"', '"annual_income * 2"')
    applied.apply()
    for found in outdated(applied, lock, of_set):
        assert [(each["column"], each["feature"], each["after"], each["state"]) for each in found["moved"]] == [
            ("income", "profile.gross_income", "annual_income * 2", 4),
            ("monthly", "affordability.monthly", "because profile.gross_income changed", 4),
        ]


def test_a_change_before_a_rename_is_told_with_who_did_it(applied: Workspace, edit: Edit) -> None:
    """A later lock over the pinned old definition is outdated too."""
    edit(ACCOUNTS, 'timestamp="updated_at"', 'timestamp="updated_at", tie_break="birth_date"')
    applied.apply()
    rename_feature(edit)
    applied.apply()

    for (found,) in (outdated(applied), outdated(applied, kept(applied))):
        moved = {each["feature"]: each["state"] for each in found["moved"]}
        assert moved == {"user_profile.age": 2, "user_profile.gross_income": 2}


def test_a_table_that_was_built_anew_is_told(applied: Workspace) -> None:
    """The definition is unchanged, but the data may differ."""
    lock = kept(applied)
    for file in (applied.root / ".featdsl" / "data").iterdir():
        file.unlink()
    applied.apply()
    (found,) = outdated(applied, lock)
    assert [(each["feature"], each["code"]) for each in found["moved"]] == [
        ("user_profile.age", "data"),
        ("user_profile.income", "data"),
    ]


def test_a_model_that_moved_on_is_not_outdated(applied: Workspace, edit: Edit) -> None:
    """Moving to a version with the new definition brings the model up to date."""
    edit(ACCOUNTS, '"annual_income"', '"annual_income * 2"')
    applied.apply()
    edit(LENDING, 'loan_default = Model("loan_default", features=credit_risk_v1)',
         'loan_default = Model("loan_default", features=credit_risk_v1.evolve(version=3))')  # fmt: skip
    applied.apply()

    assert outdated(applied, code=0) == []


def test_older_versions_are_shown_with_who_holds_them(applied: Workspace, edit: Edit) -> None:
    """Old versions are shown with their size; a group shows those of all its features."""
    assert "older" not in featdsl(applied, "show", "user_profile.income")
    edit(ACCOUNTS, '"annual_income"', '"annual_income * 2"')
    applied.apply()

    (kept,) = json.loads(featdsl(applied, "show", "user_profile.income", "--format", "json"))["kept"]
    assert (kept["held_by"], kept["rows"]) == (["affordability.monthly", "credit_risk@1", "credit_risk@2"], 20)
    assert kept["bytes"] > 0
    said = featdsl(applied, "show", "user_profile")
    assert f"user_profile.income {kept['fingerprint'][:8]}: 20 rows, under 1 MB\n" in said
    assert "used by affordability.monthly, credit_risk@1, credit_risk@2\n" in said


def _edited(lock: dict[str, Any]) -> str:
    lock["features"]["income"]["fingerprint"] = "0" * 32
    return json.dumps(lock)


def _signed(lock: dict[str, Any], **changed: object) -> str:
    content = {**{name: value for name, value in lock.items() if name != "digest"}, **changed}
    return json.dumps({**content, "digest": lockfile._digest(content)})


BAD = {
    "edited": (_edited, "Edited lock"),
    "cut off": (lambda lock: json.dumps(lock)[:-20], "Not a lock"),
    "no lock": (lambda _: "[1, 2]", "Not a lock"),
    "a plan": (lambda _: '{"format": 3}', "Not a lock"),
    "no store, signed": (lambda lock: _signed(lock, store=None), "Not a lock"),
    "no features, signed": (lambda lock: _signed(lock, features=["age"]), "Not a lock"),
    "too deep": (lambda _: "[" * 100_000, "Not a lock"),
    "newer": (lambda lock: json.dumps({**lock, "format": 9}), "Lock of a newer format"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_lock_that_is_not_as_it_was_made_is_refused(name: str, applied: Workspace) -> None:
    """An edited lock file is refused."""
    path = kept(applied)
    make, said = BAD[name]
    path.write_text(make(json.loads(path.read_text())))

    assert said in featdsl(applied, "outdated", str(path), code=1)


def test_a_lock_of_another_store_is_refused(applied: Workspace) -> None:
    """Its fingerprints mean nothing here; a missing file is an error too."""
    path = kept(applied)
    shutil.rmtree(applied.root / ".featdsl")
    applied.apply()

    assert "Lock of another store" in featdsl(applied, "outdated", str(path), code=1)
    assert "Lock cannot be read" in featdsl(applied, "outdated", "nowhere.lock", code=1)


def test_rows_that_a_refresh_has_replaced_are_told(growing: Workspace) -> None:
    """Neither rows added since nor rows replaced before training outdate it."""
    locks = []
    for number in (1, 2):
        locks.append(kept(growing, ["income", "monthly"], f"{number}.lock"))
        day(growing, number)
        featdsl(growing, "refresh")
    featdsl(growing, "refresh", "--from", "2026-01-01")
    assert outdated(growing, *locks, code=0) == []

    day(growing, 1, income="5.0::DOUBLE")
    featdsl(growing, "refresh", "--from", "2026-01-02")
    later = kept(growing, ["income", "monthly"], "3.lock")
    found = outdated(growing, *locks, later)
    assert [each["name"] for each in found] == [str(lock) for lock in locks]
    for each in found:
        assert [(moved["feature"], moved["code"], moved["after"][:10]) for moved in each["moved"]] == [
            ("user_profile.income", "rows", "2026-01-02"),
            ("affordability.monthly", "rows", "2026-01-02"),
        ]
        assert {moved["state"] for moved in each["moved"]} == {4}
    assert "user_profile.income has changed rows from 2026-01-02 00:00:00 in state 4, by" in featdsl(
        growing, "outdated", str(locks[0]), code=2
    )


def test_a_model_without_a_lock_knows_the_data_that_it_was_applied_with(growing: Workspace) -> None:
    """Replaced rows outdate it, added rows only with --data; moving the model starts over."""
    assert outdated(growing, code=0) == []
    day(growing, 1)
    featdsl(growing, "refresh")
    assert outdated(growing, code=0) == []
    (found,) = json.loads(featdsl(growing, "outdated", "--data", "--format", "json", code=2))
    assert (found["kind"], found["name"]) == ("model", "loan_default")
    assert [(each["feature"], each["code"], each["state"]) for each in found["moved"]] == [
        ("user_profile.age", "added", 2),
        ("user_profile.income", "added", 2),
    ]
    said = featdsl(growing, "outdated", "--data", code=2)
    assert "user_profile.income has new rows from 2026-01-02 00:00:00 in state 2, by" in said

    day(growing, 1, income="5.0::DOUBLE")
    featdsl(growing, "refresh", "--from", "2026-01-02")
    (found,) = outdated(growing)
    assert [(each["feature"], each["code"], each["state"]) for each in found["moved"]] == [
        ("user_profile.age", "rows", 3),
        ("user_profile.income", "rows", 3),
    ]

    path = growing.root / LENDING
    moved = path.read_text().replace("features=credit_risk_v1)", "features=credit_risk_v2)")
    path.write_text(moved)
    growing.apply()
    assert outdated(growing, code=0) == []
    path.write_text(moved + "# a comment, and a description:\n")
    path.write_text(moved.replace('Model("loan_default",', 'Model("loan_default", description="Risk.",'))
    day(growing, 1, income="6.0::DOUBLE")
    featdsl(growing, "refresh", "--from", "2026-01-02")
    growing.apply()
    (found,) = outdated(growing)
    assert {each["feature"] for each in found["moved"]} == {
        "user_profile.age", "user_profile.income", "affordability.monthly",
    }  # fmt: skip


def test_a_lock_counts_rows_that_were_added_where_asked_for(growing: Workspace) -> None:
    """Also for a derived feature, whose rows are in the tables of its inputs."""
    lock = kept(growing, ["monthly"])
    day(growing, 1)
    featdsl(growing, "refresh")
    assert outdated(growing, lock, code=0) == []
    (found,) = json.loads(featdsl(growing, "outdated", str(lock), "--data", "--format", "json", code=2))
    assert [(each["feature"], each["code"]) for each in found["moved"]] == [("affordability.monthly", "added")]


@pytest.mark.parametrize("rows", ["as they are", "others"])
def test_computing_all_anew_outdates_where_rows_differ(growing: Workspace, rows: str) -> None:
    """`refresh --full` over the same rows publishes nothing, and outdates nobody."""
    lock = kept(growing, ["income", "monthly"])
    before = growing.run("history", "--format", "json").stdout
    if rows == "others":
        day(growing, 0, income="7.0::DOUBLE")
    said = featdsl(growing, "refresh", "--full")
    if rows == "others":
        assert {each["code"] for found in outdated(growing, lock) for each in found["moved"]} == {"rows"}
        assert [each["name"] for each in outdated(growing)] == ["loan_default"]
    else:
        assert "asked for, and no row is other" in " ".join(said.split()), said
        assert outdated(growing, lock, code=0) == outdated(growing, code=0) == []
        assert growing.run("history", "--format", "json").stdout == before


def test_a_working_tree_that_is_not_committed_is_marked(bank: Workspace, edit: Edit) -> None:
    """The history and outdated models show the mark; files that apply itself writes do not count as changes."""

    def git(*command: str) -> str:
        command = ("git", "-c", "user.name=ann", "-c", "user.email=ann@example.org", *command)
        return subprocess.run(command, cwd=bank.root, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "-q")
    git("add", "-A")
    git("commit", "-q", "-m", "Declare the bank")
    head = git("rev-parse", "HEAD")[:10]
    bank.apply()
    assert f" {head} " in bank.run("history").stdout
    edit("features/accounts/__init__.py", 'sql="annual_income"', 'sql="annual_income + 1"')
    bank.apply()
    assert f" {head}+dirty " in bank.run("history").stdout.splitlines()[1]
    assert f"commit {head}+dirty" in bank.run("outdated").stdout
    git("commit", "-qam", "Raise every income")
    bank.write({"features/risk.py": ""}).parquet("data/accounts.parquet", ROWS.replace("1000.0", "2000.0"))
    bank.run("refresh")
    assert f" {git('rev-parse', 'HEAD')[:10]}+dirty " in bank.run("history").stdout.splitlines()[1]


@pytest.mark.parametrize(
    "change",
    [
        lambda lock: lock.update(set="a; DROP"),
        lambda lock: lock.update(environment="../x"),
        lambda lock: lock["features"].update(x={"feature": "../x", "fingerprint": "f"}),
        lambda lock: lock["tables"].update({"x\x1b": "now"}),
        lambda lock: lock["store"].update(serial="one"),
        lambda lock: lock["written"].update(x="y"),
    ],
    ids=["set", "environment", "feature", "table", "serial", "state"],
)
def test_a_lock_whose_texts_are_no_names_is_refused(
    applied: Workspace, change: Callable[[dict[str, Any]], object]
) -> None:
    """Even with a correct digest, the contents are validated by type."""
    from featdsl.query import lockfile

    spine = "SELECT 1 AS user_id, TIMESTAMP '2026-01-20' AS at"
    lock = applied.store.training_set("credit_risk@1", spine, timestamp="at").lock
    change(lock)
    del lock["digest"]
    applied.write({"model.lock": json.dumps({**lock, "digest": lockfile._digest(lock)})})
    done = applied.run("outdated", "model.lock")
    assert (done.returncode, done.stderr.splitlines()[0]) == (1, "Not a lock"), done.stderr
