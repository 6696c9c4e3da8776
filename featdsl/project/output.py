"""Keep standard output for results: output of user code goes to standard error."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TextIO


@dataclass
class _Redirect:
    """The original standard output, and how many `aside` blocks are active."""

    output: TextIO | None = None
    depth: int = 0


_redirect = _Redirect()
_lock = threading.Lock()


@contextmanager
def aside() -> Iterator[None]:
    """Send `print` output to standard error, in every thread; `line` still writes to standard output."""
    with _lock:
        if not _redirect.depth:
            _redirect.output, sys.stdout = sys.stdout, sys.stderr
        _redirect.depth += 1
    try:
        yield
    finally:
        with _lock:
            _redirect.depth -= 1
            if not _redirect.depth and _redirect.output is not None:
                sys.stdout, _redirect.output = _redirect.output, None


def line(text: str) -> None:
    """Write a line of results to standard output and flush it, also inside `aside`."""
    print(text, file=_redirect.output or sys.stdout, flush=True)


@contextmanager
def own_output() -> Iterator[None]:
    """Keep this process's standard output for the command itself.

    Subprocesses of user code, libraries that write to descriptor 1, and exit handlers write to standard error.
    """
    try:
        mine = os.dup(1)
        os.dup2(2, 1)
    except OSError:  # the process has no standard output or standard error
        yield
        return
    before = sys.stdout
    sys.stdout = os.fdopen(mine, "w", encoding=before.encoding, errors=before.errors, buffering=_buffering(mine))
    try:
        yield
    finally:
        with suppress(OSError):  # the reader closed the pipe
            sys.stdout.flush()
        sys.stdout = sys.stderr


@contextmanager
def standard_output() -> Iterator[None]:
    """Make this process's standard output descriptor 1 again, for a library that takes it over itself."""
    mine = sys.stdout
    mine.flush()
    aside_output = os.dup(1)
    os.dup2(mine.fileno(), 1)
    sys.stdout = os.fdopen(1, "w", encoding=mine.encoding, errors=mine.errors, closefd=False)
    try:
        yield
    finally:
        with suppress(OSError):  # the reader closed the pipe
            sys.stdout.flush()
        sys.stdout = mine
        os.dup2(aside_output, 1)
        os.close(aside_output)


def _buffering(descriptor: int) -> int:
    return 1 if os.isatty(descriptor) else -1
