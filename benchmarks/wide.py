"""What a wide set costs: 100 groups of 20 features beside one group of 2,000, each in a process of its own.

Run in the repository: python benchmarks/wide.py
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import duckdb

ROUNDS = 3
SHAPES = {"one group of 2,000": (1, 2000), "100 groups of 20": (100, 20)}
ENTITIES, SPINE = 1000, 2000


def project(root: Path, groups: int, each: int) -> None:
    """Write a project of so many groups of so many features, and apply it."""
    (root / "features").mkdir()
    (root / "data").mkdir()
    (root / "featproject.toml").write_text('[project]\nname = "wide"\n', encoding="utf-8")
    lines = [
        "from featdsl import Entity, Feature, FeatureGroup, FeatureSet, Source",
        'e = Entity("e", keys={"id": str})',
        'rows = Source("rows", path="data/rows.parquet", timestamp="ts")',
    ]
    for g in range(groups):
        lines.append(f"class G{g}(FeatureGroup, entity=e, source=rows):")
        lines += [f'    f{g}_{i} = Feature(float, sql="x{i}")' for i in range(each)]
    listed = ", ".join(f"G{g}" for g in range(groups))
    lines.append(f'wide = FeatureSet("wide", version=1, features=[{listed}])')
    (root / "features" / "__init__.py").write_text("\n".join(lines), encoding="utf-8")
    columns = ", ".join(f"(i * {k + 1} % 97)::DOUBLE AS x{k}" for k in range(each))
    query = f"""SELECT 'u' || i % {ENTITIES} AS id, TIMESTAMP '2024-01-01' + to_hours((i // {ENTITIES})::INT) AS ts, {columns}
        FROM range(5000) t(i)"""
    duckdb.execute(f"COPY ({query}) TO '{root / 'data' / 'rows.parquet'}' (FORMAT parquet)")
    featdsl = Path(sys.executable).with_name("featdsl")
    subprocess.run([featdsl, "apply", "--yes"], cwd=root, check=True, stdout=subprocess.DEVNULL)


def measure(root: str) -> dict[str, float]:
    """Return the seconds of a training set and of a served key, and the peak of memory in MB."""
    from featdsl import FeatureStore

    store = FeatureStore(root)
    spine = f"SELECT 'u' || i % {ENTITIES} AS id, TIMESTAMP '2024-02-01' AS t FROM range({SPINE}) t(i)"
    started = time.perf_counter()
    store.training_set("wide@1", spine, timestamp="t").arrow()
    trained = time.perf_counter() - started
    store.get_features("wide@1", id="u5")
    started = time.perf_counter()
    store.get_features("wide@1", id="u6")
    served = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"training": trained, "serving": served, "memory": peak}


def main() -> None:
    """Print for each figure both shapes and their ratio, the best of some rounds taken in turns."""
    with tempfile.TemporaryDirectory() as folder:
        roots = {name: Path(folder) / str(number) for number, name in enumerate(SHAPES)}
        for name, root in roots.items():
            root.mkdir()
            project(root, *SHAPES[name])
        found: dict[str, list[dict[str, Any]]] = {name: [] for name in SHAPES}
        for _ in range(ROUNDS):
            for name, root in roots.items():
                command = [sys.executable, __file__, str(root)]
                found[name].append(json.loads(subprocess.run(command, capture_output=True, check=True).stdout))
    one, many = ({key: min(each[key] for each in rounds) for key in rounds[0]} for rounds in found.values())
    for key, unit in (("training", "s"), ("serving", "s"), ("memory", "MB")):
        print(
            f"{key:9} {one[key]:8.2f} {unit:2} in one group {many[key]:8.2f} {unit:2} in 100   {many[key] / one[key]:5.2f}x"
        )


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(measure(sys.argv[1])))
    else:
        main()
