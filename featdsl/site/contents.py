"""All files of a site that come from the catalogue."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from featdsl.discovery.catalogue_entries import CatalogueDocument
from featdsl.discovery.drift import DriftReport
from featdsl.discovery.report import Report
from featdsl.site import definition_pages, drift_page, feature_page, home, lineage, report_page, search_index
from featdsl.site.files import DataScript, SitePage
from featdsl.site.links import Links

_PARTS = (home, feature_page, definition_pages, lineage, search_index)
"""Each has a function `files`."""


@dataclass(frozen=True, kw_only=True)
class SiteReports:
    """What a site has besides its catalogue: the report on use, and the drift since the run before; None leaves a page out."""

    report: Report | None = None
    drift: DriftReport | None = None

    @property
    def sections(self) -> tuple[str, ...]:
        """The sections that the reports add to the navigation."""
        return ("report",) * (self.report is not None) + ("drift",) * (self.drift is not None)


def site_files(document: CatalogueDocument, reports: SiteReports) -> Iterator[SitePage | DataScript]:
    """Yield each page and each script of data."""
    links = Links(document)
    for part in _PARTS:
        yield from part.files(document, links)
    if reports.report is not None:
        yield from report_page.files(reports.report, links)
    if reports.drift is not None:
        yield from drift_page.files(reports.drift, links)
