"""A new user's first day: start a project, change it as two teams would, use a notebook, find things, make mistakes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd

from tests.conftest import Workspace


def said(workspace: Workspace, *command: str, code: int = 0) -> str:
    """Return what a command prints, which ends with a code and without a traceback."""
    done = workspace.run(*command)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def test_a_first_day(tmp_path: Path) -> None:
    """Each step as it is typed; nobody but who is named is touched."""
    said(Workspace(tmp_path), "init", "shop")
    shop = Workspace(tmp_path / "shop")
    said(shop, "apply", "--yes")
    before = shop.store.get_features("credit_risk@1", user_id=1)

    # The accounts team adds a feature to a group that another team's applied set lists whole.
    accounts = shop.root / "features" / "accounts" / "__init__.py"
    text = accounts.read_text(encoding="utf-8")
    accounts.write_text(f'{text}    is_rich = Feature(bool, sql="annual_income > 60000")\n', encoding="utf-8")
    plan = json.loads(said(shop, "plan", "--format", "json"))
    assert [(each["change"]["address"], each["change"]["action"]) for each in plan["changes"]] == [
        ("user_profile.is_rich", "create")
    ]
    assert plan["approvals"] == []
    said(shop, "apply", "--yes")
    assert shop.store.get_features("credit_risk@1", user_id=1) == before

    # A notebook registers a feature, updates it, and serves with what frames give.
    store = shop.store
    store.register_feature("rating", pd.DataFrame({"user_id": [1, 2], "rating": [3, 4]}))
    store.update_feature("rating", pd.DataFrame({"user_id": [2, 3], "rating": [5, None]}))
    keys = pd.DataFrame({"user_id": [1, 2, 3]})
    assert store.get_features(["rating"], rows=keys) == [{"rating": 3}, {"rating": 5}, {"rating": None}]
    assert store.get_features(["rating"], user_id=np.int32(2)) == {"rating": 5}
    assert "Nothing to do" in said(shop, "plan", "--check")

    # Someone looks for what there is.
    assert "user_profile.is_rich" in said(shop, "list", "--entity", "user", "--type", "bool")
    assert "user_profile.income" in said(shop, "search", "incom", "--kind", "feature")
    assert "accounts" in said(shop, "list", "--owner", "acounts")

    # Mistakes are named with their fix, and nothing happens.
    odd = shop.root / "features" / "my-mod.py"
    odd.write_text("from features.accounts import user\n", encoding="utf-8")
    assert 'mv "features/my-mod.py" features/my_mod.py' in said(shop, "plan", code=1)
    odd.unlink()
    data = shop.root / "data" / "accounts.csv"
    whole = data.read_text(encoding="utf-8")
    columns = whole.splitlines()[0].split(",")
    row = dict.fromkeys(columns, "") | {"user_id": "1.5", "updated_at": "2026-02-01", "annual_income": "1"}
    data.write_text(f"{whole}{','.join(row[column] for column in columns)}\n", encoding="utf-8")
    assert "which BIGINT does not hold" in said(shop, "refresh", code=1)
    data.write_text(whole, encoding="utf-8")
    said(shop, "refresh")
    assert "up to date" in said(shop, "refresh")
    assert shop.store.get_features("credit_risk@1", user_id=1) == before
