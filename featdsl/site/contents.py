"""All files of a site that come from the catalogue."""

from __future__ import annotations

from collections.abc import Iterator

from featdsl.discovery.catalogue_entries import CatalogueDocument
from featdsl.site import definition_pages, feature_page, home, lineage, search_index
from featdsl.site.files import DataScript, SitePage
from featdsl.site.links import Links

_PARTS = (home, feature_page, definition_pages, lineage, search_index)
"""Each has a function `files`."""


def site_files(document: CatalogueDocument) -> Iterator[SitePage | DataScript]:
    """Yield each page and each script of data."""
    links = Links(document)
    for part in _PARTS:
        yield from part.files(document, links)
