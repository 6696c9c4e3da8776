"""Wait in tests for what must come, and say how long."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE = 180
"""The seconds a test waits before it fails. The machine may be busy; a test that passes waits no longer than it must."""


def wait_until(
    condition: Callable[[], object], failed: Callable[[], object] = lambda: False, every: float = 0.02
) -> None:
    """Wait until a condition holds; look every so many seconds. Raises TimeoutError if it does not come, or has failed."""
    end = time.monotonic() + PATIENCE
    while not condition():
        if failed() or time.monotonic() > end:
            raise TimeoutError
        time.sleep(every)
