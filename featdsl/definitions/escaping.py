"""Escape user text for terminals, JSON, Markdown and HTML, so that it cannot hide text, link or mention people."""

from __future__ import annotations

import re
import unicodedata
from html import escape

_KEPT = frozenset("\n\t\u200c\u200d")
"""Characters to keep. Joiners are part of words in some scripts, and of emojis."""
_OURS = re.compile("\x1b\\[(?:0|1|31|32|33|36)m")
"""The colour codes that featdsl writes itself: reset, bold, red, green, yellow and cyan."""
_PLAIN = re.compile(r"[\x20-\x7e\n\t]*")
_MARKS = (
    (re.compile(r"\\"), r"\\\\"),
    (re.compile(r"\|"), r"\|"),
    (re.compile(r"&(?=#?\w+;)"), "&amp;"),
    (re.compile("<"), "&lt;"),
    (re.compile(r"\](?=[(\[:])"), r"\]"),
    (re.compile(r"(?<!\w)@(?=\w)"), "@<!-- -->"),
    (re.compile(r"#(?=\d)"), "#<!-- -->"),
    (re.compile(r"\b(GH)-(?=\d)", re.IGNORECASE), r"\1-<!-- -->"),
    (re.compile(r":(?=//)"), ":<!-- -->"),
    (re.compile(r"\b(www)\.", re.IGNORECASE), r"\1<!-- -->."),
    (re.compile(r"@(?=[\w-]+\.\w)"), "@<!-- -->"),
)
"""Markup of Markdown, GitHub and GitLab, and replacements that look the same but have no effect."""


def shown(text: str) -> str:
    """Return text with control and format characters replaced by their codes, such as `\\u202e`."""
    if _PLAIN.fullmatch(text):
        return text
    parts, start = [], 0
    for ours in _OURS.finditer(text):
        parts += [_coded(text[start : ours.start()]), ours.group()]
        start = ours.end()
    return "".join([*parts, _coded(text[start:])])


def in_json(text: str) -> str:
    """Return JSON with control and format characters as JSON escapes, which parse to the same values."""
    if _PLAIN.fullmatch(text):
        return text
    return "".join(_as_json(each) if _acts(each) else each for each in text)


def in_markdown(text: str) -> str:
    """Return Markdown that shows the text literally, also in a table cell: no links, images, mentions or HTML."""
    for pattern, replacement in _MARKS:
        text = pattern.sub(replacement, text)
    return text


def in_html(text: str) -> str:
    """Return HTML that shows the text literally, also in a quoted attribute; control and format characters by their codes."""
    return escape(_coded(text))


def _coded(text: str) -> str:
    return "".join(_as_python(each) if _acts(each) else each for each in text)


def _acts(character: str) -> bool:
    """Return whether a character is a control or format character, a line separator or a surrogate."""
    return character not in _KEPT and unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"}


def _as_python(character: str) -> str:
    return character.encode("unicode_escape").decode()


def _as_json(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))
