"""Exit soon after Ctrl-C, whatever runs: an unpublished run can be abandoned at any moment."""

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

    from featdsl.apply.events import Event, Listener

_MESSAGES = {
    "not begun": "Stopped. Nothing was published; the next apply reuses the tables that were finished.",
    "under way": "Stopped while publishing. See whether the new state is published: featdsl history",
    "done": "Stopped. The new state is published: featdsl history",
}
_PATIENCE = 1.5
"""Seconds that a command gets to clean up after Ctrl-C."""


def begin() -> None:
    """Forget what earlier commands of this process have published."""
    if publication := sys.modules.get("featdsl.stores.publication"):
        publication.reset()


def message() -> str:
    """Return the message after Ctrl-C: whether this command has published a state."""
    publication = sys.modules.get("featdsl.stores.publication")  # not imported here: Ctrl-C may have ended its import
    return _MESSAGES[publication.progress() if publication and hasattr(publication, "progress") else "not begun"]


def leave(*_: object) -> NoReturn:
    """Print the message and exit with 1 immediately."""
    os.write(2, f"{message()}\n".encode())
    os._exit(1)


def interrupt(_: int, frame: FrameType | None) -> NoReturn:
    """Raise KeyboardInterrupt so that the command cleans up; a second Ctrl-C exits immediately.

    During an import exit immediately: a compiled module may import where it cannot handle an error.
    """
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            leave()
        frame = frame.f_back
    signal.signal(signal.SIGINT, leave)
    raise KeyboardInterrupt


def requested() -> bool:
    """Return whether Ctrl-C was pressed; errors raised after that are its consequences."""
    return signal.getsignal(signal.SIGINT) is leave


def end_if_lost(unraisable: Any) -> None:
    """Exit on a KeyboardInterrupt that Python would only report, such as one raised in a finalizer."""
    if unraisable.exc_type is KeyboardInterrupt:
        leave()
    sys.__unraisablehook__(unraisable)


def until_published(listen: Listener) -> Listener:
    """Return a listener that ignores Ctrl-C once the run has published: the run has succeeded and ends in a moment."""
    from featdsl.apply.events import Published

    def listener(event: Event) -> None:
        if isinstance(event, Published) and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        listen(event)

    return listener


def restore() -> None:
    """Let Ctrl-C end the command again after `until_published`: a publication to the online store may take a while."""
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, interrupt)


@contextmanager
def soon() -> Iterator[None]:
    """Exit with 1 a moment after Ctrl-C if the interrupted code does not end by itself."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # Python runs its signal handler in the main thread, which may be in a query that calls back into Python.
    read, write = os.pipe()
    os.set_blocking(write, False)
    before, handler = signal.set_wakeup_fd(write, warn_on_full_buffer=False), signal.getsignal(signal.SIGINT)
    threading.Thread(target=_watch, args=(read,), daemon=True).start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        if handler is not interrupt:  # a command line process exits next, and ignores SIGINT once it has published
            signal.signal(signal.SIGINT, handler)
        os.close(write)


def _watch(read: int) -> None:
    while signals := os.read(read, 1):
        if signals[0] == signal.SIGINT:
            time.sleep(_PATIENCE)
            leave()
    os.close(read)
