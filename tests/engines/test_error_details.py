"""The facts in the engine's error texts, which messages for users are made of."""

from __future__ import annotations

from pathlib import Path

import pytest

from featdsl.engines.duckdb.session import open_session
from featdsl.engines.session import EngineError, ErrorDetail
from featdsl.project.settings import Project, ProjectTable, Settings


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        (
            "SELECT amont FROM (SELECT 1 AS amount)",
            ErrorDetail('Referenced column "amont" not found in FROM clause!', "column", "amont"),
        ),
        (
            "SELECT lowr('A')",
            ErrorDetail("Scalar Function with name lowr does not exist!", "function", "lowr", '"lower"'),
        ),
        (
            "SELECT * FROM paymentz",
            ErrorDetail("Table with name paymentz does not exist!", "table", "paymentz", '"payments"'),
        ),
        (
            "FROM read_csv('none/*.csv')",
            ErrorDetail('No files found that match the pattern "none/*.csv"', "files"),
        ),
        (
            "SELECT sum(amount), day FROM payments",
            ErrorDetail(
                'column "day" must appear in the GROUP BY clause or must be part of an aggregate function.', "grouping"
            ),
        ),
        ("SELECT 1 +", ErrorDetail('syntax error at or near "+"')),
    ],
)
def test_an_error_says_what_a_statement_lacks(query: str, detail: ErrorDetail, tmp_path: Path) -> None:
    """Nobody has to parse the text of the engine again."""
    session = open_session(Project(tmp_path, Settings(project=ProjectTable(name="errors"))))
    session.execute("CREATE TABLE payments(day DATE, amount INTEGER)")
    with pytest.raises(EngineError) as error:
        session.columns(query)
    assert error.value.detail == detail
    session.close()


def test_a_quoted_group_by_is_not_a_missing_one(tmp_path: Path) -> None:
    """DuckDB quotes the statement below its message; only the message itself counts."""
    session = open_session(Project(tmp_path, Settings(project=ProjectTable(name="errors"))))
    with pytest.raises(EngineError) as error:
        session.columns("SELECT 1 + GROUP BY 1")
    assert error.value.detail.lacks == ""
    session.close()
