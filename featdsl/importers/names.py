"""Turn names and texts of other tools into valid names and literal SQL of declarations."""

from __future__ import annotations

import keyword
import re
from collections.abc import Collection
from functools import cache

from featdsl.definitions.names import (
    AS_OF_TIMESTAMP,
    EVENT_NUMBER,
    EVENT_TIMESTAMP,
    SOURCE_TIMESTAMP,
    VALID_TO,
    is_name,
    quote,
    snake_case,
)

_LONGEST = 63
_OPENING = re.compile(r"\{(?=[{%#])")
RESERVED = frozenset({"declaration", AS_OF_TIMESTAMP, EVENT_TIMESTAMP, SOURCE_TIMESTAMP, VALID_TO, EVENT_NUMBER})
"""Names that a feature may not have, because a group or its table has them."""


def valid_name(text: str, *, taken: Collection[str] = (), prefix: str = "f") -> str:
    """Return a valid, free name near `text`: `Order-ID` is `order_id`. `prefix` stands before a digit or an empty name."""
    plain = re.sub(r"[^a-z0-9]+", "_", snake_case(text)).strip("_")
    if not plain or not plain[0].isalpha():
        plain = f"{prefix}_{plain}".strip("_")
    plain = plain[:_LONGEST].rstrip("_")
    if plain not in taken and is_name(plain):
        return plain
    return next(each for number in range(2, len(taken) + 3) if (each := _numbered(plain, number)) not in taken)


def valid_module(text: str, *, taken: Collection[str] = ()) -> str:
    """Return a valid, free name of a module or a folder near `text`: never a keyword."""
    name = valid_name(text, taken=taken, prefix="m")
    return valid_name(f"{name}_features", taken=taken) if keyword.iskeyword(name) else name


def class_name(group: str) -> str:
    """Return the class name of a group: `user_profile` is `UserProfile`."""
    return "".join(part.capitalize() for part in group.split("_"))


def literal_sql(text: str) -> str:
    """Return SQL that renders to `text`: what Jinja would read as a template is written as a text in Jinja."""
    return _OPENING.sub("{{ '{' }}", text)


def _numbered(name: str, number: int) -> str:
    ending = f"_{number}"
    return f"{name[: _LONGEST - len(ending)]}{ending}"


def sql_name(name: str) -> str:
    """Return a column as SQL spells it: in quotes only if it needs them."""
    plain = re.fullmatch(r"[a-z_][a-z0-9_]*", name) and name not in _reserved_words()
    return name if plain else quote(name)


@cache
def _reserved_words() -> frozenset[str]:
    import duckdb

    query = "SELECT keyword_name FROM duckdb_keywords() WHERE keyword_category <> 'unreserved'"
    return frozenset(name for (name,) in duckdb.connect().execute(query).fetchall())
