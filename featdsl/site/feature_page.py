"""The page of a feature: meaning, owner, freshness, distribution, code, users, history and likenesses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from featdsl.definitions.dtypes import family
from featdsl.discovery.catalogue_entries import CatalogueDocument, FeatureEntry, RuleEntry
from featdsl.site.files import SitePage
from featdsl.site.links import Links
from featdsl.site.urls import page_path

_MOST = 100
"""The maximum number of rows of a list on a page; a page tells how many it leaves out."""


def files(document: CatalogueDocument, links: Links) -> Iterator[SitePage]:
    """Yield the page of each feature."""
    for entry in document.features:
        yield SitePage(
            path=page_path("feature", entry.address),
            template="feature.html",
            title=entry.address,
            section="feature",
            data=_data(entry, links),
        )


def _data(entry: FeatureEntry, links: Links) -> dict[str, Any]:
    return {
        "entry": entry,
        "owner": links.owner(entry.owner),
        "group": links.to("group", entry.group),
        "entity": links.to("entity", entry.entity) if entry.entity else None,
        "source": links.to("source", entry.source) if entry.source else None,
        "replacement": replacement(entry.deprecated.use, links) if entry.deprecated else None,
        "uses": [
            {"use": use, "set": links.to("set", use.feature_set), "owner": links.to("team", use.owner),
             "models": links.all_to("model", use.models)}
            for use in entry.used_in[:_MOST]
        ],
        "derived": [links.mention(each) for each in entry.derived[:_MOST]],
        "inputs": [links.mention(each) for each in entry.inputs[:_MOST]],
        "same": [links.mention(each) for each in entry.same[:10]],
        "similar": [links.mention(each) for each in entry.similar[:10]],
        "kept": [(each, [links.to_any(holder) for holder in each.held_by[:_MOST]]) for each in entry.kept[:_MOST]],
        "changes": entry.changes[:_MOST],
        "verdicts": verdicts(entry.rules),
        "beside": links.beside("feature", entry.address),
        "no_unit": "no unit declared" if family(entry.dtype) in {"integer", "decimal", "real"} else "",
    }  # fmt: skip


def replacement(address: str, links: Links) -> Any:
    """Return the link to what replaces a deprecated definition, None if nothing does."""
    return links.to_any(address) if address else None


def verdicts(rules: tuple[RuleEntry, ...]) -> dict[str, int]:
    """Return how many rules passed, warned, failed and were never checked at their last check, without zeros."""
    counts: dict[str, int] = {}
    for rule in rules:
        verdict = rule.last.verdict if rule.last else "not checked"
        counts[verdict] = counts.get(verdict, 0) + 1
    return counts
