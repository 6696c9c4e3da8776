"""The home page: what is new, most used, stale and deprecated, and who owns what; and the page of the search."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from featdsl.discovery.catalogue_entries import CatalogueDocument, FeatureEntry, HistoryItem
from featdsl.site.files import SitePage
from featdsl.site.links import Links

_MOST = 8
_MOST_TEAMS = 100
_MOST_APPLIES = 6
_MOST_CHANGED = 12


def files(document: CatalogueDocument, links: Links) -> Iterator[SitePage]:
    """Yield the home page and the search page."""
    yield SitePage(
        path="index.html", template="home.html", title="Overview", section="home", data=_data(document, links)
    )
    yield SitePage(path="search.html", template="search.html", title="Search", section="feature", data={})


def _data(document: CatalogueDocument, links: Links) -> dict[str, Any]:
    features = document.features
    newest = sorted(
        (each for each in features if each.first_applied), key=lambda each: each.first_applied or "", reverse=True
    )
    used = sorted((each for each in features if uses(each)), key=lambda each: (-uses(each), each.address))
    stale = [each for each in features if each.freshness.status in {"stale", "lost"}]
    deprecated = [each for each in features if each.deprecated]
    return {
        "project": document.project,
        "environment": document.environment,
        "serial": document.serial,
        "state_at": document.state_at,
        "counts": _counts(document),
        "new": [(links.mention(each.address), each.first_applied) for each in newest[:_MOST]],
        "used": [(links.mention(each.address), uses(each)) for each in used[:_MOST]],
        "stale": [(links.mention(each.address), each.freshness) for each in stale[:_MOST]],
        "stale_in_all": len(stale),
        "deprecated": [(links.mention(each.address), each.deprecated) for each in deprecated[:_MOST]],
        "deprecated_in_all": len(deprecated),
        "teams": [
            (links.owner(team.name), len(team.features), len(team.sets), len(team.models), len(team.uses))
            for team in document.teams[:_MOST_TEAMS]
        ],
        "teams_in_all": len(document.teams),
        "applies": _applies(document, links),
    }  # fmt: skip


_DONE = {"create": "created", "change": "changed", "recompute": "recomputed", "remove": "removed"}


def _applies(document: CatalogueDocument, links: Links) -> list[dict[str, Any]]:
    """Return the last applies: one of their changes for who and when, how many of each action, and links to the first."""
    by_serial: dict[int, list[HistoryItem]] = {}
    for each in document.history:
        by_serial.setdefault(each.serial, []).append(each)
    return [
        {
            "first": changes[0],
            "actions": Counter(_DONE.get(each.action, each.action) for each in changes).most_common(),
            "links": [
                links.to_any(address)
                for address in list(dict.fromkeys(each.address for each in changes))[:_MOST_CHANGED]
            ],
            "in_all": len({each.address for each in changes}),
        }
        for changes in list(by_serial.values())[:_MOST_APPLIES]
    ]


def _counts(document: CatalogueDocument) -> list[tuple[str, str, int]]:
    """Return each kind with its name and the number of its definitions."""
    counts = (
        ("feature", "feature", "features", document.features),
        ("group", "group", "groups", document.groups),
        ("set", "set version", "set versions", document.sets),
        ("model", "model", "models", document.models),
        ("source", "source", "sources", document.sources),
        ("entity", "entity", "entities", document.entities),
        ("team", "team", "teams", document.teams),
    )
    return [(kind, one if len(found) == 1 else many, len(found)) for kind, one, many, found in counts]


def uses(entry: FeatureEntry) -> int:
    """Return how many set versions, models and derived features use a feature."""
    models = {model for use in entry.used_in for model in use.models}
    return len(entry.used_in) + len(models) + len(entry.derived)
