"""Writers to a team store that are killed over and over, and a server that is: readers see whole states, and nothing is lost."""

from __future__ import annotations

import time
from pathlib import Path
from threading import Thread

import pytest

from tests import torture
from tests.servers import Postgres
from tests.team.test_commands import settings
from tests.torture import READERS, Torture


@pytest.mark.slow
def test_whoever_is_killed_whenever(
    tmp_path: Path, postgres: Postgres, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No reader sees a mixture, no state that was published is lost, and the next run goes on; with the server killed too."""
    monkeypatch.setenv("PGPASSWORD", postgres.password)
    more = 'lock_timeout = "5 minutes"\n'
    root = tmp_path / "project"
    torture.make(root, settings(postgres, postgres.database(), name="torture", more=more))
    tortured = Torture(root, torture.kills(8))
    tortured.begin()
    with tortured.read_by(READERS):
        writing = Thread(target=tortured.write)
        writing.start()
        for number in range(2):
            while writing.is_alive() and tortured.counts["kills"] * 3 < tortured.kills * (number + 1):
                time.sleep(0.2)
            with tortured.away():
                postgres.stop(crash=number == 0)
                time.sleep(0.5)
                postgres.start()
        writing.join()
    tortured.settle()
    with capsys.disabled():
        print(f"\nA store in a lake: {tortured.report()}")  # noqa: T201 - the figures
    assert tortured.faults == []
    assert tortured.counts["reads"] > READERS
