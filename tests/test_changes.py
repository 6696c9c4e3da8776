"""Change without breaking anyone, shown on random histories: edits of a small project, applied to real stores."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import duckdb
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from featdsl import FeatureStore, pipeline
from featdsl.apply import events, garbage
from featdsl.apply import execute as runner
from featdsl.definitions.catalog import Catalog
from featdsl.definitions.snapshot import Snapshot
from featdsl.errors import Origin
from featdsl.pipeline import Planned
from featdsl.plan import planfile
from featdsl.plan.document import BuildTable
from featdsl.project.settings import Project
from featdsl.stores import Store
from tests.budgets import examples
from tests.conftest import Workspace
from tests.test_properties import a_store

pytestmark = pytest.mark.slow
EXAMPLES = examples(2, 2)
"""How many histories each property is shown on; take a hundred after a change of how plans are made."""
histories_of = settings(
    max_examples=EXAMPLES,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # a history takes seconds, to make it smaller many minutes
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

PLAIN = [
    "int|a",
    "int|a % 3",
    "float|a",
    "float|b",
    "float|a + b",
    "float|coalesce(b, 0)",
    "DECIMAL(9, 1)|CAST(b AS DECIMAL(9, 1))",
]
"""What a feature may be that is a value of a row: its type and its SQL."""
WINDOWED = ["float|sum(b)", "int|count(*)", "float|avg(a)", "int|last(a ORDER BY ts)"]
WINDOWS = ["1 day", "3 days"]
SOURCES = ["SELECT * FROM {{ raw }}", "SELECT * REPLACE (b * 2 AS b) FROM {{ raw }}", "FROM {{ raw }} WHERE a <> 2"]
TTLS = [None, "1 day", "2 days"]


# A project, and what may be done to it


@dataclass(frozen=True)
class World:
    """A project as plain data: features by address, sets by `name@version`, and what counts beside them.

    What ends in 0 and what ends in 1 have nothing to do with each other, unless an edit makes one read the other.
    """

    base: Mapping[str, tuple[str, str | None]] = field(default_factory=dict)
    derived: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    sets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    models: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, int] = field(default_factory=lambda: {"s0": 0, "s1": 0})
    ttls: Mapping[str, str | None] = field(default_factory=dict)
    teams: Mapping[str, str] = field(default_factory=dict)
    words: Mapping[str, str] = field(default_factory=dict)
    source: str = SOURCES[0]
    spaces: str = " "

    @property
    def features(self) -> list[str]:
        """The address of each feature."""
        return sorted([*self.base, *self.derived])


Edit = Callable[[World, st.DrawFn, str], World]
"""Changes what ends in one of these digits."""


def part(names: Iterable[str], digits: str) -> list[str]:
    """Return the names whose group, set or model ends in one of these digits."""
    return sorted(name for name in names if name.partition(".")[0].partition("@")[0][-1] in digits)


def put_base(world: World, draw: st.DrawFn, digits: str) -> World:
    """Add a feature over the source, or change its type, its SQL or its window."""
    digit = draw(st.sampled_from(digits))
    name = f"g{digit}.g{digit}_f{draw(st.integers(0, 2))}"
    windowed = draw(st.booleans())
    what = draw(st.sampled_from(WINDOWED if windowed else PLAIN))
    return replace(world, base={**world.base, name: (what, draw(st.sampled_from(WINDOWS)) if windowed else None)})


def put_derived(world: World, draw: st.DrawFn, digits: str) -> World:
    """Add a feature over other features, or change what it is over."""
    inputs = part(world.base, digits)
    if not inputs:
        return world
    digit = draw(st.sampled_from(digits))
    name = f"d{digit}.d{digit}_f{draw(st.integers(0, 1))}"
    chosen = draw(st.lists(st.sampled_from(inputs), min_size=1, max_size=2, unique=True))
    return replace(world, derived={**world.derived, name: tuple(chosen)})


def remove_feature(world: World, draw: st.DrawFn, digits: str) -> World:
    """Remove a feature, with all that names it."""
    names = part(world.features, digits)
    if not names:
        return world
    gone = draw(st.sampled_from(names))
    derived = {name: over for name, over in world.derived.items() if gone != name and gone not in over}
    base = {name: what for name, what in world.base.items() if name != gone}
    return without_the_lost(replace(world, base=base, derived=derived))


def without_the_lost(world: World) -> World:
    """Return the project without sets of features, and without models of sets, that are not there."""
    sets = {name: members for name, members in world.sets.items() if set(members) <= set(world.features)}
    return replace(world, sets=sets, models={name: of for name, of in world.models.items() if of in sets})


def add_set(world: World, draw: st.DrawFn, digits: str) -> World:
    """Make the next version of a set, which may have the features of the one before."""
    names = part(world.features, digits)
    if not names:
        return world
    name = f"s{draw(st.sampled_from(digits))}"
    version = world.versions[name] + 1
    members = draw(st.lists(st.sampled_from(names), min_size=1, max_size=3, unique=True))
    return replace(
        world,
        sets={**world.sets, f"{name}@{version}": tuple(members)},
        versions={**world.versions, name: version},
    )


def remove_set(world: World, draw: st.DrawFn, digits: str) -> World:
    """Remove a set version, with the model that uses it."""
    names = part(world.sets, digits)
    gone = draw(st.sampled_from(names)) if names else None
    return without_the_lost(replace(world, sets={name: of for name, of in world.sets.items() if name != gone}))


def move_model(world: World, draw: st.DrawFn, digits: str) -> World:
    """Let a model use a set version, another one than before, or let it go."""
    digit = draw(st.sampled_from(digits))
    of = draw(st.sampled_from([None, *part(world.sets, digits)]))
    others = {name: used for name, used in world.models.items() if name != f"m{digit}"}
    return replace(world, models=others if of is None else {**others, f"m{digit}": of})


def change_ttl(world: World, draw: st.DrawFn, digits: str) -> World:
    """Let the values of a group hold for another time."""
    return replace(world, ttls={**world.ttls, f"g{draw(st.sampled_from(digits))}": draw(st.sampled_from(TTLS))})


def move_group(world: World, draw: st.DrawFn, digits: str) -> World:
    """Give a group to another team."""
    group = f"{draw(st.sampled_from('gd'))}{draw(st.sampled_from(digits))}"
    return replace(world, teams={**world.teams, group: draw(st.sampled_from(["north", "south"]))})


def describe(world: World, draw: st.DrawFn, digits: str) -> World:
    """Say something else of a feature."""
    names = part(world.features, digits)
    said = {draw(st.sampled_from(names)): draw(st.sampled_from(["One.", "Two."]))} if names else {}
    return replace(world, words={**world.words, **said})


def change_source(world: World, draw: st.DrawFn, digits: str) -> World:
    """Change the query that all rows come from."""
    return replace(world, source=draw(st.sampled_from(SOURCES)))


def reformat(world: World, draw: st.DrawFn, digits: str) -> World:
    """Write all SQL with other spaces, and mostly with a comment."""
    return replace(world, spaces=draw(st.sampled_from([" ", "  ", "\\n"])))


OF_A_TEAM: list[Edit] = [
    put_base, put_base, put_base, put_derived, put_derived, remove_feature, add_set, add_set, remove_set, move_model,
    change_ttl, move_group, describe,
]  # fmt: skip
ANY: list[Edit] = [*OF_A_TEAM, change_source, reformat]


@st.composite
def worlds(draw: st.DrawFn, parts: Sequence[str] = ("01",)) -> World:
    """Return a project with features, sets and models, of which no part reads another."""
    world = put_base(put_base(World(), draw, "0"), draw, "1")
    for digits in parts:
        for edit in [put_base, put_derived, add_set, add_set, move_model, put_derived]:
            world = edit(world, draw, digits)
    return world


@st.composite
def histories(draw: st.DrawFn, most: int = 6) -> list[World]:
    """Return a project, and what it was after each of some edits."""
    return [*edited(draw, draw(worlds()), ANY, "01", draw(st.integers(2, most)))]


def edited(draw: st.DrawFn, world: World, edits: list[Edit], digits: str, number: int) -> Iterator[World]:
    """Yield a project, and what it is after each of so many edits."""
    yield world
    for _ in range(number):
        world = draw(st.sampled_from(edits))(world, draw, digits)
        yield world


# As files


def files(world: World) -> dict[str, str]:
    """Return the Python files of a project."""
    parts = {"north": ["from features.rows import rows, user"], "south": ["from features.rows import rows, user"]}
    for group in sorted({name.partition(".")[0] for name in world.features}):
        parts[world.teams.get(group, "north")].append(written_group(world, group))
    for name in sorted(world.sets):
        address, _, version = name.partition("@")
        parts["south"].append(
            f'{address}_{version} = FeatureSet("{address}", version={version}, features={list(world.sets[name])!r})'
        )
    parts["south"] += [
        f'{name} = Model("{name}", features={of.replace("@", "_")})' for name, of in sorted(world.models.items())
    ]
    query = "{{ raw }}".join(respaced(world, text) for text in world.source.split("{{ raw }}"))
    imported = "from featdsl import Entity, Feature, FeatureGroup, FeatureSet, Model, Source\n"
    rows = f'''
user = Entity("user", keys={{"user_id": int}})
raw = Source("raw", path="rows.parquet", timestamp="ts")
rows = Source("rows", sql="{query}", timestamp="ts")
'''
    return {
        "features/__init__.py": "",
        "features/rows/__init__.py": imported + rows,
        **{f"features/{team}/__init__.py": "\n\n".join([imported, *texts, ""]) for team, texts in parts.items()},
    }


def respaced(world: World, sql: str) -> str:
    """Return SQL as this project writes it."""
    return sql.replace(" ", world.spaces) + (" /* as ever */" if world.spaces != " " else "")


def written_group(world: World, group: str) -> str:
    """Return a group as a class."""
    names = [name for name in world.features if name.startswith(f"{group}.")]
    inputs = sorted({upstream for name in names for upstream in world.derived.get(name, ())})
    ttl = world.ttls.get(group)
    whence = f"inputs={inputs!r}" if group.startswith("d") else f"source=rows{f', ttl={ttl!r}' if ttl else ''}"
    lines = [f'class Group(FeatureGroup, entity=user, {whence}, name="{group}"):']
    for name in names:
        what, window = world.base.get(name, ("", None))
        dtype, _, sql = what.partition("|")
        if name in world.derived:
            dtype = "float"
            sql = " + ".join(f"coalesce({upstream.partition('.')[2]}, 0)" for upstream in world.derived[name])
        given = [dtype if dtype.islower() else f'"{dtype}"', f'sql="{respaced(world, sql)}"']
        given += [f'window="{window}"'] if window else []
        given += [f'description="{world.words[name]}"'] if name in world.words else []
        lines.append(f"    {name.partition('.')[2]} = Feature({', '.join(given)})")
    return "\n".join(lines)


# In a store


@dataclass(frozen=True)
class Place:
    """A project with a store of its own."""

    project: Project
    store: Store

    def plan(self, world: World, env: str = "prod") -> Planned:
        """Return the plan that takes an environment to a project."""
        for name, text in files(world).items():
            path = self.project.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return pipeline.make_plan(self.project, self.store, env)

    def run(self, planned: Planned) -> None:
        """Run a plan that does anything."""
        assert planned.plan.blocks == ()
        assert planfile.from_json(planfile.to_json(planned.plan), name="plan.json") == planned.plan
        if not planned.plan.empty:
            runner.apply(planned.plan, self.project, self.store, listen=events.ignore)

    def apply(self, world: World, env: str = "prod") -> State:
        """Apply a project; nothing must be left to do. Return what there is then."""
        self.run(self.plan(world, env))
        left = self.plan(world, env).plan
        assert left.empty, [step.step for step in left.steps]
        return self.state(env)

    def state(self, env: str = "prod") -> State:
        """Return what an environment holds, and all that can be read of it."""
        return State(self.store.read(env), *self._read(env))

    def _read(self, env: str) -> tuple[dict[str, object], dict[str, object]]:
        snapshot = self.store.read(env)
        store = FeatureStore(self.project.root, env=env)
        asked: dict[str, list[str] | str] = {name: name for name in snapshot.catalog.sets}
        asked |= {"features": sorted(snapshot.catalog.features)} if snapshot.catalog.features else {}
        values = {name: (self.trained(store, each), self.served(store, each)) for name, each in asked.items()}
        return values, self._published(env, list(snapshot.views))

    def trained(self, store: FeatureStore, features: list[str] | str) -> list[dict[str, object]]:
        """Return values at many times: those of rows, between them, before all and after all."""
        spine = """
            SELECT user_id, TIMESTAMP '2025-12-31' + INTERVAL (hours) HOUR AS ts
            FROM range(4) AS users(user_id), range(0, 240, 18) AS times(hours) ORDER BY ALL
        """
        return store.training_set(features, spine, timestamp="ts").arrow().to_pylist()

    def served(self, store: FeatureStore, features: list[str] | str) -> object:
        """Return the values of now."""
        return store.get_features(features, rows=[{"user_id": user} for user in range(4)])

    def _published(self, env: str, views: list[str]) -> dict[str, object]:
        """Return the rows of each view, as an analyst reads it."""
        with duckdb.connect(str(self.project.store / "store.duckdb"), read_only=True) as connection:
            query = "SELECT view_name FROM duckdb_views() WHERE schema_name = ? ORDER BY ALL"
            assert [name for (name,) in connection.execute(query, [env]).fetchall()] == sorted(views)
            return {name: sorted(map(repr, connection.execute(f"FROM {env}.{name}").fetchall())) for name in views}


@dataclass(frozen=True)
class State:
    """What an environment holds, the values of its features and of each set version, and the rows of each view."""

    snapshot: Snapshot
    values: Mapping[str, object]
    views: Mapping[str, object]

    @property
    def registry(self) -> object:
        """Everything that is recorded, tables by their names included, but for the lines where it is written."""
        placeless = [replace(each, origin=Origin("", 0)) for each in self.snapshot.catalog]
        versions = {key: replace(each, origin=Origin("", 0)) for key, each in self.snapshot.versions.items()}
        return Catalog.of(placeless), versions, self.snapshot.views

    @property
    def readable(self) -> tuple[object, object]:
        """Every value that can be read."""
        return self.values, self.views


@contextmanager
def a_place() -> Iterator[Place]:
    """Yield an empty project with rows."""
    with a_store() as (project, store):
        (project.root / "featproject.toml").write_text('[project]\nname = "random"\n', encoding="utf-8")
        yield Place(project, store)


# What holds


@histories_of
@given(histories())
def test_what_a_set_version_means_never_changes(history: list[World]) -> None:
    """Whatever is applied afterwards, training and serving give what they gave when it was applied first."""
    with a_place() as place:
        first: dict[str, object] = {}
        for world in history:
            state = place.apply(world)
            for name in world.sets:
                assert state.values[name] == first.setdefault(name, state.values[name])


@histories_of
@given(histories(most=4), st.data())
def test_going_back_restores_every_value_and_definition(history: list[World], data: st.DataObject) -> None:
    """To any state and forward again, and nothing is computed for it."""
    with a_place() as place:
        states = {(state := place.apply(world)).snapshot.head.serial: state for world in history}
        for serial in [data.draw(st.sampled_from(sorted(states))), max(states)]:
            planned = pipeline.rollback(place.project, place.store, serial)
            assert not [step for step in planned.plan.steps if isinstance(step, BuildTable)]
            place.run(planned)
            assert place.state().readable == states[serial].readable
            assert place.state().registry == states[serial].registry


@histories_of
@given(worlds(parts=("0", "1")), st.data())
def test_teams_that_edit_apart_may_apply_in_any_order(world: World, data: st.DataObject) -> None:
    """The registry, the names of tables and all values are the same in the end."""
    number = st.integers(1, 3)
    *_, one = data.draw(edits_of(world, "0", data.draw(number)))
    *_, other = data.draw(edits_of(world, "1", data.draw(number)))
    both = merged(one, other)
    with a_place() as here, a_place() as there:
        here.apply(world)
        there.apply(world)
        here.apply(one)
        there.apply(other)

        left, right = here.apply(both), there.apply(both)

        assert left.registry == right.registry
        assert left.readable == right.readable
        assert left.snapshot.tables.keys() == right.snapshot.tables.keys()


@st.composite
def edits_of(draw: st.DrawFn, world: World, digit: str, number: int) -> list[World]:
    """Return what a project is after each of some edits of one team."""
    return [*edited(draw, world, OF_A_TEAM, digit, number)]


def merged(one: World, other: World) -> World:
    """Return the project with what ends in 0 from the one, and what ends in 1 from the other."""

    def both(name: str) -> dict[str, object]:
        left, right = getattr(one, name), getattr(other, name)
        return {key: left[key] for key in part(left, "0")} | {key: right[key] for key in part(right, "1")}

    mappings = ("base", "derived", "sets", "models", "versions", "ttls", "teams", "words")
    return without_the_lost(replace(one, **{name: both(name) for name in mappings}))


@histories_of
@given(histories(most=4))
def test_promoting_what_was_tried_is_as_applying_it(history: list[World]) -> None:
    """Prod stays as it was for as long as it is tried, and nothing is computed when it is promoted."""
    with a_place() as tried, a_place() as direct:
        before = tried.apply(history[0])
        direct.apply(history[0])
        for world in history[1:]:
            tried.apply(world, "trial")
            assert tried.state() == replace(before, snapshot=replace(before.snapshot, tables=tried.store.read().tables))

        planned = tried.plan(history[-1])
        tried.run(planned)

        assert not [step for step in planned.plan.steps if isinstance(step, BuildTable)]
        now = direct.apply(history[-1])
        assert tried.state().registry == now.registry
        assert tried.state().readable == now.readable
        assert tried.plan(history[-1]).plan.empty


@histories_of
@given(histories(), st.data())
def test_letting_go_of_what_is_old_changes_no_value(history: list[World], data: st.DataObject) -> None:
    """Of prod, of an environment, of what is pinned; what nobody reads is gone, and both have nothing to do."""
    with a_place() as place:
        last = {"prod": history[0]}
        place.apply(history[0])
        for world in history[1:]:
            env = data.draw(st.sampled_from(["prod", "trial"]))
            place.apply(world, env)
            last[env] = world
        before = {env: place.state(env) for env in last}

        now = datetime.now(UTC) + timedelta(minutes=1)
        garbage.collect(garbage.find(place.store, keep=0, now=now), place.project, place.store, now=now)

        read = {each.table for env in last for each in place.store.read(env).versions.values() if each.table}
        assert place.store.read().tables.keys() == read
        for env, world in last.items():
            assert place.state(env).readable == before[env].readable
            assert place.state(env).registry == before[env].registry
            assert place.plan(world, env).plan.empty


@histories_of
@given(histories(most=2))
def test_a_plan_with_a_preview_is_equal_after_a_journey_as_json(history: list[World]) -> None:
    """With every figure in it; others are sent on it whenever they are run here."""
    with a_place() as place:
        for world in history:
            planned = place.plan(world)
            plan = pipeline.previewed(planned, place.project, place.store, sample=None).plan
            assert planfile.from_json(planfile.to_json(plan), name="plan.json") == plan
            place.run(planned)


def test_examples_are_projects() -> None:
    """What is drawn is what people write: a world with everything in it loads, and is applied."""
    world = World(
        base={"g0.g0_f0": ("float|b", None), "g1.g1_f0": ("float|sum(b)", "3 days")},
        derived={"d0.d0_f0": ("g0.g0_f0", "g1.g1_f0")},
        sets={"s0@1": ("d0.d0_f0", "g0.g0_f0")},
        models={"m0": "s0@1"},
        ttls={"g0": "2 days"},
        teams={"d0": "south"},
        words={"g0.g0_f0": "One."},
    )
    with a_place() as place:
        found = place.apply(world)

        assert found.snapshot.catalog.features["d0.d0_f0"].owner == "south"
        values, _ = found.values["s0@1"]
        assert {"user_id": 2, "ts": datetime(2026, 1, 4, 12), "d0_f0": 2.0, "g0_f0": 1.0} in values  # noqa: DTZ001 - as read


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('timestamp="ts"', 'timestamp="TS"'),
        ('available_at="known"', 'available_at="Known"'),
        ('valid_to="until"', 'valid_to="UNTIL"'),
        ('tie_break=("n", "m")', 'tie_break=("N", "m")'),
        ('schema={"n": int}', 'schema={"N": int}'),
        ('keys={"user_id": "uid"}', 'keys={"user_id": "UID"}'),
        ('Feature(int, sql="n")', 'Feature(int, sql="N")'),
    ],
)
def test_letter_case_of_a_column_is_no_change(workspace: Workspace, old: str, new: str) -> None:
    """SQL has none, wherever a declaration names a column."""
    declared = """
from featdsl import Entity, Feature, FeatureGroup, Source

user = Entity("user", keys={"user_id": int})
facts = Source("facts", path="data/a.csv", timestamp="ts", available_at="known", tie_break=("n", "m"), schema={"n": int})
ends = Source("ends", path="data/a.csv", timestamp="ts", valid_to="until")


class Facts(FeatureGroup, entity=user, source=facts, keys={"user_id": "uid"}):
    n = Feature(int, sql="n")


class Ends(FeatureGroup, entity=user, source=ends, keys={"user_id": "uid"}):
    m = Feature(int, sql="m")
"""
    assert old in declared
    day = "2026-01-0{}"
    row = ",".join(["1", day.format(1), day.format(2), day.format(3), "5", "6"])
    workspace.write({
        "featproject.toml": '[project]\nname = "p"\n',
        "features/__init__.py": declared,
        "data/a.csv": f"uid,ts,known,until,n,m\n{row}\n",
    })  # fmt: skip
    workspace.apply()
    workspace.write({"features/__init__.py": declared.replace(old, new)})
    planned = workspace.run("plan", "--check")
    assert planned.returncode == 0, planned.stdout + planned.stderr
