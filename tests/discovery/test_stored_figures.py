"""What `featdsl show` tells of values: the same from kept statistics as from the table."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from featdsl.engines.duckdb.session import DuckDBSession
from tests.conftest import ACCOUNTS, Workspace

Edit = Callable[[str, str, str], None]

TYPED = """
from featdsl import Entity, Feature, FeatureGroup, Source

user = Entity("user", keys={"user_id": int})
accounts = Source("accounts", path="data/accounts.parquet", timestamp="updated_at")


class Odd(FeatureGroup, entity=user, source=accounts):
    \"\"\"Values of several types.\"\"\"

    many = Feature(int, sql="annual_income::BIGINT")
    few = Feature(int, sql="10 - user_id % 3")
    price = Feature("DECIMAL(10,2)", sql="(annual_income / 8)::DECIMAL(10,2)")
    kind = Feature(str, sql="CASE WHEN user_id > 1 THEN 'b' ELSE 'a' END")
    flag = Feature(bool, sql="user_id = 1")
    born = Feature("DATE", sql="birth_date")
    long = Feature(str, sql="repeat('x', 100)")
    gap = Feature(float, sql="CASE WHEN annual_income > 5000 THEN annual_income END")
    none = Feature(float, sql="NULL::DOUBLE")
    seen = Feature(int, sql="count(*)", window="2 days")
"""


@pytest.fixture
def typed(workspace: Workspace) -> Workspace:
    """A project with a feature of each kind of type, applied."""
    workspace.write({"featproject.toml": '[project]\nname = "bank"\n', "features/__init__.py": TYPED})
    workspace.parquet("data/accounts.parquet", ACCOUNTS)
    workspace.apply()
    return workspace


def shown(workspace: Workspace) -> dict[str, str]:
    """Return what is shown of each feature and of the group."""
    names = [each.address for each in workspace.store.features()]
    return {name: workspace.run("show", name).stdout for name in [*names, "odd"]}


def test_kept_statistics_are_shown_as_the_table_is(typed: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """The text of every feature is the same with and without kept statistics."""
    kept = shown(typed)
    monkeypatch.setattr("featdsl.stores.embedded.store.EmbeddedStore.statistics", lambda *_: {})
    assert shown(typed) == kept
    assert "samples      0, 4000, 9000, 14000, 18000" in kept["odd.many"]


def test_kept_statistics_need_no_table(typed: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers and texts are shown without reading a row."""

    def refuse(*_: object) -> None:
        raise AssertionError("a row is read")

    monkeypatch.setattr(DuckDBSession, "rows", refuse)
    for name in ("many", "few", "price", "kind", "gap"):
        assert "samples " in typed.run("show", f"odd.{name}").stdout


def test_statistics_of_an_earlier_run_are_not_shown(typed: Workspace, edit: Edit) -> None:
    """After a run that measured nothing the table is read."""
    edit("featproject.toml", "[project]", "[store]\nstatistics = false\n\n[project]")
    typed.parquet("data/accounts.parquet", ACCOUNTS.replace("range(20)", "range(40)"))
    assert typed.run("refresh").returncode == 0
    assert "40, 0.0 % null" in typed.run("show", "odd.many").stdout
    assert "2026-02-09" in typed.run("show", "odd.many").stdout
