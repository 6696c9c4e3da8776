"""What statistics add to an apply: first applies with and without them, in turns, as ratios of processor time.

Run in the repository, on Linux: python benchmarks/table_statistics.py [--rounds 5] [--groups 200] [--rows 5_000_000]

A size of 0 leaves its part out. The parts:

- flights: the project of this repository, without its online store.
- groups: the project of benchmarks/plan.py, N groups of 10 features, 100 rows each.
- rows: one group of 10 features at each time at which a row came, as in benchmarks/apply.py.

Each round applies with and without `[store] statistics`, in changing order, and gives one ratio. Told are the median of these and
their range, and the median seconds of the processor (user and system). Seconds of the wall mean little on a shared machine.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

import apply as applies
import plan

ROOT = Path(__file__).parents[1]
COMMAND = [sys.executable, "-m", "featdsl", "apply", "--yes"]
SETTING = "[store]\nstatistics = {}\n"


def compare(name: str, folder: Path, rounds: int) -> None:
    """Print what statistics add to a first apply of a project."""
    settings = folder / "featproject.toml"
    text = settings.read_text(encoding="utf-8")
    took: dict[bool, list[float]] = {True: [], False: []}
    for number in range(rounds):
        for with_statistics in (True, False) if number % 2 else (False, True):
            settings.write_text(text + "\n" + SETTING.format(str(with_statistics).lower()), encoding="utf-8")
            shutil.rmtree(folder / ".featdsl", ignore_errors=True)
            took[with_statistics].append(plan.run(COMMAND, folder).processor)
    ratios = [with_ / without for with_, without in zip(took[True], took[False], strict=True)]
    print(
        f"{name}: {statistics.median(ratios):.2f}x (from {min(ratios):.2f}x to {max(ratios):.2f}x), "
        f"{statistics.median(took[True]):.2f} s with and {statistics.median(took[False]):.2f} s without",
        flush=True,
    )


def flights(root: Path) -> Path:
    """Copy the project of this repository, without its online store."""
    folder = root / "flights"
    folder.mkdir()
    for name in ("features", "data"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    text = (ROOT / "featproject.toml").read_text(encoding="utf-8")
    plan.save(folder / "featproject.toml", text.replace('url = "embedded"', ""))
    return folder


def groups(root: Path, number: int) -> Path:
    """Write a project of many small groups."""
    (root / "groups").mkdir()
    plan.write(root / "groups", plan.groups(number), ["featdsl"])
    return root / "groups" / "featdsl"


def rows(root: Path, number: int) -> Path:
    """Write a project of one large group of 10 features."""
    applies.write_events(root / "events.parquet", number, 10)
    features = "".join(f'    f{j} = Feature(float, sql="x{j} * 2 + 1")\n' for j in range(10))
    applies.write_project(root / "rows", applies.AS_OF + features, f'memory_limit = "{applies.LIMIT}"\n')
    return root / "rows"


def main() -> None:
    """Run the parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("rounds", 5), ("groups", 200), ("rows", 5_000_000)):
        parser.add_argument(f"--{name}", type=int, default=default)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        compare("flights", flights(root), asked.rounds)
        if asked.groups:
            compare(f"{asked.groups} groups of 10 features", groups(root, asked.groups), asked.rounds)
        if asked.rows:
            compare(f"{asked.rows:,} rows of 10 features", rows(root, asked.rows), asked.rounds)


if __name__ == "__main__":
    main()
