"""`featdsl serve` as a process of its own, which tests kill, wholly or in part, and start again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tests.servers import free_port
from tests.waiting import PATIENCE, wait_until


@dataclass
class FeatureServer:
    """The server of a project with two workers, on one port however often it is started."""

    root: Path
    log: Path
    port: int = field(default_factory=free_port)
    _process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """What requests are sent to."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """The process that starts the workers."""
        assert self._process is not None
        return self._process.pid

    def workers(self) -> list[int]:
        """Return the processes that answer."""
        own = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text(encoding="ascii").split()
        return sorted(int(pid) for pid in own if is_worker(int(pid)))

    def start(self) -> None:
        """Start, or start again; return when every worker is ready. Raises TimeoutError."""
        command = [sys.executable, "-m", "featdsl", "serve", "--port", str(self.port), "--workers", "2"]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=self.root, stdout=subprocess.DEVNULL, stderr=log, start_new_session=True
            )
        try:
            wait_until(self._is_ready, failed=lambda: self._process is None or self._process.poll() is not None)
        except TimeoutError:
            raise TimeoutError(self.log.read_text(encoding="utf-8")) from None

    def _is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/ready", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    def kill(self) -> None:
        """Kill all of it at once."""
        assert self._process is not None
        os.killpg(self.pid, signal.SIGKILL)
        self._process.wait(PATIENCE)

    def kill_supervisor(self) -> list[int]:
        """Kill the process that starts the workers, and return the workers that it leaves behind."""
        assert self._process is not None
        workers = self.workers()
        self._process.kill()
        self._process.wait(PATIENCE)
        return workers

    def kill_worker(self) -> None:
        """Kill a worker, which is started again."""
        os.kill(self.workers()[0], signal.SIGKILL)

    def stop(self) -> None:
        """End it in order."""
        assert self._process is not None
        self._process.terminate()
        self._process.wait(PATIENCE)


def is_worker(pid: int) -> bool:
    """Return whether a process lives and is a worker: there is one more child, which keeps account of semaphores."""
    try:
        return b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
