"""Training sets beside Feast with its DuckDB offline store: processes in turns, medians, ratios, equal results.

Run in the repository, on Linux: python benchmarks/feast.py [--large]

Feast is installed into `.venv-feast` with the DuckDB that featdsl uses. Both get the same Parquet files, the same groups
and the same spine as a pandas frame. Each training set is made by a process of its own, see one_training_set.py. Its time
is that of the first call up to Arrow, after the store was opened; Feast reads the Parquet files then, featdsl the tables
that `apply` made of them. How long the two take to apply is not measured. The ratios are Feast's medians over featdsl's:
of time, of the peak memory of the process, and in brackets of what the call added to it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
from training_set import FEATURES, Case, scattered

from featdsl import pipeline
from featdsl.apply.events import ignore
from featdsl.apply.execute import apply
from featdsl.project.settings import load
from featdsl.stores import open_store

ROUNDS = 5
ROWS = 1_000_000
DAYS, TTL_DAYS = 180, 30
LIMIT = "600MB"
"""The memory that featdsl's DuckDB may take: without a limit it keeps what it has read of tables for the next call."""
VENV = Path(__file__).parents[1] / ".venv-feast"
CASES = [Case(groups, ROWS, entities, 100_000) for entities in (10_000, 100_000) for groups in (1, 5, 20)]
LARGE = [Case(1, ROWS, 10_000, 1_000_000)]
FEAST_YAML = """\
project: bench
registry: registry.db
provider: local
offline_store: {type: duckdb}
online_store: {type: sqlite, path: online.db}
entity_key_serialization_version: 3
"""


@dataclass(frozen=True)
class Run:
    """What one process measured: seconds of the call, bytes of memory before it and at the highest."""

    seconds: float
    before: int
    peak: int


@contextmanager
def prepared(cases: Sequence[Case]) -> Iterator[Path]:
    """Yield a folder with the data of cases of equally many entities, declared and applied in both tools."""
    groups = max(case.groups for case in cases)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_rows(root, groups, cases[0].entities)
        for rows in {case.spine for case in cases}:
            write_spine(root, rows, cases[0].entities)
        declare_in_featdsl(root, groups)
        declare_in_feast(root, groups)
        yield root


def write_rows(root: Path, groups: int, entities: int) -> None:
    """Write a Parquet file for each group, its rows in no order: no entity has two at one time."""
    values = ", ".join(f"{scattered(f'i * {2 * j + 3}', 1_000_003)} / 8 AS g{{n}}_f{j}" for j in range(FEATURES))
    step = DAYS * 86_400_000_000 // ROWS
    for n in range(groups):
        save(
            f"""SELECT {scattered(f"i + {n * 7919}", entities)} AS user_id, {values.replace("{n}", str(n))},
                       TIMESTAMPTZ '2025-01-01 00:00:00+00' + to_microseconds(i * {step} + {n}) AS event_timestamp,
                       event_timestamp + to_microseconds(i % 1000) AS created
                FROM range({ROWS}) rows(i) ORDER BY hash(i)""",
            root / f"g{n}.parquet",
        )


def write_spine(root: Path, rows: int, entities: int) -> None:
    """Write rows that ask in the second half of the time, one in fifty for an unknown entity.

    They ask half a millisecond past a second, when no row begins to hold or ceases to: Feast's ttl has its end, ours not.
    """
    seconds = scattered("i * 7919 + 3", DAYS * 43_200)
    save(
        f"""SELECT i AS number, {scattered("i + 7", entities + entities // 50)} AS user_id,
                   TIMESTAMPTZ '2025-01-01 00:00:00.0005+00' + to_days({DAYS // 2}) + to_seconds({seconds})
                   AS event_timestamp
            FROM range({rows}) rows(i) ORDER BY i""",
        spine_of(root, rows),
    )


def save(select: str, path: Path) -> None:
    """Write the rows of a query as a Parquet file."""
    with duckdb.connect() as connection:
        connection.execute(f"SET TimeZone = 'UTC'; COPY ({select}) TO '{path}' (FORMAT parquet)")


def spine_of(root: Path, rows: int) -> Path:
    """Return the path of a spine."""
    return root / f"spine_{rows}.parquet"


def declare_in_featdsl(root: Path, groups: int) -> None:
    """Write featdsl's project and apply it."""
    (root / "featproject.toml").write_text(f'[project]\nname = "bench"\n[engine]\nmemory_limit = "{LIMIT}"\n')
    (root / "features").mkdir()
    text = "from featdsl import Entity, Feature, FeatureGroup, Source\nuser = Entity('user', keys={'user_id': int})\n"
    for n in range(groups):
        text += f"source{n} = Source('g{n}', path='g{n}.parquet', timestamp='event_timestamp', tie_break='created')\n"
        text += f"class G{n}(FeatureGroup, entity=user, source=source{n}, ttl='{TTL_DAYS} days'):\n"
        text += "".join(f"    g{n}_f{j} = Feature(float)\n" for j in range(FEATURES))
    (root / "features" / "__init__.py").write_text(text)
    project = load(root)
    store = open_store(project)
    apply(pipeline.make_plan(project, store).plan, project, store, listen=ignore)


def declare_in_feast(root: Path, groups: int) -> None:
    """Write Feast's repository and apply it."""
    folder = root / "feast"
    folder.mkdir()
    (folder / "feature_store.yaml").write_text(FEAST_YAML)
    text = "from datetime import timedelta\nfrom feast import Entity, FeatureView, Field, FileSource, ValueType\n"
    text += "from feast.types import Float64\n"
    text += "user = Entity(name='user', join_keys=['user_id'], value_type=ValueType.INT64)\n"
    for n in range(groups):
        schema = ", ".join(f"Field(name='g{n}_f{j}', dtype=Float64)" for j in range(FEATURES))
        path = root / f"g{n}.parquet"
        text += f"source{n} = FileSource(name='s{n}', path='{path}', timestamp_field='event_timestamp',\n"
        text += "    created_timestamp_column='created')\n"
        text += f"view{n} = FeatureView(name='g{n}', entities=[user], source=source{n},\n"
        text += f"    ttl=timedelta(days={TTL_DAYS}), schema=[{schema}])\n"
    (folder / "definitions.py").write_text(text)
    output_of([str(VENV / "bin" / "feast"), "apply"], folder)


def install_feast() -> None:
    """Make Feast's virtual environment, unless it is there with this DuckDB."""
    wanted = ["feast[duckdb]==0.67.*", f"duckdb=={duckdb.__version__}"]
    done = VENV / "ready"
    if not done.exists() or done.read_text() != str(wanted):
        subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
        pip = [str(VENV / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *wanted], check=True)
        done.write_text(str(wanted))


def output_of(command: list[str], folder: Path) -> str:
    """Return what a command prints; ends all with what it said where it fails."""
    environment = os.environ | {"FEAST_USAGE": "False", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{command} failed:\n{done.stderr}")
    return done.stdout


def make_training_set(tool: str, root: Path, case: Case) -> Run:
    """Make one training set in a process, leave its rows in `<tool>.parquet`."""
    python = str(VENV / "bin" / "python") if tool == "feast" else sys.executable
    child = str(Path(__file__).with_name("one_training_set.py"))
    # -P: else `import feast` would find this file, which lies beside the child.
    options = [tool, str(spine_of(root, case.spine)), str(root / f"{tool}.parquet"), *asked(case)]
    said: dict[str, Any] = json.loads(output_of([python, "-P", child, *options], root).splitlines()[-1])
    return Run(**said)


def asked(case: Case) -> list[str]:
    """Return the features of a case, each as its group and its name."""
    return [f"g{n}:g{n}_f{j}" for n in range(case.groups) for j in range(FEATURES)]


def equal(root: Path, case: Case) -> bool:
    """Return whether both training sets have the same values in each row of the spine, by its number."""
    columns = ", ".join(["number", "user_id", "event_timestamp", *(name.split(":")[1] for name in asked(case))])
    ours, theirs = (f"SELECT {columns} FROM '{root}/{tool}.parquet'" for tool in ("featdsl", "feast"))
    with duckdb.connect() as connection:
        counts = f"(SELECT count(*) FROM ({ours})), (SELECT count(*) FROM ({theirs}))"
        shared = f"(SELECT count(*) FROM ({ours} INTERSECT ALL {theirs}))"
        return connection.execute(f"SELECT {counts}, {shared}").fetchall() == [(case.spine,) * 3]


def ratio(theirs: Iterable[float], ours: Iterable[float]) -> float:
    """Return the ratio of medians."""
    return statistics.median(theirs) / statistics.median(ours)


def measure(root: Path, case: Case) -> None:
    """Print the ratios of one case."""
    feast, featdsl, same = [], [], True
    for _ in range(ROUNDS):
        feast.append(make_training_set("feast", root, case))
        featdsl.append(make_training_set("featdsl", root, case))
        same &= equal(root, case)
    seconds = ratio((run.seconds for run in feast), (run.seconds for run in featdsl))
    peak = ratio((run.peak for run in feast), (run.peak for run in featdsl))
    added = ratio((run.peak - run.before for run in feast), (run.peak - run.before for run in featdsl))
    print(f"time {seconds:5.1f}x  memory {peak:4.2f}x ({added:4.2f}x)  {case}  equal: {same}", flush=True)


def main() -> None:
    """Print one line for each case."""
    parser = argparse.ArgumentParser(description="Training sets beside Feast with its DuckDB offline store.")
    parser.add_argument("--large", action="store_true", help="a spine of a million rows too: Feast needs 3 GB for it")
    cases = [*CASES, *LARGE] if parser.parse_args().large else CASES
    install_feast()
    for entities in dict.fromkeys(case.entities for case in cases):
        alike = [case for case in cases if case.entities == entities]
        with prepared(alike) as root:
            for case in alike:
                measure(root, case)


if __name__ == "__main__":
    main()
