"""What `featdsl docs build` takes: the whole site, again without a change, and again after a change of one feature.

Run in the repository, on Linux: python benchmarks/docs_build.py [--groups 500] [--memory 1024]

The project has N groups of 10 features, as in plan.py, applied. Each build is a process of its own on two cores, whose
memory is limited. Told are seconds of the wall and, in brackets, of the processor, the peak memory, and the largest page.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from plan import DERIVED, FEATDSL, Took, applied, groups, run, said, write, write_group

CORES = 2
BUILD = [*FEATDSL, "docs", "build", "--out", "../site"]


def main() -> None:
    """Print one line for each build."""
    parser = argparse.ArgumentParser(description="Builds of the catalogue's site.")
    parser.add_argument("--groups", type=int, default=500, help="of 10 features each")
    parser.add_argument("--memory", type=int, default=1024, help="the limit of a process, in MiB")
    arguments = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    with tempfile.TemporaryDirectory() as folder:
        root, wanted = Path(folder), groups(arguments.groups)
        write(root, wanted, ["featdsl"])
        applied(root, ["featdsl"])
        with limited(arguments.memory):
            told("whole site", run(BUILD, root / "featdsl"))
            told("no change", run(BUILD, root / "featdsl"))
        write_group(root, replace(wanted[arguments.groups // 2 // DERIVED * DERIVED], change=1), ["featdsl"])
        applied(root, ["featdsl"])
        with limited(arguments.memory):
            told("one feature changed", run(BUILD, root / "featdsl"))
        built = json.loads(said([*BUILD, "--format", "json"], root / "featdsl"))
        pages = [(file.stat().st_size, file.name) for file in (root / "site").rglob("*.html")]
        size, name = max(pages)
        print(f"  {built['pages']:,} pages, {built['bytes'] / 1e6:.0f} MB; the largest is {name}, {size / 1e3:.0f} KB")


@contextmanager
def limited(mebibytes: int) -> Iterator[None]:
    """Limit the memory of the processes that start meanwhile."""
    before, most = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (mebibytes * 2**20, most))
    yield
    resource.setrlimit(resource.RLIMIT_DATA, (before, most))


def told(name: str, took: Took) -> None:
    """Print what a build took."""
    print(f"  {name}: {took.wall:.1f} s ({took.processor:.1f} s), {took.peak:.0f} MiB", flush=True)


if __name__ == "__main__":
    main()
