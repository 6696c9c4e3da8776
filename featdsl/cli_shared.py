"""What the commands of several families share: where they run, what they print, how they ask."""

from __future__ import annotations

import json
import math
import os
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from featdsl import typed

if TYPE_CHECKING:
    from featdsl.events import Summary
    from featdsl.featurestore import FeatureStore
    from featdsl.pipeline import Planned
    from featdsl.plan import Plan
    from featdsl.project import Project
    from featdsl.refresh import Asked

formats = click.option("--format", "format_", type=click.Choice(["text", "json"]), default="text", show_default=True)
_WIDTH = 100
_PRINTABLE = frozenset(range(32, 127)) - {ord("\\")}
environment = click.option(
    "--env", "env", default="prod", show_default=True, envvar="FEATDSL_ENV", metavar="NAME", help="The environment."
)


select = click.option(
    "--select", multiple=True, metavar="NAME", help="Only this group, set, model or team and what it needs; repeatable."
)


_FILTERS = (
    click.option("--owner", metavar="TEAM", help="Only what this team owns."),
    click.option("--entity", metavar="NAME", help="Only what describes this entity."),
    click.option("--tag", metavar="TAG", help="Only what has this tag."),
    click.option("--type", "type_", metavar="TYPE", help="Only features of this type: int, float, VARCHAR."),
    click.option("--set", "set_", metavar="SET", help="Only what this set has: credit_risk, or credit_risk@1."),
    click.option(
        "--kind",
        type=click.Choice(["feature", "group", "set", "model", "source", "entity", "team"]),
        help="Only things of this kind.",
    ),
)


def filtered(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that choose among what is applied."""
    for option in reversed(_FILTERS):
        command = option(command)
    return command


def store(directory: Path | None, env: str) -> FeatureStore:
    """Return the feature store of the project that a command runs in."""
    from featdsl.featurestore import FeatureStore

    return FeatureStore(directory, env=env)


def project(directory: Path | None) -> Project:
    """Return the project that a command runs in."""
    from featdsl.project import load

    return load(directory)


def words_before() -> list[str]:
    """Return the options that were typed before the command, as words."""
    directory = click.get_current_context().find_root().params.get("directory")
    return ["-C", str(directory)] if directory is not None else []


def words_after() -> list[str]:
    """Return the environment and the selection that were typed, as words."""
    context = click.get_current_context()
    words = [each for name in context.params.get("select") or () for each in ("--select", name)]
    if context.get_parameter_source("env") is ParameterSource.COMMANDLINE:
        words += ["--env", context.params["env"]]
    return words


def plan_words(*, out: Path | None = None) -> list[str]:
    """Return the words of the command that makes the plan which the typed one runs, kept in a file if one was typed."""
    return [*words_before(), "plan", *words_after(), *(["--out", str(out)] if out else [])]


def apply_command(file: Path) -> str:
    """Return the command that runs a saved plan."""
    return typed.command(*words_before(), "apply", str(file))


def plan_text(plan: Plan, *, sql: bool) -> str:
    """Return a plan as text: coloured and as wide as the terminal where there is one."""
    from featdsl import render

    if not sys.stdout.isatty():
        return render.text(plan, sql=sql, whole=_whole())
    return render.text(plan, sql=sql, width=width(), paint=render.ansi, whole=_whole())


def _whole() -> str:
    """Return the command, or the file, that has all of the plan which the typed command shows."""
    context = click.get_current_context()
    if plan_file := context.params.get("plan_file"):
        return str(plan_file)
    if context.info_name == "rollback":
        return f"{typed.plan_again()} --out plan.json"
    if context.info_name == "history":
        return typed.again("--format", "json")
    return typed.command(*plan_words(), "--format", "json")


def carry_out(
    planned: Planned,
    project: Project,
    *,
    yes: bool,
    approved_by: Sequence[str] = (),
    format_: str = "text",
) -> None:
    """Show a plan, ask unless it was said `yes`, and run it.

    Raises PolicyError for a plan that may not be run.
    """
    from featdsl import approving, guards, jsonlines, stopping
    from featdsl.apply import apply as run
    from featdsl.apply import summary
    from featdsl.progress import showing
    from featdsl.stores import open_store

    store = open_store(project)
    if format_ == "text":
        echo(plan_text(planned.plan, sql=False), nl=False)
    approved_by = approving.teams(planned.plan, project, approved_by)
    if approved_by:  # else there is no name to look up
        known = guards.teams(store.read(planned.plan.environment), planned.plan, project.settings.teams)
    else:
        known = set()
    guards.permit(planned.plan, approved_by, known)
    if planned.plan.empty:
        if format_ == "json":
            jsonlines.tell(summary(planned.plan, planned.plan.base.serial))
        return
    if not yes:
        reviewed = (
            f"Save the plan for review ({typed.plan_again()} --out plan.json), then: {apply_command(Path('plan.json'))}"
        )
        confirm("Apply this plan?", f"{reviewed}\nOr say yes: {typed.again('--yes')}")
    with stopping.soon(), nullcontext(jsonlines.tell) if format_ == "json" else showing() as listen:
        done = run(
            planned.plan,
            project,
            store,
            listen=stopping.until_published(listen),
            rows=planned.rows,
            functions=planned.functions,
            approved_by=approved_by,
            derive=planned.derive,
        )
    planned.memory.save()
    if format_ == "text":
        echo(_applied(done), nl=False)


def bring_up_to_date(project: Project, asked: Asked, *, format_: str) -> None:
    """Refresh what was asked for, and tell what that did."""
    from featdsl import jsonlines, pipeline, stopping, tell
    from featdsl.progress import showing
    from featdsl.stores import open_store

    lines = format_ == "json"
    with failing(format_), stopping.soon(), nullcontext(jsonlines.tell) if lines else showing() as listen:
        result = pipeline.refresh(project, open_store(project), asked, listen=stopping.until_published(listen))
    if not lines:
        echo(tell.refreshed(result, width()), nl=False)


def _applied(done: Summary) -> str:
    """Return what a run did, in a line where it built or warned, and the state that the store is at."""
    from featdsl.render import sizes
    from featdsl.render.phrases import counted

    counts = f"{counted(done.built, 'table')}, {sizes.rows(done.rows)}, {sizes.size(done.bytes)}, {done.seconds:.1f} s"
    parts = [f"Built {counts}" if done.built else "Built nothing"]
    parts += [f"{done.reused:,} reused"] if done.reused else []
    parts += [counted(done.warnings, "warning")] if done.warnings else []
    line = f"{'; '.join(parts)}.\n" if done.built or done.warnings else ""
    return f"{line}Applied. The store is at state {done.serial}.\n"


@contextmanager
def failing(format_: str) -> Iterator[None]:
    """Tell machines of a mistake too, in their last line; who is at the terminal is told as ever."""
    from featdsl.errors import FeatdslError
    from featdsl.jsonlines import tell_failure
    from featdsl.stopping import asked

    try:
        yield
    except FeatdslError as error:
        if format_ == "json" and not asked():
            tell_failure(error)
        raise


def width() -> int:
    """Return how many columns there are to print in: what COLUMNS says, else those of the terminal, else 100."""
    said = os.environ.get("COLUMNS", "")
    if said.isdecimal() and int(said):
        return int(said)
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or _WIDTH
    except (OSError, ValueError):  # no terminal, or no file
        return _WIDTH


def confirm(question: str, instead: str) -> None:
    """Ask whether to go on.

    Raises ConfirmationError for a no, and, saying what to do `instead`, where nobody can be asked.
    """
    from featdsl.errors import ConfirmationError, Problem

    if not sys.stdin.isatty():
        what = "This is no terminal, so nobody can be asked whether to go on."
        raise ConfirmationError(Problem("Not confirmed", what, mend=instead))
    if not click.confirm(f"\n{question}"):
        raise ConfirmationError(Problem("Not confirmed", "Nothing was done."))


_KINDS = {
    "plan": "Make one: {plan}",
    "lock": "Keep one when you train: json.dump(training.lock, file)",
    "export": "Make one, with the store at hand: {export}",
    "module": "Move it away, then pull again.",
}


def text_of(path: Path, kind: str) -> str:
    """Return the text of a file of one of our kinds. Raises PlanFileError, or LockFileError for a lock."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        from featdsl.errors import LockFileError, PlanFileError, Problem

        said = error.strerror if isinstance(error, OSError) else "it is no text"
        export = typed.command(*words_before(), "export", str(path))
        mend = _KINDS[kind].format(plan=typed.plan_again(), export=export)
        problem = Problem(f"{kind.capitalize()} cannot be read", f"{path}: {said}.", mend=mend)
        raise (LockFileError if kind == "lock" else PlanFileError)(problem) from None


def refuse_other_environment(kind: str, path: Path, of: str, asked: str) -> None:
    """Raise PlanFileError for a file of another environment than the one that was asked for, if one was."""
    if asked == of or click.get_current_context().get_parameter_source("env") is ParameterSource.DEFAULT:
        return
    from featdsl.errors import PlanFileError, Problem

    what = f"{path} is of the environment {of}, but {asked} was asked for."
    words = ("plan", "--out", str(path)) if kind == "plan" else ("export", str(path))
    made = typed.command(*words_before(), *words, "--env", asked)
    mend = f"Leave --env and FEATDSL_ENV out, or make another: {made}"
    raise PlanFileError(Problem(f"{kind.capitalize()} of another environment", what, mend=mend))


def write(path: Path, text: str) -> None:
    """Write a file whole or not at all; a link in its place is replaced and not followed, a device or a pipe written to."""
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        if path.exists() and not path.is_file():
            path.write_text(text, encoding="utf-8")
            return
        try:
            # A new file or none: nobody can have put a link there.
            with os.fdopen(
                os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "w", encoding="utf-8"
            ) as file:
                file.write(text)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        from featdsl.errors import PlanFileError, Problem

        raise PlanFileError(Problem("File cannot be written", f"{path}: {error.strerror}.")) from None


def echo(text: object = "", *, nl: bool = True, err: bool = False) -> None:
    """Print a text for people: what others wrote in it shows as text."""
    from featdsl.inert import shown

    with _output():
        click.echo(shown(str(text)), nl=nl, err=err)


def print_json(value: object) -> None:
    """Print plain data for machines."""
    ascii_alone = "utf" not in (sys.stdout.encoding or "utf").lower()
    echo_json(json.dumps(_plain(value), indent=2, ensure_ascii=ascii_alone, allow_nan=False) + "\n")


def echo_json(text: str) -> None:
    """Print JSON; what others wrote in it stands as its own escapes."""
    from featdsl.inert import in_json

    with _output():
        click.echo(in_json(text), nl=False)


@contextmanager
def _output() -> Iterator[None]:
    """Tell in a line where standard output cannot be written."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        with suppress(OSError):  # else Python would try to write what is left when it ends, and say so
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, sys.stdout.fileno())
            os.close(nowhere)
        raise click.ClickException(f"The output cannot be written: {error.strerror}.") from None


def _plain(value: object) -> object:
    """Return a value as JSON can have it; what JSON has no type for is text, bytes as DuckDB writes them."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else str(value)
        case bytes():
            return "".join(chr(b) if b in _PRINTABLE else f"\\x{b:02X}" for b in value)
        case dict():
            return {_plain(key): _plain(each) for key, each in value.items()}
        case list() | tuple():
            return [_plain(each) for each in value]
        case _:
            return str(value)
