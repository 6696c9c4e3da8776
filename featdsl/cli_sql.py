"""The command that lets an analyst ask what is published, and lock nobody out."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from featdsl import cli_shared

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_ROWS = 100
"""How many rows are shown as text."""
_PROMPT, _MORE = "featdsl> ", "     ...> "


@click.command("sql")
@click.argument("query", required=False)
@click.option("--format", "format_", type=click.Choice(["text", "json", "csv"]), default="text", show_default=True)
@cli_shared.environment
@click.pass_obj
def sql(directory: Path | None, query: str | None, format_: str, env: str) -> None:
    """Run SQL over the published views, which are only read; without a query, ask for one after the other.

    The views of the environment are found by their names alone. A statement ends with a semicolon, and Ctrl-D ends the prompt.

    \b
    featdsl sql "SELECT * FROM user_profile LIMIT 5"
    featdsl sql "SELECT avg(age) FROM user_profile" --format json
    featdsl sql
    """
    store = cli_shared.store(directory, env)
    with store.reading_views() as connection:
        if query is not None:
            _run(connection, query, format_)
        elif sys.stdin.isatty():
            _ask(connection, format_)
        else:
            _run(connection, sys.stdin.read(), format_)


def _ask(connection: DuckDBPyConnection, format_: str) -> None:
    """Run what is typed, until there is no more; a mistake ends nothing."""
    from featdsl.errors import FeatdslError

    with contextlib.suppress(ImportError):
        import readline  # noqa: F401 - lines can be edited, and called up again
    for statement in _typed():
        try:
            _run(connection, statement, format_)
        except FeatdslError as error:
            cli_shared.echo(str(error), err=True)


def _typed() -> Iterator[str]:
    lines: list[str] = []
    while True:
        try:
            line = input(_MORE if lines else _PROMPT)
        except EOFError:
            cli_shared.echo()
            return
        if not lines and line.strip().rstrip(";").lower() in {"exit", "quit"}:
            return
        lines.append(line)
        if line.rstrip().endswith(";"):
            yield "\n".join(lines)
            lines = []


def _run(connection: DuckDBPyConnection, text: str, format_: str) -> None:
    """Run statements, and print what each gives. Raises RequestError."""
    import duckdb

    from featdsl import clients, resources
    from featdsl.errors import Problem, RequestError

    try:
        for statement in connection.extract_statements(text):
            if statement.type != duckdb.StatementType.SELECT:
                connection.execute(statement)
                continue
            query = statement.query.strip().rstrip(";")
            described = connection.execute(f"DESCRIBE {query}").fetchall()
            _print(connection, query, {name: dtype for name, dtype, *_ in described}, format_)
    except duckdb.Error as error:
        problem = Problem("SQL cannot be run", clients.said(error))
        raise resources.exhausted("The query", error) or RequestError(problem) from None


def _print(connection: DuckDBPyConnection, query: str, dtypes: Mapping[str, str], format_: str) -> None:
    from featdsl import clients, tell

    columns = list(dtypes)
    if format_ == "json":
        found = connection.execute(clients.zoneless(query, dtypes)).fetchall()
        rows = [clients.python(dict(zip(columns, row, strict=True)), dtypes) for row in found]
        cli_shared.print_json(rows)
        return
    # As DuckDB writes values: Python has no text for some of them.
    texts = connection.execute(f"SELECT CAST(COLUMNS(*) AS VARCHAR) FROM (\n{query}\n)")
    if format_ == "csv":
        import csv

        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(texts.fetchall())
        return
    listed = [["NULL" if value is None else value for value in row] for row in texts.fetchmany(_ROWS + 1)]
    cli_shared.echo(tell.table(columns, listed[:_ROWS], cli_shared.width()), nl=False)
    if len(listed) > _ROWS:
        cli_shared.echo(f"The first {_ROWS} rows; --format csv gives all of them.")


COMMANDS = (sql,)
