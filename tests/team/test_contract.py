"""The store contract for a team store: every test of tests/stores/test_contract.py, on a lake with a real PostgreSQL."""

from __future__ import annotations

from pathlib import Path

import pytest

from featdsl.project.settings import Project
from tests.servers import Postgres
from tests.stores.test_contract import *  # noqa: F403 - the contract is all of it
from tests.stores.test_contract import Implementation
from tests.team import lakes

TEAM = Implementation(lakes.opened, lakes.touch, lakes.lose, lakes.edit, lakes.alter)


@pytest.fixture
def project(tmp_path: Path, postgres: Postgres) -> Project:
    """A project with a team store whose writers do not wait for the lock."""
    return lakes.project_in(tmp_path, postgres)


@pytest.fixture
def kind() -> Implementation:
    """The team store only."""
    return TEAM
