"""Files are edited, replaced, removed, renamed and restored: what a refresh stores is what computing all of it again gives."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.budgets import examples
from tests.test_refresh import PHASES, Story

FEATURES = """
from featdsl import Entity, Feature, FeatureGroup, Source

user = Entity("user", keys={"user_id": int})
one = Source("one", path="data/*.csv", timestamp="ts", tie_break="i", lookback="1 second")
two = Source("two", path="data/*.parquet", timestamp="ts", available_at="seen", tie_break="i")
three = Source("three", path="data/*.jsonl", timestamp="ts", tie_break="i")
both = Source("both", sql="SELECT one.*, (SELECT max(v) FROM {{ three }}) AS most FROM {{ one }} AS one", timestamp="ts",
              tie_break="i", lookback="1 day")


class Latest(FeatureGroup, entity=user, source=one):
    v = Feature(int)


class Known(FeatureGroup, entity=user, source=two):
    known = Feature(int, sql="v")


class Windows(FeatureGroup, entity=user, source=three):
    total = Feature(int, sql="sum(v)", windows=["1 hour", "lifetime"])
    middle = Feature(float, sql="median(v)", window="1 hour")


class Joined(FeatureGroup, entity=user, source=both):
    share = Feature(float, sql="v / most")


class Derived(FeatureGroup, entity=user, inputs=[Latest.v, Known.known]):
    pair = Feature(int, sql="coalesce(v, 0) * 1000 + coalesce(known, 0)")
"""

Rows = Sequence[tuple[int, int, int, int]]
"""For each row the user, seconds after the day began, seconds until it was known, and the value."""

PATHS = [f"{name}.{ending}" for name in "abc" for ending in ("csv", "parquet", "jsonl")]
ROWS = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 7_200), st.integers(0, 900), st.integers(1, 20)), min_size=1, max_size=6
)
EDIT = st.one_of(
    st.tuples(st.just("write"), st.sampled_from(PATHS), ROWS),
    st.tuples(st.just("value"), st.sampled_from(PATHS), st.integers(21, 99)),
    st.tuples(st.sampled_from(["remove", "touch", "restore"]), st.sampled_from(PATHS), st.none()),
    st.tuples(st.just("rename"), st.sampled_from(PATHS), st.sampled_from("abc")),
)
"""What is done to a file."""


class Files:
    """The folder of a project's files, and what each file has held."""

    def __init__(self, root: Path) -> None:
        self.data = root / "data"
        self.data.mkdir()
        self._held: dict[Path, list[bytes]] = {}
        self._number = 0

    def write(self, name: str, rows: Rows) -> None:
        """Write rows, each of which has a number that no other one has."""
        start = "TIMESTAMP '2026-01-01'"
        values = ", ".join(f"({self._number + n}, {', '.join(map(str, row))})" for n, row in enumerate(rows, start=1))
        self._number += len(rows)
        select = (
            f"SELECT i, user_id, {start} + to_seconds(s) AS ts, {start} + to_seconds(s + d) AS seen, v "
            f"FROM (VALUES {values}) t(i, user_id, s, d, v)"
        )
        path = self.data / name
        form = {".csv": "(FORMAT csv, HEADER)", ".parquet": "(FORMAT parquet)", ".jsonl": "(FORMAT json)"}[path.suffix]
        duckdb.execute(f"COPY ({select}) TO '{path}' {form}")
        self._held.setdefault(path, []).append(path.read_bytes())

    def edit(self, what: str, name: str, more: Rows | int | str | None) -> None:
        """Do something to a file, where that can be done: each kind keeps one file at least, which its source must have."""
        path = self.data / name
        if what == "write":
            self.write(name, more)  # type: ignore[arg-type]
        elif what == "restore" and path in self._held:
            path.write_bytes(self._held[path][0])
        elif not path.exists():
            return
        elif what == "value" and path.suffix == ".csv":
            self._put_value(path, str(more))
        elif what == "touch":
            path.touch()
        elif what in {"remove", "rename"} and name[0] != "a":
            target = self.data / f"{more}{path.suffix}"
            path.unlink() if what == "remove" else path.replace(target)

    def _put_value(self, path: Path, value: str) -> None:
        """Put another value into the first row, and leave the file as long, and its time of writing as it was."""
        before = path.stat()
        header, first, *rest = path.read_text(encoding="utf-8").splitlines()
        fields = first.split(",")
        fields[-1] = value.rjust(len(fields[-1]), "0")[: len(fields[-1])] if len(fields[-1]) < len(value) else value
        path.write_text("\n".join([header, ",".join(fields), *rest, ""]), encoding="utf-8")
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@settings(max_examples=examples(2, 12), deadline=None, suppress_health_check=list(HealthCheck), phases=PHASES)
@given(st.lists(ROWS, min_size=6, max_size=6), st.lists(st.lists(EDIT, min_size=1, max_size=3), min_size=1, max_size=4))
def test_a_refresh_stores_what_computing_everything_stores(
    first: Sequence[Rows], rounds: Sequence[Sequence[tuple[str, str, Rows | int | str | None]]]
) -> None:
    """After any edits of any files; and the next refresh has nothing to do."""
    with TemporaryDirectory() as folder:
        root = Path(folder)
        story = Story(root, FEATURES)
        files = Files(root)
        for name, rows in zip(PATHS[:6], first, strict=True):
            files.write(name, rows)
        story.apply()
        for edits in rounds:
            for edit in edits:
                files.edit(*edit)
            story.refresh()
            assert story.contents() == story.anew()
            assert not story.refresh().changed
