"""Follow docs/guides/team.md with a PostgreSQL: its settings, its move of a store, its snapshots, its policy."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import Workspace
from tests.servers import Postgres
from tests.team.test_commands import told
from tests.test_readme import blocks

GUIDE = "docs/guides/team.md"


def test_the_guide_moves_a_project_to_a_team_store(
    tmp_path: Path, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store moves with its state, keeps snapshots from then on, and asks for approvals once the policy is applied."""
    store, policy = (block.text for block in blocks(GUIDE) if block.language == "toml")
    told(Workspace(tmp_path), "init", "shop")
    shop = Workspace(tmp_path / "shop")
    told(shop, "apply", "--yes")
    lock = shop.store.training_set("credit_risk@1", "SELECT 1 AS user_id, now() AS at", timestamp="at").lock

    address = f"host=127.0.0.1 port={postgres.port} user={postgres.user} dbname={postgres.database()}"
    monkeypatch.setenv("FEATDSL_STORE", f"ducklake:postgres:{address}")
    monkeypatch.setenv("PGPASSWORD", postgres.password)
    settings = shop.root / "featproject.toml"
    before = settings.read_text(encoding="utf-8")
    named = store.replace("s3://features/prod", str(tmp_path / "shared"))
    assert named != store
    settings.write_text(f"{before}\n{named}", encoding="utf-8")
    assert "featdsl store migrate\n" in {block.text for block in blocks(GUIDE) if block.language == "sh"}
    told(shop, "store", "migrate", "--yes")
    assert shop.run("plan", "--check").returncode == 0
    assert shop.store.get_features(["income"], user_id=1) == {"income": 50000}
    assert shop.store.unserved(lock) == ()

    trained = shop.store.training_set("credit_risk@1", "SELECT 1 AS user_id, now() AS at", timestamp="at")
    again = shop.store.training_set(
        "credit_risk@1", "SELECT 1 AS user_id, now() AS at", timestamp="at", as_of_snapshot=trained.lock
    )
    assert again.lock["store"]["snapshot"] == trained.lock["store"]["snapshot"] is not None

    settings.write_text(f"{before}\n{named}\n{policy}", encoding="utf-8")
    told(shop, "apply", "--yes")
    code = shop.root / "features" / "accounts" / "__init__.py"
    code.write_text(
        code.read_text(encoding="utf-8").replace('"annual_income"', '"annual_income * 2"'), encoding="utf-8"
    )
    assert shop.run("apply", "--yes").returncode == 3
    told(shop, "apply", "--yes", "--approved-by", "lending")
