"""Refresh: only what is new is computed, and what is stored then is what computing all of it again would give."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from featdsl import pipeline
from featdsl.apply import apply
from featdsl.events import ignore
from featdsl.project import Project, load
from featdsl.refresh import Asked, Result
from featdsl.stores import open_store
from tests.conftest import Workspace

EXAMPLES = int(os.environ.get("FEATDSL_EXAMPLES", "8"))
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)
"""Without shrinking: an example takes seconds, and is small as it is."""
LOOKBACK = 600

FEATURES = """
from featdsl import Entity, Feature, FeatureGroup, FeatureSet, Source

user = Entity("user", keys={"user_id": int})
team = Entity("team", keys={"team_id": int})
world = Source("world", path="data/%(name)s.parquet", timestamp="ts", tie_break="i", lookback="600 seconds")
rows = Source("rows", path="data/%(name)s.parquet", timestamp="ts", tie_break="i", lookback="600 seconds")
late = Source("late", path="data/%(name)s.parquet", timestamp="ts", available_at="seen", tie_break="i",
              lookback="600 seconds")
exact = Source("exact", path="data/%(name)s.parquet", timestamp="own", lookback="600 seconds")
query = Source("query", sql="SELECT *, v * 2 AS w FROM {{ rows }} WHERE v %% 2 = 0", timestamp="ts", tie_break="i",
               lookback="600 seconds")
every = Source("every", path="data/%(name)s.parquet")


class Latest(FeatureGroup, entity=user, source=rows):
    v = Feature(int, sql="v")
    price = Feature("DECIMAL(9,2)", sql="price")


class Known(FeatureGroup, entity=user, source=late, ttl="1 hour"):
    known = Feature(int, sql="v")


class Exact(FeatureGroup, entity=team, source=exact, keys={"team_id": "team"}):
    there = Feature(int, sql="v + team")


class Even(FeatureGroup, entity=user, source=query):
    even = Feature(int, sql="w")


class Everyone(FeatureGroup, entity=None, source=world):
    newest = Feature(int, sql="v")


class Static(FeatureGroup, entity=None, source=Source("one", sql="SELECT max(v) AS v FROM {{ every }}")):
    greatest = Feature(int, sql="v")


class Windows(FeatureGroup, entity=user, source=rows):
    total = Feature("HUGEINT", sql="sum(v)", windows=["10 minutes", "2 hours"])
    paid = Feature("DECIMAL(38,2)", sql="sum(price) FILTER (WHERE v %% 3 = 0)", window="lifetime")
    times = Feature(int, sql="count(*)", window="1 hour")
    middle = Feature(float, sql="median(v)", window="1 hour")
    newest = Feature(int, sql="last(v ORDER BY i)", window="lifetime")


class KnownWindows(FeatureGroup, entity=user, source=late):
    late_total = Feature("HUGEINT", sql="sum(v)", window="1 hour")


class Derived(FeatureGroup, entity=user, inputs=[Latest.v, Windows.times, Known.known]):
    pair = Feature(int, sql="coalesce(v, 0) * 1000 + coalesce(times, 0) * 10 + coalesce(known, 0)")


class Coarser(FeatureGroup, entity=user, inputs=[Derived.pair, Everyone.newest]):
    mixed = Feature(int, sql="pair - coalesce(newest, 0)")


all_v1 = FeatureSet("all", version=1, features=[Latest.v, Known.known, Windows.total["2 hours"], Coarser.mixed])
"""

Row = tuple[int, int, int, int]
"""User, seconds after the day began, seconds until it was known, value."""


def rows(since: int, until: int) -> st.SearchStrategy[list[Row]]:
    """Rows of a span of time."""
    one = st.tuples(st.integers(0, 3), st.integers(since, until), st.integers(0, 900), st.integers(-20, 20))
    return st.lists(one, min_size=0, max_size=12)


class Story:
    """A project whose one source grows, and its twin that computes everything anew."""

    def __init__(self, root: Path, name: str) -> None:
        self.workspace = Workspace(root).write({
            "featproject.toml": '[project]\nname = "story"\n',
            "features/__init__.py": "",
            "features/all.py": FEATURES % {"name": name},
        })  # fmt: skip
        self.project = load(root)
        self.count = 0

    def write(self, path: str, new: Sequence[Row]) -> None:
        """Write rows as a Parquet file; each has a number and, in `own`, a time that no other has."""
        start = "TIMESTAMP '2026-01-01'"
        listed = [(self.count + n, *row) for n, row in enumerate(new)]
        self.count += len(new)
        values = ", ".join(map(str, listed)) or "(0, 0, 0, 0, 0)"
        self.workspace.parquet(
            path,
            f"""SELECT i, user_id, user_id % 2 AS team, {start} + to_seconds(s) AS ts, {start} + to_seconds(s + d) AS seen,
            {start} + to_seconds(s) + to_microseconds(i) AS own, v, CAST(v * 0.25 AS DECIMAL(9,2)) AS price
            FROM (VALUES {values}) t(i, user_id, s, d, v) {"" if listed else "WHERE false"}""",
        )

    def apply(self) -> None:
        """Apply what is declared."""
        store = open_store(self.project)
        planned = pipeline.make_plan(self.project, store)
        apply(planned.plan, self.project, store, listen=ignore, rows=planned.rows, functions=planned.functions)

    def refresh(self, **asked: Any) -> Result:
        """Bring everything up to date."""
        return pipeline.refresh(self.project, open_store(self.project), Asked(**asked), listen=ignore)

    def contents(self) -> dict[str, list[str]]:
        """Return the rows of every table and view, sorted, as text."""
        return contents(self.project)

    def anew(self) -> dict[str, list[str]]:
        """Return what a store has that computes everything from the sources as they are."""
        twin = Story.__new__(Story)
        with TemporaryDirectory() as folder:
            settings_ = self.project.settings.model_copy(
                update={"store": self.project.settings.store.model_copy(update={"path": folder + "/store"})}
            )
            twin.project = Project(self.project.root, settings_)
            twin.apply()
            return twin.contents()


def contents(project: Project) -> dict[str, list[str]]:
    """Return the rows of every table and view of a store, sorted, as text."""
    with duckdb.connect(str(project.store / "store.duckdb"), read_only=True) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        views = connection.execute(
            "SELECT schema_name, view_name FROM duckdb_views() WHERE NOT internal ORDER BY ALL"
        ).fetchall()
        return {
            f"{schema}.{view}": sorted(
                str(row) for row in connection.execute(f'SELECT * FROM "{schema}"."{view}"').fetchall()
            )
            for schema, view in views
        }


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), phases=PHASES)
@given(st.lists(rows(0, 7_200), min_size=1, max_size=4))
def test_new_files_give_what_all_files_give(arrivals: list[list[Row]]) -> None:
    """However late the rows in them are."""
    with TemporaryDirectory() as folder:
        story = Story(Path(folder), "*")
        story.write("data/0.parquet", arrivals[0])
        story.apply()
        for number, new in enumerate(arrivals[1:], start=1):
            story.write(f"data/{number}.parquet", new)
            story.refresh()
            # What a query makes of files is told by time alone.
            got, expected = (
                {k: v for k, v in each.items() if "even" not in k} for each in (story.contents(), story.anew())
            )
            assert got == expected
        assert not story.refresh().changed


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), phases=PHASES)
@given(st.data(), st.integers(1, 3))
def test_a_file_that_grows_gives_what_all_of_it_gives(data: st.DataObject, times: int) -> None:
    """As long as no row is later than the lookback."""
    with TemporaryDirectory() as folder:
        story = Story(Path(folder), "all")
        whole = [(0, 1_000, 0, 1), *data.draw(rows(0, 2_000))]
        story.write("data/all.parquet", whole)
        story.apply()
        for _ in range(times):
            # The earliest of the latest times that a table has: for some user's row, when it was known.
            latest = max(seconds for _, seconds, _, _ in whole)
            known = max(seconds + delay for _, seconds, delay, _ in whole)
            new = data.draw(rows(latest - LOOKBACK + 1, latest + 3_000))
            whole += [(user, seconds, max(delay, known - LOOKBACK - seconds), v) for user, seconds, delay, v in new]
            story.count = 0
            story.write("data/all.parquet", whole)
            story.refresh()
            assert story.contents() == story.anew()
