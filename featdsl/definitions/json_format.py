"""The format number of the JSON objects that commands print. docs/formats.md says when it changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FORMAT = 1


def versioned(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a JSON object, after the format number."""
    return {"format": FORMAT, **fields}
