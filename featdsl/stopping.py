"""End soon after Ctrl-C, whatever the engine or a Python function is at: what is not published is safe to leave at any moment."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from featdsl.events import Event, Listener, Published

MESSAGE = "Stopped. Nothing was published; tables that are done are kept for the next apply."
_PATIENCE = 1.5
"""Seconds for what runs to come to an end by itself."""


def is_interruption(error: Exception) -> bool:
    """Return whether this is what DuckDB makes of Ctrl-C."""
    return type(error).__name__ == "InterruptException" or str(error) == "Query interrupted"


def until_published(listen: Listener) -> Listener:
    """Let nothing stop a run any more that has published: it is over in a moment, and was not stopped."""

    def heard(event: Event) -> None:
        if isinstance(event, Published) and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        listen(event)

    return heard


@contextmanager
def soon() -> Iterator[None]:
    """Let Ctrl-C end this process with 1 after a moment, if what it interrupts does not."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # The interpreter's own handler waits for the main thread, which may be in a query that calls back into Python.
    read, write = os.pipe()
    os.set_blocking(write, False)
    before, handler = signal.set_wakeup_fd(write, warn_on_full_buffer=False), signal.getsignal(signal.SIGINT)
    threading.Thread(target=_watch, args=(read,), daemon=True).start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        signal.signal(signal.SIGINT, handler)
        os.close(write)


def _watch(read: int) -> None:
    while told := os.read(read, 1):
        if told[0] == signal.SIGINT:
            time.sleep(_PATIENCE)
            print(MESSAGE, file=sys.stderr, flush=True)  # noqa: T201
            os._exit(1)
    os.close(read)
