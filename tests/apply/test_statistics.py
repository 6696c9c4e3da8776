"""Statistics that runs keep of the tables that they write."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from featdsl.definitions.statistics import TableStatistics
from featdsl.engines.duckdb.statistics import DuckDBStatistics
from featdsl.engines.session import EngineError
from featdsl.project import settings
from featdsl.stores import open_store
from tests.conftest import ACCOUNTS, Workspace

Edit = Callable[[str, str, str], None]


def kept(workspace: Workspace) -> dict[str, list[TableStatistics]]:
    """Return the statistics of each table by its group, newest first."""
    store = open_store(settings.load(workspace.root))
    snapshot = store.read()
    of = {each.table: each.group for each in snapshot.versions.values()}
    return {of[name]: runs for name, runs in store.statistics(snapshot.tables).items()}


def test_apply_measures_each_table_that_it_builds(applied: Workspace) -> None:
    """Stored and derived features alike, with the state and the newest time."""
    found = kept(applied)
    assert sorted(found) == ["affordability", "user_profile"]
    (run,) = found["user_profile"]
    assert (run.serial, run.during, run.rows, run.newest) == (1, "apply", 20, "2026-01-20T00:00:00.000000")
    income, monthly = run.columns["income"], found["affordability"][0].columns["monthly"]
    assert (income.mean, income.minimum, income.maximum, income.quantiles[3]) == (9500.0, "0.0", "19000.0", "9000.0")
    assert monthly.mean == pytest.approx(9500 / 12)
    assert run.columns["age"].dtype == "BIGINT"


def test_refresh_measures_the_whole_table_again(applied: Workspace) -> None:
    """A run that adds rows keeps statistics of all rows beside the ones before."""
    applied.parquet("data/accounts.parquet", ACCOUNTS.replace("range(20)", "range(24)"))
    assert applied.run("refresh").returncode == 0
    now, before = kept(applied)["user_profile"]
    assert (now.serial, now.during, now.rows, before.rows) == (2, "refresh", 24, 20)
    assert now.columns["income"].mean == 11_500.0


def test_an_apply_that_builds_nothing_measures_nothing(applied: Workspace, edit: Edit) -> None:
    """A changed description is no new run of a table."""
    edit("features/accounts/__init__.py", "Age in whole years.", "Age, years.")
    assert applied.run("apply", "--yes").returncode == 0
    assert [each.serial for each in kept(applied)["user_profile"]] == [1]


def test_a_setting_turns_statistics_off(bank: Workspace, edit: Edit) -> None:
    """Then nothing is kept."""
    edit("featproject.toml", "[project]", "[store]\nstatistics = false\n\n[project]")
    bank.apply()
    assert kept(bank) == {}


def test_a_failure_of_statistics_fails_no_apply(bank: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """An apply that cannot measure publishes all the same."""

    def refuse(*_: object) -> None:
        raise EngineError("out of memory", "memory")

    monkeypatch.setattr(DuckDBStatistics, "measure", refuse)
    done = bank.run("apply", "--yes")
    assert "Applied. The store is at state 1." in done.stdout
    assert kept(bank) == {}


def test_windows_are_measured_at_some_of_their_times(bank: Workspace, edit: Edit) -> None:
    """Of a window there are the values at the times of its events, as in the group's view."""
    edit(
        "features/accounts/__init__.py",
        "    income = ",
        '    seen = Feature(int, sql="count(*)", window="2 days")\n    income = ',
    )
    bank.apply()
    store = open_store(settings.load(bank.root))
    snapshot = store.read()
    tables = {each.table for each in snapshot.versions.values() if each.window}
    (run,) = store.statistics(tables)[tables.pop()]
    seen = run.columns["seen"]
    (values,) = bank.published("SELECT list(seen ORDER BY seen) FROM prod.user_profile")
    assert seen.rows == len(values[0]) == 20  # type: ignore[arg-type]
    assert (seen.minimum, seen.maximum) == (str(values[0][0]), str(values[0][-1]))  # type: ignore[index]


def test_plans_are_the_same_with_and_without_statistics(applied: Workspace, edit: Edit) -> None:
    """Statistics change no byte of a plan."""
    edit("features/accounts/__init__.py", "annual_income", "annual_income * 2")
    applied.run("plan", "--out", "on.json")
    edit("featproject.toml", "[project]", "[store]\nstatistics = false\n\n[project]")
    applied.run("plan", "--out", "off.json")
    assert (applied.root / "on.json").read_bytes() == (applied.root / "off.json").read_bytes()
