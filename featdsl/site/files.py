"""What a site consists of: pages that templates render, and scripts that carry data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from featdsl.definitions.escaping import shown


@dataclass(frozen=True, kw_only=True)
class SitePage:
    """A page: its path in the site, its template, and all that the template shows.

    `section` is the entry of the navigation that the page belongs to. The page is rendered again only if its data changes.
    """

    path: str
    template: str
    title: str
    section: str
    data: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class DataScript:
    """A script that sets the global variable `name` to a value of JSON types: pages that are opened from disk cannot fetch JSON."""

    path: str
    name: str
    value: Any

    @property
    def text(self) -> str:
        """The content of the file: ASCII alone, and nothing that ends a script element."""
        body = json.dumps(_finite(self.value), ensure_ascii=True, separators=(",", ":"), allow_nan=False)
        harmless = body.replace("<", "\\u003c")
        return f"window.{self.name}={harmless};\n"


def _finite(value: Any) -> Any:
    """Return the value with shown texts, and with text in place of numbers that JSON lacks."""
    match value:
        case str():
            return shown(value)
        case float() if value != value or value in {float("inf"), float("-inf")}:  # noqa: PLR0124 - NaN differs from itself
            return str(value)
        case dict():
            return {_finite(key): _finite(each) for key, each in value.items()}
        case list() | tuple():
            return [_finite(each) for each in value]
        case _:
            return value
