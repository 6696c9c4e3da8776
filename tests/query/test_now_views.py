"""A group whose values change between its rows has a view of its values of now, equal to what is served."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.budgets import examples
from tests.conftest import Workspace

PROJECT = """
from featdsl import Entity, Feature, FeatureGroup, Source

user = Entity("user", keys={"user_id": int})
paid = Source("paid", path="data/paid.parquet", timestamp="ts", available_at="known")
profiles = Source("profiles", path="data/paid.parquet", timestamp="ts", valid_to="until")


class Spending(FeatureGroup, entity=user, source=paid):
    spend = Feature(float, sql="sum(amount)", windows=["7 days", "30 days"])
    number = Feature(int, sql="count(*)", window="30 days")


class Profile(FeatureGroup, entity=user, source=profiles, ttl="20 days"):
    last = Feature(float, sql="amount")


class Share(FeatureGroup, entity=user, inputs=[Spending.spend["7 days"], Spending.spend["30 days"], Profile.last]):
    share = Feature(float, sql="spend_7d / spend_30d")
    twice = Feature(float, sql="last * 2")


class Plain(FeatureGroup, entity=user, source=Source("plain", path="data/paid.parquet", timestamp="ts", tie_break="amount")):
    amount = Feature(float)
"""
GROUPS = {"spending": ["spend_7d", "spend_30d", "number"], "profile": ["last"], "share": ["share", "twice"]}


def project(workspace: Workspace, rows: list[tuple[int, float, float, float | None]]) -> Workspace:
    """Apply the project over rows of a user, an age in days, a delay until it is known, and an end in days from then on."""
    now = datetime.now(UTC).replace(tzinfo=None)
    texts = []
    for number, (user, age, delay, end) in enumerate(rows):
        at = now - timedelta(days=age, microseconds=number)
        until = "NULL" if end is None else f"TIMESTAMP '{at + timedelta(days=end)}'"
        texts.append(
            f"({user}, TIMESTAMP '{at}', TIMESTAMP '{at + timedelta(days=delay)}', {until}::TIMESTAMP, {number + 1}.5)"
        )
    workspace.write({"featproject.toml": '[project]\nname = "p"\n', "features/__init__.py": PROJECT})
    workspace.parquet("data/paid.parquet", f"FROM (VALUES {', '.join(texts)}) t(user_id, ts, known, until, amount)")
    workspace.apply()
    return workspace


def views_of_now(workspace: Workspace, group: str, names: list[str]) -> dict[int, dict[str, Any]]:
    """Return the rows of a view by user, as an analyst reads them."""
    found = workspace.published(f"SELECT user_id, {', '.join(names)} FROM prod.{group}_now")
    return {int(str(user)): dict(zip(names, values, strict=True)) for user, *values in found}


@settings(max_examples=examples(3, 25), suppress_health_check=list(HealthCheck))
@given(
    rows=st.lists(
        st.tuples(
            st.integers(1, 3), st.integers(1, 40).map(lambda n: n + 0.5), st.sampled_from([0.0, 0.25, 30.0]),
            st.none() | st.integers(1, 60).map(float),
        ),
        min_size=1, max_size=8,
    )
)  # fmt: skip
def test_the_view_of_now_is_what_is_served(tmp_path_factory: pytest.TempPathFactory, rows: list[Any]) -> None:
    """With late rows, rows that end, a ttl, windows, and features derived from all of them; one row for each user."""
    workspace = project(Workspace(tmp_path_factory.mktemp("now")), rows)
    users = sorted({user for user, *_ in rows})
    for group, names in GROUPS.items():
        served = workspace.store.get_features(names, rows=[{"user_id": user} for user in users])
        found = views_of_now(workspace, group, names)
        assert found == {user: values for user, values in zip(users, served, strict=True) if user in found}
        assert set(users) - found.keys() == set() or group == "share"


def test_a_window_of_now_is_not_that_of_the_last_row(workspace: Workspace) -> None:
    """The view of the group shows values at its rows, the one of now what is left of them."""
    project(workspace, [(1, 40.5, 0, None), (1, 35.5, 0, None)])
    rows = workspace.published("SELECT number FROM prod.spending ORDER BY event_timestamp")
    assert rows == [(0,), (1,)]
    assert workspace.published("SELECT user_id, spend_30d, number FROM prod.spending_now") == [(1, None, 0)]
    views = workspace.published("SELECT view_name FROM duckdb_views() WHERE schema_name = 'prod' ORDER BY 1")
    assert views == [
        (each,) for each in ("plain", "profile", "profile_now", "share", "share_now", "spending", "spending_now")
    ]


def test_a_view_of_now_goes_with_its_group_and_leaves_taken_names_alone(workspace: Workspace) -> None:
    """A group of that name is read under it; without it the view comes back."""
    project(workspace, [(1, 5.5, 0, None)])
    file = workspace.root / "features" / "__init__.py"
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace("class Plain(FeatureGroup, entity", 'class Plain(FeatureGroup, name="spending_now", entity'), encoding="utf-8")  # fmt: skip
    workspace.apply()
    assert workspace.published("SELECT amount FROM prod.spending_now") == [(1.5,)]
    assert workspace.run("plan", "--check").returncode == 0
    file.write_text(text[: text.index("class Share")], encoding="utf-8")
    workspace.apply()
    views = workspace.published("SELECT view_name FROM duckdb_views() WHERE schema_name = 'prod' ORDER BY 1")
    assert views == [("profile",), ("profile_now",), ("spending",), ("spending_now",)]
    assert workspace.published("SELECT number FROM prod.spending_now") == [(1,)]


def test_views_of_now_are_read_in_a_session_of_any_time_zone(workspace: Workspace) -> None:
    """Now is that of UTC."""
    project(workspace, [(1, 6.5, 0, None)])
    with duckdb.connect(str(workspace.root / ".featdsl" / "store.duckdb"), read_only=True) as connection:
        connection.execute("SET TimeZone = 'Pacific/Auckland'")
        assert connection.execute("SELECT spend_7d FROM prod.spending_now").fetchall() == [(1.5,)]
