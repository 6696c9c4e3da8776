"""What features describe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Never

from pydantic import AfterValidator

from featdsl.declaration import ColumnName, Declaration, DType, Name
from featdsl.names import EVENT_TIMESTAMP, SOURCE_TIMESTAMP


def _some_keys(keys: dict[str, str]) -> dict[str, str]:
    if not keys:
        raise ValueError("an entity needs at least one key column; for a value without one, give a group entity=None")
    for taken in sorted({EVENT_TIMESTAMP, SOURCE_TIMESTAMP} & keys.keys()):
        raise ValueError(f"{taken!r} is a time column of feature tables, so it cannot be a key")
    return keys


class Entity(Declaration):
    """Something that features describe: a user, a flight.

    `keys` maps each key column to its type, a Python type or the text of a DuckDB one:
    `Entity("user", keys={"user_id": int})`. Raises DeclarationError when a name or a type is not one.
    """

    kind: ClassVar[str] = "entity"

    name: Name
    keys: Annotated[dict[ColumnName, DType], AfterValidator(_some_keys)]
    description: str = ""

    def __init__(
        self, name: str, *, keys: Mapping[str, type[Any] | str], description: str = "", **unknown: Never
    ) -> None:
        super().__init__({"name": name, "keys": keys, "description": description, **unknown})
