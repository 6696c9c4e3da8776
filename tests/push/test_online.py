"""Pushed events are in the values that the online store serves when the push returns."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from featdsl.errors import OnlineStoreError
from featdsl.featurestore import FeatureStore
from featdsl.push.events import PushResult
from tests.conftest import Workspace
from tests.push.declared import SHOP, click, shop

SERVING = {"featproject.toml": SHOP["featproject.toml"] + '[serving]\nurl = "embedded"\n'}


def ago(**length: float) -> str:
    """Return the time so long ago, as `click` takes it."""
    return f"{datetime.now(UTC) - timedelta(**length):%m-%d %H:%M}"


def served(workspace: Workspace) -> Workspace:
    """Write and apply the project with an online store."""
    workspace.write({**SHOP, **SERVING}).apply()
    return workspace


def values(store: FeatureStore, *users: int) -> list[dict[str, Any]]:
    """Return the served values of users, which all must come from the online store."""
    answer = store.serve("shop@1", [{"user_id": user} for user in users])
    assert answer.from_tables == {}
    return list(answer.rows)


def test_the_value_is_there_when_the_push_returns(tmp_path: Path) -> None:
    """The last value, a window, a count, and a feature that is derived from them."""
    store = served(Workspace(tmp_path)).store
    assert values(store, 1) == [{"amount": None, "spent_30d": None, "times": 0, "share": None}]
    store.push("clicks", [click(1, 5.0, ago(days=2)), click(1, 15.0, ago(days=1)), click(2, 3.0, ago(days=1))])
    assert values(store, 1, 2) == [
        {"amount": 15.0, "spent_30d": 20.0, "times": 2, "share": 0.75},
        {"amount": 3.0, "spent_30d": 3.0, "times": 1, "share": 1.0},
    ]


def test_pushes_one_by_one_add_up(tmp_path: Path) -> None:
    """Each push computes the values of its entities over all their events."""
    store = served(Workspace(tmp_path)).store
    for number in range(5):
        store.push("clicks", [click(1, 1.0, ago(days=5 - number), number), click(number + 2, 9.0, ago(days=1), number)])
    assert values(store, 1)[0] == {"amount": 1.0, "spent_30d": 5.0, "times": 5, "share": 0.2}


def test_a_refresh_serves_the_same(tmp_path: Path) -> None:
    """A pushed event counts once: neither the refresh nor a publication counts it again."""
    store = served(Workspace(tmp_path)).store
    store.push("clicks", [click(1, 5.0, ago(days=2)), click(1, 15.0, ago(days=1))])
    assert Workspace(tmp_path).run("refresh").returncode == 0
    store.push("clicks", [click(1, 20.0, ago(hours=1))])
    before = values(store, 1)
    assert Workspace(tmp_path).run("refresh").returncode == 0
    assert values(store, 1) == before == [{"amount": 20.0, "spent_30d": 40.0, "times": 3, "share": 0.5}]
    assert Workspace(tmp_path).run("publish", "--full").returncode == 0
    assert values(store, 1) == before


def test_an_ordinary_publication_keeps_pending_events(tmp_path: Path) -> None:
    """Events that no refresh has read yet stay in the served values, also when every record is written anew."""
    store = served(Workspace(tmp_path)).store
    store.push("clicks", [click(1, 5.0, ago(days=2))])
    assert Workspace(tmp_path).run("publish", "--full").returncode == 0
    assert values(store, 1) == [{"amount": 5.0, "spent_30d": 5.0, "times": 1, "share": 1.0}]


def test_a_publication_has_events_that_were_pushed_without_an_online_store(tmp_path: Path) -> None:
    """No table has changed since the publication before, and the pending events have."""
    workspace = served(Workspace(tmp_path))
    workspace.write(SHOP)
    workspace.store.push("clicks", [click(1, 5.0, ago(days=2))])
    workspace.write(SERVING)
    assert values(workspace.store, 1)[0]["times"] == 0
    assert workspace.run("publish").returncode == 0
    assert values(workspace.store, 1)[0]["times"] == 1


def test_a_push_after_a_refresh_that_was_not_published_publishes_all(tmp_path: Path) -> None:
    """Readers never see the values of two states."""
    workspace = served(Workspace(tmp_path))
    workspace.write(SHOP)
    workspace.store.push("clicks", [click(1, 5.0, ago(days=2))])
    assert workspace.run("refresh").returncode == 0
    workspace.write(SERVING)
    workspace.store.push("clicks", [click(2, 5.0, ago(days=2))])
    assert [each["times"] for each in values(workspace.store, 1, 2)] == [1, 1]


def test_a_late_event_is_served_too(tmp_path: Path) -> None:
    """An event before the last refreshed one changes windows, and not the latest value."""
    store = served(Workspace(tmp_path)).store
    store.push("clicks", [click(1, 5.0, ago(days=1))])
    assert Workspace(tmp_path).run("refresh").returncode == 0
    store.push("clicks", [click(1, 15.0, ago(days=3))])
    assert values(store, 1) == [{"amount": 5.0, "spent_30d": 20.0, "times": 2, "share": 0.25}]


def test_an_event_of_the_near_future_counts_from_its_time(tmp_path: Path) -> None:
    """The record has the moment at which the value changes."""
    store = served(Workspace(tmp_path)).store
    store.push("clicks", [click(1, 5.0, ago(days=1)), click(1, 9.0, ago(hours=-2))])
    assert values(store, 1) == [{"amount": 5.0, "spent_30d": 5.0, "times": 1, "share": 1.0}]


def test_a_push_that_cannot_be_published_says_that_the_events_are_stored(tmp_path: Path) -> None:
    """The same push succeeds later: its events are duplicates then, and are published all the same."""
    store = served(Workspace(tmp_path)).store
    values(store, 1)
    event = click(1, 5.0, ago(days=1))
    folder = tmp_path / ".featdsl" / "online"
    hidden = folder.rename(tmp_path / "hidden")
    folder.write_text("")
    with pytest.raises(OnlineStoreError, match="The events are stored, but their values are not published"):
        store.push("clicks", [event])
    folder.unlink()
    hidden.rename(folder)
    assert Workspace(tmp_path).store.push("clicks", [event]) == PushResult(0, 1)
    assert values(Workspace(tmp_path).store, 1) == [{"amount": 5.0, "spent_30d": 5.0, "times": 1, "share": 1.0}]


@pytest.mark.slow
def test_pushes_of_threads_and_refreshes_lose_nothing(tmp_path: Path) -> None:
    """Every event is served right after its push, while refreshes go on."""
    store = served(Workspace(tmp_path)).store
    wrong: list[Any] = []

    def push(user: int) -> None:
        for number in range(6):
            store.push("clicks", [click(user, 1.0, ago(hours=10 - number), number)])
            if (found := values(store, user)[0]["times"]) != number + 1:
                wrong.append((user, number, found))

    threads = [threading.Thread(target=push, args=(user,)) for user in (1, 2, 3)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        assert Workspace(tmp_path).run("refresh").returncode == 0
    assert wrong == []
    assert Workspace(tmp_path).run("refresh").returncode == 0
    assert [each["times"] for each in values(store, 1, 2, 3)] == [6, 6, 6]


def test_without_an_online_store_reads_have_the_events_after_a_refresh(tmp_path: Path) -> None:
    """Reads from the tables see what a refresh has stored."""
    store = shop(Workspace(tmp_path)).store
    store.push("clicks", [click(1, 5.0, "01-02 10:00")])
    assert store.get_features(["times"], user_id=1) == {"times": 0}
    assert Workspace(tmp_path).run("refresh").returncode == 0
    assert store.get_features(["times"], user_id=1) == {"times": 1}
