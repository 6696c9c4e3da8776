"""Keep standard output for results: what users' own code prints meanwhile goes to standard error."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TextIO


@dataclass
class _Kept:
    """Standard output as it was before the first of so many that set it aside."""

    output: TextIO | None = None
    times: int = 0


_kept = _Kept()
_lock = threading.Lock()


@contextmanager
def aside() -> Iterator[None]:
    """Send what is printed to standard error, in every thread; `line` still reaches standard output."""
    with _lock:
        if not _kept.times:
            _kept.output, sys.stdout = sys.stdout, sys.stderr
        _kept.times += 1
    try:
        yield
    finally:
        with _lock:
            _kept.times -= 1
            if not _kept.times and _kept.output is not None:
                sys.stdout, _kept.output = _kept.output, None


def line(text: str) -> None:
    """Write a line of results to standard output at once, also while it is set aside."""
    print(text, file=_kept.output or sys.stdout, flush=True)


@contextmanager
def own_output() -> Iterator[None]:
    """Keep this process's standard output for what the command itself prints.

    Programs that users' code starts, libraries that write to the descriptor, and what runs at exit write to standard error.
    """
    try:
        mine = os.dup(1)
        os.dup2(2, 1)
    except OSError:  # there is no standard output, or no standard error
        yield
        return
    before = sys.stdout
    sys.stdout = os.fdopen(mine, "w", encoding=before.encoding, errors=before.errors, buffering=_buffering(mine))
    try:
        yield
    finally:
        with suppress(OSError):  # whoever reads it has gone
            sys.stdout.flush()
        sys.stdout = sys.stderr


def _buffering(descriptor: int) -> int:
    return 1 if os.isatty(descriptor) else -1
