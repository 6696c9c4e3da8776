"""The names that things may have, and the nearest one to a name that is wrong."""

from __future__ import annotations

import re
from collections.abc import Iterable

EVENT_TIMESTAMP = "event_timestamp"
"""The time column of every feature table; no feature may take its name."""

SOURCE_TIMESTAMP = "source_timestamp"
"""The rows' own time in the tables of sources with `available_at=`, whose event timestamps tell when rows were known."""

VALID_TO = "valid_to"
"""The column of a stored table that tells when its rows end, of a source with `valid_to=`; NULL in those that do not."""

AS_OF_TIMESTAMP = "as_of_timestamp"
"""The time that values are asked for, in the SQL of derived features and around the aggregates of windows."""

UNTIL = "#until"
"""The column of a stored table that tells when the next row of its entity takes over; infinite in the last one."""

SOURCE_SCHEMA = "source"
"""The schema that SQL finds sources in: `source.accounts`."""

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_COLUMN = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
_NEAR = 60  # of 100: two letters wrong in a short name
_AS_NEAR = 8  # what is this much farther than the nearest was not meant
_WORD_START = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def is_name(text: str) -> bool:
    """Return whether `text` may name an entity, source, group, feature, set, model or team."""
    return _NAME.fullmatch(text) is not None


def is_column(text: str) -> bool:
    """Return whether `text` may name a key column."""
    return _COLUMN.fullmatch(text) is not None


def is_source_column(text: str) -> bool:
    """Return whether `text` may name a column of a source, which may have spaces, dots and whatever else files have in theirs."""
    return bool(text.strip()) and "\0" not in text


def snake_case(class_name: str) -> str:
    """Return the name in the store of a class: `UserProfile` is `user_profile`."""
    return _WORD_START.sub("_", class_name).lower()


def quote(identifier: str) -> str:
    """Return an SQL identifier that means exactly `identifier`."""
    return '"' + identifier.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Return an SQL string literal that means exactly `text`."""
    return "'" + text.replace("'", "''") + "'"


def escaped(path: str) -> str:
    """Return the glob that means exactly one path."""
    return re.sub(r"([*?\[])", r"[\1]", path)


def nearest(wrong: str, known: Iterable[str], *, limit: int = 3) -> list[str]:
    """Return up to `limit` of `known` that `wrong` may have meant, best first."""
    from rapidfuzz import fuzz

    def score(name: str) -> float:
        # The whole name alone would miss a right name under a wrong group; the bare name counts too.
        bare = fuzz.ratio(wrong.rpartition(".")[2].lower(), name.rpartition(".")[2].lower())
        return max(fuzz.ratio(wrong.lower(), name.lower()), 0.95 * bare)

    near = [(score(name), name) for name in set(known)]
    best = sorted(near, key=lambda pair: (-pair[0], pair[1]))[:limit]
    return [name for points, name in best if points >= max(_NEAR, best[0][0] - _AS_NEAR)]


def did_you_mean(wrong: str, known: Iterable[str]) -> str:
    """Return a sentence with the nearest names, or nothing when none is near."""
    names = nearest(wrong, known)
    return f"Did you mean {' or '.join(repr_name(name) for name in names)}?" if names else ""


def repr_name(name: str) -> str:
    """Return `name` as it is quoted in messages."""
    return f'"{name}"'
