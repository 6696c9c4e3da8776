"""A store that nobody refers to any more is closed at once."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from featdsl import FeatureStore
from tests.conftest import Workspace

CALLS: dict[str, Callable[[FeatureStore], Any]] = {
    "get_features": lambda store: store.get_features(["age"], user_id=3),
    "training_set": lambda store: store.training_set(
        ["age"], "SELECT 1 AS user_id, TIMESTAMP '2026-01-06' AS at", timestamp="at"
    ).df(),
    "try_features": lambda store: store.try_features(
        ["age"], "SELECT 1 AS user_id, TIMESTAMP '2026-01-06' AS at", timestamp="at"
    ).df(),
    "describe": lambda store: store.describe("user_profile.age"),
    "catalog": lambda store: list(store.catalog.user_profile),
    "catalogue_document": lambda store: store.catalogue_document(),
    "report": lambda store: store.report(),
    "drift": lambda store: store.drift(),
    "plan": lambda store: store.plan(),
    "check": lambda store: store.check(),
    "check_parity": lambda store: store.check_parity(),
    "search": lambda store: store.search("age"),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_dropped_store_is_closed_at_once(bank: Workspace, name: str) -> None:
    """Neither the store nor its session waits for a collection of garbage: both keep files open."""
    bank.apply()
    store = FeatureStore(bank.root)
    CALLS[name](store)
    dropped = [weakref.ref(store), weakref.ref(store._states._newest.session)] if store._states._newest else []
    dropped = dropped or [weakref.ref(store)]
    gc.disable()
    try:
        del store
        assert [each() for each in dropped] == [None] * len(dropped)
    finally:
        gc.enable()
