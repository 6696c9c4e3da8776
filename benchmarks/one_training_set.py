"""Make one training set with featdsl or with Feast; print its seconds and its memory as JSON.

feast.py starts it in the folder that has the projects of both: one_training_set.py TOOL SPINE RESULT GROUP:FEATURE...
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq


def open_featdsl(spine: pd.DataFrame, asked: list[str]) -> Callable[[], pa.Table]:
    """Return the call that makes the training set of an opened store."""
    from featdsl import FeatureStore

    store = FeatureStore(Path.cwd())
    names = [name.replace(":", ".") for name in asked]
    store.features()  # reads the store's state, which else the first call would do
    any_order = {"ordered": False}  # as Feast's rows are
    return lambda: store.training_set(names, spine, timestamp="event_timestamp", **any_order).arrow()


def open_feast(spine: pd.DataFrame, asked: list[str]) -> Callable[[], pa.Table]:
    """Return the call that makes the same with Feast."""
    import feast.infra.offline_stores.duckdb  # which else the first call would do

    store = feast.FeatureStore(repo_path=str(Path.cwd() / "feast"))
    store.list_feature_views()  # reads the registry
    return lambda: store.get_historical_features(entity_df=spine, features=asked).to_arrow()


def memory(field: str) -> int:
    """Return the bytes of memory that this process has (VmRSS), or had at its highest (VmHWM)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def main() -> None:
    """Open the store, then measure one call."""
    tool, spine, result, *asked = sys.argv[1:]
    frame = pq.read_table(spine).to_pandas()
    opened: dict[str, Callable[..., Any]] = {"featdsl": open_featdsl, "feast": open_feast}
    make = opened[tool](frame, asked)
    before = memory("VmRSS")
    started = time.perf_counter()
    table = make()
    seconds = time.perf_counter() - started
    print(json.dumps({"seconds": seconds, "before": before, "peak": memory("VmHWM")}))
    pq.write_table(table, result)


if __name__ == "__main__":
    main()
