"""Trying features of a project whose store is a team store: nothing is written there."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.push.declared import click
from tests.servers import Postgres
from tests.team.test_push import member

NAMES = ["last_click.amount", "spent.times", "ratio.share"]
SPINE = "SELECT 1 AS user_id, TIMESTAMP '2026-01-04' AS asked"


def test_a_member_tries_features_before_and_after_an_apply(
    tmp_path: Path, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With pushed events that no refresh has read; the applied values are those of the lake."""
    monkeypatch.setenv("PGPASSWORD", postgres.password)
    one = member(tmp_path / "one", postgres, postgres.database())
    empty = one.store.try_features(NAMES, SPINE, timestamp="asked")
    assert [(row["amount"], row["times"], row["share"]) for row in empty.rows()] == [(None, 0, None)]
    one.apply()
    one.store.push("clicks", [click(1, 5.0, "01-02 10:00"), click(1, 15.0, "01-03 10:00")])

    tried = one.store.try_features(NAMES, SPINE, timestamp="asked")
    (row,) = tried.rows()
    assert (row["amount"], row["times"], row["share"]) == (15.0, 2, 0.75)
    assert (row["amount_applied"], row["times_applied"], row["share_applied"]) == (None, 0, None)
    assert one.run("refresh").returncode == 0
    assert one.store.try_features(NAMES, SPINE, timestamp="asked").differing == dict.fromkeys(
        ["amount", "times", "share"], 0
    )
