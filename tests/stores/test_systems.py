"""A store in a folder is refused where the system cannot keep it, with what to do instead."""

from __future__ import annotations

import pytest

from featdsl import stores
from tests.conftest import Workspace


def test_a_folder_on_windows_is_refused(bank: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """No command shows a missing module of Unix."""
    monkeypatch.setattr(stores, "platform", "win32")
    done = bank.run("plan")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "A store in a folder needs Linux or macOS\n"
        "  Windows can neither replace the catalogue under its readers nor lock it as featdsl does.\n"
        "  Run featdsl in the Windows Subsystem for Linux: wsl pip install featdsl\n"
    )


def test_declarations_are_checked_on_windows(bank: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Editors and hooks work where people write."""
    monkeypatch.setattr(stores, "platform", "win32")
    assert bank.run("validate").returncode == 0
