"""A team store from an earlier featdsl still works; see `tests/stores/test_older_stores.py`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.older_stores.make import HERE, lake_settings
from tests.servers import Postgres
from tests.stores.test_older_stores import hold, unpacked

ARCHIVES = sorted(path.name.removesuffix(".tar.xz") for path in HERE.glob("*-lake.tar.xz"))


@pytest.mark.parametrize("name", ARCHIVES)
def test_an_older_lake_still_works(
    name: str, tmp_path: Path, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Plans are empty and reads give the same values; refresh and apply work."""
    monkeypatch.setenv("PGPASSWORD", postgres.password)
    root = unpacked(name, tmp_path / "bank")
    database = postgres.database()
    postgres.execute((root / "catalogue.sql").read_text(encoding="utf-8").replace("@ROOT@", str(root)), database)
    (root / "featproject.toml").write_text(lake_settings(postgres, database), encoding="utf-8")
    hold(root)


def test_there_is_an_older_lake() -> None:
    """Otherwise nobody would notice that the archives are gone."""
    assert ARCHIVES
