"""Show the progress of an apply: a live display in a terminal, nothing but waiting times elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from featdsl.durations import written
from featdsl.events import Event, Listener, Published, Started, StepFinished, StepStarted, Waiting


@contextmanager
def showing() -> Iterator[Listener]:
    """Yield the listener that fits where standard error goes."""
    if not sys.stderr.isatty():
        yield _say
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (
        SpinnerColumn(),
        BarColumn(24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as display:
        task = display.add_task("starting", total=None)

        def listen(event: Event) -> None:
            match event:
                case Waiting():
                    _say(event)
                case Started():
                    display.update(task, total=event.steps)
                case StepStarted():
                    display.update(task, description=event.label)
                case StepFinished():
                    display.advance(task)
                    if event.rows is not None:
                        display.console.print(f"  {event.label}: {event.rows:,} rows in {event.seconds:.1f} s")
                case Published():
                    display.update(task, description="published")

        yield listen


def _say(event: Event) -> None:
    if isinstance(event, Waiting):
        print(f"Waiting up to {written(event.timeout)} for {event.holder}.", file=sys.stderr, flush=True)  # noqa: T201
