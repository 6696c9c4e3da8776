"""Plans beside SQLMesh and dbt: processes in turns over the same project, medians, ratios.

Run in the repository, on Linux: python benchmarks/plan.py [--alone] [--groups 100 1000]

The project has N groups of 10 features by seven teams; each has a Parquet file of its own, but every fifth is derived from
two others. Sets and models use them. SQLMesh and dbt get N models of the same expressions and columns, and no sets, which
they do not have. All three apply it; then processes plan it: as it is, and with one expression more changed each time.
dbt has no plan: `dbt ls` lists what differs from the state that it last ran with. SQLMesh and dbt are installed into
`.venv-sqlmesh` and `.venv-dbt`.

Seconds are those of the wall and, in brackets, of the processor, which are steadier where a machine is shared; after them
stands the peak memory of a process. Ratios are of medians. At the end stands how the cost of featdsl's plans grows from one
size to the next, as a multiple of how the size grows. All of it takes about a quarter of an hour.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from itertools import pairwise
from pathlib import Path

import duckdb

FEATURES, TEAMS, DERIVED, ROWS, ROUNDS = 10, 7, 5, 100, 3
REPOSITORY = Path(__file__).parents[1]
FEATDSL = [sys.executable, "-m", "featdsl"]
WANTED = {
    "sqlmesh": ["sqlmesh==0.236.*", "duckdb==1.5.*"],
    "dbt": ["dbt-core==1.11.*", "dbt-duckdb", "duckdb==1.5.*"],
}
DBT_STATE = ["ls", "--profiles-dir", ".", "--select", "state:modified+", "--state", "applied"]
PLAN = {
    "featdsl": [*FEATDSL, "plan"],
    "sqlmesh": [str(REPOSITORY / ".venv-sqlmesh/bin/sqlmesh"), "plan", "--no-prompts", "--explain"],
    "dbt": [str(REPOSITORY / ".venv-dbt/bin/dbt"), *DBT_STATE],
}
APPLY = {
    "featdsl": [*FEATDSL, "apply", "--yes"],
    "sqlmesh": [PLAN["sqlmesh"][0], "plan", "--no-prompts", "--auto-apply"],
    "dbt": [PLAN["dbt"][0], "run", "--profiles-dir", "."],
}
FILES = {
    "featdsl": {"featproject.toml": '[project]\nname = "bench"\n[teams]\n'},
    "sqlmesh": {
        "config.yaml": "gateways: {g: {connection: {type: duckdb, database: db.duckdb}}}\ndefault_gateway: g\n"
        "model_defaults: {dialect: duckdb, start: 2025-01-01}\n"
    },
    "dbt": {
        "dbt_project.yml": "name: bench\nversion: '1.0'\nprofile: bench\nmodel-paths: [models]\n"
        "models: {bench: {+materialized: table}}\nflags: {send_anonymous_usage_stats: false}\n",
        "profiles.yml": "bench: {target: dev, outputs: {dev: {type: duckdb, path: db.duckdb, threads: 1}}}\n",
    },
}


@dataclass(frozen=True)
class Took:
    """What one process took: seconds of the wall, and of the processor, and MiB of memory at its peak."""

    wall: float
    processor: float
    peak: float


@dataclass(frozen=True)
class Group:
    """One group or model: its number, and those that it is derived from, if it is."""

    number: int
    inputs: tuple[int, ...]
    change: int = 0

    def expressions(self) -> list[str]:
        """Return the SQL of each feature over `x0`, `x1`, ..., or over the features `a0`, ... and `b0`, ... of its inputs."""
        return [self._expression(j) for j in range(FEATURES)]

    def _expression(self, j: int) -> str:
        k = self.number * FEATURES + j  # so that no two features have one text
        more = f" + {self.change}" if self.change and not j else ""
        if self.inputs:
            return f"CASE WHEN a{j} > b{j} THEN a{j} ELSE b{j} + {k} END{more}"
        forms = [
            f"x{j} * {1 + k}",
            f"coalesce(x{j}, 0) + {k}",
            f"CASE WHEN x{j} > {k} THEN x{j} - {k} ELSE x{(j + 1) % FEATURES} END",
            f"round(x{j} / nullif(x{(j + 3) % FEATURES}, 0), 2) + {k}",
            f"greatest(abs(x{j} - {k}), x{(j + 2) % FEATURES})",
        ]
        return forms[k % len(forms)] + more


def groups(number: int) -> list[Group]:
    """Return the groups of a project: every fifth is derived from the two before it."""
    return [Group(n, (n - 1, n - 2) if n % DERIVED == DERIVED - 1 else ()) for n in range(number)]


def write_rows(root: Path, wanted: Sequence[Group]) -> None:
    """Write one Parquet file, and a link to it for each group that is derived from no other."""
    values = ", ".join(f"hash(i * {j + 1}) % 1000 / 10.0 AS x{j}" for j in range(FEATURES))
    rows = f"SELECT i AS user_id, TIMESTAMP '2025-01-01' + to_days((i % 30)::INTEGER) AS seen, {values} FROM range({ROWS}) t(i)"
    (root / "data").mkdir()
    with duckdb.connect() as connection:
        connection.execute(f"COPY ({rows}) TO '{root}/data/rows.parquet' (FORMAT parquet)")
    for each in wanted:
        if not each.inputs:
            (root / "data" / f"g{each.number}.parquet").hardlink_to(root / "data" / "rows.parquet")


def write(root: Path, wanted: Sequence[Group], tools: Sequence[str]) -> None:
    """Write the project of each tool."""
    write_rows(root, wanted)
    for tool in tools:
        for name, text in FILES[tool].items():
            save(root / tool / name, text)
    for each in wanted:
        write_group(root, each, tools)
    settings = root / "featdsl" / "featproject.toml"
    teams = sorted({team(each.number) for each in wanted})
    settings.write_text(settings.read_text() + "".join(f'team{n} = ["features/team{n}"]\n' for n in teams))
    write_sets(root / "featdsl" / "features", wanted)


def write_group(root: Path, group: Group, tools: Sequence[str]) -> None:
    """Write one group for each tool."""
    if "featdsl" in tools:
        folder = root / "featdsl" / "features"
        save(folder / "users.py", "from featdsl import Entity\nuser = Entity('user', keys={'user_id': int})\n")
        save(folder / f"team{team(group.number)}" / f"g{group.number}.py", in_featdsl(group))
    if "sqlmesh" in tools:
        model = (
            f"MODEL (name bench.g{group.number}, kind FULL, grain (user_id, seen), owner team{team(group.number)});\n"
        )
        select = in_sql(root, group, lambda n: f"bench.g{n}")
        save(root / "sqlmesh" / "models" / f"g{group.number}.sql", f"{model}{select};\n")
    if "dbt" in tools:
        save(root / "dbt" / "models" / f"g{group.number}.sql", in_sql(root, group, lambda n: f"{{{{ ref('g{n}') }}}}"))


def team(number: int) -> int:
    """Return the team of a group: ten groups follow each other."""
    return number // 10 % TEAMS


def class_of(number: int) -> str:
    """Return the import of the class of a group."""
    return f"from features.team{team(number)}.g{number} import G{number}\n"


def in_featdsl(group: Group) -> str:
    """Return the module of a group."""
    text = "from featdsl import Feature, FeatureGroup, Source\nfrom features.users import user\n"
    header = f"class G{group.number}(FeatureGroup, entity=user, "
    if group.inputs:
        first, second = group.inputs
        text += class_of(first) + class_of(second)
        aliases = [
            f"G{n}['g{n}_f{j}'].alias('{side}{j}')"
            for j in range(FEATURES)
            for side, n in (("a", first), ("b", second))
        ]
        text += f"{header}inputs=[{', '.join(aliases)}]):\n"
    else:
        path = f"../data/g{group.number}.parquet"
        text += f"rows = Source('g{group.number}', path='{path}', timestamp='seen')\n{header}source=rows):\n"
    text += f'    """What group {group.number} tells."""\n\n'
    for j, sql in enumerate(group.expressions()):
        text += f'    g{group.number}_f{j} = Feature(float, sql="{sql}", description="Value {j} of group {group.number}.")\n'
    return text


def in_sql(root: Path, group: Group, name_of: Callable[[int], str]) -> str:
    """Return the query of a model of the same columns."""
    listed = ",\n  ".join(f"{sql} AS g{group.number}_f{j}" for j, sql in enumerate(group.expressions()))
    if not group.inputs:
        return f"SELECT\n  user_id,\n  seen,\n  {listed}\nFROM read_parquet('{root}/data/g{group.number}.parquet')\n"
    sides = [
        f"(SELECT user_id, seen, {', '.join(f'g{n}_f{j} AS {side}{j}' for j in range(FEATURES))} FROM {name_of(n)})"
        for side, n in zip("ab", group.inputs, strict=True)
    ]
    joined = f"{sides[0]} AS a JOIN {sides[1]} AS b ON a.user_id = b.user_id AND a.seen = b.seen"
    return f"SELECT\n  a.user_id,\n  a.seen,\n  {listed}\nFROM {joined}\n"


def write_sets(features: Path, wanted: Sequence[Group]) -> None:
    """Write a set of ten features and a model for every hundred groups."""
    text = "from featdsl import FeatureSet, Model\n"
    for start in range(0, len(wanted), 100):
        chosen = range(start, min(start + 100, len(wanted)), 10)
        text += "".join(map(class_of, chosen))
        listed = ", ".join(f"G{n}['g{n}_f0']" for n in chosen)
        text += f"s{start} = FeatureSet('s{start}', version=1, features=[{listed}])\n"
        text += f"m{start} = Model('m{start}', features=s{start})\n"
    save(features / "team0" / "sets.py", text)


def save(path: Path, text: str) -> None:
    """Write a file, and its folder where there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def install(tool: str) -> None:
    """Make the virtual environment of a tool, unless it is there."""
    folder = REPOSITORY / f".venv-{tool}"
    done = folder / "ready"
    if not done.exists() or done.read_text() != str(WANTED[tool]):
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *WANTED[tool]], check=True)
        done.write_text(str(WANTED[tool]))


def run(command: Sequence[str], folder: Path) -> Took:
    """Return what a process and those that it starts take; ends all with what it said where it fails."""
    quiet = {"SQLMESH__DISABLE_ANONYMIZED_ANALYTICS": "true", "DBT_SEND_ANONYMOUS_USAGE_STATS": "false"}
    environment = os.environ | quiet | {"NO_COLOR": "1", "PYTHONPATH": str(REPOSITORY)}
    started = time.perf_counter()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=said, stderr=subprocess.STDOUT)
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            sys.exit(f"{command} failed:\n{said.read().decode()[-4000:]}")
    return Took(wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def said(command: Sequence[str], folder: Path | None = None) -> str:
    """Return what a process prints; ends all with that where it fails."""
    quiet = {"SQLMESH__DISABLE_ANONYMIZED_ANALYTICS": "true", "DBT_SEND_ANONYMOUS_USAGE_STATS": "false"}
    environment = os.environ | quiet | {"NO_COLOR": "1", "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{command} failed:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return done.stdout


def applied(root: Path, tools: Sequence[str]) -> dict[str, Took]:
    """Apply the project of each tool, and return what that took."""
    took = {tool: run(APPLY[tool], root / tool) for tool in tools}
    if "dbt" in tools:
        save(root / "dbt" / "applied" / "manifest.json", (root / "dbt" / "target" / "manifest.json").read_text())
    return took


def measure(number: int, tools: Sequence[str]) -> dict[str, float]:
    """Print what the commands take with so many groups; return the median of featdsl's processor seconds by command."""
    print(f"{number:,} groups of {FEATURES} features", flush=True)
    wanted = groups(number)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write(root, wanted, tools)
        told("first apply", {tool: [each] for tool, each in applied(root, tools).items()})
        for tool in tools:
            run(PLAN[tool], root / tool)  # so that no cache is empty for one of them
        same: dict[str, list[Took]] = {tool: [] for tool in tools}
        other: dict[str, list[Took]] = {tool: [] for tool in tools}
        for _ in range(ROUNDS):
            for tool in tools:
                same[tool].append(run(PLAN[tool], root / tool))
        for change in range(1, ROUNDS + 1):
            write_group(root, replace(wanted[number // 2 // DERIVED * DERIVED], change=change), tools)
            for tool in tools:
                other[tool].append(run(PLAN[tool], root / tool))
        told("plan, no change", same)
        told("plan, one feature changed", other)
    return {name: median(took["featdsl"]).processor for name, took in (("no change", same), ("one change", other))}


def told(name: str, took: Mapping[str, Sequence[Took]]) -> None:
    """Print the medians of one command, and how much longer the other tools take than featdsl."""
    ours = median(took["featdsl"])
    said = []
    for tool, each in took.items():
        found = median(each)
        ratio = (
            "" if tool == "featdsl" else f" = {found.wall / ours.wall:.1f}x ({found.processor / ours.processor:.1f}x)"
        )
        said.append(f"{tool} {found.wall:.2f} s ({found.processor:.2f} s), {found.peak:.0f} MiB{ratio}")
    print(f"  {name}: {'; '.join(said)}", flush=True)


def median(took: Sequence[Took]) -> Took:
    """Return the median of each figure."""
    return Took(*map(statistics.median, zip(*map(astuple, took), strict=True)))


def main() -> None:
    """Print the figures of each size, and how they grow."""
    parser = argparse.ArgumentParser(description="Plans beside SQLMesh and dbt.")
    parser.add_argument("--alone", action="store_true", help="featdsl only")
    parser.add_argument("--groups", type=int, nargs="+", default=[100, 1_000], help="the sizes, such as 1000 10000")
    asked = parser.parse_args()
    tools = ["featdsl", *([] if asked.alone else WANTED)]
    for tool in tools[1:]:
        install(tool)
    took = {number: measure(number, tools) for number in asked.groups}
    for less, more in pairwise(asked.groups):
        grown = {name: took[more][name] / took[less][name] / (more / less) for name in took[less]}
        listed = ", ".join(f"{name} {ratio:.2f}" for name, ratio in grown.items())
        print(f"growth from {less:,} to {more:,} groups, of linear: {listed}")


if __name__ == "__main__":
    main()
