"""Regular expressions in the part of the syntax that DuckDB, Java and Rust read alike, after a few rewrites."""

from __future__ import annotations

import re

from featdsl.engines.spark.scopes import Translated
from featdsl.engines.spark.sql_text import literal

_SETS = {"d": "0-9", "w": "0-9A-Za-z_", "s": r"\t\n\f\r "}
"""Classes of characters, which are ASCII in DuckDB, whatever they are elsewhere."""
_REPEATED_GROUP = re.compile(r"\)[*+{]")
_MAY_BE_EMPTY = re.compile(r"[*?]|\{0|\|\)|\(\||\|\|")
"""What lets a part of a pattern match nothing: repeated in a group, it is matched otherwise by each implementation."""
_ATOM = re.compile(
    r"""
      (?P<set>\[\^?(?:[A-Za-z0-9_ .,:;/@#%!=<>'"{}()*+?|$]|\\[dws]|\\[-\]\[\\^./]|(?<=[A-Za-z0-9])-(?=[A-Za-z0-9])|-(?=\]))+\])
    | (?P<class>\\[dws])
    | (?P<escaped>\\[.\\*+?()\[\]{}|^$/-])
    | (?P<dot>\.)
    | (?P<end>\$$)
    | (?P<group>\((?:\?:|(?![?*+{]))|\)|\|(?![?*+{]))
    | (?P<count>(?:[*+?]|\{\d{1,2}(?:,\d{0,2})?\})\??(?![*+?{]))
    | (?P<start>^\^(?![?*+{]))
    | (?P<plain>[A-Za-z0-9_ ,:;/@\#%!=<>'"~&-])
    """,
    re.VERBOSE,
)


def rewritten(pattern: str) -> str | None:
    """Return a pattern that means on Spark what it means to DuckDB; None if that is not known."""
    pieces: list[str] = []
    at = 0
    if _REPEATED_GROUP.search(pattern) and _MAY_BE_EMPTY.search(pattern.replace("(?:", "(")):
        return None
    while at < len(pattern):
        found = _ATOM.match(pattern, at)
        if found is None:
            return None
        pieces.append(_piece(str(found.lastgroup), found[0]))
        at = found.end()
    try:
        re.compile("".join(pieces).replace("\\z", "$"))
    except re.error:
        return None
    return "".join(pieces)


def _piece(kind: str, text: str) -> str:
    match kind:
        case "set":
            return re.sub(r"\\([dws])", lambda found: _SETS[found[1]], text)
        case "class":
            return f"[{_SETS[text[1]]}]"
        case "dot":
            return r"[^\n]"
        case "end":
            return r"\z"
        case _:
            return text


def is_proved(_text: Translated, pattern: Translated) -> bool:
    """Return whether a pattern is one that is proved."""
    return rewritten(pattern.constant or "") is not None


def has_group(_text: Translated, pattern: Translated, group: Translated) -> bool:
    """Return whether a pattern is proved and has a group of a number."""
    read = rewritten(pattern.constant or "")
    groups = re.compile((read or "").replace("\\z", "$")).groups
    return read is not None and 0 <= int(group.constant or 0) <= groups


def replaces(_text: Translated, pattern: Translated, replacement: Translated) -> bool:
    """Return whether replacing the first match is proved: no empty match, and nothing in the replacement that refers to a group."""
    new = replacement.constant or ""
    starts = not new or not (new[0].isalnum() or new[0] == "_")
    return _replaces_any(pattern, replacement) and starts and not (pattern.constant or "").startswith("^")


def replaces_all(_text: Translated, pattern: Translated, replacement: Translated, options: Translated) -> bool:
    """Return whether replacing all matches is proved."""
    return options.constant == "g" and _replaces_any(pattern, replacement)


def _replaces_any(pattern: Translated, replacement: Translated) -> bool:
    read = rewritten(pattern.constant or "")
    new = replacement.constant or ""
    return read is not None and not re.search(read.replace("\\z", "$"), "") and "\\" not in new and "$" not in new


def matches(text: Translated, pattern: Translated) -> str:
    """Return whether a text contains a match."""
    return f"({text.sql} RLIKE {literal(rewritten(pattern.constant or '') or '')})"


def extract(text: Translated, pattern: Translated, group: Translated) -> str:
    """Return the first match, or a group of it; an empty text if there is none."""
    number = int(group.constant or 0)
    return f"regexp_extract({text.sql}, {literal(rewritten(pattern.constant or '') or '')}, {number})"


def replace_first(text: Translated, pattern: Translated, replacement: Translated) -> str:
    """Return a text with its first match replaced: the pattern takes in what stands before it, from the start."""
    first = f"^([\\s\\S]*?)(?:{rewritten(pattern.constant or '') or ''})"
    return f"regexp_replace({text.sql}, {literal(first)}, {literal('$1' + (replacement.constant or ''))})"


def replace_all(text: Translated, pattern: Translated, replacement: Translated, _options: Translated) -> str:
    """Return a text with all matches replaced."""
    return f"regexp_replace({text.sql}, {literal(rewritten(pattern.constant or '') or '')}, {replacement.sql})"
