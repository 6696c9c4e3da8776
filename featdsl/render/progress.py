"""Show the progress of a run: a live display in a terminal, only waits and warnings elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, assert_never

from featdsl.apply.events import (
    ClockBehind,
    Event,
    Listener,
    OnlinePublished,
    Progress,
    Published,
    Refreshed,
    RuleChecked,
    Started,
    StepFinished,
    StepStarted,
    Summary,
    Waiting,
    Warned,
)
from featdsl.definitions.durations import about, written
from featdsl.definitions.escaping import shown
from featdsl.definitions.quality_rules import broken_rule, example_lines, rule_text

if TYPE_CHECKING:
    from rich import progress as live


@contextmanager
def showing() -> Iterator[Listener]:
    """Yield a listener: a live display if standard error is a terminal, else one that writes waits and warnings."""
    if not sys.stderr.isatty():
        yield say
        return
    from rich import progress as live
    from rich.console import Console

    columns = (
        live.SpinnerColumn(),
        live.BarColumn(24),
        live.MofNCompleteColumn(),
        live.TimeElapsedColumn(),
        live.TextColumn("{task.description}", markup=False),
    )
    with live.Progress(*columns, console=Console(stderr=True), transient=True) as display:
        task = display.add_task("starting", total=None)

        yield lambda event: _show(event, display, task)


def _show(event: Event, display: live.Progress, task: live.TaskID) -> None:
    match event:
        case Waiting() | ClockBehind() | Warned():
            say(event)
        case Started():
            display.update(task, total=event.steps)
        case StepStarted():
            display.update(task, description=shown(event.label))
        case Progress():
            display.update(task, description=shown(f"{event.label}: {_done(event)}"))
        case StepFinished():
            display.advance(task)
            if event.rows is not None:
                line = f"  {event.label}: {event.rows:,} rows in {event.seconds:.1f} s"
                display.console.print(shown(line), markup=False)
        case Published():
            display.update(task, description="published")
        case RuleChecked() | Refreshed() | OnlinePublished() | Summary():
            pass  # the command prints these after the display has closed
        case _:
            assert_never(event)


def say(event: Event) -> None:
    """Write waits and warnings to standard error; ignore other events."""
    if isinstance(event, Waiting):
        print(shown(f"Waiting up to {written(event.timeout)} for {event.holder}."), file=sys.stderr, flush=True)  # noqa: T201
    elif isinstance(event, ClockBehind):
        line = f"Warning: this machine's clock is {about(event.seconds)} behind the newest state of the store."
        print(line, file=sys.stderr, flush=True)  # noqa: T201
    elif isinstance(event, Warned):
        print(shown(f"Warning: {_warning(event)}"), file=sys.stderr, flush=True)  # noqa: T201


def _done(event: Progress) -> str:
    """Return the progress of a step: `1,000 of 4,000 rows, 30 s left`."""
    left = "" if event.seconds_left is None else f", {event.seconds_left:.0f} s left"
    return f"{event.rows_done:,} of {event.rows_total:,} rows{left}"


def _warning(event: Warned) -> str:
    broken = broken_rule(event.address, event.kind, rule_text(event.rule, event.name, "error"), event.broken)
    return "\n".join([broken, *example_lines(event.examples, event.broken)])
