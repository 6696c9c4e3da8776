"""What holds for every project, shown on random small ones: declared in memory, planned, and applied to real stores."""

from __future__ import annotations

import random
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featdsl import Entity, Feature, FeatureGroup, FeatureSet, Model, Source, pipeline
from featdsl.apply import events
from featdsl.apply import execute as runner
from featdsl.catalog import build
from featdsl.catalog.loader import Loaded
from featdsl.declarations.declaration import Declaration, collecting
from featdsl.definitions.catalog import Catalog
from featdsl.definitions.snapshot import Snapshot
from featdsl.engines import Compilers
from featdsl.engines.duckdb.compiler import COMPILER
from featdsl.plan import diff, planfile, planner, verification
from featdsl.plan.document import Plan
from featdsl.project.settings import Project, ProjectTable, Settings
from featdsl.stores import Store, open_store
from tests.budgets import examples

EXPRESSIONS = {"a": int, "a % 3": int, "b": float, "a + b": float, "coalesce(b, 0)": float}
"""What base features may be, and its type."""
BASE = [f"g{group}.g{group}_f{feature}" for group in range(3) for feature in range(3)]
DERIVED = [f"d{group}.d{group}_f{feature}" for group in range(2) for feature in range(2)]


@dataclass(frozen=True)
class Described:
    """A random project as plain data: what makes two of them differ is here, and no order is."""

    base: dict[str, tuple[str, str, frozenset[str]]]
    derived: dict[str, tuple[str, ...]]
    ttl: dict[str, str | None]
    sets: frozenset[frozenset[str]]
    model: bool


@st.composite
def projects(draw: st.DrawFn) -> Described:
    """Groups over one source, groups derived from those and from each other, sets of any of them, perhaps a model."""
    tags = st.frozensets(st.sampled_from(["money", "kyc", "new"]))
    texts = st.sampled_from(["", "One.", "Two."])
    names = draw(st.sets(st.sampled_from(BASE), min_size=1))
    base = {name: (draw(st.sampled_from(sorted(EXPRESSIONS))), draw(texts), draw(tags)) for name in sorted(names)}
    derived: dict[str, tuple[str, ...]] = {}
    for name in sorted(draw(st.sets(st.sampled_from(DERIVED), max_size=3))):
        known = [other for other in [*base, *derived] if other.partition(".")[0] != name.partition(".")[0]]
        derived[name] = tuple(draw(st.lists(st.sampled_from(known), min_size=1, max_size=2, unique=True)))
    everything = sorted([*base, *derived])
    chosen = draw(st.frozensets(st.frozensets(st.sampled_from(everything), min_size=1), max_size=2))
    ttl = {f"g{group}": draw(st.sampled_from([None, "2 days"])) for group in range(3)}
    return Described(base, derived, ttl, chosen, draw(st.booleans()))


def declared(described: Described, seed: int = 0) -> tuple[Declaration, ...]:
    """Return the declarations of a project, in an order that `seed` shuffles."""
    shuffle = random.Random(seed).shuffle  # noqa: S311 - no secret
    with collecting() as collector:
        user = Entity("user", keys={"user_id": int})
        rows = Source("rows", path="rows.parquet", timestamp="ts")
        makers = [
            lambda name=name: _base_group(described, name, user, rows, shuffle) for name in _groups(described.base)
        ]
        makers += [
            lambda name=name: _derived_group(described, name, user, shuffle) for name in _groups(described.derived)
        ]
        shuffle(makers)
        for make in makers:
            make()
        sets = [FeatureSet("s", version=_version(members), features=set(members)) for members in _in_order(described)]
        if sets and described.model:
            Model("m", features=sets[0])
    assert not collector.problems, collector.problems
    listed = list(collector.declarations)
    shuffle(listed)
    return tuple(listed)


def _groups(features: dict[str, object]) -> list[str]:
    return sorted({name.partition(".")[0] for name in features})


def _in_order(described: Described) -> list[list[str]]:
    return sorted(sorted(members) for members in described.sets)


def _version(members: list[str]) -> int:
    """Return a version that tells the list: a version never changes."""
    return 1 + zlib.crc32(" ".join(members).encode()) % 1_000_000


def _base_group(
    described: Described, group: str, user: Entity, rows: Source, shuffle: Callable[[list[str]], None]
) -> None:
    names = [name for name in described.base if name.startswith(f"{group}.")]
    shuffle(names)
    features = {}
    for name in names:
        sql, description, tags = described.base[name]
        features[name.partition(".")[2]] = Feature(EXPRESSIONS[sql], sql=sql, description=description, tags=tags)

    class Group(FeatureGroup, entity=user, source=rows, name=group, ttl=described.ttl[group], features=features):
        """Columns of the rows."""


def _derived_group(described: Described, group: str, user: Entity, shuffle: Callable[[list[str]], None]) -> None:
    names = [name for name in described.derived if name.startswith(f"{group}.")]
    inputs = sorted({upstream for name in names for upstream in described.derived[name]})
    shuffle(names)
    shuffle(inputs)
    features = {}
    for name in names:
        columns = [upstream.partition(".")[2] for upstream in described.derived[name]]
        features[name.partition(".")[2]] = Feature(float, sql=" + ".join(columns))

    class Group(FeatureGroup, entity=user, inputs=inputs, name=group, features=features):
        """Sums of others."""


def project_at(root: Path) -> Project:
    """Return a project of default settings."""
    return Project(root, Settings(project=ProjectTable(name="random")))


def desired(described: Described, project: Project, seed: int = 0) -> Catalog:
    """Return the catalogue of a random project."""
    return build.build(Loaded(tuple(declared(described, seed))), project)


@contextmanager
def a_store() -> Iterator[tuple[Project, Store]]:
    """Yield a project with rows and an empty store of its own."""
    with tempfile.TemporaryDirectory() as folder:
        project = project_at(Path(folder))
        duckdb.execute(f"""
            COPY (SELECT i % 3 AS user_id, TIMESTAMP '2026-01-01' + INTERVAL (i) DAY AS ts, i::INTEGER AS a,
                         CASE WHEN i % 4 > 0 THEN i / 2 END AS b FROM range(7) t(i))
            TO '{folder}/rows.parquet' (FORMAT parquet)
        """)
        yield project, open_store(project)


def planned(described: Described, project: Project, store: Store, environment: str = "prod") -> Plan:
    """Return the plan that takes an environment of the store to a random project."""
    declared = pipeline.Declared(store.read(environment), desired(described, project))
    plan = pipeline.plan_for(project, store, declared, store.drift(declared.snapshot)).plan
    found = verification.derived(
        plan, replace(declared.snapshot, past_sets=store.past_sets(environment)), Compilers(COMPILER)
    )
    assert found == plan  # what a saved plan may do is found again from the registry and what it records
    return plan


def applied(described: Described, project: Project, store: Store) -> Snapshot:
    """Apply a random project and return what the registry then holds."""
    made = planned(described, project, store)
    if not made.empty:
        runner.apply(made, project, store, listen=events.ignore)
    return store.read()


NOWHERE = project_at(Path("/nowhere"))
pure = settings(max_examples=examples(20, 60), deadline=None)
with_a_store = settings(max_examples=examples(4, 12), deadline=None)


@pure
@given(projects(), st.integers(1, 1000))
def test_the_order_of_declarations_changes_neither_fingerprints_nor_the_bytes_of_a_plan(
    described: Described, seed: int
) -> None:
    """Shuffling groups, features, inputs and everything else gives the same catalogue and the same plan."""
    one, other = desired(described, NOWHERE), desired(described, NOWHERE, seed)

    assert list(one) == list(other)
    assert planfile.to_json(
        planner.build(planner.State(Snapshot()), one, planner.PlanRequest("random"), Compilers(COMPILER))
    ) == planfile.to_json(
        planner.build(planner.State(Snapshot()), other, planner.PlanRequest("random"), Compilers(COMPILER))
    )


@pure
@given(projects())
def test_a_catalogue_does_not_differ_from_itself(described: Described) -> None:
    """Comparing a catalogue with its own copy yields nothing."""
    assert diff.compare(desired(described, NOWHERE), desired(described, NOWHERE)) == ()


@pure
@given(projects(), projects())
def test_equal_fingerprints_and_no_change_go_together(before: Described, after: Described) -> None:
    """Of features on both sides, exactly those whose fingerprint differs have a change that is not about metadata."""
    old, new = desired(before, NOWHERE), desired(after, NOWHERE)
    both = old.features.keys() & new.features.keys()

    changed = {
        change.address
        for change in diff.compare(old, new)
        if change.kind == "feature" and change.address in both and change.change_class != "metadata"
    }

    assert changed == {name for name in both if old.features[name].fingerprint != new.features[name].fingerprint}


@pytest.mark.slow
@with_a_store
@given(projects(), projects())
def test_an_applied_plan_leaves_nothing_to_do_and_exactly_the_catalogue(before: Described, after: Described) -> None:
    """After one project and then another, the registry holds the second one and the plan is empty.

    Set versions that were there before keep the fingerprints that they were applied with.
    """
    with a_store() as (project, store):
        first = applied(before, project, store)
        second = applied(after, project, store)

        assert planned(after, project, store).empty
        assert first.catalog.sets.keys() == desired(before, project).sets.keys()
        _holds(second.catalog, desired(after, project), kept=first.catalog)


def _holds(found: Catalog, wanted: Catalog, *, kept: Catalog) -> None:
    """Compare catalogues; what binding adds is the schema of the source, and the roots of features."""
    assert {name: replace(feature, roots=()) for name, feature in found.features.items()} == wanted.features
    assert (found.entities, found.groups, found.models) == (wanted.entities, wanted.groups, wanted.models)
    assert {s.fingerprint for s in found.sources.values()} == {s.fingerprint for s in wanted.sources.values()}
    for name, each in wanted.sets.items():
        assert found.sets[name].members == kept.sets.get(name, each).members
    assert found.sets.keys() == wanted.sets.keys()


@pytest.mark.slow
@with_a_store
@given(projects(), projects())
def test_a_plan_read_back_from_its_json_is_equal(before: Described, after: Described) -> None:
    """Nothing of a plan is lost in its file, whatever it changes."""
    with a_store() as (project, store):
        applied(before, project, store)
        made = planned(after, project, store)

        assert planfile.from_json(planfile.to_json(made), name="plan.json") == made


@pytest.mark.slow
@with_a_store
@given(projects(), projects())
def test_the_registry_lists_the_tables_that_features_are_read_from(before: Described, after: Described) -> None:
    """Current features and pinned ones have their table; what nobody reads any more is kept for a while."""
    with a_store() as (project, store):
        applied(before, project, store)
        snapshot = applied(after, project, store)

        assert snapshot.tables.keys() >= {feature.table for feature in snapshot.versions.values()}
        assert snapshot.tables.keys() == store.tables_since(0)
        assert not store.drift(snapshot).tables
        for name in snapshot.catalog.sets:
            for member in snapshot.catalog.sets[name].members:
                assert (member.feature, member.fingerprint) in snapshot.versions
