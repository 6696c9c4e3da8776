"""What the serving log costs a read: whole reads of one key, without a log, with a sample of 1 %, and with every read logged.

Run in the repository: python benchmarks/serving_log.py [--reads 20000]

The project is the bank of the tests, served from the embedded store. The three stores take turns, read by read, so that a busy
machine hits all of them. `add` is the log's own part of a read.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
sys.path.insert(0, str(REPOSITORY))

from featdsl import FeatureStore  # noqa: E402 - of this repository
from tests.conftest import ACCOUNTS, BANK, Workspace  # noqa: E402

SAMPLES = (0.0, 0.01, 1.0)
SET = "credit_risk@1"
TOML = '[project]\nname = "bank"\n\n[serving]\nurl = "embedded"\n\n[serving.log]\nsample = {}\n'


def main() -> None:
    """Print the medians and the slowest reads for each sample."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reads", type=int, default=20_000)
    reads = parser.parse_args().reads
    with tempfile.TemporaryDirectory() as folder:
        stores = opened(Path(folder))
        whole, added = measured(stores, reads)
        print(f"{'sample':>6}  {'read':>8}  {'p99':>8}  {'p99.9':>8}  {'add':>8}  µs")
        for sample in SAMPLES:
            times, own = sorted(whole[sample]), statistics.median(added[sample])
            figures = (statistics.median(times), times[int(0.99 * reads)], times[int(0.999 * reads)], own)
            print(f"{sample:6.2f}", *(f"{each / 1000:8.2f}" for each in figures), sep="  ")
        for sample, store in stores.items():
            print(f"{sample:6.2f}  {store.flush_log()}")


def opened(root: Path) -> dict[float, FeatureStore]:
    """Return a store of one applied project for each sample."""
    workspace = Workspace(root).write({**BANK, "featproject.toml": TOML.format(0)})
    workspace.parquet("data/accounts.parquet", ACCOUNTS).apply()
    stores = {}
    for sample in SAMPLES:
        workspace.write({"featproject.toml": TOML.format(float(sample))})
        stores[sample] = workspace.store
    return stores


def measured(
    stores: Mapping[float, FeatureStore], reads: int
) -> tuple[Mapping[float, Sequence[int]], Mapping[float, Sequence[int]]]:
    """Return the nanoseconds of whole reads, and of the log's part."""
    whole: dict[float, list[int]] = {sample: [] for sample in stores}
    added: dict[float, list[int]] = {sample: [] for sample in stores}
    answers = {sample: store.serve(SET, user_id=1) for sample, store in stores.items()}
    for number in range(reads):
        for sample, store in stores.items():
            started = time.perf_counter_ns()
            store.get_features(SET, user_id=number % 4)
            read = time.perf_counter_ns()
            store._log.add(answers[sample], [{"user_id": 1}], None)  # noqa: SLF001 - what is measured
            whole[sample].append(read - started)
            added[sample].append(time.perf_counter_ns() - read)
    return whole, added


if __name__ == "__main__":
    main()
