"""The worlds of the tests: each provider beside a repository and a store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ci.worlds import World, a_world


@pytest.fixture(params=["github", "gitlab", "files"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """Each provider in turn."""
    with a_world(request.param, tmp_path) as found:
        yield found


@pytest.fixture
def github(tmp_path: Path) -> Iterator[World]:
    """GitHub alone, for what does not depend on the provider."""
    with a_world("github", tmp_path) as found:
        yield found
