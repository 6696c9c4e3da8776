"""Prepare pages for the site: links to files outside of docs/ lead to the repository, and `api` blocks show docstrings."""

from __future__ import annotations

import os
import re
from pathlib import Path

import api_reference
from sphinx.application import Sphinx

DOCS = Path(__file__).parent
_LINK = re.compile(r"(?<=\]\()(?!https?://|#)([^)#\s]+)(#[^)\s]*)?(?=\))")
_API = re.compile(r"^```api\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def setup(app: Sphinx) -> dict[str, object]:
    """Register with Sphinx."""
    app.connect("source-read", _prepare)
    app.add_config_value("REPOSITORY", "", "env")
    return {"version": "1", "parallel_read_safe": True}


def _prepare(app: Sphinx, page: str, source: list[str]) -> None:
    """Replace the text of a page in place, as Sphinx asks."""
    folder = (DOCS / page).parent
    text = _LINK.sub(lambda link: _target(link, folder, app.config.REPOSITORY), source[0])
    source[0] = _API.sub(lambda block: api_reference.entries(block[1].splitlines()), text)


def _target(link: re.Match[str], folder: Path, repository: str) -> str:
    """Return a link's target: unchanged within docs/, unless a folder or a script; else the address in the repository."""
    path = Path(os.path.normpath(folder / link[1]))
    if not path.exists():
        return link[0]  # Sphinx reports it
    if path.is_relative_to(DOCS) and path.is_file() and path.suffix != ".py":
        return link[0]
    return f"{repository}/{path.relative_to(DOCS.parent).as_posix()}{link[2] or ''}"
