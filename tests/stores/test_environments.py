"""Environments, rollback and garbage collection: what is shared, restored and kept."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable

import pytest

from featdsl import FeatureStore
from featdsl.errors import StoreError
from tests.altered import altered
from tests.apply.test_execute import contents, featdsl, registry
from tests.conftest import Workspace
from tests.plan.test_renames import RENAMES

pytestmark = pytest.mark.slow

Edit = Callable[[str, str, str], None]
ACCOUNTS = "features/accounts/__init__.py"
LENDING = "features/lending/__init__.py"
ASKED = ["age", "income", "monthly"]


def values(workspace: Workspace, env: str = "prod") -> dict[str, object]:
    """Return the served values of user 2 in an environment."""
    found: dict[str, object] = FeatureStore(workspace.root, env=env).get_features(ASKED, user_id=2)
    return found


def built(said: str) -> int:
    """Return the number of tables that a plan builds."""
    found = re.search(r"(\d+) tables? to build", said)
    return int(found[1]) if found else 0


OLD = {"age": 34, "income": 18000.0, "monthly": 1500.0}
NEW = {"age": 34, "income": 36000.0, "monthly": 3000.0}


# Environments


def test_a_branch_is_tried_beside_prod(applied: Workspace, edit: Edit) -> None:
    """It has its own features, views and sets; prod serves the same values as before."""
    edit(ACCOUNTS, '"annual_income"', '"annual_income * 2"')
    featdsl(applied, "apply", "--env", "pr_1", "--yes")

    assert (values(applied, "pr_1"), values(applied)) == (NEW, OLD)
    of_prod = applied.published("SELECT max(income) FROM prod.user_profile")
    assert (of_prod, applied.published("SELECT max(income) FROM pr_1.user_profile")) == ([(19000.0,)], [(38000.0,)])
    spine = "SELECT user_id, now() AS ts FROM pr_1.user_profile WHERE user_id = 2 LIMIT 1"
    training = FeatureStore(applied.root, env="pr_1").training_set("credit_risk@1", spine, timestamp="ts")
    assert training.arrow().to_pylist()[0]["income"] == 18000.0  # what the set pins
    assert training.lock["environment"] == "pr_1"


def test_an_environment_builds_what_differs_and_nothing_else(applied: Workspace, edit: Edit) -> None:
    """Prod's tables are reused; a first apply without changes only creates the environment."""
    before = set(registry(applied).tables)
    assert built(featdsl(applied, "plan", "--env", "same")) == 0
    featdsl(applied, "apply", "--env", "same", "--yes")
    assert set(registry(applied).tables) == before
    assert values(applied, "same") == OLD
    assert featdsl(applied, "history", "--env", "same").rstrip().endswith("  no change")

    edit(ACCOUNTS, '"date_diff', '"1 + date_diff')
    said = featdsl(applied, "plan", "--env", "same", "--sql")
    assert said.startswith("Plan for bank in the environment same, against state 2 of its store\n")
    assert "-- view same.user_profile" in said
    featdsl(applied, "apply", "--env", "same", "--yes")

    assert built(said) == 1
    assert len(set(registry(applied).tables) - before) == 1
    featdsl(applied, "plan", "--env", "same", "--check")


def test_promoting_computes_nothing_again(applied: Workspace, edit: Edit) -> None:
    """Prod reuses the tables that the branch has built; no data file is written."""
    edit(ACCOUNTS, '"annual_income"', '"annual_income * 2"')
    featdsl(applied, "apply", "--env", "pr_1", "--yes")
    files = contents(applied.root / ".featdsl" / "data")
    said = featdsl(applied, "apply", "--yes")

    assert built(said) == 0
    assert contents(applied.root / ".featdsl" / "data") == files
    assert values(applied) == NEW
    featdsl(applied, "plan", "--check")


def test_a_plan_of_prod_outlives_what_is_tried_beside_it(applied: Workspace, edit: Edit) -> None:
    """A plan for an environment runs there without --env."""
    edit(ACCOUNTS, '"annual_income"', '"annual_income * 2"')
    plan, trial = str(applied.root / "plan.json"), str(applied.root / "trial.json")
    featdsl(applied, "plan", "--out", plan)
    featdsl(applied, "plan", "--env", "pr_1", "--out", trial)
    featdsl(applied, "apply", trial)
    assert (values(applied, "pr_1"), values(applied)) == (NEW, OLD)

    featdsl(applied, "apply", plan)
    assert values(applied) == NEW
    featdsl(applied, "apply", plan, code=4)


def test_a_plan_of_prod_outlives_upkeep(applied: Workspace, edit: Edit) -> None:
    """Dropping an environment and garbage collection do not change prod's state."""
    featdsl(applied, "apply", "--env", "pr_1", "--yes")
    edit(ACCOUNTS, '"annual_income"', '"annual_income * 2"')
    plan = str(applied.root / "plan.json")
    featdsl(applied, "plan", "--out", plan)
    featdsl(applied, "env", "drop", "pr_1")

    featdsl(applied, "apply", plan)
    assert values(applied) == NEW


def test_a_file_of_another_environment_than_was_asked_for_is_refused(applied: Workspace, edit: Edit) -> None:
    """Both with the option and the shell variable; a saved plan names its own environment."""
    edit(ACCOUNTS, '"annual_income"', '"annual_income * 2"')
    plan, export = str(applied.root / "plan.json"), str(applied.root / "registry.json")
    featdsl(applied, "plan", "--env", "pr_1", "--out", plan)
    featdsl(applied, "export", export)

    said = featdsl(applied, "apply", plan, "--env", "prod", code=1)
    assert said == (
        f"Plan of another environment\n  {plan} belongs to the environment pr_1, but prod was requested.\n"
        f"  Leave out --env and FEATDSL_ENV, or make a new plan: featdsl -C {applied.root} plan --out {plan} --env prod\n"
    )
    assert "Plan of another environment" in applied.run("apply", plan, FEATDSL_ENV="pr_2").stderr
    said = featdsl(applied, "plan", "--against", export, "--env", "pr_1", code=1)
    assert said.startswith("Export of another environment\n")
    assert f"featdsl -C {applied.root} export {export} --env pr_1" in said
    assert "pr_1" not in featdsl(applied, "env", "list")

    featdsl(applied, "apply", plan, "--env", "pr_1")
    assert (values(applied, "pr_1"), values(applied)) == (NEW, OLD)


def test_environments_are_listed_and_dropped(applied: Workspace) -> None:
    """Dropping an environment drops its views; prod cannot be dropped."""
    featdsl(applied, "apply", "--env", "pr_1", "--yes")
    listed = json.loads(featdsl(applied, "env", "list", "--format", "json"))
    assert [each["name"] for each in listed] == ["pr_1", "prod"]
    assert [bool(each["expires_at"]) for each in listed] == [True, False]
    assert "pr_1" in featdsl(applied, "env", "list")

    featdsl(applied, "env", "drop", "pr_1")

    assert "pr_1" not in featdsl(applied, "env", "list")
    assert applied.published("SELECT count(*) FROM duckdb_views() WHERE schema_name = 'pr_1'") == [(0,)]
    assert values(applied) == OLD
    assert "prod cannot be dropped: everyone reads it" in featdsl(applied, "env", "drop", "prod", code=1)
    assert "The store has no environment" in featdsl(applied, "env", "drop", "pr_1", code=1)


@pytest.mark.parametrize("name", ["9x", "PR", "pr-1", "registry", "tables", "", "x; DROP SCHEMA prod"])
def test_a_name_that_is_no_identifier_is_refused(name: str, applied: Workspace) -> None:
    """In every command; nothing changes."""
    before = contents(applied.root / ".featdsl")
    for command in (["plan"], ["apply", "--yes"], ["list"]):
        assert "Invalid environment" in featdsl(applied, *command, f"--env={name}", code=1)
    with pytest.raises(StoreError, match="Invalid environment"):
        FeatureStore(applied.root, env=name)

    assert contents(applied.root / ".featdsl") == before


def test_reading_an_environment_that_was_never_made_is_an_error(applied: Workspace) -> None:
    """The error suggests the nearest name; a shell variable can name the environment for all commands."""
    featdsl(applied, "apply", "--env", "trial", "--yes")

    said = applied.run("get", "age", "--key", "user_id=2", FEATDSL_ENV="tria")
    assert (said.returncode, said.stdout) == (1, "")
    assert said.stderr == 'Unknown environment\n  The store has no environment "tria".\n  Did you mean "trial"?\n'
    assert featdsl(applied, "history", "--env", "tria", code=1) == said.stderr
    featdsl(applied, "env", "drop", "trial")
    assert "no change" in featdsl(applied, "history", "--env", "trial")


# Rollback


def test_a_rollback_restores_every_value_and_builds_nothing(applied: Workspace, edit: Edit) -> None:
    """The old tables still exist; the history records the rollback; the next plan proposes the change again."""
    edit(ACCOUNTS, '"annual_income"', '"annual_income * 2"')
    edit(
        LENDING,
        'loan_default = Model("loan_default", features=credit_risk_v1)',
        'loan_default = Model("loan_default", features=credit_risk_v2)',
    )
    applied.apply()
    assert values(applied) == NEW
    before, files = registry(applied), contents(applied.root / ".featdsl" / "data")

    said = featdsl(applied, "rollback", "1", "--yes")

    assert built(said) == 0
    assert values(applied) == OLD
    assert contents(applied.root / ".featdsl" / "data") == files
    assert registry(applied).catalog.models["loan_default"].features == "credit_risk@1"
    featdsl(applied, "plan", "--check", code=2)
    featdsl(applied, "rollback", "2", "--yes")
    assert registry(applied).catalog == before.catalog
    featdsl(applied, "plan", "--check")
    assert [each["serial"] for each in json.loads(featdsl(applied, "history", "--format", "json"))] == [4, 3, 2, 1]


def test_a_rollback_restores_removed_definitions(applied: Workspace, edit: Edit) -> None:
    """A removed set version pins the same feature versions again, not the current ones."""
    edit(LENDING, 'loan_default = Model("loan_default", features=credit_risk_v1)\n', "")
    edit(ACCOUNTS, '"annual_income"', '"annual_income * 2"')
    applied.apply()
    edit(LENDING, "credit_risk_v2 = credit_risk_v1.evolve(version=2, add=[Affordability.monthly])\n", "")
    edit(
        LENDING,
        'credit_risk_v1 = FeatureSet("credit_risk", version=1, features=[UserProfile.age, UserProfile.income])\n',
        "",
    )
    applied.apply()
    assert "credit_risk@1" not in registry(applied).catalog.sets

    featdsl(applied, "rollback", "2", "--yes")

    pinned = FeatureStore(applied.root).get_features("credit_risk@1", user_id=2)
    assert pinned == {"age": 34, "income": 18000.0}
    assert values(applied) == NEW


def test_a_rollback_is_a_plan(applied: Workspace, edit: Edit) -> None:
    """It can be saved, reviewed and applied; without confirmation nothing happens."""
    edit(ACCOUNTS, '"annual_income"', '"annual_income * 2"')
    applied.apply()
    out = applied.root / "back.json"
    said = featdsl(applied, "rollback", "1", "--out", str(out))
    assert said.startswith("Rollback plan to state 1 for bank, against state 2 of its store\n")
    assert "user_profile" in said
    assert json.loads(out.read_text(encoding="utf-8"))["back_to"] == 1
    assert "Nothing to do: the store matches state 2.\n" in featdsl(applied, "rollback", "2")
    assert values(applied) == NEW
    assert f"Or apply without asking: featdsl -C {applied.root} rollback 1 --yes\n" in featdsl(
        applied, "rollback", "1", code=1
    )
    featdsl(applied, "apply", "--env", "pr_1", "--yes")
    edit(ACCOUNTS, '"annual_income * 2"', '"annual_income * 3"')
    assert f"Or apply without asking: featdsl -C {applied.root} apply --env pr_1 --yes\n" in featdsl(
        applied, "apply", "--env", "pr_1", code=1
    )
    featdsl(applied, "apply", "--env", "pr_1", "--yes")
    said = featdsl(applied, "rollback", "3", "--env", "pr_1", code=1)
    assert f"Or apply without asking: featdsl -C {applied.root} rollback 3 --env pr_1 --yes\n" in said

    featdsl(applied, "apply", str(out))
    assert values(applied) == OLD


@pytest.mark.parametrize("state", ["0", "7", "-1"])
def test_a_rollback_to_an_unknown_state_is_refused(state: str, applied: Workspace) -> None:
    """The error lists the existing states."""
    assert "it was at 1." in featdsl(applied, "rollback", "--", state, code=1)


def test_only_states_nearby_are_named(applied: Workspace, edit: Edit) -> None:
    """There may be thousands of states."""
    for years in range(6):
        edit(ACCOUNTS, f"{120 + years}", f"{121 + years}")
        applied.apply()

    assert "prod was never at state 9; it was at 3, 4, 5, 6, 7.\n" in featdsl(applied, "rollback", "9", code=1)


def test_an_environment_rolls_back_within_its_own_history(applied: Workspace, edit: Edit) -> None:
    """Only to its own states; prod does not change."""
    featdsl(applied, "apply", "--env", "pr_1", "--yes")
    edit(ACCOUNTS, '"annual_income"', '"annual_income * 2"')
    featdsl(applied, "apply", "--env", "pr_1", "--yes")
    assert "pr_1 was never at state 1; it was at 2, 3" in featdsl(applied, "rollback", "1", "--env", "pr_1", code=1)

    featdsl(applied, "rollback", "2", "--env", "pr_1", "--yes")
    assert values(applied, "pr_1") == values(applied) == OLD
    assert registry(applied).head.serial == 1


# History


def test_history_of_one_definition(applied: Workspace, edit: Edit) -> None:
    """The applies that changed it; for a group, also those that changed its features."""
    edit(ACCOUNTS, '"annual_income"', '"annual_income * 2"')
    applied.apply()
    edit(ACCOUNTS, "Age in whole years.", "Age in full years.")
    applied.apply()

    def serials(*name: str) -> list[int]:
        return [each["serial"] for each in json.loads(featdsl(applied, "history", *name, "--format", "json"))]

    assert serials() == [3, 2, 1]
    assert serials("user_profile.income") == [2, 1]
    assert serials("user_profile.age") == [3, 1]
    assert serials("user_profile") == [3, 2, 1]
    assert serials("credit_risk@1") == serials("credit_risk") == [1]
    assert "change (definition)" in featdsl(applied, "history", "user_profile.income")
    assert featdsl(applied, "history", "nobody") == "No apply has changed nobody.\n"


def test_history_continues_after_a_rename(applied: Workspace, edit: Edit) -> None:
    """Under each of its names, qualified or not, even after the code drops renamed_from=."""
    edit(ACCOUNTS, 'timestamp="updated_at"', 'timestamp="updated_at", tie_break="birth_date"')
    applied.apply()
    for rename in RENAMES.values():
        rename(edit)
    applied.apply()

    def serials(name: str) -> list[int]:
        return [each["serial"] for each in json.loads(featdsl(applied, "history", name, "--format", "json"))]

    assert serials("profile.gross_income") == serials("user_profile.income") == serials("gross_income") == [3, 2, 1]
    assert serials("profile") == serials("user_profile") == [3, 2, 1]
    assert serials("credit") == serials("credit@1") == serials("credit_risk") == serials("credit_risk@1") == [3, 1]
    done = [
        line.split("  ")[-1].strip() for line in featdsl(applied, "history", "profile.gross_income").splitlines()[1:]
    ]
    assert done == ["change (metadata)", "recompute (upstream)", "create (additive)"]

    edit(ACCOUNTS, ', renamed_from="income"', "")
    edit(ACCOUNTS, ', renamed_from="user_profile"', "")
    applied.apply()
    assert serials("profile.gross_income") == serials("gross_income") == serials("user_profile.income") == [4, 3, 2, 1]


def test_history_keeps_the_plan_of_each_apply(applied: Workspace, edit: Edit) -> None:
    """In the form that was shown at the time."""
    edit(ACCOUNTS, '"annual_income"', '"annual_income * 2"')
    planned = featdsl(applied, "plan")
    applied.apply()

    assert featdsl(applied, "history", "--plan", "2") == planned
    assert json.loads(featdsl(applied, "history", "--plan", "2", "--format", "json"))["base"]["serial"] == 1
    assert "The store has no plan of state 9" in featdsl(applied, "history", "--plan", "9", code=1)


# A part of the project


def test_a_part_is_planned_with_what_it_needs_and_the_rest_stays(applied: Workspace, edit: Edit) -> None:
    """Other groups read the old values until they are selected, too; unselected definitions are not removed."""
    edit(ACCOUNTS, '"annual_income"', '"annual_income * 2"')
    edit(ACCOUNTS, "Age in whole years.", "Age in full years.")
    edit(LENDING, 'loan_default = Model("loan_default", features=credit_risk_v1)', "")
    said = featdsl(applied, "plan", "--select", "user_profile")
    assert "user_profile" in said
    assert "model loan_default  breaking" not in said
    featdsl(applied, "apply", "--select", "user_profile", "--yes")

    assert values(applied) == {"age": 34, "income": 36000.0, "monthly": 1500.0}
    assert "loan_default" in registry(applied).catalog.models
    featdsl(applied, "plan", "--select", "user_profile", "--check")
    featdsl(applied, "plan", "--check", code=2)
    applied.apply()
    assert values(applied) == NEW
    assert "loan_default" not in registry(applied).catalog.models


@pytest.mark.parametrize("name", ["affordability", "affordability.monthly", "credit_risk@2", "credit_risk", "lending"])
def test_a_selection_includes_its_upstream(name: str, bank: Workspace) -> None:
    """By group, feature, set, version or team; in an empty store nothing else is built."""
    featdsl(bank, "apply", "--select", name, "--yes")
    catalog = registry(bank).catalog

    assert sorted(catalog.groups) == ["affordability", "user_profile"]
    assert sorted(catalog.models) == (["loan_default"] if name == "lending" else [])
    wanted = {"credit_risk@2": ["credit_risk@2"], "credit_risk": ["credit_risk@1", "credit_risk@2"]}
    wanted["lending"] = wanted["credit_risk"]
    assert sorted(catalog.sets) == wanted.get(name, [])
    featdsl(bank, "plan", "--select", name, "--check")


def test_a_removed_definition_can_be_selected(applied: Workspace, edit: Edit) -> None:
    """By its applied name; an unknown name is an error with the nearest name."""
    edit(LENDING, 'loan_default = Model("loan_default", features=credit_risk_v1)', "")
    featdsl(applied, "apply", "--select", "loan_default", "--yes")
    assert registry(applied).catalog.models == {}

    assert 'Did you mean "user_profile"?' in featdsl(applied, "plan", "--select", "user_profil", code=1)
    assert "Give --select to featdsl plan instead" in featdsl(
        applied, "apply", "plan.json", "--select", "lending", code=1
    )


# Garbage collection


def test_unused_tables_are_deleted_after_their_time(applied: Workspace, edit: Edit) -> None:
    """Pinned tables and values stay; space is reclaimed once no reader can need it."""
    edit(ACCOUNTS, '"annual_income"', '"annual_income * 2"')
    applied.apply()
    edit(ACCOUNTS, '"annual_income * 2"', '"annual_income * 3"')
    applied.apply()
    pinned = FeatureStore(applied.root).get_features("credit_risk@2", user_id=2)
    assert featdsl(applied, "gc") == "Nothing to delete.\n"
    time.sleep(1.1)

    said = featdsl(applied, "gc", "--keep", "1 second", code=1)
    assert "affordability_" in said and "user_profile_" in said and "Not confirmed" in said  # noqa: PT018 - one text
    found = json.loads(featdsl(applied, "gc", "--keep", "1 second", "--yes", "--format", "json"))

    gone = {each["name"] for each in found["tables"]}
    assert len(gone) == 2
    assert found["bytes"] > 0
    assert not gone & registry(applied).tables.keys()
    assert values(applied)["income"] == 54000.0
    assert FeatureStore(applied.root).get_features("credit_risk@2", user_id=2) == pinned
    featdsl(applied, "plan", "--check")
    assert "does not keep state 2" in featdsl(applied, "rollback", "2", code=1)
    assert featdsl(applied, "gc", "--keep", "1 second") == "Nothing to delete.\n"


def test_a_plan_that_reuses_a_deleted_table_is_stale(applied: Workspace, edit: Edit) -> None:
    """Garbage collection does not change an environment's state, but the plan names a deleted table."""
    edit(ACCOUNTS, '"annual_income"', '"annual_income * 2"')
    applied.apply()
    edit(ACCOUNTS, '"annual_income * 2"', '"annual_income * 3"')
    applied.apply()
    featdsl(applied, "apply", "--env", "pr_1", "--yes")
    edit(ACCOUNTS, '"annual_income * 3"', '"annual_income * 2"')
    plan = str(applied.root / "plan.json")
    assert built(featdsl(applied, "plan", "--env", "pr_1", "--out", plan)) == 0
    time.sleep(1.1)
    featdsl(applied, "gc", "--keep", "1 second", "--yes")

    assert "which gc has deleted since" in featdsl(applied, "apply", plan, code=4)

    assert built(featdsl(applied, "apply", "--env", "pr_1", "--yes")) == 2
    assert (values(applied, "pr_1")["income"], values(applied)["income"]) == (36000.0, 54000.0)


def test_a_reader_of_an_earlier_catalogue_keeps_reading(applied: Workspace, edit: Edit) -> None:
    """It opens its tables after their release: their files stay for an hour, and a later apply deletes them."""
    edit(LENDING, 'loan_default = Model("loan_default", features=credit_risk_v1)\n', "")
    edit(LENDING, "credit_risk_v2 = credit_risk_v1.evolve(version=2, add=[Affordability.monthly])\n", "")
    edit(
        LENDING,
        'credit_risk_v1 = FeatureSet("credit_risk", version=1, features=[UserProfile.age, UserProfile.income])\n',
        "",
    )
    applied.apply()
    store = FeatureStore(applied.root)
    opened = store._open()  # as a call of before, which a busy machine halts here
    edit(ACCOUNTS, '"annual_income"', '"annual_income * 2"')
    applied.apply()
    time.sleep(1.1)
    featdsl(applied, "gc", "--keep", "1 second", "--yes")
    gone = {
        table.name: table.file for name, table in opened.snapshot.tables.items() if name not in registry(applied).tables
    }
    assert len(gone) == 2
    featdsl(applied, "apply", "--env", "pr_1", "--yes")  # an apply sweeps what is retired for long enough

    session = opened.reader_of(set(gone)).session

    for name in gone:
        ((rows,),) = session.rows(f"SELECT count(*) FROM tables.{name}")
        assert rows == 20
    late(applied)
    featdsl(applied, "apply", "--env", "pr_2", "--yes")
    assert [file for file in gone.values() if (applied.root / ".featdsl" / file).exists()] == []


def late(workspace: Workspace) -> None:
    """Backdate the store's retired files by an hour."""
    with altered(workspace.root / ".featdsl" / "store.duckdb") as connection:
        connection.execute("UPDATE registry.files SET retired = retired - 3601")


def test_an_expired_environment_is_dropped(applied: Workspace, edit: Edit) -> None:
    """Its views are dropped; an apply before the expiry would have kept it."""
    edit("featproject.toml", "[project]", '[environments]\nexpire_after = "1 second"\n[project]')
    featdsl(applied, "apply", "--env", "pr_1", "--yes")
    time.sleep(1.1)

    assert "environment pr_1 has expired" in featdsl(applied, "gc", code=1)
    featdsl(applied, "gc", "--yes")

    assert [each["name"] for each in json.loads(featdsl(applied, "env", "list", "--format", "json"))] == ["prod"]


def test_a_bad_duration_is_refused(applied: Workspace) -> None:
    """With the same error as for any other duration."""
    assert "--keep" in featdsl(applied, "gc", "--keep", "soon", code=1)


def test_an_earlier_reader_keeps_reading(applied: Workspace, edit: Edit) -> None:
    """A store that was opened before the release can still read; a newly opened one sees the new state."""
    store = FeatureStore(applied.root)
    training = store.training_set("credit_risk@1", "SELECT 2 AS user_id, now() AS ts", timestamp="ts")
    edit(LENDING, 'loan_default = Model("loan_default", features=credit_risk_v1)\n', "")
    edit(LENDING, "credit_risk_v2 = credit_risk_v1.evolve(version=2, add=[Affordability.monthly])\n", "")
    edit(
        LENDING,
        'credit_risk_v1 = FeatureSet("credit_risk", version=1, features=[UserProfile.age, UserProfile.income])\n',
        "",
    )
    edit(ACCOUNTS, '"annual_income"', '"annual_income * 2"')
    applied.apply()
    time.sleep(1.1)
    featdsl(applied, "gc", "--keep", "1 second", "--yes")

    assert training.arrow().to_pylist()[0]["income"] == 18000.0
    assert store.get_features(ASKED, user_id=2) == NEW


def test_expiry_and_history_are_settings(applied: Workspace, edit: Edit) -> None:
    """An invalid duration is reported with its line."""
    edit("featproject.toml", "[project]", '[store]\nkeep_history = "soon"\n[project]')

    assert "featproject.toml:2" in featdsl(applied, "gc", code=1)
