"""Training sets beside the same join written by hand in DuckDB: interleaved, medians, ratios, equal results.

Run in the repository: python benchmarks/training_set.py
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from featdsl import FeatureStore, pipeline
from featdsl.apply import apply
from featdsl.events import ignore
from featdsl.project import load
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
    Case(5, 1_000_000, 100_000, 100_000),
    Case(1, 1_000_000, 10_000, 1_000_000),
]


def scattered(number: str, over: int) -> str:
    """Return SQL that scatters `range(n)` over so many values, the same on every machine."""
    return f"(({number} * 2654435761) % 4294967296) % {over}"


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
                FROM range({case.rows}) rows(i) ORDER BY user_id, ts""")
            plain.execute(f"COPY g{group} TO '{root}/g{group}.parquet' (FORMAT parquet)")
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


def by_hand(plain: duckdb.DuckDBPyConnection, case: Case, spine: str) -> Any:
    """Return what someone who knows DuckDB would write: chained ASOF joins over sorted tables, in the spine's order."""
    columns = ", ".join(f"t{n}.f{j} AS g{n}_f{j}" for n in range(case.groups) for j in range(FEATURES))
    joins = " ".join(
        f"ASOF LEFT JOIN g{n} t{n} ON s.user_id = t{n}.user_id AND s.ts >= t{n}.ts" for n in range(case.groups)
    )
    plain.execute(f"CREATE OR REPLACE TEMP TABLE spine AS SELECT * FROM '{spine}'")
    return plain.sql(f"SELECT s.*, {columns} FROM spine s {joins} ORDER BY s.rowid").to_arrow_table()


def by_featdsl(store: FeatureStore, case: Case, spine: str) -> Any:
    """Return the same by declaration."""
    names = [f"g{n}_f{j}" for n in range(case.groups) for j in range(FEATURES)]
    return store.training_set(names, spine, timestamp="ts").arrow()


def measure(ways: dict[str, Callable[[], Any]]) -> dict[str, float]:
    """Return the median seconds of each way, taken in turns."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, way in ways.items():
            started = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - started)
    return {name: statistics.median(times) for name, times in seconds.items()}


def main() -> None:
    """Print one line for each case."""
    for case in CASES:
        with prepared(case) as (store, plain, spine):
            same = by_hand(plain, case, spine).equals(by_featdsl(store, case, spine))
            medians = measure(
                {
                    "hand": lambda: by_hand(plain, case, spine),  # noqa: B023 - used within the round
                    "featdsl": lambda: by_featdsl(store, case, spine),  # noqa: B023 - the same
                }
            )
            print(f"{medians['featdsl'] / medians['hand']:5.2f}x by hand  {case}  equal: {same}", flush=True)


if __name__ == "__main__":
    main()
