"""A project over pushed events, as tests of pushing use it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tests.conftest import Workspace

SHOP = {
    "featproject.toml": '[project]\nname = "shop"\n',
    "features/__init__.py": "",
    "features/clicks.py": """
from datetime import datetime

from featdsl import Entity, Feature, FeatureGroup, FeatureSet, Source

user = Entity("user", keys={"user_id": int})
shop = Entity("shop", keys={"shop_id": str})
clicks = Source.push(
    "clicks",
    schema={"user_id": int, "shop": str, "amount": float, "at": datetime, "number": int},
    timestamp="at",
)


class LastClick(FeatureGroup, entity=user, source=clicks):
    amount = Feature(float, sql="amount")


class Spent(FeatureGroup, entity=user, source=clicks):
    spent = Feature(float, sql="sum(amount)", windows=["1 hour", "30 days"])
    times = Feature(int, sql="count(*)", window="lifetime")


class Sold(FeatureGroup, entity=shop, source=clicks, keys={"shop_id": "shop"}):
    dearest = Feature(float, sql="max(amount)", window="7 days")


class Everywhere(FeatureGroup, entity=None, source=clicks):
    newest = Feature(float, sql="amount")


class Ratio(FeatureGroup, entity=user, inputs=[LastClick.amount, Spent.spent["30 days"]]):
    share = Feature(float, sql="amount / spent_30d")


shop_v1 = FeatureSet("shop", version=1, features=[LastClick.amount, Spent.spent["30 days"], Spent.times, Ratio.share])
""",
}
"""Events with groups of latest values, of windows, of two entities and of none, and a derived group."""


def shop(workspace: Workspace) -> Workspace:
    """Write and apply the project."""
    workspace.write(SHOP).apply()
    return workspace


def click(user: int | None, amount: float, at: str, number: int = 0, shop: str = "north") -> dict[str, Any]:
    """Return one event; `at` is a time of 2026, such as "01-02 10:00"."""
    return {"user_id": user, "shop": shop, "amount": amount, "at": f"2026-{at}:00", "number": number}


def trained(workspace: Workspace, users: Sequence[int], at: str) -> list[tuple[Any, ...]]:
    """Return the number and the sum of the events of users before a time, as a training set has them."""
    spine = [{"user_id": user, "ts": f"2026-{at}:00"} for user in users]
    times = "SELECT CAST(user_id AS BIGINT) AS user_id, CAST(ts AS TIMESTAMP) AS ts FROM (VALUES {}) t(user_id, ts)"
    sql = times.format(", ".join(f"({row['user_id']}, '{row['ts']}')" for row in spine))
    found = workspace.store.training_set(["last_click.amount", "spent.times", "spent.spent_30d"], sql, timestamp="ts")
    rows: list[tuple[Any, ...]] = found.relation.fetchall()
    return [row[2:] for row in rows]
