"""Write the events and the failure of a run as JSON lines, each as soon as it happens."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime

from featdsl.apply.events import Event
from featdsl.definitions.escaping import in_json
from featdsl.definitions.names import snake_case
from featdsl.errors import FeatdslError, Problem
from featdsl.project import output


def write(event: Event) -> None:
    """Write an event as one line: its name, the time in UTC, then its fields."""
    _line(snake_case(type(event).__name__), asdict(event))


def write_failure(error: FeatdslError) -> None:
    """Write an error as the last line of a run."""
    problems = [_plain(problem) for problem in error.problems]
    _line("failed", {"error": type(error).__name__, "exit_code": error.exit_code, "problems": problems})


def _plain(problem: Problem) -> dict[str, str | None]:
    where = str(problem.where) if problem.where else None
    return {"summary": problem.summary, "what": problem.what, "where": where, "fix": problem.fix}


def _line(name: str, fields: dict[str, object]) -> None:
    at = datetime.now(UTC).isoformat(timespec="milliseconds")
    rounded = {key: round(value, 3) if isinstance(value, float) else value for key, value in fields.items()}
    output.line(in_json(json.dumps({"event": name, "at": at, **rounded}, ensure_ascii=False, default=str)))
