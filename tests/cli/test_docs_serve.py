"""`featdsl docs serve` as a process: it serves, follows applies and refreshes, and ends as one asks it to."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.conftest import Workspace
from tests.waiting import PATIENCE, wait_until


@contextmanager
def serving(workspace: Workspace, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run the command on a free port until it tells its URL; end it if the test has not."""
    process = subprocess.Popen(
        [sys.executable, "-m", "featdsl", "docs", "serve", "--port", "0", *options],
        cwd=workspace.root,
        env={**os.environ, "TMPDIR": str(workspace.root.parent)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        line = process.stderr.readline()
        found = re.fullmatch(r"The catalogue of bank is at (http://127\.0\.0\.1:\d+/) until Ctrl-C\.\n", line)
        assert found is not None, line + (process.stderr.read() if process.poll() is not None else "")
        yield process, found[1]
    finally:
        if process.poll() is None:
            process.kill()
        process.stderr.close()
        process.wait()


def read(url: str) -> str:
    """Return the text at a URL."""
    answer = httpx.get(url, timeout=PATIENCE)
    assert answer.status_code == 200, url
    return answer.text


def changed(url: str, before: str) -> str:
    """Wait until the text at a URL is another one, and return it."""
    wait_until(lambda: read(url) != before, every=0.1)
    return read(url)


@pytest.mark.slow
def test_it_follows_applies_and_ends_at_ctrl_c(applied: Workspace) -> None:
    """After an apply by another process the pages are new and their version is another; Ctrl-C ends it with 0."""
    with serving(applied) as (process, url):
        page, version = read(url), read(f"{url}_preview/version")
        assert "affordability.monthly" not in page or "state 1" in page
        assert f'data-version="{version}"' in page
        assert "Share of the year" not in read(f"{url}features/user_profile.income.html")
        feature = applied.root / "features" / "accounts" / "__init__.py"
        feature.write_text(feature.read_text().replace("Gross income, USD per year.", "Share of the year."))
        assert applied.run("apply", "--yes").returncode == 0
        assert changed(f"{url}_preview/version", version) != ""
        assert "Share of the year" in read(f"{url}features/user_profile.income.html")
        assert process.stderr is not None
        assert process.stderr.readline() == "Built again: state 2.\n"
        folders = list(applied.root.parent.glob("featdsl-docs-*"))
        assert len(folders) == 1
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 0
        assert process.stderr.read() == "Stopped.\n"
        assert not folders[0].exists()


@pytest.mark.slow
def test_it_ends_at_sigterm_and_keeps_a_given_folder(applied: Workspace, tmp_path: Path) -> None:
    """With --out the site stays, without the script of the preview."""
    with serving(applied, "--out", str(tmp_path / "site")) as (process, url):
        assert "/_preview/reload.js" in read(url)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
    page = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    assert "<h1>bank</h1>" in page
    assert "_preview" not in page


def test_a_port_in_use(applied: Workspace) -> None:
    """The error names the port and a command with another one."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = applied.run("docs", "serve", "--port", str(port))
    assert done.returncode == 1
    assert done.stderr.startswith(f"Port {port} cannot be used\n  Another program listens on it.\n")
    assert f"featdsl docs serve --port {port + 1 if port < 65535 else 8021}\n" in done.stderr


def test_a_folder_with_other_files(applied: Workspace) -> None:
    """The folder is refused as by the build, and nothing is left running."""
    (applied.root / "public").mkdir()
    (applied.root / "public" / "notes.txt").write_text("mine", encoding="utf-8")
    done = applied.run("docs", "serve", "--port", "0", "--out", "public")
    assert (done.returncode, done.stderr.splitlines()[0]) == (1, "The folder has other files")
