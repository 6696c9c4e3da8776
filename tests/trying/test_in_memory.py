"""The values that tests of features compute: those of training sets, and of plain Python."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings

from featdsl import testing
from featdsl.testing import FeatureProject
from tests.budgets import examples
from tests.declared import applied as apply_declared
from tests.trying import worlds
from tests.trying.worlds import World, hour


@pytest.fixture(scope="module")
def empty_project(tmp_path_factory: pytest.TempPathFactory) -> FeatureProject:
    """A project that declares nothing; tests bring their declarations."""
    folder = tmp_path_factory.mktemp("declared")
    (folder / "featproject.toml").write_text('[project]\nname = "declared"\n', encoding="utf-8")
    (folder / "features").mkdir()
    (folder / "features" / "__init__.py").write_text("", encoding="utf-8")
    return testing.project(folder)


def values(project: FeatureProject, world: World) -> list[dict[str, object]]:
    """Return the values at each row of the spine of a world, computed over given rows."""
    rows, groups = project.given(events=worlds.table(world)), worlds.groups(world)
    return [rows.values(groups, at=hour(at), request={"factor": float(user)}, user_id=user) for user, at in world.spine]


@settings(max_examples=examples(10, 100))
@given(world=worlds.worlds())
def test_values_over_given_rows_are_those_of_plain_python(empty_project: FeatureProject, world: World) -> None:
    """Windows, ttl, late rows, ties, derived, request-time data and keys by features, for random rows."""
    assert values(empty_project, world) == worlds.expected(world)


@pytest.mark.slow
@settings(max_examples=examples(3, 30))
@given(world=worlds.worlds())
def test_values_over_given_rows_are_those_of_a_training_set(empty_project: FeatureProject, world: World) -> None:
    """Of a store with the same declarations and rows."""
    with tempfile.TemporaryDirectory() as name:
        worlds.write(world, Path(name))
        store = apply_declared(Path(name), worlds.declare(world))
        training = store.training_set(worlds.groups(world), worlds.spine(world), timestamp="asked").arrow().to_pylist()
        assert values(empty_project, world) == [{each: row[each] for each in worlds.FEATURES} for row in training]
