"""How the time of a training set grows with the rows: tables, entities and spine grow together, so linear is the best there is.

Run in the repository: python benchmarks/growth.py [--rows 1_000_000 10_000_000 50_000_000]

A hundred rows an entity, and a row of the spine for every ten rows. As of: five features of one group. Windows: five of 1 hour to
14 days over ten aggregates, of numbers that are summed exactly and of those that are merged. Printed is the median time of
three, and how that is for each row beside the smallest size: 1 is linear, less is better.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import training_set
import windows

from featdsl import FeatureStore, pipeline
from featdsl.apply.events import ignore
from featdsl.apply.execute import apply
from featdsl.project.settings import load
from featdsl.stores import open_store

ROUNDS = 3
ROWS_AN_ENTITY, ROWS_A_QUESTION = 100, 10


def as_of(rows: int) -> Iterator[tuple[str, float]]:
    """Yield the seconds of a training set of values as they were."""
    case = training_set.Case(1, rows, rows // ROWS_AN_ENTITY, rows // ROWS_A_QUESTION)
    with training_set.prepared(case) as (store, _, spine):
        yield "as of", median(partial(training_set.by_featdsl, store, case, spine))


def windowed(rows: int) -> Iterator[tuple[str, float]]:
    """Yield the seconds of training sets of windows."""
    case = windows.Case(rows, rows // ROWS_AN_ENTITY, rows // ROWS_A_QUESTION, power=1)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "features").mkdir()
        with duckdb.connect() as plain:
            plain.execute(f"COPY ({windows.events(case)}) TO '{root}/events.parquet' (FORMAT parquet)")
            plain.execute(f"COPY ({windows.asked(case)}) TO '{root}/spine.parquet' (FORMAT parquet)")
        windows.declare(root)
        project = load(root)
        store = open_store(project)
        apply(pipeline.make_plan(project, store).plan, project, store, listen=ignore)
        for chosen in ("sums", "mergeable"):
            names = [windows.name(chosen, "short", i, k) for i in range(10) for k in range(5)]
            yield f"windows, {chosen}", median(partial(windows.by_featdsl, FeatureStore(root), root, names))


def median(way: Callable[[], Any]) -> float:
    """Return the median seconds of a few runs."""
    seconds = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        way()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def measure(sizes: Sequence[int]) -> None:
    """Print a line for each size and kind."""
    first: dict[str, float] = {}
    for rows in sizes:
        for measured in (as_of, windowed):
            for what, seconds in measured(rows):
                grown = seconds / rows / first.setdefault(what, seconds / rows)
                print(f"{what:>18}  {rows:>12,} rows  {seconds:7.2f} s  {grown:.2f}", flush=True)


def main() -> None:
    """Measure the sizes that are asked for."""
    parser = argparse.ArgumentParser(description="How the time of a training set grows with the rows.")
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 10_000_000, 50_000_000])
    measure(parser.parse_args().rows)


if __name__ == "__main__":
    main()
