"""The catalogue: an entry for each definition, from the registry alone."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from featdsl import FeatureStore
from featdsl.discovery import catalogue as catalogues
from featdsl.discovery.catalogue_entries import CatalogueDocument, FeatureEntry
from featdsl.documents import catalogue_inputs
from featdsl.project.settings import load
from featdsl.stores import open_store
from tests.conftest import Workspace

ACCOUNTS = '''
from featdsl import Entity, Feature, FeatureGroup, Source

user = Entity("user", keys={"user_id": int}, description="An account holder.")
rows = Source("rows", path="rows.parquet", timestamp="at", description="Accounts.")


class Profile(FeatureGroup, entity=user, source=rows):
    """Who the account holder is."""

    income = Feature(float, sql="income", description="Gross income.", unit="USD per year", expect="income >= 0")
    age = Feature(int, sql="age", tags="person")
    spend = Feature(float, sql="sum(income)", windows=["7 days", "30 days"])
'''
LENDING = """
from featdsl import Feature, FeatureGroup, FeatureSet, Model
from features.accounts import Profile, user


class Affordability(FeatureGroup, entity=user, inputs=[Profile.income, Profile.age]):
    ratio = Feature(float, sql="income / age")


credit_v1 = FeatureSet("credit", version=1, features=[Profile.income, Affordability.ratio])
loan = Model("loan", features=credit_v1)
"""
SETTINGS = """
[project]
name = "bank"

[catalogue]
contacts = { accounts = "#accounts" }
"""


@pytest.fixture
def bank(workspace: Workspace) -> Workspace:
    """A project of two teams, applied."""
    rows = "SELECT n AS user_id, 100.0 * n AS income, 20 + n AS age, TIMESTAMP '2026-01-01' AS at FROM range(5) t(n)"
    workspace.parquet("rows.parquet", rows)
    workspace.write(
        {"featproject.toml": SETTINGS, "features/__init__.py": "", "features/accounts/__init__.py": ACCOUNTS,
         "features/lending/__init__.py": LENDING}
    )  # fmt: skip
    done = workspace.run("apply", "--yes")
    assert done.returncode == 0, done.stderr
    return workspace


def document(workspace: Workspace) -> CatalogueDocument:
    """Return the catalogue of a project."""
    return FeatureStore(workspace.root).catalogue_document()


def feature(workspace: Workspace, name: str) -> FeatureEntry:
    """Return the entry of a feature."""
    return next(each for each in document(workspace).features if each.address == name)


def test_every_definition_has_an_entry(bank: Workspace) -> None:
    """Features, groups, set versions, models, sources, entities and teams, each in order of address."""
    made = document(bank)
    assert [each.address for each in made.features] == [
        "affordability.ratio",
        "profile.age",
        "profile.income",
        "profile.spend_30d",
        "profile.spend_7d",
    ]
    assert [each.address for each in made.groups] == ["affordability", "profile"]
    assert [(each.address, each.models) for each in made.sets] == [("credit@1", ("loan",))]
    assert [(each.address, each.feature_set) for each in made.models] == [("loan", "credit@1")]
    assert [(each.address, each.groups) for each in made.sources] == [("rows", ("profile",))]
    assert [(each.address, len(each.features)) for each in made.entities] == [("user", 5)]
    assert [(each.name, each.contact, each.uses) for each in made.teams] == [
        ("accounts", "#accounts", ()),
        ("lending", "", ("profile.income",)),
    ]
    assert (made.project, made.environment, made.serial) == ("bank", "prod", 1)


def test_an_entry_says_what_a_feature_is_and_who_uses_it(bank: Workspace) -> None:
    """Meaning, owner, unit, rows, rules, uses and lineage of one feature."""
    entry = feature(bank, "profile.income")
    assert (entry.description, entry.owner, entry.unit, entry.dtype) == (
        "Gross income.",
        "accounts",
        "USD per year",
        "DOUBLE",
    )
    assert (entry.rows, entry.freshness.status) == (5, "fresh")
    assert [(each.rule, each.last and each.last.verdict) for each in entry.rules] == [("income >= 0", "ok")]
    assert [(each.feature_set, each.models, each.is_current) for each in entry.used_in] == [
        ("credit@1", ("loan",), True)
    ]
    assert entry.derived == ("affordability.ratio",)
    assert feature(bank, "affordability.ratio").inputs == ("profile.age", "profile.income")
    source = document(bank).sources[0]
    assert source.readers["age"] == ("affordability.ratio", "profile.age")


def test_an_entry_names_the_features_that_compute_the_same(bank: Workspace) -> None:
    """A feature that another team builds again is named at both; a private one is named at neither."""
    again = """
from featdsl import Feature, FeatureGroup
from features.accounts import rows, user


class Pay(FeatureGroup, entity=user, source=rows{}):
    earned = Feature(float, sql="income + 0.0")
    pay = Feature(float, sql="income")
"""
    bank.write({"features/pay/__init__.py": again.format("")})
    assert bank.run("apply", "--yes").returncode == 0
    assert (feature(bank, "profile.income").same, feature(bank, "pay.pay").same) == (("pay.pay",), ("profile.income",))
    assert feature(bank, "pay.earned").same == ()
    bank.write({"features/pay/__init__.py": again.format(', access="private"')})
    assert bank.run("apply", "--yes").returncode == 0
    assert (feature(bank, "profile.income").same, feature(bank, "pay.pay").same) == ((), ("profile.income",))


def test_lineage_has_all_nodes_and_edges(bank: Workspace) -> None:
    """The whole graph, with the source columns of each feature."""
    graph = document(bank).lineage
    columns = {each.id: each.columns for each in graph.nodes}
    assert columns["feature affordability.ratio"] == ("rows.age", "rows.income")
    assert {"source rows", "set credit@1", "model loan"} <= columns.keys()
    assert ("feature profile.income", "feature affordability.ratio") in graph.edges
    assert ("set credit@1", "model loan") in graph.edges


def test_history_follows_renames(bank: Workspace) -> None:
    """A feature has the changes that it had under former names of itself and of its group."""
    renamed = ACCOUNTS.replace("    age = Feature(int, ", '    years = Feature(int, renamed_from="age", ').replace(
        "class Profile(FeatureGroup, ", 'class Person(FeatureGroup, renamed_from="profile", '
    )
    bank.write({"features/accounts/__init__.py": renamed})
    bank.write({"features/lending/__init__.py": LENDING.replace("Profile.age", "Profile.years").replace("Profile", "Person").replace("income / age", "income / years")})  # fmt: skip
    assert bank.run("apply", "--yes").returncode == 0
    entry = feature(bank, "person.years")
    assert [(each.serial, each.action, each.address) for each in entry.changes] == [
        (2, "change", "person.years"),
        (1, "create", "profile.age"),
    ]
    assert entry.first_applied == entry.changes[-1].at


def test_a_change_that_a_set_does_not_take_up_keeps_the_old_version(bank: Workspace) -> None:
    """The set pins the old definition, which the entry lists; the model is outdated."""
    bank.write({"features/accounts/__init__.py": ACCOUNTS.replace('sql="income", desc', 'sql="income * 2", desc')})
    assert bank.run("apply", "--yes").returncode == 0
    entry = feature(bank, "profile.income")
    assert [each.is_current for each in entry.used_in] == [False]
    assert [(each.serial, [(why.code, why.before, why.after) for why in each.reasons]) for each in entry.changes] == [
        (2, [("sql", "income", "income * 2")]),
        (1, []),
    ]
    assert [each.held_by for each in entry.kept] == [("affordability.ratio", "credit@1")]
    assert document(bank).models[0].outdated != ()


def test_statistics_follow_a_feature_to_a_new_table(bank: Workspace) -> None:
    """Where another feature of the group changes, the earlier runs of this one stay its runs, and drift compares with them."""
    bank.write({"features/accounts/__init__.py": ACCOUNTS.replace('sql="income", desc', 'sql="income * 2", desc')})
    assert bank.run("apply", "--yes").returncode == 0
    assert [(each.serial, each.column.maximum) for each in feature(bank, "profile.age").statistics] == [
        (2, "24"),
        (1, "24"),
    ]
    assert [each.column.maximum for each in feature(bank, "profile.income").statistics] == ["800.0"]
    drift = {each.feature: (each.verdict, each.psi) for each in FeatureStore(bank.root).drift().features}
    assert drift["profile.age"][0] == "steady"
    assert drift["profile.income"][0] == "not compared"


def test_values_that_were_computed_long_ago_are_stale(bank: Workspace) -> None:
    """Freshness compares the time of the last computation with the setting."""
    project = load(bank.root)
    store = open_store(project)
    inputs = catalogue_inputs(project, store, store.read())
    made = catalogues.catalogue(replace(inputs, now=datetime.now(UTC) + timedelta(days=31)))
    assert {each.freshness.status for each in made.features if each.group == "profile"} == {"stale"}


def test_a_lost_table_is_told(bank: Workspace) -> None:
    """The entry of a feature whose data file is gone says so."""
    for file in (bank.root / ".featdsl" / "data").iterdir():
        file.unlink()
    assert feature(bank, "profile.income").freshness.status == "lost"


def test_an_empty_store_has_an_empty_catalogue(workspace: Workspace) -> None:
    """Before the first apply there is nothing to list, and no error."""
    workspace.write({"featproject.toml": SETTINGS, "features/__init__.py": ""})
    made = document(workspace)
    assert (made.serial, made.state_at, made.features, made.teams) == (0, None, (), ())


# How code uses a definition


def test_snippets_run_as_they_are(bank: Workspace) -> None:
    """The import line, the training and the serving code of features of a class, of a family, and of a set version."""
    made = document(bank)
    expressions = {each.address: each.usage.expression for each in made.features}
    assert expressions["profile.age"] == "Profile.age"
    assert expressions["profile.spend_7d"] == 'Profile.spend["7 days"]'
    bank.parquet("examples.parquet", "SELECT 1::BIGINT AS user_id, TIMESTAMP '2026-02-01' AS asked_at")
    code = [text for each in (*made.features, *made.sets) for text in (each.usage.training, each.usage.serving)]
    done = subprocess.run(
        [sys.executable, "-c", "\n".join([*code, "print(len(frame))"])],
        cwd=bank.root, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("1\n", "")


def test_a_feature_of_another_project_says_how_to_pull_it(bank: Workspace, tmp_path: Any) -> None:
    """Before the pull there is no import line, but a command; afterwards there is one."""
    other = Workspace(tmp_path / "other", bank.applies)
    (tmp_path / "other").mkdir()
    other.write({"featproject.toml": f'[project]\nname = "shop"\n[store]\npath = "{bank.root}/.featdsl"\n',
                 "features/__init__.py": ""})  # fmt: skip
    before = feature(other, "profile.age").usage
    assert (before.import_line, before.expression) == ("", '"profile.age"')
    assert "featdsl pull bank" in before.hint
    assert other.run("pull", "bank").returncode == 0
    after = feature(other, "profile.age").usage
    assert (after.import_line, after.expression) == ("from features.shared.bank import Profile", "Profile.age")
