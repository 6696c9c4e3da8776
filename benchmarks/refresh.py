"""A refresh with some new rows beside computing everything again: processes in turns, ratios, equal results.

Run in the repository, on Linux: python benchmarks/refresh.py [--rows 10_000_000] [--new 100_000]

One group of 10 features at each time at which a row came, and one of windows over the same rows, each over a folder of two
files, of which the second is new. "CREATE TABLE" is one process of DuckDB that runs the queries of featdsl's own tables over
both files, and nothing else. Seconds are those of the processor, and in brackets of the wall.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

import apply
import duckdb
import plan
from plan import Took

FEATDSL = [sys.executable, "-m", "featdsl"]
ROUNDS = 3


def compare(rows: int, new: int) -> None:
    """Print what a refresh takes beside the others, for each of the groups."""
    with tempfile.TemporaryDirectory() as name:
        root, events = Path(name), Path(name) / "events.parquet"
        apply.write_events(events / "1.parquet", rows, 10)
        apply.write_events(root / "2.parquet", new, 10, since=rows, of=rows)
        for said, body in (("as of", apply.latest(10)), ("windows", apply.WINDOWED)):
            print(f"{new:,} new rows after {rows:,}, {said}", flush=True)
            apply.write_project(root / "featdsl", body, f"threads = {apply.THREADS}\n")
            took = measured(root, events)
            best = {what: min(each, key=lambda found: found.processor) for what, each in took.items()}
            for what, found in best.items():
                ratio = found.processor / best["refresh"].processor
                print(f"  {what}: {found.processor:.2f} s ({found.wall:.2f} s), {ratio:.1f} times", flush=True)


def measured(root: Path, events: Path) -> dict[str, list[Took]]:
    """Return what each way took, over and over in turns."""
    folder = root / "featdsl"
    source = (folder / "features" / "__init__.py").read_text(encoding="utf-8")
    plan.save(folder / "features" / "__init__.py", source.replace("events.parquet", "events.parquet/*.parquet"))
    took: dict[str, list[Took]] = {"refresh": [], "refresh --full": [], "CREATE TABLE": []}
    (events / "2.parquet").unlink(missing_ok=True)
    steps = json.loads(plan.said([*plan.PLAN["featdsl"], "--format", "json"], folder))["steps"]
    (built,) = (step for step in steps if step["step"] == "build_table")
    query = built["sql"].replace('source."rows"', f"read_parquet('{events}/*.parquet') AS \"rows\"")
    apply.write_raw(root / "raw", [f"CREATE TABLE bench.big AS {query}"], {"threads": apply.THREADS})
    shutil.rmtree(folder / ".featdsl", ignore_errors=True)
    plan.run([*FEATDSL, "apply", "--yes"], folder)
    (folder / ".featdsl").rename(folder / "before")
    shutil.copy(root / "2.parquet", events / "2.parquet")
    for _ in range(ROUNDS):
        (root / "raw" / "db.duckdb").unlink(missing_ok=True)
        for what, found in took.items():
            if what == "CREATE TABLE":
                found.append(plan.run([sys.executable, "raw.py"], root / "raw"))
                continue
            shutil.rmtree(folder / ".featdsl", ignore_errors=True)
            shutil.copytree(folder / "before", folder / ".featdsl")
            found.append(plan.run([*FEATDSL, *what.split()], folder))
            same(folder, built["table"], what)
    shutil.rmtree(folder / "before")
    return took


_FOUND: dict[str, object] = {}


def same(folder: Path, table: str, what: str) -> None:
    """End all unless every way leaves the same rows."""
    with duckdb.connect(str(folder / ".featdsl" / "store.duckdb"), read_only=True) as connection:
        query = f'SELECT count(*), bit_xor(hash(t)) FROM tables."{table}" AS t'
        found = connection.execute(query).fetchone()
    if _FOUND.setdefault(table, found) != found:
        sys.exit(f"{table} differs by {what}: {found}, and {_FOUND[table]} before")


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description="A refresh beside computing everything again.")
    parser.add_argument("--rows", type=int, default=10_000_000, help="rows that are stored")
    parser.add_argument("--new", type=int, default=100_000, help="rows that are new")
    asked = parser.parse_args()
    os.environ["PYTHONPATH"] = str(plan.REPOSITORY)
    compare(asked.rows, asked.new)


if __name__ == "__main__":
    main()
