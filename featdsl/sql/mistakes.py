"""Explain syntax errors in SQL: what is missing, or what does not belong there."""

from __future__ import annotations

import re
from collections.abc import Mapping

_NEAR = 40
_COMPLETE = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|--[^\n]*|/\*.*?\*/|\$(\w*)\$.*?\$\1\$""", re.DOTALL)
_OPENS = re.compile(r"""'|"|/\*|\$\w*\$""")
_MISSING = re.compile(r"Expect(?:ing|ed) (?P<token>.+?)(?: (?:after|but got) .+)?\.?", re.DOTALL)
_PLAIN = re.compile(r"\W|[A-Z]+")
_WORDS = {"type": "a type", "TYPE": "a type", "FROM or comma": "FROM or a comma", "table name": "a table name"}


def unended(text: str) -> str:
    """Return a message about a string, a quoted name or a comment without an end; `""` if all are complete."""
    at = 0
    while at < len(text):
        complete = _COMPLETE.match(text, at)
        if complete is None and (opened := _OPENS.match(text, at)):
            kind = {"'": "string", '"': "name", "/*": "comment"}.get(opened[0], "string")
            return f"the {kind} that starts with {_shown(text[at : at + _NEAR])} has no end"
        at = complete.end() if complete else at + 1
    return ""


def mistake(text: str, detail: Mapping[str, object] | None) -> str:
    """Return what is wrong with a text; `detail` is the parser's error, with a `description` and the text around it."""
    unfinished = unended(text)
    if unfinished or detail is None:
        return unfinished or f"{_shown(text[-_NEAR:])} is incomplete, or something in it does not belong there"
    before, token = str(detail.get("start_context") or ""), str(detail.get("highlight") or "")
    description = str(detail.get("description") or "")
    after = _shown(f"{before}{token}"[-_NEAR:])
    if missing := _MISSING.fullmatch(description):
        token = missing["token"]
        expected = token if _PLAIN.fullmatch(token) and token not in _WORDS else _WORDS.get(token, "something")
        return f"{expected} is missing after {after}"
    if description.startswith("Required keyword"):
        return f"an expression is missing after {after}"
    place = f" after {_shown(before[-_NEAR:])}" if before.strip() else " at the beginning"
    return f"{_shown(token)} does not belong{place}" if token else f"it ends unexpectedly{place}"


def _shown(text: str) -> str:
    """Return text as a quoted line."""
    return repr(" ".join(text.split()))
