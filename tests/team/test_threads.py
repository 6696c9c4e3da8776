"""A FeatureStore on a team store in many threads, while another process publishes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import threads, torture
from tests.conftest import Workspace
from tests.servers import Postgres
from tests.team.test_commands import settings

pytestmark = pytest.mark.slow


def test_sixteen_threads_read_while_others_publish(
    tmp_path: Path, postgres: Postgres, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All of them make the first call on one fresh store at once."""
    monkeypatch.setenv("PGPASSWORD", postgres.password)
    root = tmp_path / "project"
    torture.make(root, settings(postgres, postgres.database(), name="torture"))
    Workspace(root).apply()
    with capsys.disabled():
        threads.hold(root, "A store in a lake", threads.seconds(10))
