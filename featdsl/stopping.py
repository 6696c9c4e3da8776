"""End soon after Ctrl-C, whatever the engine or a Python function is at: what is not published is safe to leave at any moment."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from contextlib import contextmanager

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType
    from typing import Any, NoReturn

    from featdsl.events import Event, Listener

MESSAGE = "Stopped. Nothing was published; tables that are done are kept for the next apply."
_PATIENCE = 1.5
"""Seconds for what runs to come to an end by itself."""


def leave(*_: object) -> NoReturn:
    """Say that this was stopped, and end this process with 1, now."""
    os.write(2, f"{MESSAGE}\n".encode())
    os._exit(1)


def interrupt(_: int, frame: FrameType | None) -> NoReturn:
    """Raise KeyboardInterrupt, so that a command tidies up; who presses Ctrl-C again waits no longer.

    In the middle of an import, which compiled modules may run where they can bear no error, end at once.
    """
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            leave()
        frame = frame.f_back
    signal.signal(signal.SIGINT, leave)
    raise KeyboardInterrupt


def asked() -> bool:
    """Return whether this process was told to stop, so that any error that it meets then is of that."""
    return signal.getsignal(signal.SIGINT) is leave


def end_if_lost(lost: Any) -> None:
    """End this process where Python can only tell of a KeyboardInterrupt, as in a finalizer, and would go on."""
    if lost.exc_type is KeyboardInterrupt:
        leave()
    sys.__unraisablehook__(lost)


def is_interruption(error: Exception) -> bool:
    """Return whether this is what DuckDB makes of Ctrl-C."""
    return type(error).__name__ == "InterruptException" or str(error) == "Query interrupted"


def until_published(listen: Listener) -> Listener:
    """Let nothing stop a run any more that has published: it is over in a moment, and was not stopped."""
    from featdsl.events import Published

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
        if handler is not interrupt:  # a process of the command line ends now, and is deaf once it has published
            signal.signal(signal.SIGINT, handler)
        os.close(write)


def _watch(read: int) -> None:
    while told := os.read(read, 1):
        if told[0] == signal.SIGINT:
            time.sleep(_PATIENCE)
            leave()
    os.close(read)
