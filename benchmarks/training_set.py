"""Training sets beside the same joins written by hand in DuckDB: interleaved, medians, ratios, equal results.

By hand it is done in each of the ways that are quick somewhere, over tables prepared for it; the best one counts. Run in the
repository, in minutes, or in an hour with --large:

    python benchmarks/training_set.py
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import duckdb

from featdsl import FeatureStore, pipeline
from featdsl.apply.events import ignore
from featdsl.apply.execute import apply
from featdsl.project.settings import load
from featdsl.stores import open_store

ROUNDS = 5
FEATURES = 5


@dataclass(frozen=True)
class Case:
    """How many groups are joined, and how large their tables and the spine are."""

    groups: int
    rows: int
    entities: int
    spine: int

    def __str__(self) -> str:
        return f"{self.groups:>2} groups of {self.rows:>9,} rows, {self.entities:>7,} entities, spine {self.spine:>9,}"


CASES = [
    Case(1, 1_000_000, 100_000, 100_000),
    Case(1, 1_000_000, 10_000, 100_000),
    Case(1, 1_000_000, 1_000, 100_000),
    Case(5, 1_000_000, 100_000, 100_000),
    Case(5, 1_000_000, 10_000, 100_000),
    Case(20, 1_000_000, 10_000, 100_000),
    Case(1, 1_000_000, 100_000, 1_000_000),
    Case(1, 1_000_000, 10_000, 1_000_000),
]
LARGE = [
    Case(5, 1_000_000, 10_000, 1_000_000),
    Case(20, 1_000_000, 100_000, 1_000_000),
    Case(1, 10_000_000, 100_000, 100_000),
    Case(1, 10_000_000, 10_000, 100_000),
    Case(5, 10_000_000, 100_000, 100_000),
    Case(1, 10_000_000, 100_000, 1_000_000),
    Case(1, 10_000_000, 10_000, 1_000_000),
    Case(5, 10_000_000, 10_000, 1_000_000),
    Case(1, 100_000_000, 100_000, 100_000),
    Case(1, 100_000_000, 100_000, 1_000_000),
]


def scattered(number: str, over: int) -> str:
    """Return SQL that scatters `range(n)` over so many values, the same on every machine."""
    return f"(((({number}) % 2147483648) * 2654435761) % 4294967296) % {over}"


@contextmanager
def prepared(case: Case) -> Iterator[tuple[FeatureStore, duckdb.DuckDBPyConnection, str]]:
    """Yield a store with the groups applied, a plain session with the same rows sorted, and the spine's path."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        plain = duckdb.connect(str(root / "plain.duckdb"))
        values = ", ".join(f"(i * {j + 1}.5)::DOUBLE AS f{j}" for j in range(FEATURES))
        for group in range(case.groups):
            plain.execute(f"""
                CREATE TABLE g{group} AS
                SELECT {scattered("i", case.entities)} AS user_id, {values},
                       TIMESTAMP '2025-01-01' + to_microseconds(i * (31536000000000 // {case.rows}) + {group}) AS ts
                FROM range({case.rows}) rows(i)
                QUALIFY row_number() OVER (PARTITION BY user_id, ts) = 1""")
            plain.execute(f"COPY g{group} TO '{root}/g{group}.parquet' (FORMAT parquet)")
            plain.execute(f"""
                CREATE OR REPLACE TABLE g{group} AS
                SELECT *, coalesce(lead(ts) OVER (PARTITION BY user_id ORDER BY ts), TIMESTAMP 'infinity') AS until
                FROM g{group} ORDER BY user_id, ts""")
        plain.execute(f"""
            COPY (SELECT {scattered("i + 7", case.entities)} AS user_id,
                         TIMESTAMP '2025-06-01' + to_seconds({scattered("i + 3", 15_000_000)}) AS ts
                  FROM range({case.spine}) rows(i)) TO '{root}/spine.parquet' (FORMAT parquet)""")
        declare(root, case)
        project = load(root)
        store = open_store(project)
        apply(pipeline.make_plan(project, store).plan, project, store, listen=ignore)
        yield FeatureStore(root), plain, f"{root}/spine.parquet"
        plain.close()


def declare(root: Path, case: Case) -> None:
    """Write the project that has these groups."""
    (root / "featproject.toml").write_text('[project]\nname = "bench"\n')
    (root / "features").mkdir()
    features = "\n".join(f"    g{{n}}_f{j} = Feature(float, sql='f{j}')" for j in range(FEATURES))
    groups = "\n".join(
        f"class G{n}(FeatureGroup, entity=user, source=Source('g{n}', path='g{n}.parquet', timestamp='ts')):\n"
        + features.replace("{n}", str(n))
        for n in range(case.groups)
    )
    head = "from featdsl import Entity, Feature, FeatureGroup, Source\nuser = Entity('user', keys={'user_id': int})\n"
    (root / "features" / "__init__.py").write_text(head + groups + "\n")


HANDS = {
    "ASOF over sorted tables": "ASOF LEFT JOIN g{n} t{n} ON s.user_id = t{n}.user_id AND s.ts >= t{n}.ts",
    "hash join with the end of each row": (
        "LEFT JOIN g{n} t{n} ON s.user_id = t{n}.user_id AND s.ts >= t{n}.ts AND s.ts < t{n}.until"
    ),
    "ASOF over the spine's entities": (
        "ASOF LEFT JOIN (FROM g{n} WHERE user_id IN (SELECT user_id FROM spine)) t{n} "
        "ON s.user_id = t{n}.user_id AND s.ts >= t{n}.ts"
    ),
}


def by_hand(plain: duckdb.DuckDBPyConnection, case: Case, spine: str, join: str) -> Any:
    """Return what someone who knows DuckDB would write, in the spine's order."""
    columns = ", ".join(f"t{n}.f{j} AS g{n}_f{j}" for n in range(case.groups) for j in range(FEATURES))
    joins = " ".join(join.format(n=n) for n in range(case.groups))
    plain.execute(f"CREATE OR REPLACE TEMP TABLE spine AS SELECT * FROM '{spine}'")
    return plain.sql(f"SELECT s.*, {columns} FROM spine s {joins} ORDER BY s.rowid").to_arrow_table()


def by_featdsl(store: FeatureStore, case: Case, spine: str) -> Any:
    """Return the same by declaration."""
    names = [f"g{n}_f{j}" for n in range(case.groups) for j in range(FEATURES)]
    return store.training_set(names, spine, timestamp="ts").arrow()


def measure(ways: dict[str, Callable[[], Any]]) -> dict[str, float]:
    """Return the median seconds of each way, taken in turns; one that is far behind is not taken again."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(ROUNDS):
        best = min((statistics.median(times) for times in seconds.values() if times), default=0.0)
        for name, way in ways.items():
            if turn and name != "featdsl" and statistics.median(seconds[name]) > 2 * best:
                continue
            started = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - started)
    return {name: statistics.median(times) for name, times in seconds.items()}


def main() -> None:
    """Print one line for each case."""
    for case in [*CASES, *(LARGE if "--large" in sys.argv else [])]:
        with prepared(case) as (store, plain, spine):
            ways: dict[str, Callable[[], Any]] = {
                name: partial(by_hand, plain, case, spine, join) for name, join in HANDS.items()
            }
            same = all(way().equals(by_featdsl(store, case, spine)) for way in ways.values())
            medians = measure({**ways, "featdsl": partial(by_featdsl, store, case, spine)})
            best = min(HANDS, key=medians.__getitem__)
            print(f"{medians['featdsl'] / medians[best]:5.2f}x {best:<35} {case}  equal: {same}", flush=True)


if __name__ == "__main__":
    main()
