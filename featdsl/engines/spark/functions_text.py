"""Functions of text. Characters are code points in both; letter case and white space follow DuckDB's tables of Unicode."""

from __future__ import annotations

import threading
from functools import cache

from featdsl.engines.spark import patterns
from featdsl.engines.spark.scopes import Translated
from featdsl.engines.spark.signatures import CONSTANT, Signature
from featdsl.engines.spark.sql_text import literal

SPACES = " \u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
"""What DuckDB's trim removes."""
_TEXT_LITERAL = f"VARCHAR {CONSTANT}"
_NUMBER_LITERAL = f"BIGINT {CONSTANT}"
_ASCII = "octet_length({0}) = length({0})"
_LOCK = threading.Lock()


@cache
def _letter_cases(name: str) -> tuple[str, str]:
    """Return the characters that DuckDB's `upper` or `lower` changes, and what it changes each to."""
    import duckdb

    query = (
        f"SELECT string_agg(chr(i), '' ORDER BY i), string_agg({name}(chr(i)), '' ORDER BY i)"
        f" FROM (SELECT i::INTEGER AS i FROM range(128, 131072) AS codes(i) WHERE i NOT BETWEEN 55296 AND 57343)"
        f" WHERE {name}(chr(i)) <> chr(i)"
    )
    with _LOCK, duckdb.connect() as session:
        row = session.execute(query).fetchone()
    assert row is not None  # noqa: S101 - an aggregate has one row
    return row[0], row[1]


def letter_case(name: str, text: str) -> str:
    """Return a text in `upper` or `lower` case: each character is changed alone, whatever stands beside it."""
    these, those = (literal(each) for each in _letter_cases(name))
    ascii_only = _ASCII.format(text)
    return f"CASE WHEN {ascii_only} THEN {name}({text}) ELSE {name}_ASCII END".replace(
        f"{name}_ASCII", f"translate({_ascii_case(name, text)}, {these}, {those})"
    )


def _ascii_case(name: str, text: str) -> str:
    lower, upper = "abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    these, those = (lower, upper) if name == "upper" else (upper, lower)
    return f"translate({text}, '{these}', '{those}')"


def _in_case(name: str) -> Signature:
    return Signature(name, ("VARCHAR",), "VARCHAR", lambda text: letter_case(name, text.sql))


def _substring(text: Translated, start: Translated, length: Translated) -> str:
    first, count = int(start.constant or 0), int(length.constant or 0)
    return f"substring({text.sql}, {max(first, 1)}, {max(count - (first < 1), 0)})"


def _from_the_start(_text: Translated, start: Translated, *_length: Translated) -> bool:
    return all(each.constant is not None and int(each.constant) >= 0 for each in (start, *_length))


def _at_least_one(_text: Translated, start: Translated) -> bool:
    return start.constant is not None and int(start.constant) >= 1


def _known_part(_text: Translated, separator: Translated, part: Translated) -> bool:
    return bool(separator.constant) and part.constant is not None and int(part.constant) >= 1


def _pads(_text: Translated, length: Translated, pad: Translated) -> bool:
    return bool(pad.constant) and length.constant is not None and int(length.constant) >= 0


def _trimmed(name: str, side: str) -> tuple[Signature, ...]:
    spaces = literal(SPACES)
    return (
        Signature(name, ("VARCHAR",), "VARCHAR", f"trim({side} {spaces} FROM {{0}})"),
        Signature(name, ("VARCHAR", _TEXT_LITERAL), "VARCHAR", f"trim({side} {{1}} FROM {{0}})", lambda _text, characters: bool(characters.constant)),
    )  # fmt: skip


def like(text: str, pattern: str) -> str:
    """Return whether a text matches a pattern in which a backslash is itself."""
    return f"({text} LIKE {literal(pattern.replace(chr(92), chr(92) * 2))})"


def _like(text: Translated, pattern: Translated) -> str:
    return like(text.sql, pattern.constant or "")


def _ilike(text: Translated, pattern: Translated) -> str:
    return like(letter_case("lower", text.sql), (pattern.constant or "").lower())


def _is_ascii(_text: Translated, pattern: Translated) -> bool:
    return (pattern.constant or "").isascii()


TEXT = (
    _in_case("upper"),
    _in_case("lower"),
    *_trimmed("trim", "BOTH"),
    *_trimmed("ltrim", "LEADING"),
    *_trimmed("rtrim", "TRAILING"),
    Signature("length", ("VARCHAR",), "BIGINT", "CAST(length({0}) AS BIGINT)"),
    Signature("strlen", ("VARCHAR",), "BIGINT", "CAST(octet_length({0}) AS BIGINT)"),
    Signature("substring", ("VARCHAR", _NUMBER_LITERAL, _NUMBER_LITERAL), "VARCHAR", _substring, _from_the_start),
    Signature("substring", ("VARCHAR", _NUMBER_LITERAL), "VARCHAR", "substring({0}, CAST({1} AS INT))", _at_least_one),
    *(Signature(name, ("VARCHAR", _NUMBER_LITERAL), "VARCHAR", f"{name}({{0}}, CAST({{1}} AS INT))", _from_the_start) for name in ("left", "right")),
    Signature("replace", ("VARCHAR", "VARCHAR", "VARCHAR"), "VARCHAR", "replace({0}, {1}, {2})"),
    Signature("||", ("VARCHAR", "VARCHAR"), "VARCHAR", "concat({0}, {1})"),
    Signature("starts_with", ("VARCHAR", "VARCHAR"), "BOOLEAN", "startswith({0}, {1})"),
    Signature("ends_with", ("VARCHAR", "VARCHAR"), "BOOLEAN", "endswith({0}, {1})"),
    Signature("contains", ("VARCHAR", "VARCHAR"), "BOOLEAN", "contains({0}, {1})"),
    Signature("like", ("VARCHAR", _TEXT_LITERAL), "BOOLEAN", _like),
    Signature("ilike", ("VARCHAR", _TEXT_LITERAL), "BOOLEAN", _ilike, _is_ascii),
    Signature("strpos", ("VARCHAR", "VARCHAR"), "BIGINT", "CAST(instr({0}, {1}) AS BIGINT)"),
    Signature("split_part", ("VARCHAR", _TEXT_LITERAL, _NUMBER_LITERAL), "VARCHAR", "split_part({0}, {1}, CAST({2} AS INT))", _known_part),
    *(Signature(name, ("VARCHAR", _NUMBER_LITERAL, _TEXT_LITERAL), "VARCHAR", f"{name}({{0}}, CAST({{1}} AS INT), {{2}})", _pads) for name in ("lpad", "rpad")),
    Signature("repeat", ("VARCHAR", _NUMBER_LITERAL), "VARCHAR", "repeat({0}, CAST({1} AS INT))", _from_the_start),
    Signature("md5", ("VARCHAR",), "VARCHAR", "md5({0})"),
    Signature("sha256", ("VARCHAR",), "VARCHAR", "sha2({0}, 256)"),
    Signature("regexp_matches", ("VARCHAR", _TEXT_LITERAL), "BOOLEAN", patterns.matches, patterns.is_proved),
    Signature("regexp_extract", ("VARCHAR", _TEXT_LITERAL, f"INTEGER {CONSTANT}"), "VARCHAR", patterns.extract, patterns.has_group),
    Signature("regexp_replace", ("VARCHAR", _TEXT_LITERAL, _TEXT_LITERAL), "VARCHAR", patterns.replace_first, patterns.replaces),
    Signature("regexp_replace", ("VARCHAR", _TEXT_LITERAL, _TEXT_LITERAL, _TEXT_LITERAL), "VARCHAR", patterns.replace_all, patterns.replaces_all),
)  # fmt: skip
