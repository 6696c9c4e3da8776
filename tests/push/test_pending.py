"""Pending events: reading stored tables with them equals reading after the next refresh."""

from __future__ import annotations

from contextlib import closing
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from featdsl.featurestore import FeatureStore
from featdsl.push import pending
from featdsl.states import OpenState
from tests.budgets import examples
from tests.conftest import Workspace
from tests.push.declared import click, shop

FEATURES = ["last_click.amount", "spent.spent_1h", "spent.spent_30d", "spent.times", "ratio.share", "newest"]


def tables_of(store: FeatureStore) -> dict[str, list[tuple[Any, ...]]]:
    """Return the rows of all stored tables of a store."""
    state = store._states.newest()
    state.open_tables(set(state.snapshot.tables))
    with closing(state.session.cursor()) as session:
        return {name: rows_of(session, state, name) for name in sorted(state.snapshot.tables)}


def rows_of(session: Any, state: OpenState, name: str) -> list[tuple[Any, ...]]:
    """Return the rows of a stored table in a fixed order."""
    columns = ", ".join(f'"{each.name}"' for each in state.snapshot.tables[name].columns)
    return list(session.rows(f"SELECT {columns} FROM tables.{name} ORDER BY ALL"))


Changed = list[tuple[str, str | None, list[tuple[Any, ...]]]]
"""Each group with the time from which its rows change, and its changed entities."""


def overlaid(workspace: Workspace) -> tuple[dict[str, list[tuple[Any, ...]]], Changed]:
    """Return the rows of all tables over the source with the pending events, and what changes."""
    state = workspace.store._states.newest()
    state.open_tables(set(state.snapshot.tables))
    tables = pending.find(state, workspace.root.resolve())
    with closing(state.session.cursor()) as session, pending.overlay(session, tables) as changed:
        own = [name for name in sorted(state.snapshot.tables) if not name.startswith("ratio")]
        return {name: rows_of(session, state, name) for name in own}, changes(session, changed)


def changes(session: Any, changed: dict[str, pending.ChangedEntities]) -> Changed:
    """Return what changes, by group."""
    rows = {each.relation: sorted(session.rows(f"SELECT * FROM {each.relation}")) for each in changed.values()}
    return sorted((each.group, each.since, rows[each.relation]) for each in changed.values())


def test_tables_with_pending_events_are_as_after_a_refresh(workspace: Workspace) -> None:
    """Latest values and windows of several entities, with events in order, late ones, and ones of a known time."""
    shop(workspace)
    store = workspace.store
    store.push("clicks", [click(1, 5.0, "01-02 10:00"), click(2, 7.0, "01-02 11:00"), click(3, 1.0, "01-05 10:00")])
    assert workspace.run("refresh").returncode == 0
    store.push("clicks", [click(1, 9.0, "01-03 10:00"), click(2, 2.0, "01-01 10:00", shop="south")])
    store.push("clicks", [click(1, 4.0, "01-03 10:00"), click(4, 8.0, "01-06 10:00")])
    found, changed = overlaid(workspace)
    assert workspace.run("refresh").returncode == 0
    assert found == {name: rows for name, rows in tables_of(store).items() if not name.startswith("ratio")}
    since = "2026-01-01 10:00:00"
    assert changed == [
        ("everywhere", since, [(0,)]),
        ("last_click", since, [(1,), (2,), (4,)]),
        ("sold", since, [("north",), ("south",)]),
        ("spent", since, [(1,), (2,), (4,)]),
    ]


def test_before_the_first_refresh_all_events_are_pending(workspace: Workspace) -> None:
    """The tables of a new source have no rows, and their pending events are all."""
    shop(workspace)
    workspace.store.push("clicks", [click(1, 5.0, "01-02 10:00"), click(1, 6.0, "01-02 10:30")])
    found, _ = overlaid(workspace)
    assert workspace.run("refresh").returncode == 0
    assert found == {name: rows for name, rows in tables_of(workspace.store).items() if not name.startswith("ratio")}


def test_nothing_is_pending_after_a_refresh(workspace: Workspace) -> None:
    """A refresh reads every event that was pushed before it."""
    shop(workspace)
    workspace.store.push("clicks", [click(1, 5.0, "01-02 10:00")])
    assert workspace.run("refresh").returncode == 0
    assert pending.find(workspace.store._states.newest(), workspace.root.resolve()) == []


def test_events_that_a_refresh_left_out_are_pending(workspace: Workspace) -> None:
    """`featdsl refresh --to` reads the events of its files only up to a time."""
    shop(workspace)
    workspace.store.push("clicks", [click(1, 6.0, "01-03 10:00"), click(1, 7.0, "01-05 10:00")])
    assert workspace.run("refresh", "--to", "2026-01-04").returncode == 0
    found, _ = overlaid(workspace)
    assert workspace.run("refresh").returncode == 0
    assert found == {name: rows for name, rows in tables_of(workspace.store).items() if not name.startswith("ratio")}


def test_a_state_that_was_replaced_is_told(workspace: Workspace) -> None:
    """What the tables of an older state have read is not known any more."""
    shop(workspace)
    state = workspace.store._states.newest()
    workspace.store.push("clicks", [click(1, 5.0, "01-02 10:00")])
    assert workspace.run("refresh").returncode == 0
    with pytest.raises(pending.StateReplacedError):
        pending.find(state, workspace.root.resolve())


def test_only_the_entities_of_some_events_change(workspace: Workspace) -> None:
    """The events of other entities stay pending."""
    shop(workspace)
    store = workspace.store
    store.push("clicks", [click(1, 5.0, "01-02 10:00"), click(2, 5.0, "01-02 10:00")])
    assert workspace.run("refresh").returncode == 0
    store.push("clicks", [click(1, 6.0, "01-03 10:00"), click(2, 6.0, "01-03 10:00")])
    state = store._states.newest()
    state.open_tables(set(state.snapshot.tables))
    tables = pending.find(state, workspace.root.resolve())
    own = [each for each in tables if each.spec.build.group == "last_click"]
    texts = own[0].events[0]
    first = type(texts)(texts.columns, texts.texts[:1], texts.numbers[:1])
    with closing(state.session.cursor()) as session, pending.overlay(session, own, first) as changed:
        rows = session.rows(f"SELECT user_id, amount FROM tables.{own[0].stored.name} ORDER BY ALL")
        entities = changes(session, changed)
    assert entities == [("last_click", "2026-01-03 10:00:00", [(1,)])]
    assert rows == [(1, 5.0), (1, 6.0), (2, 5.0)]


EVENTS = st.lists(
    st.tuples(
        st.one_of(st.none(), st.integers(1, 3)), st.integers(0, 20), st.integers(0, 60), st.sampled_from(["a", "b"])
    ),
    max_size=12,
)


@pytest.mark.slow
@settings(max_examples=examples(4, 8), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=st.lists(st.tuples(EVENTS, st.booleans()), min_size=1, max_size=4), last=EVENTS)
def test_any_pending_events_read_as_after_a_refresh(
    workspace: Workspace, batches: list[tuple[list[tuple[Any, ...]], bool]], last: list[tuple[Any, ...]]
) -> None:
    """Whatever was pushed and refreshed before, in whatever order of time."""
    shop(workspace)
    store = workspace.store
    number = len(store._states.event_log("clicks").read().files) * 1000
    for events, refresh in [*batches, (last, False)]:
        made = [click(user, float(amount), f"01-0{1 + at % 3} 1{at % 10}:{at % 60:02}", number + i, where)
                for i, (user, amount, at, where) in enumerate(events)]  # fmt: skip
        number += len(events)
        store.push("clicks", made)
        if refresh:
            assert workspace.run("refresh").returncode == 0
    found, _ = overlaid(workspace)
    assert workspace.run("refresh").returncode == 0
    assert found == {name: rows for name, rows in tables_of(store).items() if not name.startswith("ratio")}


KNOWN = {
    "featproject.toml": '[project]\nname = "prices"\n',
    "features/__init__.py": "",
    "features/prices.py": """
from featdsl import Entity, Feature, FeatureGroup, Source

item = Entity("item", keys={"item_id": int})
columns = {"item_id": int, "price": float, "at": "TIMESTAMP_NS", "seen": "TIMESTAMP_NS", "ends": "TIMESTAMP_NS"}
prices = Source.push("prices", schema=columns, timestamp="at", available_at="seen")
offers = Source.push("offers", schema=columns, timestamp="at", valid_to="ends")
rebates = Source("rebates", sql="SELECT * FROM {{ offers }} WHERE price > 2", timestamp="at", tie_break="event_number")


class Price(FeatureGroup, entity=item, source=prices, ttl="2 days"):
    price = Feature(float, sql="price")


class Prices(FeatureGroup, entity=item, source=prices):
    highest = Feature(float, sql="max(price)", windows=["1 day", "lifetime"])


class Offer(FeatureGroup, entity=item, source=offers):
    offer = Feature(float, sql="price")


class Rebate(FeatureGroup, entity=item, source=rebates):
    rebate = Feature(float, sql="price")
""",
}


PRICES = st.lists(
    st.tuples(st.integers(1, 2), st.integers(0, 72), st.one_of(st.none(), st.integers(0, 48)), st.integers(0, 9)),
    max_size=10,
)


def price(item: int, hour: int, later: int | None, amount: int) -> dict[str, Any]:
    """Return an event that is known, or that ends, some hours after its time, or never."""
    at = datetime(2026, 1, 1) + timedelta(hours=hour)  # noqa: DTZ001 - in UTC, as a naive time is read
    other = None if later is None else str(at + timedelta(hours=later, seconds=1))
    return {"item_id": item, "price": float(amount), "at": str(at), "seen": other, "ends": other}


@pytest.mark.slow
@settings(max_examples=examples(4, 8), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=st.lists(PRICES, min_size=2, max_size=4))
def test_rows_that_are_known_late_or_end_read_as_after_a_refresh(
    workspace: Workspace, batches: list[list[tuple[int, int, int | None, int]]]
) -> None:
    """With nanoseconds; a table over a SQL source keeps its rows until the refresh."""
    workspace.write(KNOWN).apply()
    store = workspace.store
    for number, events in enumerate(batches):
        rows = [price(*event) for event in events]
        for source in ("prices", "offers"):
            store.push(source, rows)
        if number < len(batches) - 1:
            assert workspace.run("refresh").returncode == 0
    before = tables_of(store)
    state = store._states.newest()
    tables = pending.find(state, workspace.root.resolve())
    with closing(state.session.cursor()) as session, pending.overlay(session, tables):
        found = {name: rows_of(session, state, name) for name in sorted(state.snapshot.tables)}
    assert workspace.run("refresh").returncode == 0
    after = tables_of(store)
    rebate = next(name for name in before if name.startswith("rebate"))
    assert found == {**after, rebate: before[rebate]}
