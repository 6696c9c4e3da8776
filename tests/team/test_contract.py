"""The contract of a store, kept by a team store: every test of tests/test_stores.py, in a lake on a real PostgreSQL."""

from __future__ import annotations

from pathlib import Path

import pytest

from featdsl.project import Project
from tests.servers import Postgres
from tests.team import lakes
from tests.test_stores import *  # noqa: F403 - the contract is all of it
from tests.test_stores import Implementation

TEAM = Implementation(lakes.opened, lakes.touch, lakes.lose, lakes.edit, lakes.alter)


@pytest.fixture
def project(tmp_path: Path, postgres: Postgres) -> Project:
    """A project whose writers give up at once, with a team store."""
    return lakes.project_in(tmp_path, postgres)


@pytest.fixture
def kind() -> Implementation:
    """The team store alone."""
    return TEAM
