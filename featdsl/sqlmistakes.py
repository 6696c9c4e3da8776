"""Say in plain words why a text is not SQL: what is missing, or what does not belong there."""

from __future__ import annotations

import re
from collections.abc import Mapping

_NEAR = 40
_WHOLE = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|--[^\n]*|/\*.*?\*/|\$(\w*)\$.*?\$\1\$""", re.DOTALL)
_OPENS = re.compile(r"""'|"|/\*|\$\w*\$""")
_MISSING = re.compile(r"Expect(?:ing|ed) (?P<token>.+?)(?: (?:after|but got) .+)?\.?", re.DOTALL)
_PLAIN = re.compile(r"\W|[A-Z]+")
_WORDS = {"type": "a type", "TYPE": "a type", "FROM or comma": "FROM or a comma", "table name": "the name of a table"}


def unended(text: str) -> str:
    """Return that a quoted text, a quoted name or a comment has no end, or nothing where each has one."""
    at = 0
    while at < len(text):
        whole = _WHOLE.match(text, at)
        if whole is None and (opened := _OPENS.match(text, at)):
            kind = {"'": "text", '"': "name", "/*": "comment"}.get(opened[0], "text")
            return f"the {kind} that begins with {_shown(text[at : at + _NEAR])} has no end"
        at = whole.end() if whole else at + 1
    return ""


def mistake(text: str, detail: Mapping[str, object] | None) -> str:
    """Return what is wrong with a text; `detail` is where a parser stopped: with `description` and texts around it."""
    found = unended(text)
    if found or detail is None:
        return found or f"{_shown(text[-_NEAR:])} is incomplete, or has something that does not belong there"
    before, token = str(detail.get("start_context") or ""), str(detail.get("highlight") or "")
    description = str(detail.get("description") or "")
    after = _shown(f"{before}{token}"[-_NEAR:])
    if missing := _MISSING.fullmatch(description):
        token = missing["token"]
        wanted = token if _PLAIN.fullmatch(token) and token not in _WORDS else _WORDS.get(token, "something")
        return f"{wanted} is missing after {after}"
    if description.startswith("Required keyword"):
        return f"an expression is missing after {after}"
    place = f" after {_shown(before[-_NEAR:])}" if before.strip() else " at its beginning"
    return f"{_shown(token)} does not belong{place}" if token else f"it breaks off{place}"


def _shown(text: str) -> str:
    """Return a part of a text in one line, quoted."""
    return repr(" ".join(text.split()))
