"""Render pages with Jinja: all text is escaped, and characters that act are shown as their codes."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict
from functools import lru_cache
from importlib import resources
from importlib.metadata import version
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from featdsl.definitions.escaping import shown
from featdsl.site import axis_values, charts, figures, highlight, histogram, lineage, trends
from featdsl.site.files import SitePage

CONTENT_POLICY = (
    "default-src 'none'; script-src 'self' file:; style-src 'self' file:; img-src 'self' file: data:; "
    "base-uri 'none'; form-action 'none'"
)
"""What a page may load: its own files alone. `file:` is what 'self' means for a page opened from disk."""
_LONGEST = 20_000
"""The longest text on a page, in characters."""


class Renderer:
    """Renders the pages of a site. `base` is a digest of all that every page depends on besides its data."""

    def __init__(self, assets: dict[str, bytes]) -> None:
        self._assets = {path: hashlib.sha256(content).hexdigest()[:10] for path, content in assets.items()}
        self.base = hashlib.sha256(f"{version('featdsl')}{self._assets}{_code_digest()}".encode()).hexdigest()
        self._environment = _environment()

    def source_digest(self, page: SitePage) -> str:
        """Return a digest of what the page shows; a page with the same digest need not be rendered again."""
        data = json.dumps([page.template, page.title, page.section, page.data], default=_fields, ensure_ascii=True)
        return hashlib.sha256(f"{self.base}{data}".encode()).hexdigest()

    def render(self, page: SitePage) -> bytes:
        """Return the page as HTML."""
        root = "../" * page.path.count("/")
        template = self._environment.get_template(page.template)
        html = template.render(
            page=page, root=root, asset=lambda path: self._asset(root, path), url=lambda path: root + path, **page.data
        )
        return html.encode("utf-8", "backslashreplace")

    def _asset(self, root: str, path: str) -> str:
        """Return the URL of an asset; the digest in it makes browsers fetch a changed one."""
        return f"{root}{path}?v={self._assets[path]}"


def _fields(value: Any) -> Any:
    """Return the fields of a dataclass, for JSON; other values as text."""
    fields = getattr(value, "__dict__", None)
    return fields if fields is not None else asdict(value) if hasattr(value, "__dataclass_fields__") else str(value)


@lru_cache(maxsize=1)
def _code_digest() -> str:
    """Return a digest of the templates and of the modules that pages are made by."""
    digest = hashlib.sha256()
    package = resources.files("featdsl.site")
    for folder in (package, package / "templates"):
        for file in sorted(folder.iterdir(), key=lambda each: each.name):
            if file.name.endswith((".py", ".html")):
                digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest()


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("featdsl.site"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_written,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters |= {
        "number": figures.number,
        "share": figures.share,
        "size": figures.size,
        "day": figures.day,
        "instant": figures.instant,
        "highlighted": highlight.highlighted,
        "contact": _contact,
        "in_hash": _in_hash,
    }
    environment.globals |= {
        "content_policy": CONTENT_POLICY,
        "histogram": histogram.histogram,
        "histogram_note": histogram.note,
        "shown_value": axis_values.shown_value,
        "shares": charts.shares,
        "completeness": charts.completeness,
        "trends": trends.trends,
        "lineage_data": lineage.DATA,
        "lineage_drawing": lineage.DRAWING,
    }
    return environment


_MAIL = re.compile(r"[\w.+-]+@[\w-]+(\.[\w-]+)+", re.ASCII)
_WEB = re.compile(r"https?://[\w.-]+(:\d+)?(/[\w./~%+=&?#@-]*)?", re.ASCII)


def _contact(text: str) -> Markup:
    """Return contacts, separated by commas, with links where one is a mail or a web address."""
    return Markup(", ").join(_one_contact(shown(each.strip())) for each in text.split(","))


def _one_contact(text: str) -> Markup | str:
    if _MAIL.fullmatch(text):
        return Markup('<a href="mailto:{0}">{0}</a>').format(text)
    return Markup('<a href="{0}" rel="noreferrer">{0}</a>').format(text) if _WEB.fullmatch(text) else text


def _in_hash(text: str) -> str:
    """Return a value as it stands in the address of a search: as the search's index has it."""
    return quote(shown(text), safe="")


def _written(value: object) -> object:
    """Return a value as the text to escape: control and bidi characters as codes, and not too long."""
    if isinstance(value, Markup):
        return value
    text = str(value)
    if len(text) > _LONGEST:
        text = f"{text[:_LONGEST]}… ({len(text):,} characters in all)"
    return shown(text)
