"""Mark up SQL and Python for reading: keywords, texts, numbers and comments."""

from __future__ import annotations

import re

from markupsafe import Markup, escape

from featdsl.definitions.escaping import shown

_SQL = """
    select from where and or not in is null as on join left right full inner outer cross group by having order asc desc limit
    offset union all distinct case when then else end between like ilike over partition rows range preceding following current
    row interval cast with using exists true false filter qualify exclude replace asof array struct map values semi anti
"""
_PYTHON = """
    from import def class return if elif else for while in is not and or none true false with as lambda pass raise try except
    finally yield assert print
"""
_TEXT = r"(?P<c>COMMENT)|(?P<s>STRING)|(?P<n>\b\d[\d_]*(?:\.\d+)?(?:[eE][+-]?\d+)?\b)|(?P<f>\b[A-Za-z_]\w*(?=\())|(?P<w>\b[A-Za-z_]\w*)"
# What is not closed goes on to the end, so that each character is read once.
_STRING_SQL = r"'(?:[^']|'')*(?:'|\Z)|\"(?:[^\"]|\"\")*(?:\"|\Z)"
_STRING_PYTHON = r'"""[\s\S]*?(?:"""|\Z)|\'[^\'\n]*\'|"[^"\n]*"'


class _Language:
    def __init__(self, keywords: str, comment: str, string: str) -> None:
        self.keywords = frozenset(keywords.split())
        self.pattern = re.compile(_TEXT.replace("COMMENT", comment).replace("STRING", string))

    def kind(self, token: re.Match[str]) -> str:
        """Return the class of a token; a plain word has none."""
        name = token.lastgroup or ""
        if name in "fw" and token.group().lower() in self.keywords:
            return "k"
        return "" if name == "w" else name


_LANGUAGES = {
    "sql": _Language(_SQL, r"--[^\n]*|/\*[\s\S]*?(?:\*/|\Z)", _STRING_SQL),
    "python": _Language(_PYTHON, r"\#[^\n]*", _STRING_PYTHON),
}
_LONGEST = 20_000


def highlighted(code: str, language: str) -> Markup:
    """Return code with its tokens in `<span class="k">` (keyword), `s` (text), `n` (number), `c` (comment), `f` (function).

    Code of more than 20,000 characters is cut.
    """
    rules = _LANGUAGES[language]
    text = shown(code if len(code) <= _LONGEST else code[:_LONGEST])
    parts, start = [], 0
    for token in rules.pattern.finditer(text):
        kind = rules.kind(token)
        if kind:
            parts += [
                escape(text[start : token.start()]),
                Markup('<span class="{}">{}</span>').format(kind, token.group()),
            ]
            start = token.end()
    cut = f"\n… {len(code):,} characters in all" if len(code) > _LONGEST else ""
    return Markup("").join([*parts, escape(text[start:] + cut)])
