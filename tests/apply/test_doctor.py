"""The doctor reads every row where that is asked for, and the next apply builds anew what a hand has changed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.altered import altered
from tests.conftest import Workspace


def data_files(workspace: Workspace) -> list[Path]:
    """Return the data files of the store."""
    return sorted((workspace.root / ".featdsl" / "data").glob("*.duckdb"))


def edit_income(workspace: Workspace) -> str:
    """Double an income in the data file that has it, by hand, and return the name of its table."""
    (file,) = data_files(workspace)
    with altered(file) as connection:
        query = "SELECT table_name FROM duckdb_columns() WHERE column_name = 'income'"
        ((table,),) = connection.execute(query).fetchall()
        connection.execute(f'UPDATE "{table}" SET income = income * 2 WHERE user_id = 1')
    return str(table)


INCOMES = "SELECT sum(income) FROM prod.user_profile"


@pytest.mark.parametrize("keep_time", [False, True])
def test_values_that_a_hand_has_changed_are_found_and_repaired(bank: Workspace, *, keep_time: bool) -> None:
    """A plan sees a file that was written since by itself, and else once the doctor has looked at every row."""
    bank.apply()
    right = bank.published(INCOMES)
    assert bank.run("doctor", "--deep").stdout == "No problems found.\n"
    before = data_files(bank)[0].stat()
    table = edit_income(bank)
    if keep_time:
        os.utime(data_files(bank)[0], ns=(before.st_atime_ns, before.st_mtime_ns))
        # The size may have changed; where it has, a plan sees the file by that.
        if data_files(bank)[0].stat().st_size == before.st_size:
            assert bank.run("doctor").stdout == "No problems found.\n"
    else:
        assert f"table {table} is missing or was altered; featdsl apply" in bank.run("doctor").stdout
    assert bank.published(INCOMES) != right

    found = bank.run("doctor", "--deep")
    assert found.returncode == 1
    assert f"file: {data_files(bank)[0]} is missing or was altered after it was written\n" in found.stdout
    assert f"table: table {table} is missing or has other rows than apply wrote; featdsl apply\n" in found.stdout
    for _ in range(2):  # the second plan recalls what the first has found
        planned = bank.run("plan", "--check")
        assert planned.returncode == 2
        assert f"table {table}" in planned.stdout
    assert bank.run("apply", "--yes").returncode == 0
    assert bank.published(INCOMES) == right
    assert bank.run("doctor", "--deep").stdout == "No problems found.\n"
    assert bank.run("plan", "--check").returncode == 0
