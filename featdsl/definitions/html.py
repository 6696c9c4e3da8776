"""Build small HTML for notebooks. Only `element` makes markup: every other text is escaped and has a bounded length.

The colours of text and lines follow the page, so that one output suits a light and a dark theme, also where a notebook's
theme differs from that of the system. Nothing is loaded from elsewhere, and no script runs.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

from featdsl.definitions.escaping import in_html

LONGEST = 4_000
"""The most characters of one text; the rest is cut."""
_VOID = frozenset({"br"})


class Html(str):
    """Markup that `element` made. Any other text is escaped where it is used."""

    __slots__ = ()


Content: TypeAlias = "str | Html | Iterable[Content]"
"""Text, markup, or several of them."""


def text(value: str, most: int = LONGEST) -> Html:
    """Return a text as markup that shows it literally, cut to `most` characters."""
    if isinstance(value, Html):
        return value
    return Html(in_html(value if len(value) <= most else f"{value[: most - 1]}…"))


def joined(content: Content) -> Html:
    """Return several contents one after the other."""
    return text(content) if isinstance(content, str) else Html("".join(map(joined, content)))


def element(tag: str, *content: Content, **attributes: str) -> Html:
    """Return an element: `element("td", value, class_="number")`. An attribute with an empty value is left out."""
    given = "".join(f' {name.strip("_")}="{text(value)}"' for name, value in attributes.items() if value)
    return Html(f"<{tag}{given}>" if tag in _VOID else f"<{tag}{given}>{joined(content)}</{tag}>")


def page(*content: Content, kind: str) -> Html:
    """Return contents as one output of a notebook, with their style; the colour of its bar is that of `kind`."""
    return element("div", element("style", Html(_STYLE)), *content, class_=f"featdsl featdsl-{kind}")


# The class is repeated so that its rules are stronger than those of Jupyter for tables in outputs.
_STYLE = """
.featdsl{--line:rgba(128,128,128,.35);--tint:rgba(128,128,128,.12);--bar:#888;box-sizing:border-box;max-width:68em;
margin:.2em 0;padding:.55em .9em .6em;border:1px solid var(--line);border-left:4px solid var(--bar);border-radius:6px;
color:inherit;font-size:13px;line-height:1.5;overflow-x:auto}
.featdsl-feature{--bar:#3b82f6}.featdsl-group{--bar:#0d9488}.featdsl-set{--bar:#8b5cf6}.featdsl-model{--bar:#db2777}
.featdsl-source{--bar:#d97706}.featdsl-entity{--bar:#16a34a}.featdsl-team{--bar:#64748b}
.featdsl.featdsl.featdsl p{margin:.3em 0;white-space:pre-line}
.featdsl.featdsl.featdsl header{display:flex;flex-wrap:wrap;align-items:baseline;gap:.15em .6em}
.featdsl.featdsl.featdsl code,.featdsl.featdsl.featdsl pre{margin:0;padding:0;border:0;background:none;color:inherit;
font:12px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;white-space:pre-wrap;overflow-wrap:break-word;
unicode-bidi:isolate}
.featdsl.featdsl.featdsl>pre{margin-top:.4em}
.featdsl.featdsl.featdsl header strong code{font-size:14px;font-weight:700}
.featdsl.featdsl.featdsl small{font-size:.9em;opacity:.8}
.featdsl.featdsl.featdsl .mark{padding:0 .5em;border-radius:99px;background:var(--tint);font-size:.9em;
white-space:nowrap}
.featdsl.featdsl.featdsl .good{background:rgba(22,163,74,.22)}
.featdsl.featdsl.featdsl .warn{background:rgba(217,119,6,.26)}
.featdsl.featdsl.featdsl .bad{background:rgba(220,38,38,.26)}
.featdsl.featdsl.featdsl table{width:auto;margin:.4em 0 0;border:0;border-collapse:collapse;table-layout:auto;font-size:1em}
.featdsl.featdsl.featdsl tr{border:0;background:none}
.featdsl.featdsl.featdsl th,.featdsl.featdsl.featdsl td{max-width:44em;padding:.12em 1.1em .12em 0;border:0;color:inherit;
text-align:left;vertical-align:top;white-space:normal;overflow-wrap:break-word}
.featdsl.featdsl.featdsl th{font-weight:400;opacity:.8;white-space:nowrap}
.featdsl.featdsl.featdsl .grid td,.featdsl.featdsl.featdsl .grid th{border-top:1px solid var(--line)}
.featdsl.featdsl.featdsl .grid thead th{border-top:0}
.featdsl.featdsl.featdsl .number{text-align:right}
.featdsl.featdsl.featdsl details{margin-top:.4em}
.featdsl.featdsl.featdsl summary{cursor:pointer}
"""
