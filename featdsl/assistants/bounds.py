"""Keep the answers to assistants small: a long answer costs its reader more than it tells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

MOST_ITEMS, MOST_LETTERS = 50, 2_000
"""The most items of a list and letters of a text."""
MOST_IN_ALL = 30_000
"""The most letters of an answer, about."""


def bounded(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Return an answer in JSON's types with long texts and lists cut; `cut` says that something was left out."""
    cutting = _Cutting()
    plain: dict[str, Any] = {str(name): cutting.plain(value) for name, value in answer.items()}
    return {**plain, "cut": "Some parts are left out; ask for less at a time."} if cutting.has_cut else plain


def cut(text: str, most: int = MOST_IN_ALL) -> str:
    """Return a text of at most `most` letters and the note that it was cut."""
    return text if len(text) <= most else f"{text[:most]}\n… {len(text) - most:,} more characters"


class _Cutting:
    """Cuts the parts of one answer."""

    def __init__(self) -> None:
        self.has_cut = False
        self._left = MOST_IN_ALL

    def plain(self, value: object) -> object:
        """Return a value in JSON's types, cut; a value of another type becomes text."""
        if is_dataclass(value) and not isinstance(value, type):
            value = {each.name: getattr(value, each.name) for each in fields(value)}
        match value:
            case None | bool() | int():
                return value
            case float():
                return value if value - value == 0 else str(value)  # JSON has no NaN and no infinity
            case Mapping():
                return {str(key): self.plain(each) for key, each in self._some(list(value.items()))}
            case list() | tuple() | set() | frozenset():
                return [self.plain(each) for each in self._some(list(value))]
            case _:
                return self._text(str(value))

    def _text(self, text: str) -> str:
        most = max(0, min(MOST_LETTERS, self._left))
        self._left -= min(len(text), most)
        if len(text) <= most:
            return text
        self.has_cut = True
        return f"{text[:most]}…"

    def _some(self, items: list[Any]) -> list[Any]:
        most = MOST_ITEMS if self._left > 0 else 0
        self.has_cut |= len(items) > most
        self._left -= 20 * len(items[:most])  # their names, quotes and commas
        return items[:most]
