"""Serving beside Feast and beside raw reads: processes in turns, medians, ratios, equal values.

Run in the repository, on Linux: python benchmarks/serving.py [--only reads flights publish servers http]

`reads`: 10 stored features of 50,000 users in the embedded store, beside Feast with SQLite, and beside a plain SQLite table and
an LMDB file of packed lists that are read into dicts. `flights`: the example's set with aliases and derived features, from the
online store and from the tables. `publish`: a million users with 10 features by `featdsl publish --full`, beside Feast's
materialize, measured with 50,000 and scaled, and beside LMDB's own load of the same bytes. `servers`: the reads over Valkey and
PostgreSQL, beside the raw calls of their clients. `http`: see serving_http.py.

Each tool reads in a process of its own, one at a time, in turns. Feast is installed into `.venv-feast`. A number in brackets is
featdsl's median over that tool's: below 1, featdsl is faster. Where a machine is shared, seconds of the processor are steadier
than those of the wall; loads show both.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import feast
import plan
import serving_data as data
import serving_http
from plan import REPOSITORY

USERS, MANY_USERS, ROUNDS = 50_000, 1_000_000, 7
CALLS = {1: 200, 100: 20, 1000: 4}
FEAST_PYTHON = str(feast.VENV / "bin" / "python")
CHILD = str(Path(__file__).with_name("one_reader.py"))


@dataclass(frozen=True)
class Tool:
    """A tool to measure: its name in the table, its name for one_reader.py, and the place that it reads."""

    name: str
    kind: str
    place: Path

    @contextmanager
    def opened(self) -> Iterator[Callable[..., Any]]:
        """Yield the function that asks a new process of the tool."""
        python = FEAST_PYTHON if self.kind == "feast" else sys.executable
        # -P: else `import feast` would find feast.py, which lies beside the child.
        command = [python, "-P", "-W", "ignore", CHILD, self.kind, str(self.place)]
        environment = os.environ | {"FEAST_USAGE": "False", "PYTHONPATH": str(REPOSITORY)}
        with subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:

            def ask(**request: Any) -> Any:
                print(json.dumps(request), file=process.stdin, flush=True)
                return json.loads(process.stdout.readline())

            try:
                yield ask
            finally:
                process.kill()


def compare(title: str, tools: Sequence[Tool], sizes: Sequence[int]) -> None:
    """Print the medians of all tools for each number of keys; the first tool is the one that ratios are of."""
    with ExitStack() as stack:
        ask = {tool.name: stack.enter_context(tool.opened()) for tool in tools}
        checked = {name: each(check=True) for name, each in ask.items()}
        same = len({json.dumps(values) for values in checked.values()}) == 1
        took: dict[tuple[str, int], list[float]] = {(name, keys): [] for name in ask for keys in sizes}
        for number in range(ROUNDS + 1):
            for keys in sizes:
                for name, each in ask.items():
                    calls = CALLS[keys] if name.startswith(("featdsl", "raw")) else max(2, CALLS[keys] // 10)
                    found = each(keys=keys, calls=calls, seed=number)
                    took[name, keys] += found if number else []  # the first round warms up
    print(f"\n{title}; equal values: {same}")
    print_table({name: [statistics.median(took[name, keys]) for keys in sizes] for name in ask}, sizes)


def print_table(seconds: Mapping[str, Sequence[float]], sizes: Sequence[int]) -> None:
    """Print a line for each tool, a column for each number of keys."""
    ours = next(iter(seconds.values()))
    width = max(map(len, seconds))
    print(" " * width, *(f"{f'keys: {size:,}':>20}" for size in sizes), sep="")
    for name, each in seconds.items():
        shown = [f"{1e6 * own:,.0f} us ({first / own:.2f})" for own, first in zip(each, ours, strict=True)]
        print(f"{name:<{width}}", *(f"{text:>20}" for text in shown), sep="", flush=True)


def reads(root: Path) -> None:
    """Print the reads in process."""
    rows = data.write_users(root, USERS)
    data.write_featdsl(root / "embedded", rows)
    data.write_feast(root / "feast", rows)
    data.write_sqlite(root / "wide.sqlite", rows)
    data.write_lmdb(root / "lmdb", rows)
    with Tool("Feast", "feast", root / "feast").opened() as ask:
        took = ask(materialize=True)
        print(f"Feast's materialize of {USERS:,} users: {took['wall']:.1f} s ({took['processor']:.1f} s)", flush=True)
    tools = [
        Tool("featdsl, embedded", "featdsl", root / "embedded"),
        Tool("raw SQLite", "sqlite", root / "wide.sqlite"),
        Tool("raw LMDB and msgpack", "lmdb", root / "lmdb"),
        Tool("Feast, SQLite", "feast", root / "feast"),
    ]
    compare("10 stored features, in process", tools, list(CALLS))


def flights(root: Path) -> None:
    """Print the reads of the example's set."""
    online, tables = data.write_flights(root)
    tools = [Tool("featdsl, online store", "featdsl", online), Tool("the tables", "featdsl", tables)]
    compare("the flights' 19 features, three of them derived, 12 by an alias", tools, [1, 100])


def publish(root: Path) -> None:
    """Print what publishing a million users takes."""
    small = data.write_users(root / "small", USERS)
    rows = data.write_users(root / "large", MANY_USERS)
    project = root / "project"
    data.write_featdsl(project, rows)
    pairs = data.records(project)
    took: dict[str, list[tuple[float, float]]] = {}
    for _ in range(3):
        own = plan.run([*plan.FEATDSL, "publish", "--full"], project)
        raw = data.bulk_load(root, pairs)
        shutil.rmtree(root / "feast", ignore_errors=True)
        data.write_feast(root / "feast", small)
        with Tool("Feast", "feast", root / "feast").opened() as ask:
            theirs = ask(materialize=True)
        more = MANY_USERS // USERS
        took.setdefault("featdsl publish --full", []).append((own.wall, own.processor))
        took.setdefault("LMDB's own load", []).append((raw.wall, raw.processor))
        took.setdefault("Feast's materialize", []).append((theirs["wall"] * more, theirs["processor"] * more))
    print(f"\npublish {MANY_USERS:,} users with 10 features; Feast: {MANY_USERS // USERS} times {USERS:,}")
    medians = {name: [statistics.median(column) for column in zip(*each, strict=True)] for name, each in took.items()}
    ours = medians["featdsl publish --full"]
    for name, (wall, processor) in medians.items():
        ratios = f"({ours[0] / wall:.2f}; processor {ours[1] / processor:.2f})"
        print(f"{name:<24}{wall:>8.1f} s, processor {processor:>7.1f} s {ratios:>28}", flush=True)


def servers(root: Path) -> None:
    """Print the reads over servers of their own."""
    sys.path.insert(0, str(REPOSITORY))
    from tests.servers import Postgres, Valkey

    rows = data.write_users(root, USERS)
    for kind, write in (("redis", data.write_redis), ("postgres", data.write_postgres)):
        folder = Path(tempfile.mkdtemp(dir="/tmp"))
        server = Valkey(folder) if kind == "redis" else Postgres.made(folder)
        server.start()
        try:
            write(server.url(), rows)
            os.environ["SERVING_URL"] = server.url()
            data.write_featdsl(root / kind, rows, "env:SERVING_URL")
            (root / kind / "url").write_text(server.url())
            named = {"redis": "Valkey", "postgres": "PostgreSQL"}[kind]
            tools = [
                Tool(f"featdsl, {named}", "featdsl", root / kind),
                Tool(f"raw {named} client", kind, root / kind),
            ]
            compare(f"10 stored features, {named}", tools, list(CALLS))
        finally:
            server.stop()


def http(root: Path) -> None:
    """Print the requests to servers of features."""
    rows = data.write_users(root, USERS)
    data.write_featdsl(root / "embedded", rows)
    data.write_feast(root / "feast", rows)
    with Tool("Feast", "feast", root / "feast").opened() as ask:
        ask(materialize=True)
    serving_http.compare(root, USERS)


PARTS = {"reads": reads, "flights": flights, "publish": publish, "servers": servers, "http": http}


def main() -> None:
    """Print the chosen parts."""
    parser = argparse.ArgumentParser(description="Serving beside Feast and beside raw reads.")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="the parts to run")
    chosen = parser.parse_args().only
    feast.install_feast()
    os.environ["PYTHONPATH"] = str(REPOSITORY)
    for name in chosen:
        with tempfile.TemporaryDirectory() as folder:
            PARTS[name](Path(folder).resolve())


if __name__ == "__main__":
    main()
