"""Projects that use each other's features: they pull them by name, keep the pulled definitions and never change them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import duckdb
import pandas as pd
import pytest
from click.testing import CliRunner

from featdsl.cli.main import main
from featdsl.definitions.catalog import Catalog
from featdsl.definitions.kinds import Definition, Deprecation
from featdsl.definitions.snapshot import Snapshot
from featdsl.errors import StoreError
from featdsl.project import pull
from featdsl.project.settings import load
from featdsl.stores import open_store
from tests.conftest import ACCOUNTS, BANK, MYPY_CACHE, Workspace

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
MODULE = "features/shared/accounts.py"

LENDING = '''
from featdsl import Feature, FeatureGroup, FeatureSet, Model, Source
from features.shared.accounts import UserProfile, user

loans = Source("loans", path="data/loans.parquet", timestamp="signed_at")


class Affordability(FeatureGroup, entity=user, inputs=[UserProfile.income]):
    """What an account holder can pay."""

    monthly = Feature(float, sql="income / 12")


class Loans(FeatureGroup, entity=user, source=loans):
    debt = Feature(float, sql="amount")


credit_risk_v1 = FeatureSet("credit_risk", version=1, features=[
    UserProfile.age, UserProfile.income, Affordability.monthly, Loans.debt,
    UserProfile.income.alias("income_of_partner", keys={"user_id": "partner_id"}),
])
loan_default = Model("loan_default", features=credit_risk_v1)
'''

SCORING = """
from featdsl import Feature, FeatureGroup, Model
from features.shared.accounts import UserProfile
from features.shared.risk import Affordability, credit_risk_v1, user


class Score(FeatureGroup, entity=user, inputs=[UserProfile.age, Affordability.monthly]):
    score = Feature(float, sql="monthly / age")


scorecard = Model("scorecard", features=credit_risk_v1)
"""


def featdsl(workspace: Workspace, *arguments: str, code: int = 0) -> str:
    """Run a command in this process and return its output; fail on another exit code."""
    done = CliRunner().invoke(main, ["-C", str(workspace.root), *arguments])
    assert done.exit_code == code, done.output
    return done.output


@dataclass(frozen=True)
class Company:
    """Three projects with one store."""

    accounts: Workspace
    risk: Workspace
    scoring: Workspace

    def __iter__(self):  # noqa: ANN204 - of workspaces
        return iter((self.accounts, self.risk, self.scoring))

    @property
    def snapshot(self) -> Snapshot:
        """The content of the registry."""
        return open_store(load(self.accounts.root)).read()


def edit(workspace: Workspace, name: str, old: str, new: str) -> None:
    """Replace text in a file; fail if the text is missing."""
    path = workspace.root / name
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def blocks(workspace: Workspace) -> list[tuple[str, str]]:
    """Return the codes and texts of the plan's blocks."""
    blocking = json.loads(featdsl(workspace, "plan", "--format", "json", code=3))["blocks"]
    return [(each["code"], each["what"]) for each in blocking]


def published(company: Company, query: str) -> list[tuple[object, ...]]:
    """Return the rows of a query on the store file, as an analyst would run it."""
    with duckdb.connect(str(company.accounts.root.parent / "store" / "store.duckdb"), read_only=True) as connection:
        return connection.execute(query).fetchall()


def keeps_the_old(plan: str, user: str, used: str) -> bool:
    """Return whether a plan says that `user` keeps the old definition of `used`."""
    return f"= {user} keeps the old {used}" in " ".join(plan.split())


def double_income(company: Company) -> None:
    """Change the definition of income in the accounts project, and apply it."""
    edit(company.accounts, "features/accounts/__init__.py", 'sql="annual_income"', 'sql="annual_income * 2"')
    company.accounts.apply()


@pytest.fixture
def company(workspace: Workspace) -> Company:
    """Return three projects: accounts is applied, risk has pulled it but is not applied, scoring is empty."""
    found = Company(*(Workspace(workspace.root / name, workspace.applies) for name in ("accounts", "risk", "scoring")))
    for each in found:
        toml = f'[project]\nname = "{each.root.name}"\n\n[store]\npath = "../store"\n'
        each.write({"featproject.toml": toml, "features/__init__.py": ""})
    found.accounts.write({"features/accounts/__init__.py": BANK["features/accounts/__init__.py"]})
    found.accounts.parquet("data/accounts.parquet", ACCOUNTS)
    found.accounts.apply()
    featdsl(found.risk, "pull", "accounts")
    found.risk.write({"features/lending/__init__.py": LENDING})
    found.risk.parquet(
        "data/loans.parquet",
        "SELECT 2 AS user_id, TIMESTAMP '2026-01-05' AS signed_at, 500.0 AS amount",
    )
    return found


@pytest.fixture
def applied(company: Company) -> Company:
    """Return three applied projects: scoring reads features of risk and accounts."""
    company.risk.apply()
    featdsl(company.scoring, "pull", "accounts")
    featdsl(company.scoring, "pull", "risk")
    company.scoring.write({"features/scores/__init__.py": SCORING})
    company.scoring.apply()
    return company


# The written module


def test_a_pulled_module_has_each_feature_with_its_type_its_words_and_its_fingerprint(company: Company) -> None:
    """The file is compared in full."""
    features = company.snapshot.catalog.features

    assert (
        (company.risk.root / MODULE).read_text(encoding="utf-8")
        == f'''\
"""Features that the project accounts shares.

Made by featdsl pull accounts from state 1 of store {company.snapshot.head.lineage}.
Do not edit: the next pull overwrites this file.
"""

# ruff: noqa
# fmt: off
from featdsl import FeatureGroup
from featdsl import shared as _shared

user = _shared.entity("user", keys={{"user_id": int}}, project="accounts")


class UserProfile(FeatureGroup, entity=user, shared_by="accounts"):
    "Who the account holder is."

    age = _shared.feature(int, "{features["user_profile.age"].fingerprint}", description="Age in whole years.")

    income = _shared.feature(
        float,
        "{features["user_profile.income"].fingerprint}",
        description="Gross income, USD per year.",
        tags=["kyc", "money"],
    )
'''
    )


def test_pulling_again_changes_the_file_only_when_something_shared_has_changed(company: Company) -> None:
    """Every apply increments the state; that alone does not change the module."""
    before = (company.risk.root / MODULE).read_bytes()
    company.risk.apply()

    assert featdsl(company.risk, "pull", "accounts", "--check") == f"{MODULE} is up to date.\n"
    assert featdsl(company.risk, "pull", "accounts") == f"{MODULE} is up to date.\n"
    assert (company.risk.root / MODULE).read_bytes() == before

    double_income(company)

    output = featdsl(company.risk, "pull", "accounts", "--check", code=2)
    assert output == f"{MODULE} is out of date. Run: featdsl pull accounts\n"
    assert (company.risk.root / MODULE).read_bytes() == before
    assert featdsl(company.risk, "pull", "accounts") == f"Wrote {MODULE}.\n"
    assert featdsl(company.risk, "pull", "accounts", "--check") == f"{MODULE} is up to date.\n"


def test_one_state_gives_the_same_bytes_everywhere(company: Company) -> None:
    """The project, the process and the hash seed make no difference."""
    done = company.scoring.run("pull", "accounts", PYTHONHASHSEED="7")

    assert done.returncode == 0, done.stderr
    assert (company.scoring.root / MODULE).read_bytes() == (company.risk.root / MODULE).read_bytes()


def test_a_set_is_pulled_with_its_members_in_their_roles(applied: Company) -> None:
    """A set refers to features by object if the module declares them, else by address."""
    text = (applied.scoring.root / "features/shared/risk.py").read_text(encoding="utf-8")

    assert text.endswith("""

credit_risk_v1 = _shared.feature_set(
    "credit_risk",
    version=1,
    features=[
        "user_profile.age",
        "user_profile.income",
        Affordability.monthly,
        Loans.debt,
        _shared.role("user_profile.income", "income_of_partner", dtype=float, keys={"user_id": "partner_id"}, project="risk"),
    ],
    project="risk",
)
""")
    assert 'user = _shared.entity("user", keys={"user_id": int}, project="risk")' in text


def changed(snapshot: Snapshot, *, group: Definition | None = None, feature: Definition | None = None) -> Snapshot:
    """Return a snapshot with definitions replaced by name."""
    return replace(snapshot, catalog=Catalog.of([*snapshot.catalog, *(each for each in (group, feature) if each)]))


def test_a_private_group_is_left_out(applied: Company) -> None:
    """A private group has no class in the module, but a set that contains its features can still be read."""
    snapshot = applied.snapshot
    private = replace(snapshot.catalog.groups["affordability"], access="private")

    module = pull.pull(changed(snapshot, group=private), "risk", load(applied.scoring.root))

    assert "class Loans(" in module.text
    assert "class Affordability(" not in module.text
    assert '"affordability.monthly"' in module.text


def test_a_deprecated_feature_says_so_in_its_description(applied: Company) -> None:
    """An editor shows the description."""
    snapshot = applied.snapshot
    old = replace(
        snapshot.catalog.features["user_profile.income"],
        deprecated=Deprecation(since="2026-01-01", remove_after="2026-06-30", use="user_profile.net_income"),
    )

    module = pull.pull(changed(snapshot, feature=old), "accounts", load(applied.scoring.root))

    words = "Deprecated since 2026-01-01, may be removed from 2026-06-30; use user_profile.net_income."
    assert rf'description="Gross income, USD per year.\n\n{words}"' in module.text


AWKWARD = '''
from datetime import date, datetime
from featdsl import Entity, Feature, FeatureGroup, Source

entity = Entity("int", keys={"user_id": int})
lambda_ = Entity("lambda", keys={"day": date})
rows = Source("rows", path="data/rows.parquet")
types = {"float": float, "class": int, "import": str, "plain": datetime, "vector": list[float], "exact": "DECIMAL(9, 2)"}
sqls = {"float": "1.5", "class": "1", "import": "'a'", "plain": "TIMESTAMP '2026-01-01'", "vector": "[1.5]", "exact": "1.25::DECIMAL(9, 2)"}

for name in ("g_1", "g1", "feature_group", "int", "import"):
    class Group(FeatureGroup, entity=entity, source=rows, name=name):
        """A "quoted" text\\\\ with
        two lines."""
        n = Feature(int, sql="1")

class Awkward(FeatureGroup, entity=entity, source=rows,
              features={name: Feature(types[name], sql=sqls[name]) for name in types}):
    pass

class Day(FeatureGroup, entity=None, source=rows):
    one = Feature(int, sql="1")
'''


@pytest.mark.slow
def test_names_that_python_keeps_for_itself_are_pulled_all_the_same(tmp_path: Path) -> None:
    """Keywords, type names and groups with the same class name give importable, typed and correct features."""
    odd, user = Workspace(tmp_path / "odd"), Workspace(tmp_path / "user")
    for each in (odd, user):
        toml = f'[project]\nname = "{each.root.name}"\n\n[store]\npath = "../store"\n'
        each.write({"featproject.toml": toml, "features/__init__.py": ""})
    odd.write({"features/odd.py": AWKWARD}).parquet("data/rows.parquet", "SELECT 1 AS user_id")
    odd.apply()

    featdsl(user, "pull", "odd")
    user.write({
        "use.py": """
from featdsl import FeatureStore
from features.shared.odd import Awkward, Day, FeatureGroup_, G1, G1_, Import, Int, int_, lambda_

print(sorted(group.declaration.name for group in (G1, G1_, FeatureGroup_, Import, Int)))
print(FeatureStore().get_features([Awkward["float"], Awkward["class"], Awkward["import"], Awkward.vector, Day.one,
                                   Awkward.exact.alias("price"), G1.n.alias("a"), G1_.n.alias("b")], user_id=1))
"""
    })  # fmt: skip

    done = subprocess.run([sys.executable, "use.py"], cwd=user.root, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "['feature_group', 'g1', 'g_1', 'import', 'int']",
        "{'float': 1.5, 'class': 1, 'import': 'a', 'vector': [1.5], 'one': 1, 'price': Decimal('1.25'), 'a': 1, 'b': 1}",
    ]
    assert "Nothing to do" in featdsl(user, "plan", "--check")
    assert checked(user, "mypy", "--strict", "features").returncode == 0


def checked(workspace: Workspace, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a type checker in a workspace, against this checkout of featdsl."""
    environment = {**os.environ, "MYPYPATH": str(ROOT), "MYPY_CACHE_DIR": str(MYPY_CACHE)}
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=workspace.root,
        env={**environment, "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


CONSUMER = """
from typing import assert_type

from featdsl import Entity, Feature, FeatureSet
from features.shared.accounts import UserProfile, user
from features.shared.risk import credit_risk_v1

assert_type(UserProfile.income, Feature[float])
assert_type(UserProfile.age, Feature[int])
assert_type(user, Entity)
assert_type(credit_risk_v1, FeatureSet)
UserProfile.incom
"""


@pytest.mark.slow
@pytest.mark.parametrize("checker", ["mypy", "pyright"])
def test_type_checkers_see_a_pulled_feature_with_its_type(applied: Company, checker: str) -> None:
    """`UserProfile.income` is a Feature[float], and a wrong name is the only error."""
    applied.scoring.write({
        "use.py": CONSUMER,
        "pyrightconfig.json": json.dumps({"extraPaths": [str(ROOT)], "typeCheckingMode": "strict"}),
    })  # fmt: skip
    command = ["mypy", "--strict"] if checker == "mypy" else ["pyright", "--pythonpath", sys.executable]

    done = checked(applied.scoring, *command, "features/shared", "use.py")

    assert "incom" in done.stdout
    assert done.stdout.count("error:") == 1 + (checker == "pyright"), (
        done.stdout
    )  # pyright also reports the bare expression


# Using pulled features


def income_at(user: int, time: datetime) -> float | None:
    """Return the expected income: that of the latest row of ACCOUNTS at or before the time."""
    days = [i for i in range(20) if i % 4 == user and datetime(2026, 1, 1) + timedelta(days=i) <= time]  # noqa: DTZ001 - naive times are UTC
    return 1000.0 * days[-1] if days else None


def test_features_over_pulled_ones_train_serve_and_are_right(applied: Company) -> None:
    """Every user and day, with a partner in another role, is compared with a loop over the rows."""
    times = [datetime(2025, 12, 31, 12) + timedelta(days=day) for day in range(24)]  # noqa: DTZ001 - likewise
    spine = pd.DataFrame([{"user_id": user, "partner_id": 3 - user, "ts": time} for user in range(4) for time in times])

    found = applied.risk.store.training_set("credit_risk@1", spine, timestamp="ts").df()
    scores = applied.scoring.store.training_set(["score.score", "user_profile.age"], spine, timestamp="ts").df()

    for row, score in zip(found.to_dict("records"), scores.to_dict("records"), strict=True):
        income = income_at(row["user_id"], row["ts"])
        partner = income_at(row["partner_id"], row["ts"])
        debt = 500.0 if row["user_id"] == 2 and row["ts"] >= datetime(2026, 1, 5) else None  # noqa: DTZ001 - likewise
        values = [row["income"], row["monthly"], row["income_of_partner"], row["debt"], score["score"]]
        score_now = income / 12 / score["age"] if income is not None else None
        expected = [income, income / 12 if income is not None else None, partner, debt, score_now]
        assert [None if pd.isna(value) else value for value in values] == pytest.approx(expected)
    served = applied.scoring.store.get_features(["score.score", "affordability.monthly"], user_id=3)
    assert served == pytest.approx({"score": 19000 / 12 / 33, "monthly": 19000 / 12})
    featdsl(applied.scoring, "check", "--parity")


def test_model_code_names_pulled_features_and_sets_by_object(applied: Company) -> None:
    """Model code runs in its own process."""
    applied.scoring.write({
        "model.py": """
import pickle
from featdsl import FeatureStore
from features.shared.accounts import UserProfile
from features.shared.risk import credit_risk_v1

store = FeatureStore()
print(store.get_features([UserProfile.income, UserProfile.age.alias("years")], user_id=3))
print(store.get_features(credit_risk_v1, rows=[{"user_id": 2, "partner_id": 3}])[0]["debt"])
print(pickle.loads(pickle.dumps(UserProfile.income)) is UserProfile.income)
"""
    })  # fmt: skip

    done = subprocess.run([sys.executable, "model.py"], cwd=applied.scoring.root, capture_output=True, text=True, check=False)  # fmt: skip

    assert done.stderr == ""
    assert done.stdout.splitlines() == ["{'income': 19000.0, 'years': 33}", "500.0", "True"]


def test_an_entity_of_another_project_takes_ad_hoc_features(applied: Company) -> None:
    """A notebook passes the entity object; the entity keeps its project."""
    applied.scoring.write({
        "notebook.py": """
from featdsl import FeatureStore
from features.shared.accounts import user

store = FeatureStore()
store.register_feature("mood", float, entity=user, data=[{"user_id": 3, "mood": 0.5}])
print(store.get_features(["mood", "age"], user_id=3))
"""
    })  # fmt: skip

    done = subprocess.run([sys.executable, "notebook.py"], cwd=applied.scoring.root, capture_output=True, text=True, check=False)  # fmt: skip

    assert (done.stderr, done.stdout) == ("", "{'mood': 0.5, 'age': 33}\n")
    assert applied.snapshot.catalog.entities["user"].project == "accounts"
    for each in applied:
        assert "Nothing to do" in featdsl(each, "plan", "--check")


def test_a_plan_against_an_export_knows_what_was_pulled(applied: Company, tmp_path: Path) -> None:
    """Without the store, current pulled definitions plan the same, and outdated ones are reported."""
    edit(applied.risk, "features/lending/__init__.py", "income / 12", "income / 13")
    file = tmp_path / "registry.json"
    featdsl(applied.scoring, "export", str(file))
    assert featdsl(applied.risk, "plan", "--against", str(file)) == featdsl(applied.risk, "plan")

    double_income(applied)
    featdsl(applied.scoring, "export", str(file))

    output = featdsl(applied.risk, "plan", "--against", str(file), code=1)
    whose = "the feature user_profile.income of the project accounts (team accounts)"
    assert f"affordability.monthly uses {whose}, which has changed since it was pulled.\n" in output


def test_what_is_pulled_is_not_declared(company: Company) -> None:
    """A project that only pulls has an empty plan, and a project that uses pulled features records only its own."""
    featdsl(company.scoring, "pull", "accounts")
    assert "Nothing to do" in featdsl(company.scoring, "plan", "--check")

    plan = json.loads(featdsl(company.risk, "plan", "--format", "json"))
    before = company.snapshot.catalog.of_project("accounts")
    company.risk.apply()

    recorded = [step["definition"] for step in plan["steps"] if step["step"] == "record"]
    assert {each["project"] for each in recorded} == {"risk"}
    assert not [each for each in recorded if each["kind"] == "entity"]
    assert company.snapshot.catalog.of_project("accounts") == before
    (company.risk.root / "features/lending/__init__.py").unlink()
    (company.risk.root / MODULE).unlink()
    assert "Plan: 7 to remove." in featdsl(company.risk, "plan")
    company.risk.apply()
    assert company.snapshot.catalog.of_project("accounts") == before
    assert company.accounts.store.get_features(["income"], user_id=3) == {"income": 19000.0}


def test_lineage_and_show_go_from_project_to_project(applied: Company) -> None:
    """Lineage goes from the rows of accounts to the model of scoring, and back."""
    down = featdsl(applied.accounts, "lineage", "user_profile.income")
    up = featdsl(applied.scoring, "lineage", "score.score")

    assert "affordability.monthly (lending)" in down
    assert "score.score (scores)" in down
    assert "model scorecard (scores)" in down
    assert "source accounts (accounts): annual_income" in up
    assert "feature affordability.monthly (lending)" in featdsl(applied.accounts, "show", "user_profile.income")


def test_history_tells_which_project_applied_what(applied: Company) -> None:
    """The history of a single-project store has no project column."""
    lines = featdsl(applied.accounts, "history").splitlines()
    assert [line.split()[2] for line in lines] == ["at", "scoring", "risk", "accounts"]
    assert "  project  " in lines[0]
    assert "project" not in featdsl(applied.accounts, "history", "user_profile")


# When the other project changes


def test_a_change_shows_who_reads_it_in_every_project_and_breaks_none(applied: Company) -> None:
    """The plan lists features, sets and models of other projects with their teams; all keep the old definition."""
    edit(applied.accounts, "features/accounts/__init__.py", 'sql="annual_income"', 'sql="annual_income * 2"')

    plan = json.loads(featdsl(applied.accounts, "plan", "--format", "json"))

    (change,) = [each for each in plan["changes"] if each["change"]["address"] == "user_profile.income"]
    assert [(each["kind"], each["address"], each["owner"], each["effect"]) for each in change["downstream"]] == [
        ("feature", "affordability.monthly", "lending", "keeps"),
        ("feature", "score.score", "scores", "keeps"),
        ("model", "loan_default", "lending", "keeps"),
        ("model", "scorecard", "scores", "keeps"),
        ("set", "credit_risk@1", "lending", "keeps"),
    ]
    assert not [step for step in plan["steps"] if step["step"] in {"forget", "release_table", "drop_view"}]
    assert keeps_the_old(featdsl(applied.accounts, "plan"), "affordability.monthly", "user_profile.income")


def test_a_consumer_reads_the_old_definition_until_it_pulls_and_plans_again(applied: Company) -> None:
    """Values, training and plans stay the same until the pull; afterwards all use the new definition."""
    double_income(applied)
    assert applied.accounts.store.get_features(["income"], user_id=3) == {"income": 38000.0}
    assert applied.risk.store.get_features(["monthly"], user_id=3) == {"monthly": 19000.0 / 12}
    for each in applied:
        assert "Nothing to do" in featdsl(each, "plan", "--check")

    featdsl(applied.risk, "pull", "accounts")
    output = featdsl(applied.risk, "plan", "--check", code=2)
    applied.risk.apply()

    assert "Safe: nobody outside lending is affected." in output
    assert "↻ affordability.monthly recomputed from user_profile.income" in " ".join(output.split())
    assert keeps_the_old(output, "score.score", "affordability.monthly")
    assert applied.risk.store.get_features(["monthly"], user_id=3) == {"monthly": 38000.0 / 12}
    assert applied.scoring.store.get_features(["score"], user_id=3) == pytest.approx({"score": 19000.0 / 12 / 33})
    pinned = applied.risk.store.get_features("credit_risk@1", user_id=3, partner_id=3)
    assert (pinned["income"], pinned["monthly"]) == (19000.0, 19000.0 / 12)
    featdsl(applied.scoring, "pull", "risk")
    applied.scoring.apply()
    assert applied.scoring.store.get_features(["score"], user_id=3) == pytest.approx({"score": 38000.0 / 12 / 33})
    for each in applied:
        assert "Nothing to do" in featdsl(each, "plan", "--check")


def test_a_plan_tells_that_something_still_reads_the_old_definition(applied: Company) -> None:
    """As text and as Markdown; plans of projects that read nothing changed have no notice."""
    double_income(applied)

    output = " ".join(featdsl(applied.risk, "plan").split())

    whose = (
        "the feature user_profile.income of the project accounts (team accounts), which has changed since it was pulled"
    )
    assert f"affordability.monthly still reads the old version of {whose}, by " in output
    assert "at state 4. Review and pull the current definition: featdsl pull accounts" in output
    assert "still reads the old version of" in featdsl(applied.risk, "plan", "--format", "markdown")
    assert "still" not in featdsl(applied.scoring, "plan")


def test_what_is_no_longer_needed_of_an_old_definition_is_forgotten(applied: Company) -> None:
    """When its last reader is removed, its version and its table are deleted."""
    double_income(applied)
    versions = [key for key in applied.snapshot.versions if key[0] == "user_profile.income"]
    assert len(versions) == 2

    for each, folder in ((applied.scoring, "scores"), (applied.risk, "lending")):
        (each.root / f"features/{folder}/__init__.py").unlink()
        each.apply()

    assert len([key for key in applied.snapshot.versions if key[0] == "user_profile.income"]) == 1
    time.sleep(1.1)
    featdsl(applied.accounts, "gc", "--keep", "1 second", "--yes")
    assert len(applied.snapshot.tables) == 1


NEW_USES = {
    "a feature": (
        'monthly = Feature(float, sql="income / 12")',
        'monthly = Feature(float, sql="income / 12")\n    weekly = Feature(float, sql="income / 52")',
        "feature affordability.weekly",
        11,
    ),
    "another definition of one": ('sql="income / 12"', 'sql="income / 12.5"', "feature affordability.monthly", 11),
    "a set version": (
        "loan_default = Model",
        'v2 = FeatureSet("credit_risk", version=2, features=[UserProfile.income])\nloan_default = Model',
        "set credit_risk@2",
        22,
    ),
}


@pytest.mark.parametrize("name", NEW_USES)
def test_nothing_new_is_built_on_what_has_changed_since(name: str, applied: Company) -> None:
    """The message names the changed feature, its owner, who changed it at which state, and the fix, which works."""
    old, new, user, line = NEW_USES[name]
    double_income(applied)
    edit(applied.risk, "features/lending/__init__.py", old, new)
    shift = 1 if name == "a feature" else 0

    done = applied.risk.run("plan")

    assert (done.returncode, done.stdout) == (1, "")
    who = next(entry.user for entry in open_store(load(applied.risk.root)).history())
    whose = "the feature user_profile.income of the project accounts (team accounts)"
    assert done.stderr == (
        "Pulled definition is out of date\n"
        f"  {user} uses {whose}, which has changed since it was pulled, by {who} at state 4.\n"
        f"  features/lending/__init__.py:{line + shift}\n"
        "  Review and pull the current definition: featdsl pull accounts\n"
    )
    featdsl(applied.risk, "pull", "accounts")
    applied.risk.apply()
    assert "Nothing to do" in featdsl(applied.risk, "plan", "--check")


def test_a_change_of_what_nobody_here_reads_stops_nothing(applied: Company) -> None:
    """Impact is by column: age is not income."""
    edit(applied.accounts, "features/accounts/__init__.py", "'year', birth_date", "'month', birth_date")
    edit(applied.accounts, "features/accounts/__init__.py", "BETWEEN 0 AND 120", "BETWEEN 0 AND 1440")
    applied.accounts.apply()
    edit(applied.risk, "features/lending/__init__.py", 'sql="income / 12")', 'sql="income / 12")\n    weekly = Feature(float, sql="income / 52")')  # fmt: skip

    applied.risk.apply()

    assert applied.risk.store.get_features(["weekly"], user_id=3) == {"weekly": 19000.0 / 52}


def test_another_type_is_told(applied: Company) -> None:
    """The message names the old and the new type."""
    edit(applied.accounts, "features/accounts/__init__.py", 'Feature(float, sql="annual_income"', 'Feature("DECIMAL(18, 2)", sql="annual_income::DECIMAL(18, 2)"')  # fmt: skip
    applied.accounts.apply()
    edit(applied.risk, "features/lending/__init__.py", "income / 12", "income / 13")

    output = featdsl(applied.risk, "plan", code=1)

    assert "which has changed from DOUBLE to DECIMAL(18,2) since it was pulled, by " in output


def test_what_another_project_uses_is_not_removed(applied: Company) -> None:
    """The owner's plan names the features, sets and models with their teams and projects; apply changes nothing."""
    before = applied.snapshot
    path = applied.accounts.root / "features/accounts/__init__.py"
    text = path.read_text(encoding="utf-8")
    path.write_text(text[: text.index("    income = Feature")], encoding="utf-8")

    assert blocks(applied.accounts) == [
        ("pinned", "feature user_profile.income is pinned by lending of project risk (set credit_risk@1 at features/lending/__init__.py:18, model loan_default); "
                   "scores of project scoring (model scorecard)."),
        ("used", "feature user_profile.income is used by lending of project risk (feature affordability.monthly)."),
    ]  # fmt: skip
    assert "Still pinned" in featdsl(applied.accounts, "apply", "--yes", code=3)
    assert applied.snapshot == before


def test_what_is_only_pulled_can_be_removed(company: Company) -> None:
    """No consumer is applied; the pulled module is out of date, and the next pull drops the feature."""
    path = company.accounts.root / "features/accounts/__init__.py"
    text = path.read_text(encoding="utf-8")
    path.write_text(text[: text.index("    income = Feature")], encoding="utf-8")
    company.accounts.apply()

    assert "which was removed since it was pulled, by " in featdsl(company.risk, "plan", code=1)
    featdsl(company.risk, "pull", "accounts")
    assert "type object 'UserProfile' has no attribute 'income'" in featdsl(company.risk, "plan", code=1)


def test_what_nobody_held_is_gone_for_good(company: Company) -> None:
    """A definition that was pulled but never applied is not kept in the registry when it changes."""
    double_income(company)

    output = featdsl(company.risk, "plan", code=1)

    assert output.count("Pulled definition is out of date") == 2
    assert "group affordability uses the feature user_profile.income of the project accounts" in output
    assert "set credit_risk@1 uses the feature user_profile.income of the project accounts" in output
    featdsl(company.risk, "pull", "accounts")
    company.risk.apply()
    assert company.risk.store.get_features(["monthly"], user_id=3) == {"monthly": 38000.0 / 12}


def rekey(accounts: Workspace) -> None:
    """Change the key of the entity user to text, in the accounts project."""
    edit(accounts, "features/accounts/__init__.py", '{"user_id": int}', '{"user_id": str}')
    edit(accounts, "features/accounts/__init__.py", "source=accounts)", "source=texts)")
    edit(accounts, "features/accounts/__init__.py", "\n\n\nclass", '\ntexts = Source("texts", sql="SELECT * REPLACE (user_id::VARCHAR AS user_id) FROM {{ accounts }}", timestamp="updated_at")\n\n\nclass')  # fmt: skip


def test_an_entity_of_other_projects_keeps_its_keys(applied: Company) -> None:
    """The owner's plan cannot change or remove it, and names the groups that describe it."""
    users = "lending of project risk (group affordability, group loans); scores of project scoring (group score)."
    rekey(applied.accounts)
    assert blocks(applied.accounts) == [
        ("used", f"The keys of entity user change, but these groups depend on them: {users}")
    ]
    featdsl(applied.accounts, "apply", "--yes", code=3)

    applied.accounts.write({"features/accounts/__init__.py": ""})
    assert ("used", f"entity user is used by {users}") in blocks(applied.accounts)


def test_an_entity_with_other_keys_is_out_of_date(company: Company) -> None:
    """The message names the entity, its owner and the pull that fixes it."""
    rekey(company.accounts)
    company.accounts.apply()

    output = featdsl(company.risk, "plan", code=1)

    whose = "the entity user of the project accounts (team accounts), which has other keys (user_id VARCHAR) since"
    assert f"group loans uses {whose} it was pulled, by " in output
    assert "pull the current definition: featdsl pull accounts\n" in output


def test_a_set_that_another_projects_model_uses_is_not_removed(applied: Company) -> None:
    """The model would name a removed set."""
    edit(applied.risk, "features/lending/__init__.py", 'loan_default = Model("loan_default", features=credit_risk_v1)\n', "")  # fmt: skip
    edit(applied.risk, "features/lending/__init__.py", 'FeatureSet("credit_risk"', 'FeatureSet("credit_danger"')

    assert blocks(applied.risk) == [
        ("used", "set credit_risk@1 is used by scores of project scoring (model scorecard).")
    ]
    featdsl(applied.risk, "apply", "--yes", code=3)


def test_a_set_that_another_projects_model_names_keeps_its_name(applied: Company) -> None:
    """A renamed set would leave the model without the set that it names."""
    edit(applied.risk, "features/lending/__init__.py", 'FeatureSet("credit_risk",', 'FeatureSet("credit", renamed_from="credit_risk",')  # fmt: skip

    assert blocks(applied.risk) == [
        ("used", "set credit_risk@1 is renamed, but it is used by scores of project scoring (model scorecard)."),
    ]


def test_names_that_another_projects_sets_have_stay_importable(applied: Company) -> None:
    """An applied set version cannot change its list, so a pull keeps former names beside the new ones."""
    before = applied.risk.store.get_features("credit_risk@1", rows=[{"user_id": 2, "partner_id": 3}])
    accounts = "features/accounts/__init__.py"
    edit(applied.accounts, accounts, "class UserProfile(FeatureGroup,", 'class Profile(FeatureGroup, renamed_from="user_profile",')  # fmt: skip
    edit(applied.accounts, accounts, "income = Feature(float,", 'gross_income = Feature(float, renamed_from="income",')
    applied.accounts.apply()
    output = " ".join(featdsl(applied.risk, "plan").split())
    assert "user_profile.income of the project accounts (team accounts), which was renamed to profile.gross_income since it was pulled" in output  # fmt: skip

    featdsl(applied.risk, "pull", "accounts")
    module = (applied.risk.root / "features/shared/accounts.py").read_text()
    assert module.count("class Profile(") == module.count("class UserProfile(") == 1
    assert 'description="Renamed to profile.gross_income."' in module
    assert "Nothing to do" in featdsl(applied.risk, "plan", "--check")
    assert featdsl(applied.risk, "outdated") == "No model is outdated.\n"
    assert applied.risk.store.get_features("credit_risk@1", rows=[{"user_id": 2, "partner_id": 3}]) == before

    # New features use the new name; the set still works after the owner drops renamed_from.
    lending = "features/lending/__init__.py"
    edit(applied.risk, lending, "inputs=[UserProfile.income]", "inputs=[Profile.gross_income]")
    edit(applied.risk, lending, 'sql="income / 12"', 'sql="gross_income / 12"')
    edit(applied.risk, lending, "import UserProfile, user", "import Profile, UserProfile, user")
    assert "Safe: nothing is recomputed." in featdsl(applied.risk, "apply", "--yes")
    for former in (', renamed_from="user_profile"', ' renamed_from="income",'):
        edit(applied.accounts, accounts, former, "")
    applied.accounts.apply()
    featdsl(applied.risk, "pull", "accounts")
    featdsl(applied.risk, "plan", "--check")
    assert applied.risk.store.get_features("credit_risk@1", rows=[{"user_id": 2, "partner_id": 3}]) == before


def test_a_set_over_former_names_can_be_renamed_itself(applied: Company) -> None:
    """The plan shows a rename, not a new set."""
    applied.scoring.write({"features/scores/__init__.py": ""})
    applied.scoring.apply()
    edit(applied.accounts, "features/accounts/__init__.py", "income = Feature(float,", 'gross_income = Feature(float, renamed_from="income",')  # fmt: skip
    applied.accounts.apply()
    featdsl(applied.risk, "pull", "accounts")
    edit(applied.risk, "features/lending/__init__.py", 'FeatureSet("credit_risk",', 'FeatureSet("credit", renamed_from="credit_risk",')  # fmt: skip

    assert "renamed from credit_risk" in featdsl(applied.risk, "apply", "--yes")


def test_a_set_that_is_gone_is_told_to_the_model_that_uses_it(applied: Company) -> None:
    """A model that is not applied yet names a set version that another project removed."""
    applied.scoring.write({"features/scores/__init__.py": ""})
    applied.scoring.apply()
    edit(applied.risk, "features/lending/__init__.py", 'loan_default = Model("loan_default", features=credit_risk_v1)\n', "")  # fmt: skip
    edit(applied.risk, "features/lending/__init__.py", 'FeatureSet("credit_risk"', 'FeatureSet("credit_danger"')
    applied.risk.apply()
    applied.scoring.write({"features/scores/__init__.py": SCORING})

    output = featdsl(applied.scoring, "plan", code=1)

    assert (
        "model scorecard uses the set credit_risk@1 of the project risk, which was removed since it was pulled"
        in output
    )


def test_a_view_of_another_project_goes_where_the_values_go(applied: Company) -> None:
    """Another project pins an unchanged feature of a group that is rebuilt: its view outlives the old table."""
    edit(applied.risk, "features/lending/__init__.py", "loan_default = Model", 'ages = FeatureSet("ages", version=1, features=[UserProfile.age])\nloan_default = Model')  # fmt: skip
    applied.risk.apply()
    view = "SELECT * FROM prod.ages_v1 ORDER BY ALL"
    before = published(applied, view)
    edit(applied.accounts, "features/accounts/__init__.py", "    income = Feature", "    born = Feature(int, sql='year(birth_date)')\n    income = Feature")  # fmt: skip
    applied.accounts.apply()
    time.sleep(1.1)
    featdsl(applied.accounts, "gc", "--keep", "1 second", "--yes")

    assert len([name for name in applied.snapshot.tables if name.startswith("user_profile_")]) == 1
    assert published(applied, view) == before
    for each in applied:
        assert "Nothing to do" in featdsl(each, "plan", "--check")


def test_a_name_that_was_pulled_cannot_be_declared_as_well(company: Company) -> None:
    """Group names are unique in a registry."""
    edit(company.risk, "features/lending/__init__.py", "class Loans(", "class UserProfile_(")
    edit(company.risk, "features/lending/__init__.py", "entity=user, source=loans", 'entity=user, source=loans, name="user_profile"')  # fmt: skip
    edit(company.risk, "features/lending/__init__.py", "Loans.debt", "UserProfile_.debt")

    assert "The group user_profile belongs to the project accounts." in featdsl(company.risk, "plan", code=1)


def test_what_another_project_lost_is_theirs_to_repair_though_a_pin_holds_it(applied: Company) -> None:
    """Accounts can rebuild its table, so the plan of risk does not call it lost."""
    table = applied.snapshot.catalog.features["user_profile.income"].table
    (applied.accounts.root.parent / "store" / applied.snapshot.tables[table].file).unlink()

    assert "Data loss" not in featdsl(applied.risk, "plan", "--check")
    applied.accounts.apply()
    assert applied.risk.store.get_features("credit_risk@1", user_id=3, partner_id=3)["income"] == 19000.0


def test_going_back_stops_where_others_have_let_go(applied: Company) -> None:
    """The old state has a model on another project's set, and groups of its entity; both are removed by now."""
    users = [(applied.scoring, "scores"), (applied.risk, "lending"), (applied.accounts, "accounts")]
    for each, folder in users:
        each.write({f"features/{folder}/__init__.py": ""})
        each.apply()
    before = applied.snapshot

    output = featdsl(applied.scoring, "rollback", "3", "--yes", code=3)

    assert "Dependency removed\n  group score describes the entity user, which was removed.\n" in output
    assert "Dependency removed\n  model scorecard trains on credit_risk@1, which was removed.\n" in output
    assert applied.snapshot == before
    featdsl(applied.accounts, "rollback", "3", "--yes")
    featdsl(applied.risk, "rollback", "3", "--yes")
    featdsl(applied.scoring, "rollback", "3", "--yes")
    assert applied.scoring.store.get_features(["score"], user_id=3) == pytest.approx({"score": 19000.0 / 12 / 33})


def test_going_back_stops_where_an_entity_has_other_keys(company: Company) -> None:
    """The groups of the old state do not fit the new keys."""
    company.risk.apply()
    company.risk.write({"features/lending/__init__.py": ""})
    company.risk.apply()
    rekey(company.accounts)
    company.accounts.apply()

    output = featdsl(company.risk, "rollback", "2", "--yes", code=3)

    assert "group loans describes the entity user, which has other keys now." in output


# Scope


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_projects_apply_in_any_order_and_leave_each_other_nothing_to_do(order: tuple[int, ...], applied: Company) -> None:  # fmt: skip
    """Each project adds a feature and drops another; in the end every registry entry is as declared and all plans are empty."""
    projects = list(applied)
    edit(applied.accounts, "features/accounts/__init__.py", "    income = Feature", '    born = Feature(int, sql="year(birth_date)")\n    income = Feature')  # fmt: skip
    edit(applied.risk, "features/lending/__init__.py", 'debt = Feature(float, sql="amount")', 'debt = Feature(float, sql="amount")\n    cents = Feature(float, sql="amount * 100")')  # fmt: skip
    edit(applied.scoring, "features/scores/__init__.py", 'score = Feature(float, sql="monthly / age")', 'ratio = Feature(float, sql="age / monthly")')  # fmt: skip
    own = {each.root.name: applied.snapshot.catalog.of_project(each.root.name) for each in projects}

    for number in order:
        name = projects[number].root.name
        plan = json.loads(featdsl(projects[number], "plan", "--format", "json"))
        touched = {(each["change"]["kind"], each["change"]["address"]) for each in plan["changes"]}
        others = {(d.kind, getattr(d, "address", d.name)) for each in own if each != name for d in own[each]}
        assert not touched & others
        featdsl(projects[number], "apply", "--yes")

    for each in projects:
        assert "Nothing to do" in featdsl(each, "plan", "--check")
    assert applied.accounts.store.get_features(["born", "cents"], user_id=2) == {"born": 1992, "cents": 50000.0}
    assert applied.scoring.store.get_features(["ratio"], user_id=2) == pytest.approx({"ratio": 34 / (18000 / 12)})
    assert set(applied.snapshot.catalog.features) == {
        "user_profile.age", "user_profile.born", "user_profile.income", "affordability.monthly", "loans.debt",
        "loans.cents", "score.ratio",
    }  # fmt: skip


# Refused pulls

REFUSALS = {
    "accuonts": 'No project named accuonts has applied anything to this store.\n  Did you mean "accounts"?',
    "nobody": "No project named nobody has applied anything to this store.\n  Known: accounts.",
    "risk": "risk is this project.\n  Import its features from the modules that declare them.",
}


@pytest.mark.parametrize("name", REFUSALS)
def test_only_other_projects_can_be_pulled(name: str, company: Company) -> None:
    """The message names the known projects."""
    done = company.risk.run("pull", name)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"Unknown project\n  {REFUSALS[name]}\n"
    assert [path.name for path in (company.risk.root / "features/shared").glob("*.py")] in (
        ["__init__.py", "accounts.py"],
        ["accounts.py", "__init__.py"],
    )


def test_a_project_whose_groups_are_all_private_shares_nothing(company: Company) -> None:
    """The pull is refused, because nothing can be imported."""
    private = replace(company.snapshot.catalog.groups["user_profile"], access="private")

    with pytest.raises(LookupError, match="The project accounts shares nothing: all its groups are private."):
        pull.pull(changed(company.snapshot, group=private), "accounts", load(company.risk.root))


def test_a_file_of_ours_is_not_replaced(company: Company) -> None:
    """A module that a pull did not write has the same name."""
    company.risk.write({MODULE: "important = 1\n"})

    done = company.risk.run("pull", "accounts")

    assert done.returncode == 1
    assert done.stderr == (
        f"File cannot be replaced\n  {MODULE} exists, and featdsl pull did not write it.\n"
        "  Move it away, then pull again.\n"
    )
    assert (company.risk.root / MODULE).read_text(encoding="utf-8") == "important = 1\n"


def test_a_missing_module_is_told_by_check(company: Company) -> None:
    """`--check` reports the missing module and writes nothing."""
    output = featdsl(company.scoring, "pull", "accounts", "--check", code=2)

    assert output == f"{MODULE} is missing. Run: featdsl pull accounts\n"
    assert not (company.scoring.root / "features/shared").exists()


# Text in the registry is data, never code


@pytest.mark.parametrize(
    ("kind", "old", "new"),
    [
        ("set", '"name":"credit_risk"', '"name":"x\\nimport os; os.system(0)\\n"'),
        ("feature", '"name":"income"', '"name":"in come"'),
        ("feature", '"dtype":"DOUBLE"', '"dtype":"DOUBLE); DROP TABLE t; --"'),
        ("group", '"project":"accounts"', '"project":"../../../x"'),
    ],
)
def test_an_edited_registry_is_refused(applied: Company, kind: str, old: str, new: str) -> None:
    """A name or a type that nobody can declare never reaches a path, SQL or code."""
    with duckdb.connect(str(applied.accounts.root.parent / "store" / "store.duckdb")) as connection:
        found = connection.execute("SELECT body FROM registry.documents WHERE kind = ?", [kind]).fetchall()
        assert any(old in body for (body,) in found)
        connection.execute("UPDATE registry.documents SET body = replace(body, ?, ?) WHERE kind = ?", [old, new, kind])
    for command in (("pull", "accounts"), ("plan",), ("list",)):
        output = featdsl(applied.scoring, *command, code=1)
        assert "The store's registry has an invalid definition" in output


def test_a_module_is_read_back_before_it_is_written(applied: Company) -> None:
    """Text that would end the module's docstring and become code is refused."""
    snapshot = applied.snapshot
    other = replace(snapshot, head=replace(snapshot.head, lineage='x"""\nimport os\nos.getcwd()\n"""'))
    with pytest.raises(StoreError, match="would contain more than declarations"):
        pull.pull(other, "accounts", load(applied.scoring.root))


@pytest.mark.parametrize(
    "text",
    [
        "import os",
        "from os import system",
        "user = _shared.entity(print(1))",
        "user = print(1)",
        "@print\nclass A(FeatureGroup):\n    'x'",
        "class A(FeatureGroup, entity=print(1)):\n    'x'",
        "class A(FeatureGroup):\n    def f(self): pass",
        "class A(object):\n    'x'",
        "a.b = _shared.entity('x')",
        "x = _shared.feature_set('a', features=[A.b.alias(print(1))])",
        "x = [_shared.entity('x') for y in z]",
        "x = 1 if",
    ],
)
def test_code_that_no_pull_writes_is_refused(text: str) -> None:
    """Every statement, argument and decorator must be one that a pull writes."""
    with pytest.raises(StoreError, match="would contain more than declarations"):
        pull.refuse_other_code(text, "features/shared/x.py")
