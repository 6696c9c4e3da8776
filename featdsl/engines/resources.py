"""Memory and disk space that run out."""

from __future__ import annotations

from typing import Literal

from featdsl.errors import Origin, Problem, ResourceError

Lacks = Literal["memory", "disk space"]
_KEPT = "Nothing was published. The next apply reuses the tables that are done."
_FIX: dict[Lacks, str] = {
    "memory": "Raise memory_limit or lower threads or batch_rows in [engine], or set its temp_directory to a disk with more room.",
    "disk space": "Free some space, or move [store] path or the temp_directory of [engine] to a larger disk; then apply again.",
}
DISK_TEXTS = ("No space left", "max_temp_directory_size", "Disk quota exceeded", "File too large")
"""Parts of the texts in which engines and operating systems say that disk space ran out."""


def exhausted(lacks: Lacks, what: str, text: str, where: Origin | None = None) -> ResourceError:
    """Return the error for memory or disk space that ran out while `what` was computed; `text` is what the engine says."""
    lines = text.splitlines()
    line = next((line for line in lines if any(each in line for each in DISK_TEXTS)), lines[0])
    return ResourceError(Problem(f"Out of {lacks}", f"{what}: {line}", where, f"{_KEPT}\n{_FIX[lacks]}"))
