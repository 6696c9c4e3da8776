"""Text that others wrote, made to show as text: it draws, links, mentions and hides nothing where it is shown."""

from __future__ import annotations

import re
import unicodedata

_KEPT = frozenset("\n\t\u200c\u200d")
"""Joiners are part of words in some scripts, and of emojis."""
_OURS = re.compile("\x1b\\[(?:0|1|31|32|33|36)m")
"""The colours that we write ourselves: bold, red, green, yellow, cyan and the end of them."""
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
"""What Markdown, GitHub and GitLab make something of, and what shows the same and is nothing to them."""


def shown(text: str) -> str:
    """Return a text in which characters that move, hide or turn round others stand as their codes, such as `\\u202e`."""
    if _PLAIN.fullmatch(text):
        return text
    found, start = [], 0
    for ours in _OURS.finditer(text):
        found += [_coded(text[start : ours.start()]), ours.group()]
        start = ours.end()
    return "".join([*found, _coded(text[start:])])


def in_json(text: str) -> str:
    """Return JSON in which such characters stand as its own escapes: whoever reads it gets the same values."""
    if _PLAIN.fullmatch(text):
        return text
    return "".join(_as_json(each) if _acts(each) else each for each in text)


def in_markdown(text: str) -> str:
    """Return a text as Markdown that shows it, in a cell of a table too: no link, no image, no mention, no HTML."""
    for pattern, instead in _MARKS:
        text = pattern.sub(instead, text)
    return text


def _coded(text: str) -> str:
    return "".join(_as_python(each) if _acts(each) else each for each in text)


def _acts(character: str) -> bool:
    """Return whether a character is a control, a format, a line separator, or half of one."""
    return character not in _KEPT and unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"}


def _as_python(character: str) -> str:
    return character.encode("unicode_escape").decode()


def _as_json(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))
