"""The page of the report: who uses whose features, what nobody uses and costs, what is built twice, old or neglected."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from featdsl.discovery.report import NeglectedDefinition, Report
from featdsl.site.files import SitePage
from featdsl.site.links import Links

_MOST = 100
"""The maximum number of rows of a table; the page tells how many there are in all."""


def files(report: Report, links: Links) -> Iterator[SitePage]:
    """Yield the page. It leaves out when the report was made, so that a build without a change writes nothing."""
    yield SitePage(
        path="report.html", template="report.html", title="Report", section="report", data=_data(report, links)
    )


def _data(report: Report, links: Links) -> dict[str, Any]:
    return {
        "features": report.features,
        "stale_after": report.stale_after,
        "counts": {
            "uses": len(report.uses),
            "shared": len(report.shared),
            "unused": len(report.unused),
            "duplicates": len(report.duplicates),
            "stale": len(report.stale),
            "ownerless": len(report.ownerless),
            "undocumented": len(report.undocumented),
        },
        "unused_bytes": sum(each.bytes for each in report.unused),
        "unused_seconds": sum(each.seconds for each in report.unused),
        "uses": [(links.to("team", each.team), links.to("team", each.owner), each.features) for each in report.uses[:_MOST]],
        "shared": [
            {"feature": links.mention(each.feature), "teams": links.all_to("team", each.teams[:_MOST]),
             "counts": (len(each.sets), len(each.models), len(each.derived))}
            for each in report.shared[:_MOST]
        ],
        "unused": [(links.mention(each.feature), each.bytes, each.seconds) for each in report.unused[:_MOST]],
        "duplicates": [[links.mention(name) for name in each.features[:20]] for each in report.duplicates[:_MOST]],
        "stale": [
            (links.to("group", each.group), links.to("team", each.owner), each.computed_at, each.features)
            for each in report.stale[:_MOST]
        ],
        "ownerless": _neglected(report.ownerless, links),
        "undocumented": _neglected(report.undocumented, links),
    }  # fmt: skip


def _neglected(found: Sequence[NeglectedDefinition], links: Links) -> list[tuple[str, Any, Any]]:
    return [(each.kind, links.to(each.kind, each.address), links.to("team", each.owner)) for each in found[:_MOST]]
