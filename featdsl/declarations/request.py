"""Request-time data: values that only the caller knows, such as the amount of a loan application."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator

from featdsl.declarations.declaration import Declaration, DType, Name
from featdsl.definitions.names import AS_OF_TIMESTAMP, EVENT_TIMESTAMP, SOURCE_TIMESTAMP


def _some_columns(columns: dict[str, str]) -> dict[str, str]:
    if not columns:
        raise ValueError("it has no columns; name the values of the call, such as Request(amount=float)")
    if AS_OF_TIMESTAMP in columns:
        raise ValueError(f"{AS_OF_TIMESTAMP!r} is the time of the read; rename the column")
    for taken in sorted({EVENT_TIMESTAMP, SOURCE_TIMESTAMP} & columns.keys()):
        raise ValueError(f"{taken!r} is a time column of feature tables; rename the column")
    return columns


class Request(Declaration):
    """Request-time data in the `inputs` of a group: `Request(amount=float, merchant=str)`.

    Each value has a Python type or the name of a DuckDB type. A spine has them as columns, and `get_features` takes them as
    `request={"amount": 12.0}`. Raises DeclarationError if a name or a type is invalid.
    """

    kind: ClassVar[str] = "request"

    columns: Annotated[dict[Name, DType], AfterValidator(_some_columns)]

    def __init__(self, **columns: type[Any] | str) -> None:
        super().__init__({"columns": columns})

    @property
    def address(self) -> str:
        """The names of its columns, joined by commas."""
        return ", ".join(self.columns)
