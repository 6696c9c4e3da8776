"""Run a command beside a cluster of Apache Spark: `python -m tests.spark.cluster pytest tests/spark`.

A master, two workers and a Connect server run on this machine, from the packages of .venv-spark. FEATDSL_SPARK_URL names the server
for the command. All end with this process, however it ends.
"""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.servers import free_port, listens
from tests.waiting import wait_until

ROOT = Path(__file__).parents[2]
ENVIRONMENT = ROOT / ".venv-spark"
"""The environment of the servers and of the Python workers."""
WORKERS = 2
_JAVA_VERSIONS = (17, 21)
"""The versions of Java that Spark 4 runs on."""
_DIES_WITH_PARENT = 1
"""The option of Linux's prctl that sends a process a signal when its parent ends."""


@dataclass
class Cluster:
    """A running cluster: the URL of its Connect server, and its processes by name, in the order of their start."""

    folder: Path
    url: str = ""
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str, command: list[str], environment: Mapping[str, str]) -> None:
        """Start a process in a group of its own, which ends with this one."""
        with (self.folder / f"{name}.log").open("wb") as log:
            self.processes[name] = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=environment,
                start_new_session=True,
                preexec_fn=_end_with_parent,  # noqa: PLW1509 - no thread has started yet
            )

    def log(self, name: str) -> str:
        """Return what a process has written so far."""
        return (self.folder / f"{name}.log").read_text(encoding="utf-8", errors="replace")

    def kill(self, name: str) -> None:
        """Kill a process with all that it has started."""
        process = self.processes.pop(name)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def stop(self) -> None:
        """Kill all processes."""
        for name in reversed(list(self.processes)):
            self.kill(name)


def _end_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DIES_WITH_PARENT, signal.SIGKILL)


# Java


def find_java() -> str | None:
    """Return the home of a Java that Spark runs on: of JAVA_HOME, of the path, or of the system; None without any."""
    on_path = shutil.which("java")
    named = [Path(home) for home in (os.environ.get("JAVA_HOME"),) if home]
    named += [Path(on_path).resolve().parents[1]] if on_path else []
    named += sorted(Path("/usr/lib/jvm").glob("*")) if Path("/usr/lib/jvm").is_dir() else []
    return next((str(home) for home in named if _java_version(home / "bin" / "java") in _JAVA_VERSIONS), None)


def _java_version(program: Path) -> int:
    if not program.exists():
        return 0
    said = subprocess.run([program, "-version"], capture_output=True, text=True, check=False).stderr
    match = re.search(r'version "(\d+)', said)
    return int(match[1]) if match else 0


def install_java() -> str | None:
    """Install Java 17 by apt-get as root; return its home, None if that fails."""
    if os.name != "posix" or os.geteuid() != 0 or not shutil.which("apt-get"):
        return None
    package = ("apt-get", "install", "--yes", "--no-install-recommends", "openjdk-17-jre-headless")
    for command in (("apt-get", "update"), package):
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=sys.stderr, check=False)
        if done.returncode:
            return None
    return find_java()


# The cluster


@contextmanager
def running(folder: Path) -> Iterator[Cluster]:
    """Start a cluster that keeps its files in a folder, and kill it in the end."""
    cluster = Cluster(folder)
    try:
        _start(cluster, _environment(folder))
        yield cluster
    finally:
        cluster.stop()


def _environment(folder: Path) -> dict[str, str]:
    java = find_java() or install_java()
    if java is None:
        raise SystemExit("Java 17 is not found, and cannot be installed here. Install it, or set JAVA_HOME.")
    homes = sorted(ENVIRONMENT.glob("lib/python*/site-packages/pyspark"))
    if not homes:
        raise SystemExit("Spark is not found. Install it: make .venv-spark/ready")
    # Nothing of this process's own Python: workers run without the package under test.
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "SPARK_", "FEATDSL_"))}
    return {
        **kept,
        "JAVA_HOME": java,
        "SPARK_HOME": str(homes[0]),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_LOCAL_DIRS": str(folder / "local"),
        "PYSPARK_PYTHON": str(ENVIRONMENT / "bin" / "python"),
    }


def _start(cluster: Cluster, environment: dict[str, str]) -> None:
    spark_class = [f"{environment['SPARK_HOME']}/bin/spark-class"]
    deploy = "org.apache.spark.deploy"
    master, connect = free_port(), free_port()
    at = ["--host", "127.0.0.1", "--webui-port", "0"]
    cluster.start("master", [*spark_class, f"{deploy}.master.Master", *at, "--port", str(master)], environment)
    _wait_for_port(cluster, "master", master)
    for number in range(WORKERS):
        start_worker(cluster, f"worker {number}", master, environment)
    configured = {
        "spark.connect.grpc.binding.port": connect,
        "spark.connect.grpc.binding.address": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.executor.memory": "1g",
        "spark.sql.shuffle.partitions": 4,  # for small tables; a result does not depend on it
        "spark.sql.warehouse.dir": cluster.folder / "warehouse",
    }
    options = [option for name, value in configured.items() for option in ("--conf", f"{name}={value}")]
    server = [
        f"{environment['SPARK_HOME']}/bin/spark-submit",
        *("--class", "org.apache.spark.sql.connect.service.SparkConnectServer"),
        *("--master", f"spark://127.0.0.1:{master}"),
        *("--driver-memory", "2g"),  # with less, hundreds of sessions one after the other exhaust it
        *options,
        "spark-internal",
    ]
    cluster.start("connect", server, environment)
    _wait_for_port(cluster, "connect", connect)
    cluster.url = f"sc://127.0.0.1:{connect}"


def start_worker(cluster: Cluster, name: str, master: int, environment: dict[str, str]) -> None:
    """Start a worker with one core."""
    folder = cluster.folder / name.replace(" ", "-")
    command = [
        f"{environment['SPARK_HOME']}/bin/spark-class",
        "org.apache.spark.deploy.worker.Worker",
        *("--host", "127.0.0.1", "--webui-port", "0", "--cores", "1", "--memory", "2g", "--work-dir", str(folder)),
        f"spark://127.0.0.1:{master}",
    ]
    cluster.start(name, command, environment)


def _wait_for_port(cluster: Cluster, name: str, port: int) -> None:
    process = cluster.processes[name]
    try:
        wait_until(lambda: listens(port), failed=lambda: process.poll() is not None, every=0.2)
    except TimeoutError:
        raise SystemExit(f"The {name} of Spark did not start.\n{cluster.log(name)[-3000:]}") from None


def main(arguments: list[str]) -> int:
    """Run a command beside a cluster, and return its exit code."""
    if not arguments:
        sys.stderr.write("Give a command: python -m tests.spark.cluster pytest tests/spark\n")
        return 2
    # Ends the cluster too: an exception unwinds, where the signal alone would not.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    files = tempfile.TemporaryDirectory(prefix="featdsl-spark-", ignore_cleanup_errors=True)
    with files as folder, running(Path(folder)) as cluster:
        return subprocess.run(arguments, env={**os.environ, "FEATDSL_SPARK_URL": cluster.url}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
