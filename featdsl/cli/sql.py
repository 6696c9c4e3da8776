"""The sql command: query the published views without locking out writers."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from featdsl.cli import options, printing

if TYPE_CHECKING:
    from featdsl.engines.session import EngineError, Session
    from featdsl.errors import Problem

_ROWS = 100
"""The maximum number of rows that are printed as text."""
_PROMPT, _MORE = "featdsl> ", "     ...> "


@click.command("sql")
@click.argument("query", required=False)
@click.option("--format", "format_", type=click.Choice(["text", "json", "csv"]), default="text", show_default=True)
@options.environment
@click.pass_obj
def sql(directory: Path | None, query: str | None, format_: str, env: str) -> None:
    """Run read-only SQL over the published views.

    The environment's views need no schema prefix. Without a query a prompt starts: a statement ends with a semicolon, and
    Ctrl-D exits.

    \b
    featdsl sql "SELECT * FROM user_profile LIMIT 5"
    featdsl sql "SELECT avg(age) FROM user_profile" --format json
    featdsl sql
    """
    store = options.store(directory, env)
    with store.view_session() as session:
        if query is not None:
            _run(session, query, format_)
        elif sys.stdin.isatty():
            _prompt(session, format_)
        else:
            _run(session, sys.stdin.read(), format_)


def _prompt(session: Session, format_: str) -> None:
    """Run typed statements until the input ends; print errors and continue."""
    from featdsl.errors import FeatdslError

    with contextlib.suppress(ImportError):
        import readline  # noqa: F401 - gives input() line editing and history
    for statement in _typed():
        try:
            _run(session, statement, format_)
        except FeatdslError as error:
            printing.echo(str(error), err=True)


def _typed() -> Iterator[str]:
    lines: list[str] = []
    while True:
        try:
            line = input(_MORE if lines else _PROMPT)
        except EOFError:
            printing.echo()
            return
        if not lines and line.strip().rstrip(";").lower() in {"exit", "quit"}:
            return
        lines.append(line)
        if line.rstrip().endswith(";"):
            yield "\n".join(lines)
            lines = []


def _run(session: Session, text: str, format_: str) -> None:
    """Run statements and print each result. Raises RequestError if the SQL fails, ResourceError if memory runs out."""
    from featdsl.engines.session import EngineError
    from featdsl.errors import Problem, RequestError, ResourceError

    try:
        for statement in session.statements(text):
            if statement.is_query:
                _print(session, statement.sql.rstrip(";"), format_)
            else:
                session.execute(statement.sql)
    except EngineError as error:
        if error.kind in {"memory", "disk"}:
            raise ResourceError(_exhausted(error)) from None
        raise RequestError(Problem("SQL cannot be run", error.message)) from None


def _exhausted(error: EngineError) -> Problem:
    from featdsl.errors import Problem

    if error.kind == "memory":
        fix = "Raise memory_limit or lower threads in [engine], or set its temp_directory to a larger disk."
        return Problem("Out of memory", f"The query: {error.message}", fix=fix)
    fix = "Free some space, or move the temp_directory of [engine] to a larger disk."
    return Problem("Out of disk space", f"The query: {error.message}", fix=fix)


def _print(session: Session, query: str, format_: str) -> None:
    from featdsl.render import reports

    dtypes = {column.name: column.dtype for column in session.columns(query)}
    columns = list(dtypes)
    if format_ == "json":
        printing.print_json(session.python_rows(query, dtypes))
    elif format_ == "csv":
        import csv

        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(session.texts(query))
    else:
        # The engine formats the values: Python cannot represent some of them.
        rows = session.texts(query, _ROWS + 1)
        listed = [["NULL" if value is None else value for value in row] for row in rows]
        printing.echo(reports.table(columns, listed[:_ROWS], printing.width()), nl=False)
        if len(listed) > _ROWS:
            printing.echo(f"Only the first {_ROWS} rows are shown; --format csv prints all.")


COMMANDS = (sql,)
