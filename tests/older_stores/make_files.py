"""Write every file of a project that has a format, beside the store: plan, export, lock, online store, logs and site.

`python -m tests.older_stores.make_files NAME` makes the archive of a release. It holds the project with its files and `answers.json`.
"""

from __future__ import annotations

import json
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb

from featdsl import FeatureStore
from tests.older_stores.make import HERE, pack, run

PROJECT = {
    "featproject.toml": (
        '[project]\nname = "shop"\n[serving]\nurl = "embedded"\n[serving.log]\nsample = 1.0\n'
        '[catalogue]\nstale_after = "36500 days"\n'
    ),
    "features/__init__.py": '''
from datetime import datetime

from featdsl import Entity, Feature, FeatureGroup, FeatureSet, Model, Source

user = Entity("user", keys={"user_id": int})
orders = Source("orders", path="data/orders.parquet", timestamp="at")
clicks = Source.push(
    "clicks", schema={"user_id": int, "amount": float, "at": datetime, "click_id": str}, timestamp="at", event_id="click_id"
)


class Orders(FeatureGroup, entity=user, source=orders):
    """What users order."""

    last = Feature(float, sql="amount", description="The last order, USD.")
    spent_30d = Feature(float, sql="sum(amount)", window="30 days")


class Clicks(FeatureGroup, entity=user, source=clicks):
    """What users click on."""

    clicked = Feature(float, sql="sum(amount)", window="lifetime")


shop_v1 = FeatureSet("shop", version=1, features=[Orders.last, Orders.spent_30d, Clicks.clicked])
sales = Model("sales", features=shop_v1)
''',
}
ORDERS = """
    SELECT i % 3 AS user_id, TIMESTAMP '2026-01-01' + INTERVAL (i) DAY AS at, (i * 1.5)::DOUBLE AS amount FROM range(12) t(i)
"""
SPINE = "SELECT i AS user_id, TIMESTAMP '2026-01-20' AS at FROM range(3) t(i)"
CLICKS = [
    {"user_id": 1, "amount": 2.5, "at": datetime(2026, 1, 10, tzinfo=UTC), "click_id": "a"},
    {"user_id": 2, "amount": 4.0, "at": datetime(2026, 1, 11, tzinfo=UTC), "click_id": "b"},
]
LATER = {"user_id": 1, "amount": 1.0, "at": datetime(2026, 1, 12, tzinfo=UTC), "click_id": "c"}
"""An event that no refresh has read."""


def edit(root: Path) -> None:
    """Change a feature: the saved plan is of this edit."""
    path = root / "features" / "__init__.py"
    path.write_text(path.read_text(encoding="utf-8").replace('sql="amount"', 'sql="amount * 2"'), encoding="utf-8")


def served(store: FeatureStore) -> list[Any]:
    """Return what the online store serves."""
    found: list[Any] = json.loads(json.dumps([store.get_features("shop@1", user_id=user) for user in range(4)]))
    return found


def make(root: Path) -> dict[str, Any]:
    """Write a project with all its files; return the answers that later releases must give."""
    for name, text in PROJECT.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    (root / "data").mkdir()
    duckdb.sql(ORDERS).write_parquet(str(root / "data" / "orders.parquet"))
    run(root, "apply", "--yes")
    FeatureStore(root).push("clicks", CLICKS)
    run(root, "refresh")
    store = FeatureStore(root)
    store.push("clicks", [LATER])
    answers: dict[str, Any] = {"served": served(store)}
    store.flush_log()
    answers["logged"] = len(store.served("shop@1").df())
    training = store.training_set("shop@1", SPINE, timestamp="at")
    answers["trained"] = json.loads(training.df().to_json(orient="values", date_format="iso"))
    (root / "training.lock").write_text(json.dumps(training.lock, indent=1), encoding="utf-8")
    run(root, "export", str(root / "registry.json"))
    run(root, "docs", "build", "--out", str(root / "site"))
    edit(root)
    run(root, "plan", "--out", str(root / "plan.json"))
    return answers


def main() -> None:
    """Make an archive beside this file."""
    (name,) = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "shop"
        root.mkdir()
        answers = make(root)
        (root / "answers.json").write_text(json.dumps(answers, indent=1), encoding="utf-8")
        pack(root, HERE / f"{name}.tar.xz")


if __name__ == "__main__":
    main()
