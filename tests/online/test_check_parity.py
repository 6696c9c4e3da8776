"""`featdsl check --parity` over the online store: it names which of online store, tables and training differs."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from featdsl.online.connect import open_online
from featdsl.online.memory import InMemoryOnlineStore
from featdsl.online.parity import ONLINE, TABLES, TRAINING, _differing, identical
from featdsl.online.records import key_encoder, read_record
from featdsl.project import settings
from featdsl.query.parity import Difference, Parity
from featdsl.render import reports
from tests.conftest import Workspace
from tests.push.declared import SHOP, click

MEMORY = '[project]\nname = "bank"\n\n[serving]\nurl = "memory://parity"\n'
COLUMNS = 1 + 2 + 2 + 3
"""Columns of two groups and two sets."""
ENTITIES = 4 + 1
"""Four users, and one that is not stored."""


@pytest.fixture
def served(bank: Workspace) -> Workspace:
    """The bank, published to a store in memory."""
    done = bank.write({"featproject.toml": MEMORY}).run("apply", "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    return bank


def online_of(workspace: Workspace) -> InMemoryOnlineStore:
    """Return the online store."""
    lineage = workspace.store._states.newest().snapshot.head.lineage
    online = open_online(settings.load(workspace.root), f"{lineage}/prod")
    assert isinstance(online, InMemoryOnlineStore)
    return online


def test_all_three_are_compared_now_and_at_random_moments(served: Workspace) -> None:
    """Of every group and set version; nothing differs, and nothing changes by time alone."""
    done = served.run("check", "--parity", "--moments", "4")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{COLUMNS * ENTITIES * 5} values compared at up to 5 moments, 0 differ.\n"
    assert served.store.check_parity(sample=2, moments=0) == Parity(values=COLUMNS * 3, differences=())


def test_a_record_that_was_altered_is_named(served: Workspace) -> None:
    """By set, column, keys and moment, with the three values; its group is read from the same record. Exit code 1, also as JSON."""
    online = online_of(served)
    key = key_encoder(["BIGINT"])([3])
    with online.publishing() as publisher:
        assert publisher.newest is not None
        (record,) = publisher.get("credit_risk@1/user_id", [key])
        assert record is not None
        assert read_record(record)[1][0] == 33
        publisher.put("credit_risk@1/user_id", [(key, record.replace(b"\x21", b"\x22", 1))])
        publisher.commit(publisher.newest.manifest)

    found = served.store.check_parity(moments=0).differences
    assert [(each.feature, each.keys, each.served, each.tables, each.trained, each.differing) for each in found] == [
        (name, {"user_id": 3}, 34, 33, 33, ("online store",)) for name in ("user_profile: age", "credit_risk@1: age")
    ]
    done = served.run("check", "--parity", "--moments", "0")
    assert done.returncode == 1
    assert "UTC: online store 34, tables 33, training 33; differing: online store\n" in done.stdout
    content = json.loads(served.run("check", "--parity", "--moments", "0", "--format", "json").stdout)
    assert [each["differing"] for each in content["differences"]] == [["online store"]] * 2


def test_without_any_publication_the_tables_are_compared(bank: Workspace) -> None:
    """And the report says so."""
    bank.apply()
    bank.write({"featproject.toml": MEMORY.replace("parity", "parity-none")})
    done = bank.run("check", "--parity", "--moments", "0")

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout == (
        f"{COLUMNS * ENTITIES} values compared, 0 differ.\n"
        "Read from the tables (nothing is published yet): credit_risk@1: age, credit_risk@1: income, "
        "credit_risk@2: age, credit_risk@2: income, credit_risk@2: monthly.\n"
    )


def test_events_that_were_pushed_are_in_all_three(tmp_path: Path) -> None:
    """Before a refresh the online store has them, and the tables with what is pending."""
    text = SHOP["featproject.toml"] + '[serving]\nurl = "embedded"\n'
    shop = Workspace(tmp_path).write({**SHOP, "featproject.toml": text})
    shop.apply()
    now = datetime.now(UTC)
    shop.store.push("clicks", [click(1, 5.0, f"{now:%m-%d %H:%M}"), click(2, 3.0, f"{now:%m-%d %H:%M}")])

    found = shop.store.check_parity(moments=3)

    assert found.differences == ()
    assert found.values > 0


@pytest.mark.parametrize(
    ("values", "differing"),
    [
        ((1, 2, 2), (ONLINE,)), ((1, 1, 2), (TRAINING,)), ((1, 2, 1), (TABLES,)), ((1, 2, 3), (ONLINE, TABLES, TRAINING)),
        ((1, 1.0, 1.0), (ONLINE,)), ((None, 0, 0), (ONLINE,)),
    ],
)  # fmt: skip
def test_the_one_that_differs_from_the_others_is_named(
    values: tuple[Any, Any, Any], differing: tuple[str, ...]
) -> None:
    """All three if no two are equal."""
    assert _differing(*values) == differing


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (float("nan"), float("nan"), True), (0.0, -0.0, False), (1, 1.0, False), (1, True, False), ([0.1], [0.1], True),
        ([0.1 + 0.2], [0.3], False), ({"a": (1.0,)}, {"a": (1.0,)}, True), ({"a": 1}, {"b": 1}, False), (None, None, True),
    ],
)  # fmt: skip
def test_online_values_must_be_equal_to_the_last_bit(one: Any, other: Any, expected: bool) -> None:  # noqa: FBT001 - a case
    """And of the same type, also inside of lists and dicts."""
    assert identical(one, other) is expected


def test_a_report_names_moment_and_values() -> None:
    """One line for each difference, then the totals."""
    at = datetime(2026, 1, 1, microsecond=1, tzinfo=UTC)
    difference = Difference(
        feature="s@1: f", keys={"k": 1}, served=1, tables=1, trained=2, at=at, differing=(TRAINING,)
    )

    assert reports.parity(Parity(values=2, differences=(difference,), moments=2, unpublished={"s@1: g": "why"})) == (
        "s@1: f of {'k': 1} at 2026-01-01 00:00:00.000001 UTC: online store 1, tables 1, training 2; differing: training\n"
        "2 values compared at up to 2 moments, 1 differ.\n"
        "Read from the tables (why): s@1: g.\n"
    )
