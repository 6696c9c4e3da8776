"""A shared folder: team members write to one store under any umask, and others are told why they cannot."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from tests.conftest import ACCOUNTS, BANK, Workspace

pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("users"),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can be two users"),
]
GROUP, ANN, BOB = 30_000, 20_001, 20_002


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that other users can reach."""
    with tempfile.TemporaryDirectory() as found:
        root = Path(found)
        root.chmod(0o755)
        Workspace(root).write(BANK)
        Workspace(root).parquet("data/accounts.parquet", ACCOUNTS)
        yield root


def share(root: Path, mode: int = 0o2775) -> None:
    """Give a folder to the group, as `chgrp` and `chmod g+ws` do."""
    os.chown(root, 0, GROUP)
    root.chmod(mode)


AS_USER = """
import json, os, subprocess, sys, tempfile
from pathlib import Path
from tests.conftest import ACCOUNTS, BANK, Workspace

# Python may lie where only root can read: what commands import is imported before this is another user.
with tempfile.TemporaryDirectory() as scratch:
    warm = Workspace(Path(scratch)).write(BANK).parquet("data/accounts.parquet", ACCOUNTS)
    for words in ("apply --yes", "apply --yes --env other", "env drop other", "refresh --full", "doctor --fix --deep", "list",
                  "get income --key user_id=3 --format json", "doctor --restore", "sql SELECT 1"):
        warm.run(*words.split(" ", 1 if words.startswith("sql") else -1))
print("ready", flush=True)
for line in sys.stdin:
    root, user, group, umask, arguments = json.loads(line)
    reader, writer = os.pipe()
    if not os.fork():
        os.setgroups([group])
        os.setgid(user)
        os.setuid(user)
        os.umask(umask)
        done = Workspace(Path(root)).run(*arguments)
        os.write(writer, json.dumps([done.returncode, done.stdout, done.stderr]).encode())
        os._exit(0)
    os.close(writer)
    os.wait()
    with os.fdopen(reader) as file:
        print(file.read(), flush=True)
"""


@pytest.fixture(scope="module")
def users() -> Iterator[subprocess.Popen[str]]:
    """A process that runs featdsl as other users."""
    command = [sys.executable, "-c", AS_USER]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        RUNNING.append(process)
        yield process
        RUNNING.clear()
        process.communicate("")


RUNNING: list[subprocess.Popen[str]] = []


def run(root: Path, user: int, *arguments: str, umask: int = 0o022) -> subprocess.CompletedProcess[str]:
    """Run featdsl as a user of the group."""
    (process,) = RUNNING
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps([str(root), user, GROUP, umask, arguments]) + "\n")
    process.stdin.flush()
    code, out, err = json.loads(process.stdout.readline())
    return subprocess.CompletedProcess(arguments, code, out, err)


def done(found: subprocess.CompletedProcess[str]) -> str:
    """Return the output of a command that must succeed."""
    assert found.returncode == 0, found.stdout + found.stderr
    return found.stdout


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_members_of_a_team_write_in_turn(folder: Path, umask: int) -> None:
    """Each applies, refreshes, fixes and deletes files that another user has written."""
    share(folder)
    done(run(folder, ANN, "apply", "--yes", umask=umask))
    store = folder / ".featdsl"
    for path in (store, store / "data", store / "history"):
        assert (path.stat().st_gid, stat.S_IMODE(path.stat().st_mode) & 0o2770) == (GROUP, 0o2770), path
    for number in (24, 28):
        Workspace(folder).parquet("data/accounts.parquet", ACCOUNTS.replace("range(20)", f"range({number})"))
        done(run(folder, BOB if number == 24 else ANN, "refresh", umask=umask))
    (store / "data" / "000009-left.duckdb").touch()
    os.chown(store / "data" / "000009-left.duckdb", ANN, GROUP)
    done(run(folder, BOB, "doctor", "--fix", umask=umask))
    done(run(folder, BOB, "apply", "--yes", "--env", "trial", umask=umask))
    done(run(folder, ANN, "env", "drop", "trial", umask=umask))
    assert '"income": 27000.0' in done(run(folder, BOB, "get", "income", "--key", "user_id=3", "--format", "json"))
    assert done(run(folder, ANN, "doctor", "--deep")) == "No problems found.\n"


def test_a_folder_of_one_user_stays_theirs(folder: Path) -> None:
    """Others can read; a refused write names the owner and the commands that share the folder."""
    os.chown(folder, ANN, ANN)
    done(run(folder, ANN, "apply", "--yes"))
    assert '"income": 19000.0' in done(run(folder, BOB, "get", "income", "--key", "user_id=3", "--format", "json"))
    refused = run(folder, BOB, "refresh")
    store = folder / ".featdsl"
    assert (refused.returncode, refused.stderr) == (
        1,
        f"Store cannot be written\n  {store} cannot be written: Permission denied.\n"
        "  Give this user write access, or set another [store] path in featproject.toml.\n"
        f"  To share it with a group: chgrp -R GROUP {store} && chmod -R g+rwXs {store}\n",
    )


def test_a_private_folder_is_not_opened_to_others(folder: Path) -> None:
    """No file is more readable than its folder."""
    share(folder, 0o2775)
    done(run(folder, ANN, "apply", "--yes", umask=0o077))
    (store,) = folder.glob(".featdsl/store.duckdb")
    assert stat.S_IMODE(store.stat().st_mode) == 0o440
    assert stat.S_IMODE((folder / ".featdsl" / "secret").stat().st_mode) == 0o660


def test_a_lock_of_another_user_is_held(folder: Path) -> None:
    """Read access to the lock file is enough."""
    share(folder)
    done(run(folder, ANN, "apply", "--yes"))
    (folder / ".featdsl" / "lock").chmod(0o644)
    done(run(folder, BOB, "refresh"))


def test_a_part_of_a_store_that_may_not_be_written_is_named(folder: Path) -> None:
    """The error does not name the whole folder."""
    share(folder)
    done(run(folder, ANN, "apply", "--yes"))
    data = folder / ".featdsl" / "data"
    data.chmod(0o755)
    said = run(folder, BOB, "refresh").stderr
    assert f"{data} cannot be written: Permission denied: it belongs to " in said
    store = folder / ".featdsl" / "store.duckdb"
    store.chmod(0o400)
    said = run(folder, BOB, "list").stderr
    assert said == f"Store cannot be opened\n  This user may not read {store}.\n  Allow it: chmod a+r {store}\n"


def test_nobody_opens_a_published_file_for_writing(folder: Path) -> None:
    """An analyst who opens the store as usual cannot lock others out."""
    share(folder)
    done(run(folder, ANN, "apply", "--yes"))
    for path in sorted(folder.glob(".featdsl/**/*.duckdb")):
        assert stat.S_IMODE(path.stat().st_mode) == 0o444, path
    with duckdb.connect(str(folder / ".featdsl" / "store.duckdb"), read_only=True) as connection:
        assert connection.execute("SELECT count(*) FROM prod.user_profile").fetchall() == [(20,)]
