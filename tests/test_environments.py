"""Environments, going back, and letting go: what is shared, what is restored, what stays."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable

import duckdb
import pytest

from featdsl import FeatureStore
from featdsl.errors import StoreError
from tests.conftest import Workspace
from tests.test_apply import contents, featdsl, registry
from tests.test_renames import RENAMES

pytestmark = pytest.mark.slow

Edit = Callable[[str, str, str], None]
ACCOUNTS = "features/accounts/__init__.py"
LENDING = "features/lending/__init__.py"
ASKED = ["age", "income", "monthly"]


def values(workspace: Workspace, env: str = "prod") -> dict[str, object]:
    """Return what is served of user 2 in an environment."""
    found: dict[str, object] = FeatureStore(workspace.root, env=env).get_features(ASKED, user_id=2)
    return found


def built(said: str) -> int:
    """Return how many tables a plan builds."""
    found = re.search(r"(\d+) tables? to build", said)
    return int(found[1]) if found else 0


OLD = {"age": 34, "income": 18000.0, "monthly": 1500.0}
NEW = {"age": 34, "income": 36000.0, "monthly": 3000.0}


# Environments


def test_a_branch_is_tried_beside_prod(applied: Workspace, edit: Edit) -> None:
    """Its features, views and sets are its own; prod serves what it served."""
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
    """What prod has is there; the first apply without a change only makes it."""
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
    """Prod takes over the tables that the branch has built; not a data file is written."""
    edit(ACCOUNTS, '"annual_income"', '"annual_income * 2"')
    featdsl(applied, "apply", "--env", "pr_1", "--yes")
    files = contents(applied.root / ".featdsl" / "data")
    said = featdsl(applied, "apply", "--yes")

    assert built(said) == 0
    assert contents(applied.root / ".featdsl" / "data") == files
    assert values(applied) == NEW
    featdsl(applied, "plan", "--check")


def test_a_plan_of_prod_outlives_what_is_tried_beside_it(applied: Workspace, edit: Edit) -> None:
    """And one of an environment is run there, without being told so."""
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
    """Dropping an environment, and letting go of what is old, leave prod what it was."""
    featdsl(applied, "apply", "--env", "pr_1", "--yes")
    edit(ACCOUNTS, '"annual_income"', '"annual_income * 2"')
    plan = str(applied.root / "plan.json")
    featdsl(applied, "plan", "--out", plan)
    featdsl(applied, "env", "drop", "pr_1")

    featdsl(applied, "apply", plan)
    assert values(applied) == NEW


def test_a_file_of_another_environment_than_was_asked_for_is_refused(applied: Workspace, edit: Edit) -> None:
    """Whether the option or the shell asks; a saved plan says itself where it belongs."""
    edit(ACCOUNTS, '"annual_income"', '"annual_income * 2"')
    plan, export = str(applied.root / "plan.json"), str(applied.root / "registry.json")
    featdsl(applied, "plan", "--env", "pr_1", "--out", plan)
    featdsl(applied, "export", export)

    said = featdsl(applied, "apply", plan, "--env", "prod", code=1)
    assert said == (
        f"Plan of another environment\n  {plan} is of the environment pr_1, but prod was asked for.\n"
        f"  Leave --env and FEATDSL_ENV out, or make another: featdsl -C {applied.root} plan --out {plan} --env prod\n"
    )
    assert "Plan of another environment" in applied.run("apply", plan, FEATDSL_ENV="pr_2").stderr
    said = featdsl(applied, "plan", "--against", export, "--env", "pr_1", code=1)
    assert said.startswith("Export of another environment\n")
    assert f"featdsl -C {applied.root} export {export} --env pr_1" in said
    assert "pr_1" not in featdsl(applied, "env", "list")

    featdsl(applied, "apply", plan, "--env", "pr_1")
    assert (values(applied, "pr_1"), values(applied)) == (NEW, OLD)


def test_environments_are_listed_and_dropped(applied: Workspace) -> None:
    """Dropping one takes its views; what everyone reads stays, and cannot be dropped."""
    featdsl(applied, "apply", "--env", "pr_1", "--yes")
    listed = json.loads(featdsl(applied, "env", "list", "--format", "json"))
    assert [each["name"] for each in listed] == ["pr_1", "prod"]
    assert [bool(each["expires_at"]) for each in listed] == [True, False]
    assert "pr_1" in featdsl(applied, "env", "list")

    featdsl(applied, "env", "drop", "pr_1")

    assert "pr_1" not in featdsl(applied, "env", "list")
    assert applied.published("SELECT count(*) FROM duckdb_views() WHERE schema_name = 'pr_1'") == [(0,)]
    assert values(applied) == OLD
    assert "prod is what everyone reads" in featdsl(applied, "env", "drop", "prod", code=1)
    assert "The store has no environment" in featdsl(applied, "env", "drop", "pr_1", code=1)


@pytest.mark.parametrize("name", ["9x", "PR", "pr-1", "registry", "tables", "", "x; DROP SCHEMA prod"])
def test_a_name_that_is_no_identifier_is_refused(name: str, applied: Workspace) -> None:
    """In every command, and nothing is changed."""
    before = contents(applied.root / ".featdsl")
    for command in (["plan"], ["apply", "--yes"], ["list"]):
        assert "Invalid environment" in featdsl(applied, *command, f"--env={name}", code=1)
    with pytest.raises(StoreError, match="Invalid environment"):
        FeatureStore(applied.root, env=name)

    assert contents(applied.root / ".featdsl") == before


def test_reading_an_environment_that_was_never_made_is_an_error(applied: Workspace) -> None:
    """With the nearest name; the shell may name the environment for all commands."""
    featdsl(applied, "apply", "--env", "trial", "--yes")

    said = applied.run("get", "age", "--key", "user_id=2", FEATDSL_ENV="tria")
    assert (said.returncode, said.stdout) == (1, "")
    assert said.stderr == 'Unknown environment\n  The store has no environment "tria".\n  Did you mean "trial"?\n'
    assert featdsl(applied, "history", "--env", "tria", code=1) == said.stderr
    featdsl(applied, "env", "drop", "trial")
    assert "no change" in featdsl(applied, "history", "--env", "trial")


# Going back


def test_going_back_restores_every_value_and_builds_nothing(applied: Workspace, edit: Edit) -> None:
    """The tables of then are there; history tells of it; the code wants to go forward again."""
    edit(ACCOUNTS, '"annual_income"', '"annual_income * 2"')
    edit(
        LENDING,
        'loan_default = Model("loan_default", features=credit_risk_v1)',
        'loan_default = Model("loan_default", features=credit_risk_v2)',
    )
    featdsl(applied, "apply", "--yes")
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


def test_going_back_brings_removed_things_back(applied: Workspace, edit: Edit) -> None:
    """A set version that was removed pins again what it pinned, not what its features are by now."""
    edit(LENDING, 'loan_default = Model("loan_default", features=credit_risk_v1)\n', "")
    edit(ACCOUNTS, '"annual_income"', '"annual_income * 2"')
    featdsl(applied, "apply", "--yes")
    edit(LENDING, "credit_risk_v2 = credit_risk_v1.evolve(version=2, add=[Affordability.monthly])\n", "")
    edit(
        LENDING,
        'credit_risk_v1 = FeatureSet("credit_risk", version=1, features=[UserProfile.age, UserProfile.income])\n',
        "",
    )
    featdsl(applied, "apply", "--yes")
    assert "credit_risk@1" not in registry(applied).catalog.sets

    featdsl(applied, "rollback", "2", "--yes")

    pinned = FeatureStore(applied.root).get_features("credit_risk@1", user_id=2)
    assert pinned == {"age": 34, "income": 18000.0}
    assert values(applied) == NEW


def test_going_back_is_a_plan(applied: Workspace, edit: Edit) -> None:
    """That can be saved, reviewed and applied; unconfirmed nothing happens."""
    edit(ACCOUNTS, '"annual_income"', '"annual_income * 2"')
    featdsl(applied, "apply", "--yes")
    out = applied.root / "back.json"
    said = featdsl(applied, "rollback", "1", "--out", str(out))
    assert said.startswith("Plan back to state 1 for bank, against state 2 of its store\n")
    assert "user_profile" in said
    assert json.loads(out.read_text(encoding="utf-8"))["back_to"] == 1
    assert "Nothing to do: the store holds what it did at state 2.\n" in featdsl(applied, "rollback", "2")
    assert values(applied) == NEW
    assert f"Or say yes: featdsl -C {applied.root} rollback 1 --yes\n" in featdsl(applied, "rollback", "1", code=1)
    featdsl(applied, "apply", "--env", "pr_1", "--yes")
    edit(ACCOUNTS, '"annual_income * 2"', '"annual_income * 3"')
    assert f"Or say yes: featdsl -C {applied.root} apply --env pr_1 --yes\n" in featdsl(
        applied, "apply", "--env", "pr_1", code=1
    )
    featdsl(applied, "apply", "--env", "pr_1", "--yes")
    said = featdsl(applied, "rollback", "3", "--env", "pr_1", code=1)
    assert f"Or say yes: featdsl -C {applied.root} rollback 3 --env pr_1 --yes\n" in said

    featdsl(applied, "apply", str(out))
    assert values(applied) == OLD


@pytest.mark.parametrize("state", ["0", "7", "-1"])
def test_going_back_to_no_state_is_refused(state: str, applied: Workspace) -> None:
    """The states that there are, are named."""
    assert "it was at 1." in featdsl(applied, "rollback", "--", state, code=1)


def test_only_states_nearby_are_named(applied: Workspace, edit: Edit) -> None:
    """There may be thousands."""
    for years in range(6):
        edit(ACCOUNTS, f"{120 + years}", f"{121 + years}")
        featdsl(applied, "apply", "--yes")

    assert "prod was never at state 9; it was at 3, 4, 5, 6, 7.\n" in featdsl(applied, "rollback", "9", code=1)


def test_an_environment_goes_back_within_its_own_history(applied: Workspace, edit: Edit) -> None:
    """To its own states only; prod does not move."""
    featdsl(applied, "apply", "--env", "pr_1", "--yes")
    edit(ACCOUNTS, '"annual_income"', '"annual_income * 2"')
    featdsl(applied, "apply", "--env", "pr_1", "--yes")
    assert "pr_1 was never at state 1; it was at 2, 3" in featdsl(applied, "rollback", "1", "--env", "pr_1", code=1)

    featdsl(applied, "rollback", "2", "--env", "pr_1", "--yes")
    assert values(applied, "pr_1") == values(applied) == OLD
    assert registry(applied).head.serial == 1


# History


def test_history_of_one_thing(applied: Workspace, edit: Edit) -> None:
    """The applies that touched it, a group's with those of its features."""
    edit(ACCOUNTS, '"annual_income"', '"annual_income * 2"')
    featdsl(applied, "apply", "--yes")
    edit(ACCOUNTS, "Age in whole years.", "Age in full years.")
    featdsl(applied, "apply", "--yes")

    def serials(*name: str) -> list[int]:
        return [each["serial"] for each in json.loads(featdsl(applied, "history", *name, "--format", "json"))]

    assert serials() == [3, 2, 1]
    assert serials("user_profile.income") == [2, 1]
    assert serials("user_profile.age") == [3, 1]
    assert serials("user_profile") == [3, 2, 1]
    assert serials("credit_risk@1") == serials("credit_risk") == [1]
    assert "change (definition)" in featdsl(applied, "history", "user_profile.income")
    assert featdsl(applied, "history", "nobody") == "No apply has touched nobody.\n"


def test_history_of_what_was_renamed_goes_on(applied: Workspace, edit: Edit) -> None:
    """By each name that it has had, bare or not, also once the code does not tell of it any more."""
    edit(ACCOUNTS, 'timestamp="updated_at"', 'timestamp="updated_at", tie_break="birth_date"')
    featdsl(applied, "apply", "--yes")
    for rename in RENAMES.values():
        rename(edit)
    featdsl(applied, "apply", "--yes")

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
    featdsl(applied, "apply", "--yes")
    assert serials("profile.gross_income") == serials("gross_income") == serials("user_profile.income") == [4, 3, 2, 1]


def test_history_keeps_the_plan_of_each_apply(applied: Workspace, edit: Edit) -> None:
    """As it was shown then."""
    edit(ACCOUNTS, '"annual_income"', '"annual_income * 2"')
    planned = featdsl(applied, "plan")
    featdsl(applied, "apply", "--yes")

    assert featdsl(applied, "history", "--plan", "2") == planned
    assert json.loads(featdsl(applied, "history", "--plan", "2", "--format", "json"))["base"]["serial"] == 1
    assert "No plan of state 9 is kept" in featdsl(applied, "history", "--plan", "9", code=1)


# A part of the project


def test_a_part_is_planned_with_what_it_needs_and_the_rest_stays(applied: Workspace, edit: Edit) -> None:
    """Another group reads the old values until it is planned as well; nothing that is left out is removed."""
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
    featdsl(applied, "apply", "--yes")
    assert values(applied) == NEW
    assert "loan_default" not in registry(applied).catalog.models


@pytest.mark.parametrize("name", ["affordability", "affordability.monthly", "credit_risk@2", "credit_risk", "lending"])
def test_what_is_selected_brings_what_it_is_made_of(name: str, bank: Workspace) -> None:
    """By group, feature, set, version or team; in an empty store nothing else is made."""
    featdsl(bank, "apply", "--select", name, "--yes")
    catalog = registry(bank).catalog

    assert sorted(catalog.groups) == ["affordability", "user_profile"]
    assert sorted(catalog.models) == (["loan_default"] if name == "lending" else [])
    wanted = {"credit_risk@2": ["credit_risk@2"], "credit_risk": ["credit_risk@1", "credit_risk@2"]}
    wanted["lending"] = wanted["credit_risk"]
    assert sorted(catalog.sets) == wanted.get(name, [])
    featdsl(bank, "plan", "--select", name, "--check")


def test_what_was_removed_can_be_selected(applied: Workspace, edit: Edit) -> None:
    """By the name that it is applied with; what nobody is called is an error with the nearest name."""
    edit(LENDING, 'loan_default = Model("loan_default", features=credit_risk_v1)', "")
    featdsl(applied, "apply", "--select", "loan_default", "--yes")
    assert registry(applied).catalog.models == {}

    assert 'Did you mean "user_profile"?' in featdsl(applied, "plan", "--select", "user_profil", code=1)
    assert "--select belongs to the plan" in featdsl(applied, "apply", "plan.json", "--select", "lending", code=1)


# Letting go


def test_what_nothing_reads_any_more_goes_after_its_time(applied: Workspace, edit: Edit) -> None:
    """Pinned tables stay, values stay, and the room is given back once no reader can be left."""
    edit(ACCOUNTS, '"annual_income"', '"annual_income * 2"')
    featdsl(applied, "apply", "--yes")
    edit(ACCOUNTS, '"annual_income * 2"', '"annual_income * 3"')
    featdsl(applied, "apply", "--yes")
    pinned = FeatureStore(applied.root).get_features("credit_risk@2", user_id=2)
    assert featdsl(applied, "gc") == "Nothing to let go of.\n"
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
    assert "is not kept" in featdsl(applied, "rollback", "2", code=1)
    assert featdsl(applied, "gc", "--keep", "1 second") == "Nothing to let go of.\n"


def test_a_plan_that_reuses_what_went_is_stale(applied: Workspace, edit: Edit) -> None:
    """Letting go leaves an environment at its state; its plan would name a table that is there no more."""
    edit(ACCOUNTS, '"annual_income"', '"annual_income * 2"')
    featdsl(applied, "apply", "--yes")
    edit(ACCOUNTS, '"annual_income * 2"', '"annual_income * 3"')
    featdsl(applied, "apply", "--yes")
    featdsl(applied, "apply", "--env", "pr_1", "--yes")
    edit(ACCOUNTS, '"annual_income * 3"', '"annual_income * 2"')
    plan = str(applied.root / "plan.json")
    assert built(featdsl(applied, "plan", "--env", "pr_1", "--out", plan)) == 0
    time.sleep(1.1)
    featdsl(applied, "gc", "--keep", "1 second", "--yes")

    assert "which the store has let go of since" in featdsl(applied, "apply", plan, code=4)

    assert built(featdsl(applied, "apply", "--env", "pr_1", "--yes")) == 2
    assert (values(applied, "pr_1")["income"], values(applied)["income"]) == (36000.0, 54000.0)


def test_a_reader_that_knows_only_the_catalogue_of_before_goes_on(applied: Workspace, edit: Edit) -> None:
    """It opens its tables after they went: their files stay for an hour, and go with a later apply."""
    edit(LENDING, 'loan_default = Model("loan_default", features=credit_risk_v1)\n', "")
    edit(LENDING, "credit_risk_v2 = credit_risk_v1.evolve(version=2, add=[Affordability.monthly])\n", "")
    edit(
        LENDING,
        'credit_risk_v1 = FeatureSet("credit_risk", version=1, features=[UserProfile.age, UserProfile.income])\n',
        "",
    )
    featdsl(applied, "apply", "--yes")
    store = FeatureStore(applied.root)
    opened = store._open()  # as a call of before, which a busy machine halts here
    edit(ACCOUNTS, '"annual_income"', '"annual_income * 2"')
    featdsl(applied, "apply", "--yes")
    time.sleep(1.1)
    featdsl(applied, "gc", "--keep", "1 second", "--yes")
    gone = {
        table.name: table.file for name, table in opened.snapshot.tables.items() if name not in registry(applied).tables
    }
    assert len(gone) == 2
    featdsl(applied, "apply", "--env", "pr_1", "--yes")  # an apply sweeps what is retired for long enough

    session = store._session(opened, set(gone))

    for name in gone:
        ((rows,),) = session.execute(f"SELECT count(*) FROM tables.{name}").fetchall()
        assert rows == 20
    late(applied)
    featdsl(applied, "apply", "--env", "pr_2", "--yes")
    assert [file for file in gone.values() if (applied.root / ".featdsl" / file).exists()] == []


def late(workspace: Workspace) -> None:
    """Let an hour pass for what is retired in the store."""
    with duckdb.connect(str(workspace.root / ".featdsl" / "store.duckdb")) as connection:
        connection.execute("UPDATE registry.files SET retired = retired - 3601")


def test_an_environment_whose_time_is_over_goes(applied: Workspace, edit: Edit) -> None:
    """With its views; an apply within that time would have kept it."""
    edit("featproject.toml", "[project]", '[environments]\nexpire_after = "1 second"\n[project]')
    featdsl(applied, "apply", "--env", "pr_1", "--yes")
    time.sleep(1.1)

    assert "environment pr_1 has expired" in featdsl(applied, "gc", code=1)
    featdsl(applied, "gc", "--yes")

    assert [each["name"] for each in json.loads(featdsl(applied, "env", "list", "--format", "json"))] == ["prod"]


def test_a_bad_duration_is_refused(applied: Workspace) -> None:
    """As everywhere."""
    assert "--keep" in featdsl(applied, "gc", "--keep", "soon", code=1)


def test_a_reader_that_was_there_before_goes_on(applied: Workspace, edit: Edit) -> None:
    """A store that was opened before the tables went still reads; a new one sees the new state."""
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
    featdsl(applied, "apply", "--yes")
    time.sleep(1.1)
    featdsl(applied, "gc", "--keep", "1 second", "--yes")

    assert training.arrow().to_pylist()[0]["income"] == 18000.0
    assert store.get_features(ASKED, user_id=2) == NEW


def test_expiry_and_history_are_settings(applied: Workspace, edit: Edit) -> None:
    """A duration that is none is told with its line."""
    edit("featproject.toml", "[project]", '[store]\nkeep_history = "soon"\n[project]')

    assert "featproject.toml:2" in featdsl(applied, "gc", code=1)
