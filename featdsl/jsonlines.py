"""Write what happens in a run as lines of JSON, each at once: events, and what went wrong."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime

from featdsl import printing
from featdsl.errors import FeatdslError, Problem
from featdsl.events import Event
from featdsl.inert import in_json
from featdsl.names import snake_case


def tell(event: Event) -> None:
    """Write an event: its name, the time in UTC, then what it holds."""
    _line(snake_case(type(event).__name__), asdict(event))


def tell_failure(error: FeatdslError) -> None:
    """Write what went wrong, as the last line of a run."""
    problems = [_plain(problem) for problem in error.problems]
    _line("failed", {"error": type(error).__name__, "exit_code": error.exit_code, "problems": problems})


def _plain(problem: Problem) -> dict[str, str | None]:
    where = str(problem.where) if problem.where else None
    return {"summary": problem.summary, "what": problem.what, "where": where, "mend": problem.mend}


def _line(name: str, said: dict[str, object]) -> None:
    at = datetime.now(UTC).isoformat(timespec="milliseconds")
    rounded = {key: round(value, 3) if isinstance(value, float) else value for key, value in said.items()}
    printing.line(in_json(json.dumps({"event": name, "at": at, **rounded}, ensure_ascii=False, default=str)))
