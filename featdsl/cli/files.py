"""Read and write the files that commands take and make: plans, lock files, exports and modules."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

import click
from click.core import ParameterSource

from featdsl.cli import options
from featdsl.project import invocation

_FIXES = {
    "plan": "Make a plan: {plan}",
    "lock": "Save a lock file when you train: json.dump(training.lock, file)",
    "export": "Export the registry where the store can be opened: {export}",
    "module": "Move the file away, then pull again.",
}


def text_of(path: Path, kind: str) -> str:
    """Return the text of a plan, a lock file, an export or a pulled module.

    Raises LockFileError for an unreadable lock file and PlanFileError for the others.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        from featdsl.errors import LockFileError, PlanFileError, Problem

        reason = error.strerror if isinstance(error, OSError) else "not a UTF-8 text file"
        export = invocation.command(*options.words_before(), "export", str(path))
        fix = _FIXES[kind].format(plan=invocation.plan_again(), export=export)
        problem = Problem(f"{kind.capitalize()} cannot be read", f"{path}: {reason}.", fix=fix)
        raise (LockFileError if kind == "lock" else PlanFileError)(problem) from None


def refuse_other_environment(kind: str, path: Path, of: str, requested: str) -> None:
    """Raise PlanFileError if a file belongs to another environment than the requested one.

    An environment is requested with --env or FEATDSL_ENV; the default requests none.
    """
    if requested == of or click.get_current_context().get_parameter_source("env") is ParameterSource.DEFAULT:
        return
    from featdsl.errors import PlanFileError, Problem

    what = f"{path} belongs to the environment {of}, but {requested} was requested."
    words = ("plan", "--out", str(path)) if kind == "plan" else ("export", str(path))
    again = invocation.command(*options.words_before(), *words, "--env", requested)
    fix = f"Leave out --env and FEATDSL_ENV, or make a new {kind}: {again}"
    raise PlanFileError(Problem(f"{kind.capitalize()} of another environment", what, fix=fix))


def write(path: Path, text: str) -> None:
    """Write a file atomically.

    Replace a symbolic link instead of following it; write into a device or a pipe. Raises PlanFileError.
    """
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        if path.exists() and not path.is_file():
            path.write_text(text, encoding="utf-8")
            return
        try:
            # O_EXCL fails on a link that someone else put there.
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
