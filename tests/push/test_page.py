"""The page about pushed events shows what happens."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from featdsl.featurestore import FeatureStore
from tests.conftest import Workspace
from tests.test_readme import blocks, run_doctest


def test_the_page_about_pushed_events_shows_what_happens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its declaration applies, and its pushes return what it shows."""
    declaration, pushes = blocks("docs/push.md")
    workspace = Workspace(tmp_path).write({
        "featproject.toml": '[project]\nname = "page"\n[serving]\nurl = "embedded"\n',
        "features/__init__.py": "",
        "features/clicks.py": declaration.text,
    })  # fmt: skip
    workspace.apply()
    monkeypatch.chdir(tmp_path)
    run_doctest(pushes.text, {"FeatureStore": FeatureStore, "now": datetime.now(UTC)})
    assert workspace.store.get_features("clicks@1", user_id=42) == {"spent_1h": 9.5, "spent_30d": 9.5}
