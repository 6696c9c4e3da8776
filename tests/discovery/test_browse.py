"""The catalogue by attribute: `store.catalog.user_profile.age`."""

from __future__ import annotations

import pickle

import pytest

from featdsl import FeatureNotFoundError, FeatureStore
from tests.conftest import Workspace
from tests.shown_html import read


def test_groups_and_their_features_are_attributes_that_complete(applied: Workspace) -> None:
    """`dir()` and the keys that IPython completes are the names."""
    catalog = applied.store.catalog
    kinds = ["sets", "models", "sources", "entities", "teams"]
    assert [name for name in dir(catalog) if name not in kinds] == ["affordability", "user_profile"]
    assert set(kinds) < set(dir(catalog))
    assert set(catalog._ipython_key_completions_()) == set(dir(catalog))
    assert dir(catalog.user_profile) == ["age", "income"]
    assert catalog.user_profile._ipython_key_completions_() == ["age", "income"]
    assert [*catalog["user_profile"]] == ["user_profile.age", "user_profile.income"]
    assert ("age" in catalog.user_profile, "user_profile" in catalog, len(catalog)) == (True, True, 2)


def test_a_name_is_taken_by_every_call_and_tells_what_it_names(applied: Workspace) -> None:
    """It is a text."""
    store = applied.store
    age = store.catalog.user_profile.age
    assert age == "user_profile.age"
    assert store.get_features([age, *store.catalog.affordability], user_id=1) == {"age": 35, "monthly": 17000 / 12}
    assert age.describe() == store.describe("user_profile.age")
    assert age.lineage() == store.lineage("user_profile.age")
    assert read(age._repr_html_()).facts["rows"] == "20, 0.0 % null"
    assert (age.__doc__ or "").startswith(
        "feature user_profile.age: BIGINT\n\nAge in whole years.\n\nowner   accounts\n"
    )
    assert (repr(age), dir(age)) == ("<feature user_profile.age>", ["describe", "lineage"])
    again = pickle.loads(pickle.dumps(age))  # noqa: S301 - our own
    assert again.describe() == age.describe()


def test_sets_have_versions_and_teams_have_groups(applied: Workspace) -> None:
    """And models, sources and entities are names."""
    store = applied.store
    catalog = store.catalog
    assert [*catalog.sets.credit_risk] == ["credit_risk@1", "credit_risk@2"]
    assert store.get_features(catalog.sets.credit_risk.v1, user_id=1) == {"age": 35, "income": 17000.0}
    assert [[*branch] for branch in (catalog.models, catalog.sources, catalog.entities)] == [
        ["loan_default"], ["accounts"], ["user"],
    ]  # fmt: skip
    assert dir(catalog.teams.accounts) == ["user_profile"]
    assert catalog.teams.lending.affordability.monthly == "affordability.monthly"
    assert [row[1] for row in read(catalog.teams.accounts._repr_html_()).rows[1:]] == [
        "user_profile.age", "user_profile.income", "user_profile", "accounts", "user", "accounts",
    ]  # fmt: skip
    assert [row[1] for row in read(catalog.sets.credit_risk._repr_html_()).rows[1:]] == [
        "credit_risk@1",
        "credit_risk@2",
    ]


def test_a_wrong_name_says_which_is_meant(applied: Workspace) -> None:
    """By attribute and by key."""
    catalog = applied.store.catalog
    with pytest.raises(FeatureNotFoundError, match='Did you mean "user_profile"'):
        catalog["user_profil"]
    with pytest.raises(FeatureNotFoundError, match='Did you mean "income"'):
        catalog.user_profile["incme"]
    assert not hasattr(catalog, "user_profil")
    assert not hasattr(catalog.user_profile, "incme")


def test_the_catalogue_follows_the_store_and_opens_it_only_when_asked(bank: Workspace) -> None:
    """An apply shows at the next access."""
    store = FeatureStore(bank.root)
    assert not hasattr(store.catalog, "_repr_markdown_")
    assert [name for name in dir(store.catalog) if name not in {"sets", "models", "sources", "entities", "teams"}] == []
    bank.apply()
    assert "user_profile" in dir(store.catalog)
    assert [*pickle.loads(pickle.dumps(store)).catalog.user_profile] == [*store.catalog.user_profile]  # noqa: S301 - our own


def test_a_group_named_as_a_kind_is_reached_by_key(bank: Workspace) -> None:
    """The attribute is the kind."""
    files = bank.root / "features/accounts/__init__.py"
    files.write_text(files.read_text(encoding="utf-8").replace("source=accounts):", 'source=accounts, name="sets"):'))
    (bank.root / "features/lending/__init__.py").write_text("", encoding="utf-8")
    bank.apply()
    catalog = bank.store.catalog
    assert ([*catalog.sets], [*catalog["sets"]]) == ([], ["sets.age", "sets.income"])
