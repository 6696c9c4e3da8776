"""Values of every type in a team store, which converts some: every test of tests/engines/test_types.py, over a lake."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from featdsl import FeatureStore
from tests.declared import applied
from tests.engines.test_types import *  # noqa: F403 - all of its tests
from tests.engines.test_types import declare
from tests.servers import Postgres
from tests.team.test_commands import settings


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, postgres_server: Postgres) -> Iterator[FeatureStore]:
    """The features, applied once to a team store."""
    root = tmp_path_factory.mktemp("types") / "project"
    root.mkdir()
    toml = settings(postgres_server, postgres_server.database(), name="declared")
    (root / "featproject.toml").write_text(toml, encoding="utf-8")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("PGPASSWORD", postgres_server.password)
        yield applied(root, declare)
