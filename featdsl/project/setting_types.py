"""What the tables of featproject.toml have in common: how they are read, durations, and sizes of memory."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict

from featdsl.definitions.durations import checked

_MEMORY = re.compile(r"(\d+(?:\.\d+)?) *([KMGT]i?B?|B)", re.IGNORECASE)

VARIABLE = "env:"
"""The beginning of a setting that names an environment variable."""

Duration = Annotated[str, AfterValidator(checked)]


class SettingTable(BaseModel):
    """A table of settings: an unknown one is an error, and values have exactly the declared types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


def memory(size: str) -> str:
    """Return `size` if DuckDB can read it as an amount of memory. Raises ValueError."""
    match = _MEMORY.fullmatch(size.strip())
    if not match or not float(match[1]):
        raise ValueError("write a number and a unit, such as '4GB' or '512MiB'")
    return size
