"""Errors of the engine, reported as problems of the source, the group, the table or the check that met them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from featdsl.definitions.kinds import GroupDefinition
from featdsl.definitions.sources import SourceDefinition
from featdsl.engines.resources import exhausted
from featdsl.engines.session import EngineError
from featdsl.errors import DataError, Problem, ReadingError, ResourceError, SourceFileError, UnreachableError
from featdsl.plan.document import BuildTable, CheckRows

if TYPE_CHECKING:
    from featdsl.engines.session import Session

Subject = SourceDefinition | GroupDefinition | BuildTable | CheckRows
"""What may fail while a run reads data."""
_AGAIN = "Nothing was published. Fix the data or the SQL, then apply again."


@contextmanager
def reported(subject: Subject, session: Session) -> Iterator[None]:
    """Raise DataError or ResourceError for what the engine cannot read or compute in the body."""
    try:
        with session.translated():
            yield
    except (UnreachableError, SourceFileError) as error:
        (problem,) = error.problems
        fix = f"Nothing was published. {problem.fix}"
        raise DataError(Problem(problem.summary, f"{_name(subject)}: {problem.what}", subject.origin, fix)) from None
    except EngineError as error:
        if error.exhausted and not error.fault:
            raise exhausted(error.exhausted, _name(subject), str(error), subject.origin) from None
        problem = _problem(subject, error, session)
        kind = ResourceError if error.exhausted else ReadingError if error.cannot_read else DataError
        raise kind(problem) from None


def _name(subject: Subject) -> str:
    match subject:
        case BuildTable():
            return f"group {subject.group}"
        case CheckRows():
            return subject.address
        case _:
            return f"{subject.kind} {subject.name}"


def _problem(subject: Subject, error: EngineError, session: Session) -> Problem:
    if isinstance(subject, SourceDefinition) and error.detail.lacks == "files":
        what = f"{_name(subject)}: no file matches {', '.join(subject.location)}."
        fix = session.sources.how_to_reach(subject) or "Nothing was published. Bring the files back."
        return Problem("Missing file", what, subject.origin, fix)
    if fault := error.fault:
        fix = f"Nothing was published. {fault.fix}"
        return Problem(fault.summary, f"{_name(subject)}: {fault.what}.", subject.origin, fix)
    summary = "Source cannot be read" if isinstance(subject, SourceDefinition) else "Data cannot be computed"
    return Problem(summary, f"{_name(subject)}: {error.first_lines}", subject.origin, _AGAIN)
