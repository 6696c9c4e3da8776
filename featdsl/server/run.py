"""Run the server: one process, or a supervisor with several workers that share nothing."""

from __future__ import annotations

import atexit
import gc
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import uvicorn
from pydantic_core import from_json, to_json

from featdsl.featurestore import FeatureStore
from featdsl.project import settings
from featdsl.server.app import create_app
from featdsl.server.metrics import FOLDER
from featdsl.server.observing import Observing

_SERVED = "FEATDSL_SERVED"
"""The environment variable by which the workers know the project and its environment."""


@dataclass(frozen=True, kw_only=True)
class ServerOptions:
    """What to serve and where. `tls` has uvicorn's own options: ssl_keyfile, ssl_certfile and so on.

    `graceful_seconds` bounds the wait for requests that have begun: an idle client of TLS may not close its connection.
    """

    directory: str | None
    environment: str
    host: str
    port: int
    workers: int = 1
    graceful_seconds: int = 10
    tls: Mapping[str, Any] = field(default_factory=dict)


def run(options: ServerOptions) -> None:
    """Serve until SIGTERM or SIGINT, then finish the requests that have begun."""
    with suppress(OSError, ValueError):  # workers inherit descriptor 1, and the access log goes there
        os.dup2(sys.stdout.fileno(), 1)
    for number in (signal.SIGTERM, signal.SIGINT):  # uvicorn raises the signal again once it has finished
        signal.signal(number, lambda *_: None)
    described: dict[str, Any] = {
        "host": options.host,
        "port": options.port,
        "log_level": "warning",
        "access_log": False,  # the application writes its own
        "server_header": False,
        "timeout_graceful_shutdown": options.graceful_seconds,
        **options.tls,
    }
    if options.workers == 1:
        uvicorn.run(_served(options.directory, options.environment), **described)
        return
    with tempfile.TemporaryDirectory(prefix="featdsl-metrics-") as folder:
        os.environ[FOLDER] = folder
        os.environ[_SERVED] = to_json(asdict(options)).decode()
        uvicorn.run("featdsl.server.run:worker", factory=True, workers=options.workers, **described)


def worker() -> Observing:
    """Return the application of a worker."""
    threading.Thread(target=_end_with_supervisor, name="featdsl-supervisor", daemon=True).start()
    served = from_json(os.environ[_SERVED])
    return _served(served["directory"], served["environment"])


def _end_with_supervisor() -> None:
    """End this worker, in order, when the supervisor dies: else it would keep the port, and no server could start again."""
    if supervisor := multiprocessing.parent_process():
        supervisor.join()
        os.kill(os.getpid(), signal.SIGTERM)


def _served(directory: str | None, environment: str) -> Observing:
    path = Path(directory) if directory is not None else None
    app = create_app(FeatureStore(path, env=environment), settings.load(path))
    gc.collect()
    gc.freeze()  # modules and definitions live as long as the process: the collector need not visit them
    atexit.register(gc.unfreeze)
    return app
