"""The decision which rows of a table a refresh computes, from values alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from featdsl.apply.build_specs import BuildSpec
from featdsl.apply.file_changes import Changes, Listing
from featdsl.apply.increments import Increment, Wish, decide
from featdsl.apply.source_changes import SourceChanges
from featdsl.definitions.sources import SourceDefinition, SourceFormat
from featdsl.definitions.stored_tables import Reading
from featdsl.engines.file_states import FileState
from featdsl.errors import Origin
from featdsl.plan.document import BuildTable

HERE = Origin("features.py", 1)
FILE = FileState("/p/a.parquet", 10, 1)


@dataclass
class Times:
    """Event times of a table and of its source; `read` notes which were asked for."""

    last_time: str | None = "2026-01-09 00:00:00"
    first_times: dict[str, str | None] = field(default_factory=dict)
    read: list[str] = field(default_factory=list)

    def read_from(self) -> str | None:
        """Return the last event time."""
        self.read.append("read_from")
        return self.last_time

    def last(self) -> str | None:
        """Return the last event time."""
        self.read.append("last")
        return self.last_time

    def after_last(self) -> str | None:
        """Return a microsecond more than the last event time."""
        self.read.append("after_last")
        return None if self.last_time is None else f"{self.last_time}.000001"

    def first_in(self, paths: Sequence[str]) -> str | None:
        """Return the first of the files' times."""
        self.read.append("first_in")
        return min((time for path in paths if (time := self.first_times[path])), default=None)


def spec(format_: SourceFormat = "parquet", *, lookback: int | None = None, timed: bool = True) -> BuildSpec:
    """Return the build spec of a table over one source."""
    source = SourceDefinition(
        name="rows", project="p", owner="o", description="", format=format_, location=("a.parquet",), timestamp="at",
        tie_break=None, lookback=lookback, fingerprint="f", origin=HERE,
    )  # fmt: skip
    step = BuildTable(
        group="g", table="t", sql='SELECT * FROM source."rows"', keys=("k",), timed=timed, columns=(), reads=(),
        source="rows", source_keys=("k",), reason="", origin=HERE,
    )  # fmt: skip
    return BuildSpec(build=step, sources=(source,))


def changes(changed: Changes | None = Changes(), **other: object) -> SourceChanges:  # noqa: B008 - frozen
    """Return the changes of a source of one file."""
    listing = Listing((FILE,))
    found = SourceChanges(spec(), Reading("2026-01-10 00:00:00"), listing, listing, changed, Path("/p"))
    return replace(found, **other)  # type: ignore[arg-type]


ADDED = Changes(added=("/p/b.parquet",))
EDITED = Changes(edited=("/p/a.parquet",))


@pytest.mark.parametrize(
    ("source", "wish", "times", "decided"),
    [
        (changes(), Wish(), Times(), Increment("nothing new", "its files are as they were")),
        (changes(listing=Listing(), listed_before=Listing()), Wish(), Times(), Increment("nothing new", "its rows came from memory")),
        (changes(), Wish(full=True), Times(), Increment("rebuilt", "asked for")),
        (changes(), Wish(lost=True), Times(), Increment("rebuilt", "it was lost from the store")),
        (changes(), Wish(since="2026-01-05"), Times(), Increment("extended", "asked for", since="2026-01-05")),
        (changes(EDITED), Wish(), Times(), Increment("rebuilt", "a.parquet was edited")),
        (changes(EDITED), Wish(since="2026-01-05"), Times(), Increment("rebuilt", "a.parquet was edited")),
        (changes(EDITED, spec=spec(timed=False)), Wish(since="2026-01-05"), Times(), Increment("rebuilt", "a.parquet was edited")),
        (changes(EDITED), Wish(), Times(None), Increment("rebuilt", "it had no rows")),
        (changes(None), Wish(), Times(), Increment("rebuilt", "which files were read is not known")),
        (
            changes(ADDED), Wish(), Times(first_times={"/p/b.parquet": "2026-01-10 00:00:00"}),
            Increment("extended", "1 new file", since="2026-01-10 00:00:00", files=("/p/b.parquet",)),
        ),
        (
            changes(ADDED), Wish(), Times(first_times={"/p/b.parquet": "2026-01-03 00:00:00"}),
            Increment("extended", "1 new file", since="2026-01-03 00:00:00"),
        ),
        (changes(ADDED), Wish(), Times(first_times={"/p/b.parquet": None}), Increment("nothing new", "1 new file without rows")),
        (
            changes(ADDED), Wish(), Times(first_times={"/p/b.parquet": "0044-03-15 00:00:00 (BC)"}),
            Increment("rebuilt", "its rows are as early as 0044-03-15 00:00:00 (BC)"),
        ),
        (
            changes(ADDED), Wish(since="2026-01-12 00:00:00"), Times(first_times={"/p/b.parquet": "2026-01-10 00:00:00"}),
            Increment("extended", "1 new file", since="2026-01-10 00:00:00", files=("/p/b.parquet",)),
        ),
        (
            changes(ADDED), Wish(upto="2026-01-11 00:00:00"), Times(first_times={"/p/b.parquet": "2026-01-10 00:00:00"}),
            Increment("extended", "1 new file", since="2026-01-10 00:00:00", files=("/p/b.parquet",), upto="2026-01-11 00:00:00"),
        ),
        (
            changes(ADDED), Wish(upto="2026-01-08 00:00:00"), Times(first_times={"/p/b.parquet": "2026-01-03 00:00:00"}),
            Increment("extended", "1 new file", since="2026-01-03 00:00:00", upto="2026-01-09 00:00:00.000001"),
        ),
        (
            changes(listed_before=Listing((FILE,), upto="2026-01-10 00:00:00")), Wish(), Times(),
            Increment("extended", "rows that --to left out", since="2026-01-10 00:00:00"),
        ),
        (
            changes(listing=Listing((FILE,), whole=False), spec=spec("table", lookback=3600)), Wish(), Times(),
            Increment("extended", "by time, 1 hour looked back", since="2026-01-09 00:00:00", unread=True),
        ),
        (
            changes(listing=Listing((FILE,), whole=False), spec=spec("table")), Wish(), Times(),
            Increment("rebuilt", "nothing tells which rows are new"),
        ),
        (
            changes(listing=Listing((FILE,), whole=False), spec=spec("table", lookback=3600)), Wish(since="2026-01-05"), Times(),
            Increment("extended", "asked for", since="2026-01-05", unread=True),
        ),
    ],
)  # fmt: skip
def test_a_decision_follows_from_the_changes_of_the_source(
    source: SourceChanges, wish: Wish, times: Times, decided: Increment
) -> None:
    """Edited files rebuild a table, added ones extend it, and nothing is computed if nothing changed."""
    assert decide(source, wish, times) == decided


def test_an_unchanged_source_costs_no_query() -> None:
    """Times are read only if the decision needs them."""
    times = Times()
    decide(changes(), Wish(), times)
    assert times.read == []
