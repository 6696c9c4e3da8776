"""The command line. Each command imports its dependencies when it runs, so that --help is fast."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import click

from featdsl.cli import (
    assistants,
    ci,
    completion,
    docs,
    find,
    importing,
    interrupts,
    plans,
    printing,
    projects,
    read,
    report,
    serve,
    state,
    trials,
    upkeep,
)
from featdsl.cli import drift as drift_command
from featdsl.cli import sql as sql_command
from featdsl.project import invocation


class _Group(click.Group):
    """A group whose usage errors exit with 1, because 2 means that changes are pending."""

    def main(self, args: Sequence[str] | None = None, *rest: Any, **extra: Any) -> NoReturn:
        from featdsl.errors import FeatdslError

        words = list(sys.argv[1:] if args is None else args)
        for stream in (sys.stdout, sys.stderr):  # a letter that the terminal cannot show is written as its code
            if isinstance(stream, io.TextIOWrapper) and "utf" not in stream.encoding.lower():
                stream.reconfigure(errors="backslashreplace")
        if completion.VARIABLE in os.environ:
            completion.register()
        interrupts.begin()
        try:
            with invocation.typing(words):
                super().main(words, *rest, **{**extra, "standalone_mode": False})
        except click.ClickException as error:
            error.show()
            sys.exit(1)
        except click.Abort:
            _stopped()
        except FeatdslError as error:
            if interrupts.requested():
                _stopped()
            printing.echo(_message(error), err=True)
            sys.exit(error.exit_code)
        except BrokenPipeError:
            sys.stderr.close()
            sys.exit(1)
        sys.exit(0)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="featdsl", prog_name="featdsl")
@click.option(
    "-C", "--directory", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Run in this directory."
)
@click.pass_context
def main(context: click.Context, directory: Path | None) -> None:
    """Declare ML features as code, review each change as a plan, and share features across teams.

    \b
    featdsl init my_project     create a project
    featdsl plan                show what apply would change
    featdsl apply               apply the changes
    featdsl search income       find a feature of another team
    """
    context.obj = directory


def _stopped() -> NoReturn:
    if interrupts.requested():  # a signal that arrives while Python compiles a class would still kill the process
        interrupts.leave()
    printing.echo(interrupts.message(), err=True)
    sys.exit(1)


def _message(error: Exception) -> str:
    problems = getattr(error, "problems", ())
    count = f"\n\n{len(problems)} problems found." if len(problems) > 1 else ""
    return f"{error}{count}"


for command in (
    *plans.COMMANDS,
    *find.COMMANDS,
    *read.COMMANDS,
    *report.COMMANDS,
    *serve.COMMANDS,
    *docs.COMMANDS,
    *assistants.COMMANDS,
    *ci.COMMANDS,
    *projects.COMMANDS,
    *importing.COMMANDS,
    *sql_command.COMMANDS,
    *state.COMMANDS,
    *drift_command.COMMANDS,
    *trials.COMMANDS,
    *upkeep.COMMANDS,
):
    main.add_command(command)
