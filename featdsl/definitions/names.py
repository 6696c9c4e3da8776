"""Valid names and reserved columns, SQL quoting, and suggestions for misspelled names."""

from __future__ import annotations

import re
from collections.abc import Iterable

EVENT_TIMESTAMP = "event_timestamp"
"""The time column of every feature table; reserved."""

SOURCE_TIMESTAMP = "source_timestamp"
"""The source's timestamp column, in tables whose event timestamp is the time when rows became known (`available_at=`)."""

VALID_TO = "valid_to"
"""The column with the end of each row, in tables of sources with `valid_to=`; NULL if a row does not end."""

AS_OF_TIMESTAMP = "as_of_timestamp"
"""The time of the read, in the SQL of derived features and around window aggregates."""

UNTIL = "#until"
"""The column of a stored table with the time of the entity's next row; infinite in the last row."""

EVENT_NUMBER = "event_number"
"""The column of pushed events with their order of arrival."""

SOURCE_SCHEMA = "source"
"""The schema of sources in SQL: `source.accounts`."""

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_COLUMN = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
_NEAR = 60  # of 100: two letters wrong in a short name
_MARGIN = 8  # names that score this much less than the best are not suggested
_WORD_START = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def is_name(text: str) -> bool:
    """Return whether `text` is a valid name of an entity, source, group, feature, set, model or team."""
    return _NAME.fullmatch(text) is not None


def is_column(text: str) -> bool:
    """Return whether `text` is a valid name of a key column."""
    return _COLUMN.fullmatch(text) is not None


def is_source_column(text: str) -> bool:
    """Return whether `text` is a valid name of a source column: any non-blank text without NUL characters."""
    return bool(text.strip()) and "\0" not in text


def snake_case(class_name: str) -> str:
    """Return a class name in snake case: `UserProfile` is `user_profile`."""
    return _WORD_START.sub("_", class_name).lower()


def quote(identifier: str) -> str:
    """Return `identifier` as a quoted SQL identifier."""
    return '"' + identifier.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Return `text` as an SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


def escaped(path: str) -> str:
    """Return a glob that matches exactly this path."""
    return re.sub(r"([*?\[])", r"[\1]", path)


def nearest(wrong: str, known: Iterable[str], *, limit: int = 3) -> list[str]:
    """Return up to `limit` names of `known` that are similar to `wrong`, best first."""
    from rapidfuzz import fuzz

    def score(name: str) -> float:
        # Compare bare names too, to find the right feature under a wrong group.
        bare = fuzz.ratio(wrong.rpartition(".")[2].lower(), name.rpartition(".")[2].lower())
        return max(fuzz.ratio(wrong.lower(), name.lower()), 0.95 * bare)

    near = [(score(name), name) for name in set(known)]
    best = sorted(near, key=lambda pair: (-pair[0], pair[1]))[:limit]
    return [name for points, name in best if points >= max(_NEAR, best[0][0] - _MARGIN)]


def did_you_mean(wrong: str, known: Iterable[str]) -> str:
    """Return a sentence with the most similar names, or `""` if none is similar."""
    names = nearest(wrong, known)
    return f"Did you mean {' or '.join(repr_name(name) for name in names)}?" if names else ""


def repr_name(name: str) -> str:
    """Return `name` quoted for a message."""
    return f'"{name}"'
