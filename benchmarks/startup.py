"""What starting costs: each command beside `python -c "import click"`, interleaved, as a ratio of medians.

Run in the repository: python benchmarks/startup.py
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

ROUNDS = 15
FEATDSL = str(Path(sys.executable).with_name("featdsl"))
COMMANDS = {
    'python -c "import click"': [sys.executable, "-c", "import click"],
    "featdsl --help": [FEATDSL, "--help"],
    "from featdsl import Feature": [sys.executable, "-c", "from featdsl import Feature"],
    "from featdsl import FeatureStore": [sys.executable, "-c", "from featdsl import FeatureStore"],
}


def main() -> None:
    """Print one line for each command."""
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(ROUNDS):
        for name, command in COMMANDS.items():
            started = time.perf_counter()
            subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
            seconds[name].append(time.perf_counter() - started)
    base = statistics.median(next(iter(seconds.values())))
    for name, times in seconds.items():
        print(f"{statistics.median(times) / base:5.2f}x  {name}")


if __name__ == "__main__":
    main()
