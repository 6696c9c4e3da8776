"""Convert definitions to JSON and back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Annotated, Union

from featdsl.definitions.kinds import Definition

if TYPE_CHECKING:
    from pydantic import TypeAdapter


@cache
def _adapter() -> TypeAdapter[Definition]:
    from pydantic import Field, TypeAdapter

    return TypeAdapter(Annotated[Union[Definition], Field(discriminator="kind")])  # noqa: UP007 - pydantic reads it


@cache
def _adapter_of_many() -> TypeAdapter[list[Definition]]:
    from pydantic import Field, TypeAdapter

    return TypeAdapter(list[Annotated[Union[Definition], Field(discriminator="kind")]])  # noqa: UP007 - pydantic reads it


def to_json(definition: Definition) -> str:
    """Return a definition as JSON."""
    return _adapter().dump_json(definition).decode()


def from_json(text: str | bytes) -> Definition:
    """Return the definition from the output of `to_json`. Raises pydantic.ValidationError if the text is invalid."""
    return _adapter().validate_json(text)


def all_from_json(texts: Iterable[str]) -> Sequence[Definition]:
    """Return definitions from outputs of `to_json`. Raises pydantic.ValidationError if a text is invalid."""
    return _adapter_of_many().validate_json(f"[{','.join(texts)}]")
