"""What is known only at the call: an amount that is asked for, a merchant that is paid."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator

from featdsl.declaration import Declaration, DType, Name
from featdsl.names import AS_OF_TIMESTAMP, EVENT_TIMESTAMP, SOURCE_TIMESTAMP


def _some_columns(columns: dict[str, str]) -> dict[str, str]:
    if not columns:
        raise ValueError("it asks for nothing; name what the call brings, such as Request(amount=float)")
    if AS_OF_TIMESTAMP in columns:
        raise ValueError(f"{AS_OF_TIMESTAMP!r} is the time that values are asked for; give it another name")
    for taken in sorted({EVENT_TIMESTAMP, SOURCE_TIMESTAMP} & columns.keys()):
        raise ValueError(f"{taken!r} is a time column of feature tables; give it another name")
    return columns


class Request(Declaration):
    """Values that only the call knows, among the `inputs` of a group: `Request(amount=float, merchant=str)`.

    Each has a Python type or the text of a DuckDB one. A spine brings them as columns of these names, `get_features`
    as `request={"amount": 12.0}`. Raises DeclarationError when a name or a type is not one.
    """

    kind: ClassVar[str] = "request"

    columns: Annotated[dict[Name, DType], AfterValidator(_some_columns)]

    def __init__(self, **columns: type[Any] | str) -> None:
        super().__init__({"columns": columns})

    @property
    def address(self) -> str:
        """What it asks for."""
        return ", ".join(self.columns)
