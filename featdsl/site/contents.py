"""All files of a site that come from the catalogue."""

from __future__ import annotations

from collections.abc import Iterator

from featdsl.discovery.catalogue_entries import CatalogueDocument
from featdsl.discovery.report import Report
from featdsl.site import definition_pages, feature_page, home, lineage, report_page, search_index
from featdsl.site.files import DataScript, SitePage
from featdsl.site.links import Links

_PARTS = (home, feature_page, definition_pages, lineage, search_index)
"""Each has a function `files`."""


def site_files(document: CatalogueDocument, report: Report | None) -> Iterator[SitePage | DataScript]:
    """Yield each page and each script of data; without a report, no page of it."""
    links = Links(document)
    for part in _PARTS:
        yield from part.files(document, links)
    if report is not None:
        yield from report_page.files(report, links)
