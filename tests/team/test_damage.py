"""Files of a lake that are not what was written: every command tells of them, and what can be computed is built again."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

import pytest

from tests.conftest import ACCOUNTS, BANK, Workspace
from tests.mutations import WAYS
from tests.servers import Postgres
from tests.team.test_commands import settings

pytestmark = pytest.mark.slow
RAW = re.compile(r"Traceback|\b[A-Z][A-Za-z ]* Error: |INTERNAL|pydantic|LINE \d+:")
COMMANDS: tuple[tuple[str, ...], ...] = (
    ("get", "income", "--key", "user_id=3", "--format", "json"), ("plan",), ("list",), ("show", "user_profile.income"),
    ("history",), ("check", "--no-record"), ("check", "--parity"), ("doctor",), ("doctor", "--deep"),
)  # fmt: skip
RIGHT = {"income": 19000.0}


@pytest.fixture
def bank(tmp_path: Path, postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """The small project on a team store, applied."""
    monkeypatch.setenv("PGPASSWORD", postgres.password)
    found = Workspace(tmp_path / "bank").write({**BANK, "featproject.toml": settings(postgres, postgres.database())})
    found.parquet("data/accounts.parquet", ACCOUNTS)
    found.apply()
    return found


def files(bank: Workspace, schema: str) -> list[Path]:
    """Return the files of a part of the lake."""
    return sorted((bank.root / ".." / "shared" / "lake" / schema).resolve().rglob("*.parquet"))


def test_damage_is_told_by_every_command(bank: Workspace) -> None:
    """In our words, whatever is done to whichever file; a file that is cut, zeroed or garbage gives no wrong value."""
    chance = random.Random(1)  # noqa: S311
    paths = [*files(bank, "data"), *files(bank, "registry")]
    for number, way in enumerate([*("cut", "garbage", "zero", "flip", "grow") * 2]):
        path = chance.choice(paths)
        before = path.read_bytes()
        path.write_bytes(WAYS[way](bytearray(before), chance))
        for command in COMMANDS:
            done = bank.run(*command)
            said = done.stdout + done.stderr
            assert not RAW.search(said), (number, way, path.name, command, said)
            if command[0] == "get" and done.returncode == 0 and way != "flip":
                assert json.loads(done.stdout) == RIGHT, (number, way, path.name)
        path.write_bytes(before)
    assert bank.run("doctor", "--deep").stdout == "All is well.\n"


def test_a_damaged_table_is_built_again(bank: Workspace) -> None:
    """By its size at once; where a bit is other, once the doctor has read every row."""
    for way in ("cut", "garbage"):
        path = max(files(bank, "data"), key=lambda each: each.stat().st_mtime_ns)
        path.write_bytes(WAYS[way](bytearray(path.read_bytes()), random.Random(2)))  # noqa: S311
        done = bank.run("doctor")
        assert done.returncode == 1
        assert bank.run("plan", "--check").returncode == 2
        assert bank.run("doctor", "--fix").returncode == 1
        bank.apply()
        assert bank.run("doctor", "--deep").stdout == "All is well.\n"
        assert bank.store.get_features(["income"], user_id=3) == RIGHT


def test_the_catalogue_of_a_lake_is_restored_from_postgresql(bank: Workspace) -> None:
    """Which is said."""
    done = bank.run("doctor", "--restore")
    assert done.stderr.startswith("Nothing to restore from\n")
    assert "Restore that database from a backup" in done.stderr
