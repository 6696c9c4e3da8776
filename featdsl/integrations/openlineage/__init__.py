"""Send the events of OpenLineage for an apply or a refresh: which tables it computed, from which datasets and columns.

An event is a JSON document with a stable specification, and goes to an HTTP endpoint. So this needs nothing but the standard
library: the official client would bring a dozen packages, and half a second to each apply.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeVar

from featdsl.apply.events import Listener, ignore
from featdsl.definitions.snapshot import PROD
from featdsl.errors import FeatdslError, Problem
from featdsl.integrations.openlineage import facets
from featdsl.integrations.openlineage.code_location import repository
from featdsl.integrations.openlineage.definitions import known_definitions
from featdsl.integrations.openlineage.jobs import Job, TableJobs
from featdsl.integrations.openlineage.recorder import RunRecorder
from featdsl.integrations.openlineage.sending import Sender, delivery

if TYPE_CHECKING:
    from featdsl.plan.document import Plan
    from featdsl.project.settings import Project
    from featdsl.stores import Store

_AFTER_STOP = 0.5
"""Seconds to wait after Ctrl-C, which ends a command soon."""

T = TypeVar("T")
Warn = Callable[[str], None]


@dataclass(frozen=True)
class LineageRun:
    """The command whose events are sent, its environment, and for an apply its plan."""

    command: Literal["apply", "refresh"]
    environment: str
    plan: Plan | None = None


@contextmanager
def reporting(project: Project, store: Store, run: LineageRun, warn: Warn) -> Iterator[Listener]:
    """Yield the listener of a run that sends its events to `[events] openlineage_url`, and then how it ended.

    Nothing here fails the run: if events cannot be made or delivered, `warn` gets one line.
    """
    guarded = _Guarded(warn)
    sender = guarded.call(lambda: _sender(project))
    recorder = guarded.call(lambda: _started(project, store, run, sender)) if sender else None
    if sender is None or recorder is None:
        yield ignore
        return
    waiting: dict[str, float] = {}
    try:
        yield lambda event: guarded.call(lambda: recorder.listen(event))
    except FeatdslError as error:
        message = "\n\n".join(map(_told, error.problems))
        guarded.call(lambda: recorder.fail(message))
        raise
    except KeyboardInterrupt:
        guarded.call(recorder.abort)
        waiting = {"patience": _AFTER_STOP, "limit": _AFTER_STOP}
        raise
    except BaseException:
        guarded.call(lambda: recorder.fail("featdsl has failed."))
        raise
    finally:
        if failure := sender.close(**waiting):
            guarded.warn(failure)


class _Guarded:
    """Calls what must not fail the run. After a failure it warns once, and calls nothing more."""

    def __init__(self, warn: Warn) -> None:
        self._warn, self._is_broken = warn, False

    def call(self, act: Callable[[], T]) -> T | None:
        """Return the result of a call; None if this or an earlier one failed."""
        if self._is_broken:
            return None
        try:
            return act()
        except FeatdslError as error:
            self.warn(error.problems[0].what)
        except Exception as error:  # noqa: BLE001 - a mistake in here costs events, never the run
            self.warn(f"they cannot be made ({type(error).__name__})")
        return None

    def warn(self, reason: str) -> None:
        """Print why events are missing, unless that is known."""
        if not self._is_broken:
            self._is_broken = True
            self._warn(f"Warning: OpenLineage events were not sent: {reason.rstrip('.')}.")


def _sender(project: Project) -> Sender | None:
    url = project.openlineage_url
    return Sender(delivery(url, project.root)) if url else None


def _started(project: Project, store: Store, run: LineageRun, sender: Sender) -> RunRecorder:
    known = known_definitions(project, store.read(run.environment), run.plan)
    name = ".".join([project.name, *([run.environment] if run.environment != PROD else []), run.command])
    command = Job(project.settings.events.openlineage_namespace, name, {"jobType": facets.job_type("COMMAND")})
    recorder = RunRecorder(command, TableJobs(command, known, repository(project.root)), sender.send)
    recorder.start()
    return recorder


def _told(problem: Problem) -> str:
    """Return a problem without the rows that it shows as examples: events carry no data."""
    first = problem.what.partition("\n")[0]
    return "\n".join([problem.summary, f"  {first}", *([f"  {problem.where}"] if problem.where else [])])
