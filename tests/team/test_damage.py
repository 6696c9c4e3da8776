"""Damaged files of a lake: every command reports them, and computable tables are rebuilt."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from pathlib import Path

import pytest

from tests import mutations, torture
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
    """The small project, applied to a team store."""
    monkeypatch.setenv("PGPASSWORD", postgres.password)
    found = Workspace(tmp_path / "bank").write({**BANK, "featproject.toml": settings(postgres, postgres.database())})
    found.parquet("data/accounts.parquet", ACCOUNTS)
    found.apply()
    return found


def files(bank: Workspace, schema: str) -> list[Path]:
    """Return the files of one schema of the lake."""
    return sorted((bank.root / ".." / "shared" / "lake" / schema).resolve().rglob("*.parquet"))


def test_every_command_reports_damage(bank: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    """In a readable error, for any damage to any file; truncated, zeroed or garbage files never give a wrong value."""
    paths = [*files(bank, "data"), *files(bank, "registry")]
    ways = ("cut", "garbage", "zero", "flip", "grow")
    counts, faults = Counter[str](), list[str]()
    for number in range(mutations.budget(6)):
        chance, way = random.Random(number), ways[number % len(ways)]  # noqa: S311
        path = chance.choice(paths)
        before = path.read_bytes()
        path.write_bytes(WAYS[way](bytearray(before), chance))
        for command in COMMANDS:
            done = bank.run(*command)
            output = done.stdout + done.stderr
            case = f"{way} of {path.parent.parent.name}/{path.parent.name} ({number}), {' '.join(command)}"
            if RAW.search(output):
                faults.append(f"{case}: traceback: {output}")
            is_read = command[0] == "get" and done.returncode == 0
            if is_read and json.loads(done.stdout) != RIGHT:
                if way == "flip":
                    counts["wrong values of flipped bits"] += 1
                else:
                    faults.append(f"{case}: silent: {output}")
        counts["mutations"] += 1
        path.write_bytes(before)
    with capsys.disabled():
        figures = ", ".join(f"{number} {what}" for what, number in counts.items())
        torture.tell(f"Damage to the files of a lake: {figures}, {len(faults)} faults", faults)
    assert faults == []
    assert bank.run("doctor", "--deep").stdout == "No problems found.\n"


def test_a_damaged_table_is_built_again(bank: Workspace) -> None:
    """At once if its size is wrong; for a flipped bit, after the doctor has read every row."""
    for way in ("cut", "garbage"):
        path = max(files(bank, "data"), key=lambda each: each.stat().st_mtime_ns)
        path.write_bytes(WAYS[way](bytearray(path.read_bytes()), random.Random(2)))  # noqa: S311
        done = bank.run("doctor")
        assert done.returncode == 1
        assert bank.run("plan", "--check").returncode == 2
        assert bank.run("doctor", "--fix").returncode == 1
        bank.apply()
        assert bank.run("doctor", "--deep").stdout == "No problems found.\n"
        assert bank.store.get_features(["income"], user_id=3) == RIGHT


def test_the_catalogue_of_a_lake_is_restored_from_postgresql(bank: Workspace) -> None:
    """The error says so."""
    done = bank.run("doctor", "--restore")
    assert done.stderr.startswith("Nothing to restore from\n")
    assert "Restore that database from a backup" in done.stderr
