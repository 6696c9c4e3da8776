"""The plugin of pytest: the fixture `featdsl_project`. It loads nothing heavy until a test asks for the fixture."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from featdsl.testing.projects import FeatureProject

_FILE = "featproject.toml"


def pytest_configure(config: pytest.Config) -> None:
    """Let tests of a project import its features package, whatever command runs them."""
    root = str(config.rootpath)
    if (config.rootpath / _FILE).is_file() and root not in sys.path:
        sys.path.insert(0, root)


@pytest.fixture(scope="session")
def featdsl_project(request: pytest.FixtureRequest) -> Iterator[FeatureProject]:
    """The project that the tests are of: that of pytest's root folder, or above it."""
    from featdsl.testing import project

    tested = project(request.config.rootpath)
    yield tested
    tested.close()
