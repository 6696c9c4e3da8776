"""Windowed training sets beside the strategies that one would write by hand in DuckDB: equal results, medians, ratios.

Run in the repository: python benchmarks/windows.py, or with --large for 10M events and 1M rows that ask. Data are made
once in --folder, if that is given. A strategy that takes three times as long as the best so far is stopped.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from featdsl import FeatureStore, pipeline
from featdsl.apply.events import ignore
from featdsl.apply.execute import apply
from featdsl.project.settings import load
from featdsl.stores import open_store

ROUNDS = 2
PATIENCE = 3.0
PATIENT = 20.0
"""Frames of OVER cannot be stopped: they are tried where featdsl itself takes so many seconds."""
CLOSE = 1.5
"""Only strategies so close to the best are measured again."""
DAY = 86_400
LENGTHS = {
    "short": {"1 hour": 3_600, "1 day": DAY, "3 days": 3 * DAY, "7 days": 7 * DAY, "14 days": 14 * DAY},
    "long": {f"{n} days": n * DAY for n in (7, 30, 90, 180, 365)},
}


@dataclass(frozen=True)
class Aggregate:
    """One aggregate: a function of an argument over the rows that meet a condition."""

    function: str
    argument: str
    dtype: str
    where: str = ""

    @property
    def sql(self) -> str:
        """The call as a feature declares it."""
        return self.over()

    def over(self, *conditions: str) -> str:
        """Return the call over the rows that meet further conditions."""
        where = " AND ".join([*conditions, *([self.where] if self.where else [])])
        return f"{self.function.format(self.argument)}{f' FILTER (WHERE {where})' if where else ''}"


COUNT, SUM, AVG, LEAST, MOST = "count({})", "sum({})", "avg({})", "min({})", "max({})"
ROWS = Aggregate(COUNT, "*", "BIGINT")
OF_KIND = Aggregate(COUNT, "*", "BIGINT", "kind = 'a'")
SETS = {
    "sums": [
        ROWS,
        OF_KIND,
        Aggregate(COUNT, "note", "BIGINT"),
        Aggregate(SUM, "qty", "BIGINT"),
        Aggregate(AVG, "qty", "DOUBLE"),
        Aggregate(SUM, "cents", "DECIMAL(38,2)"),
        Aggregate(AVG, "cents", "DOUBLE"),
        Aggregate(SUM, "qty", "BIGINT", "kind = 'b'"),
        Aggregate(AVG, "qty", "DOUBLE", "kind = 'b'"),
        Aggregate(SUM, "cents", "DECIMAL(38,2)", "kind = 'a'"),
    ],
    "mergeable": [
        ROWS,
        OF_KIND,
        Aggregate(SUM, "qty", "BIGINT"),
        Aggregate(AVG, "qty", "DOUBLE"),
        Aggregate(SUM, "amount", "DOUBLE"),
        Aggregate(AVG, "amount", "DOUBLE"),
        Aggregate(LEAST, "amount", "DOUBLE"),
        Aggregate(MOST, "amount", "DOUBLE"),
        Aggregate(MOST, "qty", "INTEGER"),
        Aggregate(LEAST, "cents", "DECIMAL(18,2)", "kind = 'b'"),
    ],
    "mixed": [
        ROWS,
        OF_KIND,
        Aggregate(SUM, "qty", "BIGINT"),
        Aggregate(SUM, "cents", "DECIMAL(38,2)"),
        Aggregate(AVG, "amount", "DOUBLE"),
        Aggregate(LEAST, "amount", "DOUBLE"),
        Aggregate(MOST, "amount", "DOUBLE"),
        Aggregate("stddev_samp({})", "amount", "DOUBLE"),
        Aggregate("count(DISTINCT {})", "kind", "BIGINT"),
        Aggregate("median({})", "amount", "DOUBLE"),
    ],
}
DATA = ["qty", "cents", "amount", "kind", "note"]
START = "TIMESTAMP '2025-01-01'"


@dataclass(frozen=True)
class Case:
    """How many events, entities and rows that ask; `power` 1 is uniform, with 3 few entities have most rows."""

    events: int
    users: int
    spine: int
    power: int

    def __str__(self) -> str:
        return f"{self.events:,} events, {self.users:,} users, spine {self.spine:,}, {self.kind}"

    @property
    def kind(self) -> str:
        """How the rows are spread over the entities."""
        return "uniform" if self.power == 1 else "skewed"

    @property
    def name(self) -> str:
        """The folder of its data."""
        return f"{self.events}_{self.users}_{self.spine}_{self.kind}"


DEFAULT = [Case(1_000_000, 10_000, 100_000, power) for power in (1, 3)]
LARGE = [Case(10_000_000, 10_000, 1_000_000, power) for power in (1, 3)]


# Data


def user(number: str, case: Case) -> str:
    """Return SQL that scatters `range(n)` over the entities, the same on every machine."""
    share = f"(hash({number}) >> 11) / 9007199254740992.0"
    return f"least({case.users - 1}, floor(pow({share}, {case.power}) * {case.users}))::BIGINT"


def events(case: Case) -> str:
    """Return the query of the events."""
    return f"""
        SELECT {user("i", case)} AS user_id,
               {START} + to_seconds((hash(i + 1000000007) % {365 * DAY})::BIGINT) AS ts,
               (hash(i + 2000000011) % 100000) / 100.0::DOUBLE AS amount, (hash(i + 3000000019) % 1000)::INTEGER AS qty,
               ((hash(i + 4000000007) % 1000000) / 100.0)::DECIMAL(18,2) AS cents,
               chr((97 + hash(i + 5000000029) % 5)::INTEGER) AS kind, CASE WHEN i % 3 > 0 THEN 'n' END AS note
        FROM range({case.events}) rows(i)"""


def asked(case: Case) -> str:
    """Return the query of the spine."""
    time = f"{START} + to_days(31) + to_seconds((hash(i + 8000000011) % {334 * DAY})::BIGINT)"
    return (
        f"SELECT i AS n, {user('i + 7000000001', case)} AS user_id, {time} AS asked_at FROM range({case.spine}) rows(i)"
    )


def prepare(root: Path, case: Case) -> None:
    """Make the data, a table of them as one would keep it by hand, and the store."""
    (root / "features").mkdir(parents=True)
    with duckdb.connect(str(root / "plain.duckdb")) as plain:
        plain.execute(f"COPY ({events(case)}) TO '{root}/events.parquet' (FORMAT parquet)")
        plain.execute(f"COPY ({asked(case)}) TO '{root}/spine.parquet' (FORMAT parquet)")
        totals = ", ".join(f"{text} OVER so_far AS {name}" for name, text in running().items())
        order = "WINDOW so_far AS (PARTITION BY user_id ORDER BY ts)"
        plain.execute(
            f"CREATE TABLE events AS SELECT *, {totals} FROM '{root}/events.parquet' {order} ORDER BY user_id, ts"
        )
        plain.execute(f"CREATE TABLE tiles AS {tiled()} ORDER BY user_id, day")
    declare(root)
    project = load(root)
    store = open_store(project)
    apply(pipeline.make_plan(project, store).plan, project, store, listen=ignore)
    (root / "ready").touch()


def declare(root: Path) -> None:
    """Write the project that has a feature for each aggregate and window."""
    (root / "featproject.toml").write_text('[project]\nname = "bench"\n')
    listed = [
        f"    {name(chosen, lengths, i, k)} = Feature({each.dtype!r}, sql={each.sql!r}, window={window!r})"
        for chosen, aggregates in SETS.items()
        for lengths, windows in LENGTHS.items()
        for k, window in enumerate(windows)
        for i, each in enumerate(aggregates)
    ]
    head = "from featdsl import Entity, Feature, FeatureGroup, Source\nuser = Entity('user', keys={'user_id': int})\n"
    source = "Source('events', path='events.parquet', timestamp='ts')"
    body = [f"class Events(FeatureGroup, entity=user, source={source}):", *listed]
    (root / "features" / "__init__.py").write_text(head + "\n".join(body) + "\n")


def name(chosen: str, lengths: str, aggregate: int, window: int) -> str:
    """Return the name of a feature."""
    return f"{chosen}_{lengths}_{aggregate}_{window}"


# Strategies by hand: each is one query of the columns `a<aggregate>_<window>`


@dataclass(frozen=True)
class Asks:
    """Aggregates over windows, whose lengths are in seconds, the shortest first."""

    aggregates: Sequence[Aggregate]
    lengths: Sequence[int]

    @property
    def last(self) -> int:
        """The number of the longest window."""
        return len(self.lengths) - 1

    @property
    def columns(self) -> str:
        """The columns that are read."""
        text = " ".join(each.sql for each in self.aggregates)
        return ", ".join(column for column in DATA if column in text)


def counts(each: Aggregate) -> bool:
    """Return whether an aggregate of no rows is 0."""
    return each.function.startswith("count")


def finished(asks: Asks, sources: Callable[[int, int], str], joined: str, before: str) -> str:
    """Return the query that puts results beside the spine, in its order."""
    listed = ", ".join(
        f"CAST({f'coalesce({sources(i, k)}, 0)' if counts(each) else sources(i, k)} AS {each.dtype}) AS a{i}_{k}"
        for k in range(len(asks.lengths))
        for i, each in enumerate(asks.aggregates)
    )
    return f"WITH {before} SELECT s.n, s.user_id, s.asked_at, {listed} FROM spine s {joined} ORDER BY s.rowid"


def apart(asks: Asks, before: Mapping[str, str]) -> str:
    """Return the query with a relation `w<window>` for each window."""
    ctes = ", ".join(f"{name} AS {text}" for name, text in before.items())
    joined = " ".join(f"LEFT JOIN w{k} ON w{k}.r = s.rowid" for k in range(len(asks.lengths)))
    return finished(asks, lambda i, k: f"w{k}.a{i}", joined, ctes)


def together(asks: Asks, before: Mapping[str, str]) -> str:
    """Return the query with all results in one relation `w`."""
    ctes = ", ".join(f"{name} AS {text}" for name, text in before.items())
    return finished(asks, lambda i, k: f"w.a{i}_{k}", "LEFT JOIN w ON w.r = s.rowid", ctes)


def matches(asks: Asks, length: int, *, banded: bool, starts: str = "") -> str:
    """Return the join of the spine and the events in a window."""
    bands = (
        f", unnest([epoch(asked_at)::BIGINT // {length}, epoch(asked_at)::BIGINT // {length} - 1]) AS band"
        if banded
        else ""
    )
    band = f", epoch(ts)::BIGINT // {length} AS band" if banded else ""
    on = f"e.user_id = s.user_id AND e.ts < s.asked_at AND e.ts >= s.since{' AND e.band = s.band' if banded else ''}"
    times = f"SELECT rowid AS r, user_id, asked_at, asked_at - to_seconds({length}) AS since{starts}{bands} FROM spine"
    return f"({times}) s JOIN (SELECT user_id, ts, {asks.columns}{band} FROM events) e ON {on}"


def ring(asks: Asks) -> str:
    """Return how many of the shorter windows an event lies before."""
    return " + ".join(f"(e.ts < s.asked_at - to_seconds({length}))::TINYINT" for length in asks.lengths[:-1])


def each_window(asks: Asks, *, banded: bool) -> str:
    """A join for each window."""
    results = ", ".join(f"{each.sql} AS a{i}" for i, each in enumerate(asks.aggregates))
    return apart(
        asks,
        {
            f"w{k}": f"(SELECT r, {results} FROM {matches(asks, length, banded=banded)} GROUP BY r)"
            for k, length in enumerate(asks.lengths)
        },
    )


def filtered(asks: Asks, *, banded: bool) -> str:
    """One join, and FILTER for the shorter windows."""
    starts = "".join(f", asked_at - to_seconds({length}) AS since{k}" for k, length in enumerate(asks.lengths))
    results = ", ".join(
        f"{each.over(f'e.ts >= s.since{k}') if k < asks.last else each.sql} AS a{i}_{k}"
        for k in range(len(asks.lengths))
        for i, each in enumerate(asks.aggregates)
    )
    rows = matches(asks, asks.lengths[-1], banded=banded, starts=starts)
    return together(asks, {"w": f"(SELECT r, {results} FROM {rows} GROUP BY r)"})


def materialised(asks: Asks, *, banded: bool) -> str:
    """One join, kept, and a GROUP BY for each window."""
    rows = matches(asks, asks.lengths[-1], banded=banded)
    results = ", ".join(f"{each.sql} AS a{i}" for i, each in enumerate(asks.aggregates))
    before = {"m": f"MATERIALIZED (SELECT r, ({ring(asks)})::TINYINT AS ring, {asks.columns} FROM {rows})"}
    before |= {f"w{k}": f"(SELECT r, {results} FROM m WHERE ring <= {k} GROUP BY r)" for k in range(len(asks.lengths))}
    return apart(asks, before)


def partials(asks: Asks) -> dict[str, tuple[str, str]]:
    """Return the partial results that aggregates are merged from: how each is computed, and how it is merged."""
    found = {}
    for i, each in enumerate(asks.aggregates):
        if each.function == AVG:
            found[f"p{i}"] = (Aggregate(SUM, each.argument, "", each.where).sql, "sum")
            found[f"c{i}"] = (Aggregate(COUNT, each.argument, "", each.where).sql, "sum")
        else:
            found[f"p{i}"] = (each.sql, {LEAST: "min", MOST: "max"}.get(each.function, "sum"))
    return found


def merged(asks: Asks, within: Callable[[int], str]) -> str:
    """Return the results merged from partial ones."""
    listed = []
    for k in range(len(asks.lengths)):
        part = {
            name: f"{merge}({name}) FILTER (WHERE {within(k)})" if within(k) else f"{merge}({name})"
            for name, (_, merge) in partials(asks).items()
        }
        for i, each in enumerate(asks.aggregates):
            mean = f"{part[f'p{i}']}::DOUBLE / nullif({part[f'c{i}']}, 0)" if each.function == AVG else part[f"p{i}"]
            listed.append(f"{mean} AS a{i}_{k}")
    return ", ".join(listed)


def rings(asks: Asks, *, banded: bool) -> str:
    """One join, aggregated between the starts of the windows, then merged from window to window."""
    parts = ", ".join(f"{text} AS {name}" for name, (text, _) in partials(asks).items())
    rows = matches(asks, asks.lengths[-1], banded=banded)
    before = {
        "h": f"(SELECT r, ({ring(asks)})::TINYINT AS ring, {parts} FROM {rows} GROUP BY ALL)",
        "w": f"(SELECT r, {merged(asks, lambda k: f'ring <= {k}' if k < asks.last else '')} FROM h GROUP BY r)",
    }
    return together(asks, before)


def total(each: Aggregate) -> dict[str, str]:
    """Return the running totals that an aggregate is a difference of, by name: its count, and its sum."""
    where = f" FILTER (WHERE {each.where})" if each.where else ""
    named = f"{each.argument.replace('*', 'rows')}{f'_{each.where[8]}' if each.where else ''}"
    found = {f"c_{named}": f"count({each.argument}){where}"}
    return found if each.function == COUNT else found | {f"s_{named}": f"sum({each.argument}){where}"}


def running() -> dict[str, str]:
    """Return all running totals."""
    return {name: text for each in SETS["sums"] for name, text in total(each).items()}


def prefix_sums(asks: Asks, *, stored: bool) -> str:
    """Differences of running totals: one ASOF join of all ends of all windows."""
    names = sorted({name for each in asks.aggregates for name in total(each)})
    ends = ", ".join(["asked_at", *(f"asked_at - to_seconds({length})" for length in asks.lengths)])
    times = f"SELECT rowid AS r, user_id, unnest([{ends}]) AS t, unnest(range({asks.last + 2})) AS k FROM spine"
    listed = ", ".join(names)
    totals = ", ".join(f"{text} OVER so_far AS {name}" for name, text in running().items() if name in names)
    computed = f"SELECT user_id, ts, {totals} FROM events WINDOW so_far AS (PARTITION BY user_id ORDER BY ts)"
    rows = f"SELECT user_id, ts, {listed} FROM events" if stored else computed
    wide = ", ".join(
        f"coalesce(any_value({name}) FILTER (WHERE k = {k}), 0) AS {name}_{k}"
        for k in range(asks.last + 2)
        for name in names
    )
    before = {
        "x": f"(SELECT r, k, {listed} FROM ({times}) s ASOF JOIN ({rows}) e ON e.user_id = s.user_id AND s.t > e.ts)",
        "w": f"(SELECT r, {wide} FROM x GROUP BY r)",
    }

    def difference(i: int, k: int) -> str:
        each = asks.aggregates[i]
        count, *rest = (f"(w.{name}_0 - w.{name}_{k + 1})" for name in total(each))
        if not rest:
            return count
        return (
            f"{rest[0]}::DOUBLE / nullif({count}, 0)" if each.function == AVG else f"if({count} > 0, {rest[0]}, NULL)"
        )

    ctes = ", ".join(f"{name} AS {text}" for name, text in before.items())
    return finished(asks, difference, "LEFT JOIN w ON w.r = s.rowid", ctes)


def frames(asks: Asks) -> str:
    """Frames of OVER, over events and times together."""
    nothing = ", ".join(f"NULL AS {column}" for column in asks.columns.split(", "))
    both = f"SELECT user_id, ts, {asks.columns}, NULL AS r FROM events UNION ALL SELECT user_id, asked_at, {nothing}, rowid FROM spine"
    results = ", ".join(
        f"{each.over('r IS NULL')} OVER w{k} AS a{i}_{k}"
        for k in range(len(asks.lengths))
        for i, each in enumerate(asks.aggregates)
    )
    spans = ", ".join(
        f"w{k} AS (PARTITION BY user_id ORDER BY ts RANGE BETWEEN to_seconds({length}) PRECEDING"
        " AND to_microseconds(1) PRECEDING)"
        for k, length in enumerate(asks.lengths)
    )
    return together(
        asks, {"w": f"(SELECT * FROM (SELECT r, {results} FROM ({both}) WINDOW {spans}) WHERE r IS NOT NULL)"}
    )


EVERYTHING = Asks(list(dict.fromkeys([*SETS["sums"], *SETS["mergeable"]])), ())


def tiled() -> str:
    """Return the query of one row for each entity and day, with partial results."""
    parts = {f"{name}_{text}": text for name, (text, _) in partials(EVERYTHING).items()}
    listed = ", ".join(f'{text} AS "{text}"' for text in dict.fromkeys(parts.values()))
    return f"SELECT user_id, ts::DATE AS day, {listed} FROM events GROUP BY ALL"


def tiles(asks: Asks, *, stored: bool) -> str:
    """Whole days from tiles, and the events of the days at the ends."""
    parts = {name: text for name, (text, _) in partials(asks).items()}
    kept = f"SELECT user_id, day, {', '.join(f'{chr(34)}{text}{chr(34)} AS {name}' for name, text in parts.items())} FROM tiles"
    computed = ", ".join(f"{text} AS {name}" for name, text in parts.items())
    source = kept if stored else f"SELECT user_id, ts::DATE AS day, {computed} FROM events GROUP BY ALL"
    days = ", ".join(f"(asked_at - to_seconds({length}))::DATE AS d{k}" for k, length in enumerate(asks.lengths))
    inner = " + ".join(f"(t.day <= s.d{k})::TINYINT" for k in range(asks.last))
    merge = ", ".join(f"{how}(t.{name}) AS {name}" for name, (_, how) in partials(asks).items())
    whole = f"""SELECT r, {inner} AS ring, {merge}
        FROM (SELECT rowid AS r, user_id, asked_at::DATE AS today, {days} FROM spine) s
        JOIN ({source}) t ON t.user_id = s.user_id AND t.day < s.today AND t.day > s.d{asks.last} GROUP BY ALL"""
    since = [f"asked_at - to_seconds({length})" for length in asks.lengths]
    edges = [f"({start})::DATE" for start in since]
    spans = [
        (
            "asked_at::DATE",
            f"CASE WHEN {edges[0]} = asked_at::DATE THEN {since[0]} ELSE asked_at::DATE::TIMESTAMP END",
            "asked_at",
            0,
        ),
        *(
            (edge, start, f"least(asked_at, ({edge} + 1)::TIMESTAMP)", k)
            for k, (edge, start) in enumerate(zip(edges, since, strict=True))
        ),
    ]
    # Of the day of the time itself, all windows that begin before it hold all; those that begin in it have only their own part.
    listed = {
        "day": ", ".join(day for day, _, _, _ in spans),
        "since": ", ".join(["asked_at::DATE::TIMESTAMP", *(start for _, start, _, _ in spans[1:])]),
        "until": ", ".join(["asked_at", *(until for _, _, until, _ in spans[1:])]),
        "ring": ", ".join(["-1", *(str(100 + k) for k in range(asks.last + 1))]),
    }
    times = ", ".join(f"unnest([{values}]) AS {column}" for column, values in listed.items())
    partly = f"""SELECT r, ring, {computed}
        FROM (SELECT rowid AS r, user_id, {times} FROM spine) s
        JOIN (SELECT *, ts::DATE AS day FROM events) e
          ON e.user_id = s.user_id AND e.day = s.day AND e.ts >= s.since AND e.ts < s.until GROUP BY ALL"""
    today = (
        "SELECT rowid AS r, "
        + ", ".join(f"{edge} = asked_at::DATE AS same{k}" for k, edge in enumerate(edges))
        + " FROM spine"
    )
    within = merged(asks, lambda k: f"(ring BETWEEN 0 AND {k}) OR ring = {100 + k} OR (ring = -1 AND NOT same{k})")
    before = {
        "h": f"({whole} UNION ALL {partly})",
        "w": f"(SELECT r, {within} FROM h JOIN ({today}) USING (r) GROUP BY r)",
    }
    return together(asks, before)


def strategies(chosen: str, asks: Asks) -> dict[str, str]:
    """Return the queries of all strategies that can compute a set of aggregates, the likelier ones first."""
    found = {}
    if chosen == "sums":
        found["stored totals"] = prefix_sums(asks, stored=True)
        found["totals"] = prefix_sums(asks, stored=False)
    if chosen != "mixed":
        found["rings"] = rings(asks, banded=False)
        found["rings banded"] = rings(asks, banded=True)
        found["stored tiles"] = tiles(asks, stored=True)
        found["tiles"] = tiles(asks, stored=False)
    found["materialised"] = materialised(asks, banded=False)
    found["materialised banded"] = materialised(asks, banded=True)
    found["each"] = each_window(asks, banded=False)
    found["each banded"] = each_window(asks, banded=True)
    found["filter"] = filtered(asks, banded=False)
    found["filter banded"] = filtered(asks, banded=True)
    found["over"] = frames(asks)
    return found


# Measuring


def by_hand(plain: duckdb.DuckDBPyConnection, root: Path, query: str, limit: float) -> tuple[float, pa.Table | None]:
    """Return the seconds of a strategy and its rows; none where it was stopped at the limit."""
    session = plain.cursor()
    timer = threading.Timer(limit, session.interrupt)
    timer.start()
    started = time.perf_counter()
    try:
        session.execute("SET enable_progress_bar = false")
        session.execute(f"CREATE TEMP TABLE spine AS SELECT * FROM '{root}/spine.parquet'")
        rows = session.sql(query).to_arrow_table()
    except duckdb.InterruptException:
        rows = None
    finally:
        timer.cancel()
        session.close()
    return time.perf_counter() - started, rows


def by_featdsl(store: FeatureStore, root: Path, names: Sequence[str]) -> tuple[float, float, pa.Table, str]:
    """Return the seconds of featdsl, how many of these went into the choice, the rows and the explanation."""
    started = time.perf_counter()
    training = store.training_set(names, f"{root}/spine.parquet", timestamp="asked_at")
    chosen = time.perf_counter()
    rows = training.arrow()
    ended = time.perf_counter()
    why = " / ".join(line.strip() for line in training.explanation.splitlines()[1:])
    return ended - started, chosen - started, rows, why


def different(left: pa.Table, right: pa.Table) -> list[str]:
    """Return the columns that differ, floats by more than their last digits."""
    found = []
    for column, a, b in zip(left.column_names, left.columns, right.columns, strict=True):
        if pa.types.is_timestamp(a.type):
            same = a.equals(b)
        else:
            ours, theirs = (x.cast(pa.float64()).to_numpy(zero_copy_only=False) for x in (a, b))
            same = bool(np.allclose(ours, theirs, rtol=1e-9, atol=1e-9, equal_nan=True))
        found += [] if same else [column]
    return found


def measure(store: FeatureStore, plain: duckdb.DuckDBPyConnection, root: Path, cell: tuple[str, str], only: str) -> str:
    """Return the line of one cell."""
    chosen, lengths = cell
    asks = Asks(SETS[chosen], list(LENGTHS[lengths].values()))
    names = [name(chosen, lengths, i, k) for k in range(len(asks.lengths)) for i in range(len(asks.aggregates))]
    own, choice, rows, why = by_featdsl(store, root, names)
    tried = only.split(",") if only else [n for n in strategies(chosen, asks) if n != "over" or own > PATIENT]
    left = {n: q for n, q in strategies(chosen, asks).items() if n in tried}
    seconds: dict[str, list[float]] = {"featdsl": [own]}
    wrong = []
    for number in range(ROUNDS + 1 if own < PATIENT else 2):
        for which, query in list(left.items()):
            best = min(min(each) for each in seconds.values())
            taken, found = by_hand(plain, root, query, max(PATIENCE * best, 1.0))

            if found is None or (number and taken > CLOSE * best and len(left) > 1):
                del left[which]
            if found is not None:
                seconds.setdefault(which, []).append(taken)
                wrong += [f"{which}: {different(rows, found)[:4]}"] if not number and different(rows, found) else []
            del found
        if number < ROUNDS and own < PATIENT:
            own, choice, again, why = by_featdsl(store, root, names)
            seconds["featdsl"].append(own)
            del again
    medians = {which: statistics.median(each) for which, each in seconds.items()}
    ours = medians.pop("featdsl")
    ranked = sorted(medians, key=lambda which: medians[which])
    three = ", ".join(f"{which} {medians[which] / medians[ranked[0]]:.2f}" for which in ranked[1:4])
    return (
        f"{ours / medians[ranked[0]]:5.2f}x  {chosen:>9} {lengths:>5}  {ours:.2f}s, best by hand {ranked[0]} "
        f"{medians[ranked[0]]:.2f}s (then {three})  choice {choice / ours:.0%}  {'DIFFERS ' + str(wrong) if wrong else 'equal'}\n"
        f"          {why}"
    )


def cells(options: argparse.Namespace) -> Iterator[tuple[str, str]]:
    """Yield the sets of aggregates and of windows that are asked for."""
    for chosen in SETS:
        for lengths in LENGTHS:
            if options.only in {"", chosen, lengths, f"{chosen} {lengths}"}:
                yield chosen, lengths


def main() -> None:
    """Print two lines for each cell of the grid."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--large", action="store_true", help="10M events, 1M rows that ask")
    parser.add_argument("--only", default="", help="a set of aggregates or of windows, or one of each")
    parser.add_argument("--by", default="", help="strategies by hand, with commas between")
    parser.add_argument("--kind", default="", help="uniform or skewed")
    parser.add_argument("--folder", type=Path, help="where the data are kept")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        for case in LARGE if options.large else DEFAULT:
            if options.kind not in {"", case.kind}:
                continue
            root = (options.folder or Path(temporary)) / case.name
            if not (root / "ready").exists():
                prepare(root, case)
            store = FeatureStore(root)
            print(case, flush=True)
            with duckdb.connect(str(root / "plain.duckdb"), read_only=True) as plain:
                for cell in cells(options):
                    print(measure(store, plain, root, cell, options.by), flush=True)


if __name__ == "__main__":
    sys.exit(main())
