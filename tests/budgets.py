"""How many examples each property is tried on: few in `make test`, all of them in `make test-slow`."""

from __future__ import annotations

import os

FULL = os.environ.get("FEATDSL_BUDGETS") == "full"
GENERATING = FULL or "FEATDSL_EXAMPLES" in os.environ
"""Whether properties that take seconds an example are tried on more than their fixed examples."""


def examples(few: int, full: int) -> int:
    """Return how many examples a property is tried on in this run; FEATDSL_EXAMPLES sets another number for all."""
    return int(os.environ.get("FEATDSL_EXAMPLES") or (full if FULL else few))
