"""A session of DuckDB behind the protocol of engines."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from featdsl.engines.duckdb.session import DuckDBSession, open_session
from featdsl.engines.session import EngineError, Statement
from featdsl.project import settings


@pytest.fixture
def session(tmp_path: Path) -> DuckDBSession:
    """A session of an empty project."""
    (tmp_path / settings.FILE).write_text('[project]\nname = "empty"\n', encoding="utf-8")
    return open_session(settings.load(tmp_path))


def test_text_is_split_into_statements(session: DuckDBSession) -> None:
    """Only statements that return rows are queries."""
    statements = session.statements("SET threads = 2; SELECT 1; FROM range(2)")
    assert statements == [
        Statement("SET threads = 2;", is_query=False),
        Statement("SELECT 1;", is_query=True),
        Statement("FROM range(2)", is_query=True),
    ]


def test_values_come_as_the_engine_writes_them(session: DuckDBSession) -> None:
    """Python has no infinite time. The number of rows can be limited."""
    query = "SELECT i, 'infinity'::TIMESTAMP AS t FROM range(3) r(i) ORDER BY i"
    assert session.texts(query, 2) == [("0", "infinity"), ("1", "infinity")]
    assert len(session.texts(query)) == 3


def test_a_message_is_the_first_line_without_the_kind_of_error(session: DuckDBSession) -> None:
    """Rendered errors have a summary of their own."""
    with pytest.raises(EngineError) as refused:
        session.rows("SELECT CAST('x' AS INTEGER)")
    assert refused.value.kind == "value"
    assert refused.value.message == "Could not convert string 'x' to INT32"


def test_rows_of_another_process_are_read_in_a_session_of_their_own(session: DuckDBSession) -> None:
    """A pickled training set holds the function that opens it."""
    other = session.of_rows("given", pa.table({"a": [1, 2]}))
    assert other.rows("SELECT sum(a) FROM given") == [(3,)]
    with pytest.raises(EngineError, match="given does not exist"):
        session.rows("FROM given")
