"""Which rows an aggregate looks at: the words of `Feature(window=..., closed=..., every=...)`."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from featdsl.declaration import length_of, listed
from featdsl.durations import length, suffix

Closed = Literal["left", "right", "both", "neither"]
"""Which ends belong to a window: `left` is [t - W, t), so that an event at t does not count itself."""

LIFETIME = "lifetime"
"""The window that has no beginning."""


def canonical(text: str) -> str:
    """Return a window so that two spellings of one are equal: `"1 week"` is `"7 days"`. Raises ValueError."""
    return LIFETIME if text.strip() == LIFETIME else str(length(text))


def ending(text: str) -> str:
    """Return how the name of a feature over this window ends: `7d`."""
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


def _given(value: object) -> object:
    if isinstance(value, str | timedelta):
        one = length_of(value)
        raise ValueError(f"{one!r} is one window; list it: [{one!r}], or give window={one!r}")  # noqa: TRY004 - pydantic turns ValueError into a problem
    # Lengths of time first, so that a set of them has one order in whichever way they are written.
    each = listed(value)
    return listed(set(map(length_of, each))) if isinstance(value, AbstractSet) else each


def _listed(value: tuple[str, ...] | None) -> tuple[str, ...] | None:
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
Spans = Annotated[tuple[Span, ...] | None, BeforeValidator(_given), AfterValidator(_listed)]
"""Several windows, each once."""
Shift = Annotated[str, BeforeValidator(length_of), AfterValidator(_length)]
"""A length of time: seconds to years."""
Rows = Annotated[int, Field(ge=1, strict=True)]
"""How many rows count."""
