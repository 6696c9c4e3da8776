"""Workers whose supervisor is killed."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from tests.conftest import Workspace
from tests.online.feature_server import FeatureServer, is_worker
from tests.waiting import wait_until


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="Linux lists the workers")
def test_workers_end_with_their_supervisor(applied: Workspace, tmp_path: Path) -> None:
    """They give the port free, so that the server can start again."""
    server = FeatureServer(applied.root, tmp_path / "server.log")
    server.start()
    left = server.kill_supervisor()
    wait_until(lambda: not any(map(is_worker, left)))
    server.start()
    try:
        body = {"features": "credit_risk@1", "rows": [{"user_id": 3}]}
        answer = httpx.post(f"{server.url}/v1/features", json=body)
    finally:
        server.kill()

    assert answer.json()["rows"] == [{"age": 33, "income": 19000.0}]
