"""First applies beside SQLMesh, dbt and the plain statements: processes in turns, ratios, equal results, peak memory.

Run in the repository, on Linux: python benchmarks/apply.py [--alone] [--groups 1000] [--rows 10_000_000] [--long 50_000_000]

A size of 0 leaves its part out. The parts:

- groups: the project of benchmarks/plan.py, N groups of 10 features. "CREATE TABLE" is one process of DuckDB that
  runs the query of each model, and nothing else. The others run once as they come, and once "checked", with what an
  apply of featdsl always does: no two rows of a key and a time in any table, and none without, before it counts.
- rows: one group of 10 features at each time at which a row came, and one of windows over the same rows. Here the
  queries of featdsl's own tables are what all the others run, into one database, with as many threads.
- long: a group of 20 features with [engine] memory_limit. Told is the peak of memory of the process that applies it.

Seconds are those of the processor, user and system, and in brackets of the wall: the latter mean little where a machine is
shared. Results are compared as sums and counts of each table.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import duckdb
import plan
from plan import Took

LIMIT, THREADS = "1.2GB", 2
RAW = """
import duckdb, json, sys
connection = duckdb.connect(config={settings})
connection.execute("ATTACH 'db.duckdb' AS db (STORAGE_VERSION 'v1.5.0'); USE db")  # as featdsl's files are
for statement in json.load(open("statements.json")):
    connection.execute(statement)
connection.close()
"""
WHERE = {"featdsl": ".featdsl/store.duckdb", "raw": "db.duckdb", "sqlmesh": "db.duckdb", "dbt": "db.duckdb"}
SCHEMA = {"featdsl": "prod", "raw": "bench", "sqlmesh": "bench", "dbt": "main"}
APPLY = {**plan.APPLY, "raw": [sys.executable, "raw.py"]}
CHECKING = {
    tool: ["build" if word == "run" and tool == "dbt" else word for word in APPLY[tool]] for tool in ("sqlmesh", "dbt")
}
"""Commands that also check: a SQLMesh plan runs what audits there are."""
UNIQUE_ON = """{% test unique_on(model, columns) %}
select {{ columns | join(', ') }} from {{ model }} group by all
having count(*) > 1 or {% for each in columns %}{{ each }} is null{{ '' if loop.last else ' or ' }}{% endfor %}
{% endtest %}
"""
MADE = [".featdsl", "db.duckdb", "db.duckdb.wal", ".cache", "target", "logs"]
"""What an apply leaves."""


def rounds(
    root: Path, tools: Sequence[str], number: int, commands: Mapping[str, Sequence[str]] = APPLY
) -> dict[str, list[Took]]:
    """Apply each project in turns, from nothing, and return what that took."""
    took: dict[str, list[Took]] = {tool: [] for tool in tools}
    for _ in range(number):
        for tool in tools:
            for name in MADE:
                path = root / tool / name
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
            took[tool].append(plan.run(commands[tool], root / tool))
    return took


def told(name: str, took: Mapping[str, Sequence[Took]]) -> None:
    """Print what each tool takes, and how that is to featdsl and to the plain statements."""
    best = {tool: min(all_of, key=lambda each: each.processor) for tool, all_of in took.items()}
    ours, raw = best["featdsl"], best.get("raw")
    for tool, found in best.items():
        ratios = [f"{found.processor / ours.processor:.2f}x featdsl"] if tool != "featdsl" else []
        ratios += [f"{found.processor / raw.processor:.2f}x CREATE TABLE"] if raw and tool != "raw" else []
        print(
            f"  {name}, {tool}: {found.processor:.2f} s ({found.wall:.2f} s), peak {found.peak:,.0f} MiB"
            f"{': ' if ratios else ''}{', '.join(ratios)}",
            flush=True,
        )


def same(root: Path, tools: Sequence[str], sums: Mapping[str, Sequence[str]], own: str = "") -> None:
    """End all unless each table has the same rows and sums of columns with every tool; featdsl's may be its `own`."""
    found = {tool: summed(root / tool, tool, sums, own if tool == "featdsl" else "") for tool in tools}
    for tool in tools:
        for table, values in found[tool].items():
            ours = found["featdsl"][table]
            if any(abs(a - b) > 1e-6 * max(abs(a), abs(b), 1) for a, b in zip(values, ours, strict=True)):
                sys.exit(f"{table} differs: {values} with {tool}, {ours} with featdsl")
    print(f"  equal results in {len(sums):,} tables", flush=True)


def summed(folder: Path, tool: str, sums: Mapping[str, Sequence[str]], own: str) -> dict[str, list[float]]:
    """Return the number of rows and the sum of each column of each table."""
    found = {}
    with duckdb.connect(str(folder / WHERE[tool]), read_only=True) as connection:
        for table, columns in sums.items():
            listed = ", ".join(f'sum("{column}")' for column in columns)
            place = own or f"{SCHEMA[tool]}.{table}"
            row = connection.execute(f"SELECT count(*), {listed} FROM {place}").fetchone() or ()
            found[table] = [float(value or 0) for value in row]
    return found


def write_raw(folder: Path, statements: Sequence[str], settings: Mapping[str, object]) -> None:
    """Write the process that runs plain statements."""
    plan.save(folder / "raw.py", RAW.format(settings=dict(settings)))
    plan.save(folder / "statements.json", json.dumps(["CREATE SCHEMA bench", *statements]))


# Many groups


def many(number: int, tools: Sequence[str]) -> None:
    """Print what a first apply of many small groups takes."""
    print(f"{number:,} groups of {plan.FEATURES} features, {plan.ROWS} rows each", flush=True)
    wanted = plan.groups(number)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        plan.write(root, wanted, [tool for tool in tools if tool != "raw"])
        queries = {f"g{each.number}": plan.in_sql(root, each, lambda n: f"bench.g{n}") for each in wanted}
        statements = [f"CREATE TABLE bench.{table} AS {query}" for table, query in queries.items()]
        write_raw(root / "raw", statements, {"threads": THREADS})
        told("first apply", rounds(root, tools, 1))
        sums = {f"g{each.number}": [f"g{each.number}_f{j}" for j in range(plan.FEATURES)] for each in wanted}
        same(root, tools, sums)
        others = [tool for tool in tools if tool in CHECKING]
        if others:
            write_checks(root, [f"g{each.number}" for each in wanted], others)
            told("first apply, checked", rounds(root, ["featdsl", *others], 1, {**APPLY, **CHECKING}))
            same(root, ["featdsl", *others], sums)


def write_checks(root: Path, models: Sequence[str], tools: Sequence[str]) -> None:
    """Let other tools check each model: one query a model in dbt, two audits in SQLMesh, which has them built in."""
    if "dbt" in tools:
        plan.save(root / "dbt" / "macros" / "unique_on.sql", UNIQUE_ON)
        tests = "    data_tests:\n      - unique_on: {arguments: {columns: [user_id, seen]}}\n"
        listed = "".join(f"  - name: {model}\n{tests}" for model in models)
        plan.save(root / "dbt" / "models" / "checks.yml", f"version: 2\nmodels:\n{listed}")
    if "sqlmesh" in tools:
        columns = "columns := (user_id, seen)"
        audits = f"audits (unique_combination_of_columns({columns}), not_null({columns}))"
        for model in models:
            path = root / "sqlmesh" / "models" / f"{model}.sql"
            text = path.read_text(encoding="utf-8")
            plan.save(path, text.replace("grain (user_id, seen)", f"grain (user_id, seen), {audits}"))


# Many rows


def mixed(salt: int, below: int) -> str:
    """Return a number that looks random and is the same on every machine: an integer mix of the row's number."""
    return f"((((i * 2654435761 + {salt} * 40503) % 4294967296) // 65536 * 7919 + {salt}) % {below})"


def write_events(path: Path, rows: int, columns: int, since: int = 0, of: int | None = None) -> None:
    """Write one Parquet file of rows of a thousand times fewer entities, in order of time, as events come.

    It holds so many `rows` after `since` others, `of` all that there will be.
    """
    values = ", ".join(f"{mixed(j + 2, 10_000)} / 10.0 AS x{j}" for j in range(columns))
    seen = "TIMESTAMP '2025-01-01' + to_microseconds(i * 30_000_000)"  # no two rows at one time
    path.parent.mkdir(parents=True, exist_ok=True)
    with duckdb.connect(config={"threads": THREADS, "memory_limit": "2GB"}) as connection:
        select = f"SELECT {mixed(1, max((of or rows) // 1_000, 1))} AS user_id, {seen} AS seen, {values} FROM range({since}, {since + rows}) t(i)"
        connection.execute(f"COPY ({select}) TO '{path}' (FORMAT parquet)")


AS_OF = """class Latest(FeatureGroup, entity=user, source=rows):
    \"\"\"What was seen last.\"\"\"

"""
WINDOWED = """class Recent(FeatureGroup, entity=user, source=rows):
    \"\"\"What was seen of late.\"\"\"

    total = Feature(float, sql="sum(x0)", window="30 days")
    mean = Feature(float, sql="avg(x1)", windows=["7 days", "30 days"])
    largest = Feature(float, sql="max(x2)", window="7 days")
    number = Feature(int, sql="count(*)", window="30 days")
"""
SOURCE = """from featdsl import Entity, Feature, FeatureGroup, Source

user = Entity("user", keys={"user_id": int})
rows = Source("rows", path="../events.parquet", timestamp="seen")


"""


def write_project(folder: Path, body: str, engine: str) -> None:
    """Write a project of one group."""
    settings = f'[project]\nname = "bench"\n[engine]\n{engine}[teams]\nbench = ["features"]\n'
    plan.save(folder / "featproject.toml", settings)
    plan.save(folder / "features" / "__init__.py", SOURCE + body)


def latest(features: int) -> str:
    """Return a group of as many features at the times of its rows."""
    return AS_OF + "".join(
        f'    f{j} = Feature(float, sql="x{j} * 2 + x{(j + 1) % features}")\n' for j in range(features)
    )


def large(rows: int, tools: Sequence[str]) -> None:
    """Print what the first apply of one large group takes, of values as they were and of rows for windows."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        write_events(root / "events.parquet", rows, 10)
        for said, body in (("as of", latest(10)), ("windows", WINDOWED)):
            print(f"1 group of {rows:,} rows, {said}", flush=True)
            write_project(root / "featdsl", body, f"threads = {THREADS}\n")
            steps = json.loads(plan.said([*plan.PLAN["featdsl"], "--format", "json"], root / "featdsl"))["steps"]
            (built,) = (step for step in steps if step["step"] == "build_table")
            query = built["sql"].replace('source."rows"', f"read_parquet('{root}/events.parquet') AS \"rows\"")
            write_model(root, query, tools)
            told(said, rounds(root, tools, 3))
            columns = [column["name"] for column in built["columns"] if column["dtype"] in {"DOUBLE", "BIGINT"}]
            same(root, tools, {"big": columns}, f'tables."{built["table"]}"')


def write_model(root: Path, query: str, tools: Sequence[str]) -> None:
    """Write the project of one model for each of the others."""
    write_raw(root / "raw", [f"CREATE TABLE bench.big AS {query}"], {"threads": THREADS})
    for tool in tools:
        if tool in plan.FILES and tool != "featdsl":
            for name, text in plan.FILES[tool].items():
                plan.save(root / tool / name, text)
    plan.save(root / "sqlmesh" / "models" / "big.sql", f"MODEL (name bench.big, kind FULL);\n{query};\n")
    plan.save(root / "dbt" / "models" / "big.sql", query)


# Much memory


def long(rows: int, limit: str) -> None:
    """Print the peak of memory of an apply of one group that is larger than its limit."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        write_events(root / "events.parquet", rows, 20)
        engine = f'threads = {THREADS}\nmemory_limit = "{limit}"\ntemp_directory = "spilled"\n'
        for said, body in (("as of", latest(20)), ("windows", WINDOWED)):
            print(f"1 group of {rows:,} rows, {said}, within {limit}", flush=True)
            write_project(root / "featdsl", body, engine)
            told(said, rounds(root, ["featdsl"], 1))


def main() -> None:
    """Print the figures of each part."""
    parser = argparse.ArgumentParser(description="First applies beside SQLMesh, dbt and plain statements.")
    parser.add_argument("--alone", action="store_true", help="without SQLMesh and dbt")
    parser.add_argument("--groups", type=int, default=1_000, help="how many small groups")
    parser.add_argument("--rows", type=int, default=10_000_000, help="rows of one group")
    parser.add_argument("--long", type=int, default=50_000_000, help="rows of one group with a limit of memory")
    parser.add_argument("--limit", default=LIMIT, help="the limit of memory of the engine")
    asked = parser.parse_args()
    os.environ["PYTHONPATH"] = str(plan.REPOSITORY)
    tools = ["featdsl", "raw", *([] if asked.alone else plan.WANTED)]
    for tool in tools[2:]:
        plan.install(tool)
    if asked.groups:
        many(asked.groups, tools)
    if asked.rows:
        large(asked.rows, tools)
    if asked.long:
        long(asked.long, asked.limit)


if __name__ == "__main__":
    main()
