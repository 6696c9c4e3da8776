"""First applies of one project on DuckDB, Sail and Spark, in turns, as ratios of wall time, at growing numbers of rows.

Run in the repository: python benchmarks/engines.py [--rows 1_000_000 10_000_000] [--spark sc://HOST:PORT] [--rounds 2] [--parts totals,windows]

The project has one source of N events of N / 100 entities in Parquet files. `values` is a group of five features at the time of
each event, `totals` a group of five features over it that is derived, `windows` a group of two sums over 7 days. All engines write
equal tables, which is checked by counts of rows and sums of their hashes. Sail runs in the process of featdsl. `--spark` is a
server that runs already; with `python -m tests.spark.cluster python benchmarks/engines.py ...` it is a master and two workers on
this machine.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

import duckdb
import plan

COMMAND = [sys.executable, "-m", "featdsl", "apply", "--yes"]
FILES = 8
FEW = 10_000_000
"""Up to this many rows, the values of windows are compared."""
FEATURES = """
from featdsl import Entity, Feature, FeatureGroup, Source

account = Entity("account", keys={{"id": int}})
events = Source("events", path="{folder}/*.parquet", timestamp="at")


class Values(FeatureGroup, entity=account, source=events):
    a = Feature(float, sql="x + y")
    b = Feature(float, sql="x * 0.5e0")
    c = Feature(int, sql="n % 97")
    d = Feature(str, sql="upper(kind)")
    e = Feature(bool, sql="x > y")
"""
TOTALS = """

class Totals(FeatureGroup, entity=account, inputs=[Values.a, Values.b, Values.c, Values.d, Values.e]):
    f = Feature(float, sql="a + b")
    g = Feature(float, sql="a * b")
    h = Feature(int, sql="c + 1")
    i = Feature(bool, sql="d = 'VIEW' AND e")
    j = Feature(str, sql="coalesce(d, 'none')")
"""
WINDOWS = """

class Windows(FeatureGroup, entity=account, source=events):
    k = Feature("HUGEINT", sql="sum(n)", window="7 days")
    l = Feature(int, sql="count(*)", window="7 days")
"""


def write_events(folder: Path, rows: int) -> None:
    """Write the events: their times, numbers and texts depend on nothing but their number."""
    folder.mkdir()
    with duckdb.connect() as connection:
        each = rows // FILES
        for file in range(FILES):
            connection.execute(
                f"""
                COPY (SELECT (i * 7919) % {max(rows // 100, 1)} AS id,
                             TIMESTAMP '2025-01-01' + to_microseconds(i * {31_536_000_000_000 // rows}) AS at,
                             (i * 104729 % 1000003) / 7.0e0 AS x, (i * 1299709 % 1000033) / 11.0e0 AS y, i * 15485863 % 1000 AS n,
                             ['view', 'click', 'buy'][1 + i % 3] AS kind
                      FROM range({file * each}, {(file + 1) * each}) t(i))
                TO '{folder}/part-{file}.parquet' (FORMAT parquet)
                """
            )


def write_project(folder: Path, events: Path, engine: str, parts: str) -> None:
    """Write the project with the settings of an engine."""
    text = (
        FEATURES.format(folder=events) + (TOTALS if "totals" in parts else "") + (WINDOWS if "windows" in parts else "")
    )
    (folder / "features").mkdir(parents=True)
    plan.save(folder / "features" / "__init__.py", text)
    plan.save(
        folder / "featproject.toml", f'[project]\nname = "bench"\n\n[store]\nstatistics = false\n\n[engine]\n{engine}'
    )


def summed(folder: Path, parts: str, rows: int) -> list[tuple[object, ...]]:
    """Return the count of rows and the sum of their hashes, of each table that the project has published.

    A view with windows computes them for all rows, which takes more memory than an apply: of many rows, the running totals that
    it reads are compared instead.
    """
    with duckdb.connect(str(folder / ".featdsl" / "store.duckdb"), read_only=True) as connection:
        read = ["prod.values", *(f"prod.{name}" for name in ("totals", "windows") if name in parts)]
        if rows > FEW and "windows" in parts:
            query = "SELECT view_name FROM duckdb_views() WHERE schema_name = 'tables' AND view_name LIKE 'windows_events_%'"
            ((stored,),) = connection.execute(query).fetchall()
            read[-1] = f'(SELECT id, event_timestamp, "#count", "#sum ""n""" FROM tables.{stored})'
        query = "SELECT count(*), sum(hash(t)::HUGEINT) FROM {} AS t"
        return [connection.execute(query.format(each)).fetchone() or () for each in read]


def measure(rows: int, engines: dict[str, str], rounds: int, parts: str) -> None:
    """Print what a first apply takes on each engine."""
    with tempfile.TemporaryDirectory(dir=os.environ.get("FEATDSL_BENCHMARK_FOLDER")) as name:
        root = Path(name)
        root.chmod(0o755)
        write_events(root / "events", rows)
        took: dict[str, list[float]] = {engine: [] for engine in engines}
        sums = {}
        for engine, settings in engines.items():
            write_project(root / engine, root / "events", settings, parts)
        for _ in range(rounds):
            for engine in engines:
                shutil.rmtree(root / engine / ".featdsl", ignore_errors=True)
                took[engine].append(plan.run(COMMAND, root / engine).wall)
                sums[engine] = summed(root / engine, parts, rows)
        if len({repr(found) for found in sums.values()}) > 1:
            sys.exit(f"results differ: {sums}")
        base = statistics.median(took["duckdb"])
        for engine, seconds in took.items():
            median = statistics.median(seconds)
            listed = ", ".join(f"{each:.1f}" for each in seconds)
            print(f"  {rows:,} rows, {engine}: {median / base:.2f}x DuckDB ({listed} s)", flush=True)


def main() -> None:
    """Run each size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--spark", default=os.environ.get("FEATDSL_SPARK_URL"))
    parser.add_argument(
        "--without", choices=("sail", "spark"), help="leave an engine out: Sail keeps all rows in memory"
    )
    parser.add_argument("--parts", default="values", help="groups besides `values`: totals, windows")
    options = parser.parse_args()
    engines = {"duckdb": "", "sail": 'kind = "spark"\nurl = "local"\n'}
    if options.spark:
        engines["spark"] = f'kind = "spark"\nurl = "{options.spark}"\n'
    engines.pop(options.without, None)
    for rows in options.rows:
        measure(rows, engines, options.rounds, options.parts)


if __name__ == "__main__":
    main()
