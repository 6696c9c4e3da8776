"""Validate the windows of features: the values of `Feature(window=..., closed=..., every=...)`."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from featdsl.declarations.declaration import length_of, listed
from featdsl.definitions.durations import length, suffix

Closed = Literal["left", "right", "both", "neither"]
"""Which ends of a window are included: `left` is [t - W, t), so that an event at t does not count itself."""

LIFETIME = "lifetime"
"""The window without a start."""


def canonical(text: str) -> str:
    """Return the canonical spelling of a window: `"1 week"` is `"7 days"`. Raises ValueError."""
    return LIFETIME if text.strip() == LIFETIME else str(length(text))


def ending(text: str) -> str:
    """Return the ending of a feature's name for this window: `7d`."""
    return LIFETIME if text.strip() == LIFETIME else suffix(text)


def _span(text: str) -> str:
    try:
        canonical(text)
    except ValueError as error:
        raise ValueError(f"{error}, or 'lifetime'") from None
    return text


def _length(text: str) -> str:
    length(text)
    return text


def _windows(value: object) -> object:
    if isinstance(value, str | timedelta):
        one = length_of(value)
        raise ValueError(f"{one!r} is one window; write a list, [{one!r}], or use window={one!r}")  # noqa: TRY004 - pydantic turns ValueError into a problem
    # Convert before sorting, so that the order of a set does not depend on how its durations are written.
    each = listed(value)
    return listed(set(map(length_of, each))) if isinstance(value, AbstractSet) else each


def _without_duplicates(value: tuple[str, ...] | None) -> tuple[str, ...] | None:
    if value is None:
        return None
    if not value:
        raise ValueError("windows= is empty; list the windows, such as ['7 days', '30 days']")
    first: dict[str, str] = {}
    for text in value:
        if first.setdefault(canonical(text), text) is not text:
            raise ValueError(f"{text!r} is listed twice")
    return value


Span = Annotated[str, BeforeValidator(length_of), AfterValidator(_span)]
"""The length of a window, or `"lifetime"`."""
Spans = Annotated[tuple[Span, ...] | None, BeforeValidator(_windows), AfterValidator(_without_duplicates)]
"""Several windows without duplicates."""
Shift = Annotated[str, BeforeValidator(length_of), AfterValidator(_length)]
"""A duration, from seconds to years."""
Rows = Annotated[int, Field(ge=1, strict=True)]
"""How many rows of a window count."""
