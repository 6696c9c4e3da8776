"""A rollback takes the tables of then: what was refreshed since is told to be missing, and can be brought along."""

from __future__ import annotations

import pytest

from tests.conftest import ACCOUNTS, Workspace
from tests.plan.test_guards import TEAM, Edit

MISSING = "group user_profile takes over a table of state {}; it lacks the rows that were refreshed since."


@pytest.fixture
def refreshed(recomputed: Workspace) -> Workspace:
    """The small project with another income since state 3, and four more days since state 4."""
    recomputed.parquet("data/accounts.parquet", ACCOUNTS.replace("range(20)", "range(24)"))
    assert recomputed.run("refresh").returncode == 0
    return recomputed


def test_missing_rows_are_told(refreshed: Workspace) -> None:
    """In the plan, with the command that brings them; the next refresh does as well."""
    done = refreshed.run("rollback", "2", "--yes", COLUMNS="200")
    assert MISSING.format(1) in " ".join(done.stdout.split())
    assert "featdsl rollback 2 --refresh" in done.stdout
    assert refreshed.store.get_features(["income"], user_id=3) == {"income": 19000.0}
    assert refreshed.run("refresh").returncode == 0
    assert refreshed.store.get_features(["income"], user_id=3) == {"income": 23000.0}


def test_missing_rows_are_brought_along(refreshed: Workspace) -> None:
    """By one command."""
    done = refreshed.run("rollback", "2", "--yes", "--refresh")
    assert done.returncode == 0, done.stderr
    assert refreshed.store.get_features(["income"], user_id=3) == {"income": 23000.0}
    assert "--out only saves a plan" in refreshed.run("rollback", "2", "--refresh", "--out", "plan.json").stderr


def test_without_a_refresh_since_nothing_is_missing(applied: Workspace, edit: Edit) -> None:
    """And nothing is told."""
    edit(TEAM, "annual_income", "annual_income * 2")
    applied.apply()
    assert "lacks the rows" not in applied.run("rollback", "1", "--yes").stdout


def test_a_table_of_a_trial_that_lacks_rows_is_told(applied: Workspace, edit: Edit) -> None:
    """It was built before prod was refreshed; what is merged takes it over, and the next refresh brings the rows."""
    edit(TEAM, "annual_income", "annual_income * 2")
    assert applied.run("apply", "--env", "trial", "--yes").returncode == 0
    assert "lacks the rows" not in applied.run("plan").stdout
    applied.parquet("data/accounts.parquet", ACCOUNTS.replace("range(20)", "range(24)"))
    assert applied.run("refresh").returncode == 0
    told = " ".join(applied.run("plan").stdout.split())
    assert MISSING.format(2) in told
    assert "Add them: featdsl refresh" in told
    applied.apply()
    assert applied.store.get_features(["income"], user_id=3) == {"income": 38000.0}
    assert applied.run("refresh").returncode == 0
    assert applied.store.get_features(["income"], user_id=3) == {"income": 46000.0}
