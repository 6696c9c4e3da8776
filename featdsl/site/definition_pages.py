"""The pages of groups, set versions, models, sources, entities and teams."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from featdsl.discovery.catalogue_entries import CatalogueDocument, EntryBase, GroupEntry, SetEntry, SourceEntry
from featdsl.site.feature_page import replacement, verdicts
from featdsl.site.files import SitePage
from featdsl.site.links import Links, Mention
from featdsl.site.urls import page_path

_MOST = 200
"""The maximum number of rows of a list on a page; the rest is found by search."""


def files(document: CatalogueDocument, links: Links) -> Iterator[SitePage]:
    """Yield the page of each definition but features, and of each team."""
    yield from (_page(each, links, _group(each, links)) for each in document.groups)
    yield from (_page(each, links, _set(each, links)) for each in document.sets)
    for model in document.models:
        features = {"set": links.to("set", model.feature_set), **_listed("features", model.features, links)}
        yield _page(model, links, features)
    yield from (_page(each, links, _source(each, links)) for each in document.sources)
    for entity in document.entities:
        groups = links.all_to("group", entity.groups[:_MOST])
        yield _page(entity, links, {"groups": groups, **_listed("features", entity.features, links)})
    yield from _teams(document, links)


def _page(entry: EntryBase, links: Links, data: dict[str, Any]) -> SitePage:
    common = {
        "entry": entry,
        "owner": links.owner(entry.owner),
        "replacement": replacement(entry.deprecated.use, links) if entry.deprecated else None,
        "changes": entry.changes[:100],
        "beside": links.beside(entry.kind, entry.address, entry.features if isinstance(entry, GroupEntry) else ()),
    }
    return SitePage(
        path=page_path(entry.kind, entry.address),
        template=f"{entry.kind}.html",
        title=entry.address,
        section=entry.kind,
        data=common | data,
    )


def _listed(name: str, addresses: Sequence[str], links: Links) -> dict[str, Any]:
    """Return the first features of a list under its name, and how many there are in all."""
    found: list[Mention] = [links.mention(each) for each in addresses[:_MOST]]
    return {name: found, f"{name}_in_all": len(addresses)}


def _group(entry: GroupEntry, links: Links) -> dict[str, Any]:
    return {
        "entity": links.to("entity", entry.entity) if entry.entity else None,
        "source": links.to("source", entry.source) if entry.source else None,
        "verdicts": verdicts(entry.rules),
        **_listed("features", entry.features, links),
    }


def _set(entry: SetEntry, links: Links) -> dict[str, Any]:
    members: Iterable[dict[str, Any]] = entry.definition.get("members", ())
    return {
        "members": [(member, links.mention(str(member["feature"]))) for member in list(members)[:_MOST]],
        "members_in_all": len(list(members)),
        "models": links.all_to("model", entry.models),
        "versions": links.all_to("set", entry.versions),
    }


def _source(entry: SourceEntry, links: Links) -> dict[str, Any]:
    columns: dict[str, str] = entry.definition.get("columns", {})
    readers = {name: entry.readers.get(name, ()) for name in [*columns, *(entry.readers.keys() - columns.keys())]}
    return {
        "columns": [
            {
                "name": name,
                "dtype": columns.get(name, ""),
                "readers": links.all_to("feature", read[:12]),
                "count": len(read),
            }
            for name, read in list(readers.items())[:_MOST]
        ],
        "columns_in_all": len(readers),
        "groups": links.all_to("group", entry.groups[:_MOST]),
    }


def _teams(document: CatalogueDocument, links: Links) -> Iterator[SitePage]:
    for team in document.teams:
        data = {
            "team": team,
            "groups": links.all_to("group", team.groups[:_MOST]),
            "sets": links.all_to("set", team.sets[:_MOST]),
            "models": links.all_to("model", team.models[:_MOST]),
            "sources": links.all_to("source", team.sources[:_MOST]),
            **_listed("features", team.features, links),
            **_listed("uses", team.uses, links),
        }
        yield SitePage(
            path=page_path("team", team.name), template="team.html", title=team.name, section="team", data=data
        )
