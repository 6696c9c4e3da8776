"""Check SQL that is written for an engine other than DuckDB: one expression or one query, whatever it means."""

from __future__ import annotations

from collections.abc import Container

from featdsl.definitions.dialects import Dialect
from featdsl.errors import SqlProblem


def check_expression(text: str, dialect: Dialect) -> None:
    """Raise SqlProblem for a text that is not one expression of a dialect."""
    from sqlglot import exp

    from featdsl.sql import parser

    # A comment at the end of the text ends at the line break.
    parsed = parser.one_statement(f"SELECT (\n{text}\n)", dialect)
    clauses = [name for name, value in parsed.args.items() if value] if isinstance(parsed, exp.Select) else []
    if clauses != ["expressions"] or len(parsed.expressions) != 1:
        raise SqlProblem(
            f"the SQL for {dialect} is not one expression: {text}", "Write an expression as in a SELECT list."
        )
    if parsed.expressions[0].find(exp.Query):
        raise SqlProblem(
            f"the SQL for {dialect} has a query in it: {text}", "Put the query into a Source(sql=...) of its own."
        )


def check_query(text: str, dialect: Dialect, relations: Container[str]) -> None:
    """Raise SqlProblem for a text that is not one query of a dialect, or reads another relation than these."""
    from sqlglot import exp

    from featdsl.sql import parser

    parsed = parser.one_statement(text, dialect)
    if not isinstance(parsed, exp.Query):
        raise SqlProblem(f"the SQL for {dialect} is not one query: {text}", "Write one SELECT.")
    named = {each.alias for each in parsed.find_all(exp.CTE)}
    for table in parsed.find_all(exp.Table):
        if table.name not in named and (table.name not in relations or table.db):
            raise SqlProblem(
                f"the SQL for {dialect} reads {table.sql(dialect)}, which is not one of the sources that it has for duckdb",
                "Name a source in the query, such as FROM {{ orders }}.",
            )


def is_query(text: str, dialect: str) -> bool:
    """Return whether a text is one query of a dialect."""
    try:
        from sqlglot import exp

        from featdsl.sql import parser

        return isinstance(parser.one_statement(text, dialect), exp.Query)
    except SqlProblem:
        return False
