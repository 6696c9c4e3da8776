"""Read sizes of memory from the settings."""

from __future__ import annotations

import re

_SIZE = re.compile(r"(\d+(?:\.\d+)?) *([KMGT]?)(i?)B?", re.IGNORECASE)


def size_in_bytes(text: str) -> int:
    """Return a size such as "16MiB" or "1 GB" in bytes; "i" counts in powers of 1024, otherwise of 1000. Raises ValueError."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a size")
    power = "KMGT".index(match[2].upper()) + 1 if match[2] else 0
    return int(float(match[1]) * (1024 if match[3] else 1000) ** power)
