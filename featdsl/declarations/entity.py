"""Entities: the things that features describe, with their key columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Never

from pydantic import AfterValidator

from featdsl.declarations.declaration import ColumnName, Declaration, DType, Name
from featdsl.definitions.names import EVENT_TIMESTAMP, SOURCE_TIMESTAMP
from featdsl.definitions.sheets import by_name


def _some_keys(keys: dict[str, str]) -> dict[str, str]:
    if not keys:
        raise ValueError(
            "an entity needs at least one key column; for values without an entity, give the group entity=None"
        )
    for taken in sorted({EVENT_TIMESTAMP, SOURCE_TIMESTAMP} & keys.keys()):
        raise ValueError(f"{taken!r} is a time column of feature tables, so it cannot be a key")
    return keys


class Entity(Declaration):
    """Something that features describe: a user, a flight.

    `keys` maps each key column to a Python type or the name of a DuckDB type: `Entity("user", keys={"user_id": int})`.
    Raises DeclarationError if a name or a type is invalid.
    """

    kind: ClassVar[str] = "entity"

    name: Name
    keys: Annotated[dict[ColumnName, DType], AfterValidator(_some_keys)]
    description: str = ""

    def __init__(
        self, name: str, *, keys: Mapping[str, type[Any] | str], description: str = "", **unknown: Never
    ) -> None:
        super().__init__({"name": name, "keys": keys, "description": description, **unknown})

    def titled(self) -> str:
        """Return its name with its keys: `user (user_id BIGINT)`."""
        return f"{self.name} ({', '.join(by_name(self.keys))})"

    def facts(self) -> Iterator[tuple[str, str]]:
        """Yield its keys."""
        yield "keys", "\n".join(by_name(self.keys))
        yield from super().facts()
