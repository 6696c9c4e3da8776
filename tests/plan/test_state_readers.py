"""The states that plans start from."""

from __future__ import annotations

from pathlib import Path

import pytest

from featdsl.errors import StoreError
from featdsl.plan.state_readers import EarlierState, ExportedState, StoreState
from featdsl.project.settings import load
from featdsl.stores import Store, export, open_store
from tests.conftest import Workspace
from tests.plan.test_guards import TEAM, Edit


@pytest.fixture
def store(applied: Workspace, edit: Edit) -> Store:
    """The store of the small project with another income since state 2."""
    edit(TEAM, "annual_income", "annual_income * 2")
    applied.apply()
    return open_store(load(applied.root))


def test_a_store_yields_its_newest_state(store: Store) -> None:
    """With the change history, and the folder of its dataframes."""
    applied = StoreState(store).read()
    assert (applied.state.snapshot.head.serial, applied.state.earlier) == (2, None)
    assert [entry.serial for entry in applied.history()] == [2, 1]
    assert Path(applied.frames) == Path(store.frames)
    assert applied.exported is None


def test_an_export_yields_the_same_registry_and_its_sources(store: Store) -> None:
    """Without a history, which only the store has."""
    newest = StoreState(store).read().state
    exported = export.from_json(export.to_json(newest.snapshot, newest.drift), name="registry.json")
    applied = ExportedState(exported).read()
    assert applied.state.snapshot.catalog == newest.snapshot.catalog
    assert applied.exported == newest.snapshot.catalog.sources
    assert (applied.history(), applied.past_sets()) == ((), {})


def test_an_earlier_state_comes_with_the_newest_one(store: Store) -> None:
    """A rollback plans from the newest state to the earlier one."""
    applied = EarlierState(store, 1).read()
    newest, earlier = applied.state.snapshot.catalog, applied.state.earlier
    assert earlier is not None
    assert (newest.features["user_profile.income"].sql, applied.back_to) == ("annual_income * 2", 1)
    assert earlier.catalog.features["user_profile.income"].sql == "annual_income"


def test_an_unknown_earlier_state_is_refused(store: Store) -> None:
    """With the states that there are."""
    with pytest.raises(StoreError) as error:
        EarlierState(store, 7).read()
    assert error.value.problems[0].what == "prod was never at state 7; it was at 1, 2."
