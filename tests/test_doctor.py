"""The doctor reads every row where that is asked for, and the next apply builds anew what a hand has changed."""

from __future__ import annotations

import os
from pathlib import Path

import duckdb
import pytest

from tests.conftest import Workspace


def data_files(workspace: Workspace) -> list[Path]:
    """Return the data files of the store."""
    return sorted((workspace.root / ".featdsl" / "data").glob("*.duckdb"))


def edit_income(workspace: Workspace) -> str:
    """Double an income in the data file that has it, by hand, and return the name of its table."""
    (file,) = data_files(workspace)
    with duckdb.connect(str(file)) as connection:
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
    assert bank.run("doctor", "--deep").stdout == "All is well.\n"
    before = data_files(bank)[0].stat()
    table = edit_income(bank)
    if keep_time:
        os.utime(data_files(bank)[0], ns=(before.st_atime_ns, before.st_mtime_ns))
        # The size may have changed; where it has, a plan sees the file by that.
        if data_files(bank)[0].stat().st_size == before.st_size:
            assert bank.run("doctor").stdout == "All is well.\n"
    else:
        assert f"table {table} is gone, or not as it was written; featdsl apply" in bank.run("doctor").stdout
    assert bank.published(INCOMES) != right

    found = bank.run("doctor", "--deep")
    assert found.returncode == 1
    said = f"table: table {table} has other rows than were written: a hand has changed them; featdsl apply\n"
    assert found.stdout == f"{said}1 finding left.\n"
    for _ in range(2):  # the second plan recalls what the first has found
        planned = bank.run("plan", "--check")
        assert planned.returncode == 2
        assert f"table {table}" in planned.stdout
    assert bank.run("apply", "--yes").returncode == 0
    assert bank.published(INCOMES) == right
    assert bank.run("doctor", "--deep").stdout == "All is well.\n"
    assert bank.run("plan", "--check").returncode == 0


def test_a_file_that_was_only_opened_for_writing_is_as_it_was(bank: Workspace) -> None:
    """Its rows tell, and not its bytes."""
    bank.apply()
    with duckdb.connect(str(data_files(bank)[0])) as connection:
        connection.execute("CREATE TABLE more AS SELECT 1 AS one")
        connection.execute("DROP TABLE more")
    assert bank.run("doctor", "--deep").stdout == "All is well.\n"
    assert bank.run("plan", "--check").returncode == 0


def test_tables_without_a_digest_are_told_and_are_no_fault(bank: Workspace) -> None:
    """As stores of before have them; what builds them anew is said."""
    bank.apply()
    with duckdb.connect(str(bank.root / ".featdsl" / "store.duckdb")) as connection:
        connection.execute('UPDATE registry.tables SET body = json_merge_patch(body, \'{"digest": ""}\')')
        ((name,),) = connection.execute("SELECT name FROM registry.tables WHERE name LIKE 'user_profile%'").fetchall()
    found = bank.run("doctor", "--deep")
    assert found.returncode == 0
    said = f"unchecked: table {name} cannot be checked: it has no digest that this version of DuckDB has made"
    assert f"{said}; featdsl refresh --full builds it anew\n" in found.stdout
    assert bank.run("refresh", "--full").returncode == 0
    assert bank.run("doctor", "--deep").stdout == "All is well.\n"
