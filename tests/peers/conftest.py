"""These tests need the extra `dev-peers`; without it they are skipped, unless they were requested."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

_NEEDED = ("airflow", "dagster", "dbt", "feast", "openlineage")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip this folder's tests if their requirements are not installed. Raises UsageError under `make test-peers`."""
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if not missing or "FEATDSL_FEAST_PYTHON" in os.environ:
        return
    reason = f"needs the extra dev-peers: no {', '.join(missing)} here"
    if os.environ.get("FEATDSL_PEERS_SUITE"):
        raise pytest.UsageError(reason)
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def peers_python() -> Path:
    """The Python that has featdsl and the products that it works with."""
    return Path(sys.executable)
