"""Declarations made in memory, applied to a store: for tests whose features are data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from featdsl import pipeline
from featdsl.apply import events
from featdsl.apply import execute as runner
from featdsl.catalog import build
from featdsl.catalog.loader import Loaded
from featdsl.declarations.declaration import collecting
from featdsl.engines.duckdb.optimizer import joins, sampling
from featdsl.featurestore import FeatureStore
from featdsl.project import settings
from featdsl.stores import open_store


def applied(root: Path, declare: Callable[[], object]) -> FeatureStore:
    """Apply what `declare` declares to the store in a folder, and return what model code would read there."""
    if not (root / settings.FILE).exists():
        (root / settings.FILE).write_text('[project]\nname = "declared"\n', encoding="utf-8")
    here = settings.load(root)
    with collecting() as collector:
        declare()
    rows = pipeline._rows(here, tuple(collector.declarations))
    hashes = {name: digest for name, (digest, _) in rows.items()}
    loaded = Loaded(tuple(collector.declarations), tuple(collector.problems))
    desired = build.build(loaded, here, build.BuildContext(frames=hashes))
    store = open_store(here)
    functions = pipeline.declared_functions(collector.declarations)
    declared = pipeline.Declared(store.read(), desired, rows=dict(rows.values()), functions=functions)
    planned = pipeline.plan_for(here, store, declared, store.drift(declared.snapshot))
    runner.apply(planned.plan, here, store, listen=events.ignore, rows=planned.rows, functions=planned.functions)
    return FeatureStore(root)


JOINS = ("asof", "spans", "bands")


def join_by(join: str, patch: pytest.MonkeyPatch) -> None:
    """Let training sets look rows up by one join, however few they are; bands are so narrow that rows reach into several."""
    patch.setattr(sampling, "_SMALL", 0)
    patch.setattr(joins, "_BAND_ROW", 1e-6)
    patch.setattr(joins, "cheapest", lambda _, *, in_bands: "spans" if join == "bands" and not in_bands else join)
