"""The page of the drift: how far the values of features have moved since the run before."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from featdsl.discovery.drift import DriftReport
from featdsl.site.files import SitePage
from featdsl.site.links import Links

_MOST = 150
"""The maximum number of rows of the table; those that have drifted come first."""
_ORDER = {"drifted": 0, "steady": 1, "not compared": 2}


def files(drift: DriftReport, links: Links) -> Iterator[SitePage]:
    """Yield the page."""
    yield SitePage(path="drift.html", template="drift.html", title="Drift", section="drift", data=_data(drift, links))


def _data(drift: DriftReport, links: Links) -> dict[str, Any]:
    compared = [each for each in drift.features if each.verdict != "not compared"]
    ordered = sorted(compared, key=lambda each: (_ORDER[each.verdict], -(each.psi or 0.0), each.feature))
    return {
        "limits": drift.limits,
        "drifted": len(drift.drifted),
        "compared": len(compared),
        "not_compared": len(drift.features) - len(compared),
        "rows": [(each, links.to("feature", each.feature), links.to("team", each.owner)) for each in ordered[:_MOST]],
    }
