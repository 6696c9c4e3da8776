"""Commands that write declarations from what other tools declare."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from featdsl.cli import options, printing
from featdsl.project import invocation

if TYPE_CHECKING:
    from featdsl.importers.declarations import ImportedProject


@click.group("import")
def import_() -> None:
    """Write declarations from a dbt project, SQL queries or a Feast repository.

    \b
    featdsl import dbt ../analytics --into my_project
    featdsl import sql queries --into my_project
    featdsl import feast ../shop --into my_project
    """


def destination(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command with the options that every import has: `into` and `format_`."""
    folder = click.Path(file_okay=False, path_type=Path)
    into = click.option(
        "--into",
        type=folder,
        metavar="FOLDER",
        help="The project to write into, or a new folder. Default: this folder.",
    )
    return into(options.formats(command))


@import_.command("dbt")
@click.argument("project", type=click.Path(path_type=Path))
@click.option("--database", metavar="PLACE", help="Where the models are: a DuckDB file, a PostgreSQL URL or env:NAME.")
@click.option("--select", multiple=True, metavar="MODEL", help="Only this model; repeatable.")
@click.option(
    "--key", "keys", multiple=True, metavar="MODEL=COLUMN", help="The key of a model, or COLUMN,COLUMN; repeatable."
)
@click.option(
    "--timestamp", "timestamps", multiple=True, metavar="MODEL=COLUMN", help="The timestamp of a model; repeatable."
)
@click.option("--static", multiple=True, metavar="MODEL", help="A model whose rows hold at all times; repeatable.")
@click.option(
    "--window", "windows", multiple=True, metavar="LENGTH", help="A window of metrics; repeatable. Default: lifetime."
)
@destination
def dbt(
    project: Path,
    database: str | None,
    select: tuple[str, ...],
    keys: tuple[str, ...],
    timestamps: tuple[str, ...],
    static: tuple[str, ...],
    windows: tuple[str, ...],
    into: Path | None,
    format_: str,
) -> None:
    """Import models and metrics of a dbt project.

    Models with a key and a timestamp become sources with a group. Metrics become windowed features.

    \b
    dbt build
    featdsl import dbt . --into ../features
    featdsl import dbt . --timestamp customers=updated_at --window "30 days"
    """
    from featdsl.importers.dbt.choices import LIFETIME, DbtChoices
    from featdsl.importers.dbt.project import read

    _refuse_lengths(windows)
    named = options.pairs(keys, "--key", "MODEL")
    choices = DbtChoices(
        root=root_of(into),
        database=database,
        select=select,
        keys={model: tuple(map(str.strip, columns.split(","))) for model, columns in named.items()},
        timestamps=options.pairs(timestamps, "--timestamp", "MODEL"),
        static=frozenset(static),
        windows=windows or (LIFETIME,),
    )
    finish(read(project, choices), into, format_)


@import_.command("sql")
@click.argument("folder", type=click.Path(exists=True, path_type=Path))
@click.option("--dialect", default="duckdb", show_default=True, metavar="NAME", help="The dialect of the queries.")
@click.option("--database", metavar="FILE", help="The DuckDB file that has the tables of the queries.")
@click.option(
    "--key", "keys", multiple=True, metavar="QUERY=COLUMN", help="The key of a query, or COLUMN,COLUMN; repeatable."
)
@click.option(
    "--timestamp", "timestamps", multiple=True, metavar="QUERY=COLUMN", help="The timestamp of a query; repeatable."
)
@click.option("--static", multiple=True, metavar="QUERY", help="A query whose rows hold at all times; repeatable.")
@click.option("--team", default="", metavar="NAME", help="The team that owns the features. Default: the folder's name.")
@destination
def sql(
    folder: Path,
    dialect: str,
    database: str | None,
    keys: tuple[str, ...],
    timestamps: tuple[str, ...],
    static: tuple[str, ...],
    team: str,
    into: Path | None,
    format_: str,
) -> None:
    """Import SQL files with one SELECT each.

    Each query becomes a source with a group. A query names its key and its timestamp at its top:

    \b
    -- key: user_id
    -- timestamp: created_at
    SELECT user_id, created_at, amount FROM 'data/payments.parquet'

    \b
    featdsl import sql queries --into my_project
    featdsl import sql queries --dialect snowflake --database copy.duckdb
    """
    from featdsl.importers.sql.choices import SqlChoices
    from featdsl.importers.sql.project import read

    named = options.pairs(keys, "--key", "QUERY")
    choices = SqlChoices(
        root=root_of(into),
        dialect=dialect,
        database=database,
        keys={query: tuple(map(str.strip, columns.split(","))) for query, columns in named.items()},
        timestamps=options.pairs(timestamps, "--timestamp", "QUERY"),
        static=frozenset(static),
        team=team,
    )
    finish(read(folder, choices), into, format_)


def _refuse_lengths(windows: tuple[str, ...]) -> None:
    """Raise BadParameter for a text that is no window."""
    from featdsl.declarations import window

    for each in windows:
        try:
            window.canonical(each)
        except ValueError as error:
            raise click.BadParameter(f"{error}, or 'lifetime'", param_hint="--window") from None


def root_of(into: Path | None) -> Path:
    """Return the folder that an import writes into."""
    return into or click.get_current_context().obj or Path()


def finish(project: ImportedProject, into: Path | None, format_: str) -> None:
    """Write an import, and print what was carried over and what was not."""
    from featdsl.importers import report, writing

    root = root_of(into)
    written = writing.write(project, root)
    words = ["-C", str(root)] if root != Path() else []
    following = invocation.command(*words, "plan")
    printing.output(
        report.data(project, written), lambda: report.text(project, written, next_command=following), format_
    )


@import_.command("feast")
@click.argument("repository", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--python",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="The Python that has Feast. Default: the first one found that has it.",
)
@destination
def feast_(repository: Path, python: Path | None, into: Path | None, format_: str) -> None:
    """Write declarations from a Feast repository: the folder with feature_store.yaml.

    Feast imports the repository's Python files, so this runs their code.

    \b
    featdsl import feast ../shop/feature_repo --into my_project
    """
    from featdsl.importers import feast

    root = into or click.get_current_context().obj or Path()
    finish(feast.imported(repository, root, python), into, format_)


COMMANDS = (import_,)
