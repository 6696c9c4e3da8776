"""The index that the pages search, as a script: opened from disk, a page cannot fetch a file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from featdsl.discovery.catalogue_entries import (
    CatalogueDocument,
    EntryBase,
    FeatureEntry,
    GroupEntry,
    ModelEntry,
    SetEntry,
    SourceEntry,
)
from featdsl.site.files import DataScript
from featdsl.site.home import uses
from featdsl.site.links import Links, entries
from featdsl.site.urls import page_path

FIELDS = (
    "kind", "path", "name", "description", "owner", "entity", "type", "tags", "freshness", "status", "sets", "words", "uses",
)  # fmt: skip
"""The columns of the index, in order."""
_LONGEST = 240
_LONGEST_WORDS = 400
_MOST_TAGS = 30


def files(document: CatalogueDocument, links: Links) -> Iterator[DataScript]:
    """Yield the script with a row for each definition and team."""
    del links
    rows = [_row(entry) for entry in entries(document)]
    rows += [
        [
            "team",
            page_path("team", team.name),
            team.name,
            team.contact[:_LONGEST],
            team.name,
            "",
            "",
            [],
            "",
            [],
            [],
            "",
            0,
        ]
        for team in document.teams
    ]
    used = sorted(rows, key=lambda row: (row[0] != "feature", -row[-1], row[2]))
    value = {"fields": list(FIELDS), "rows": used, "project": document.project, "environment": document.environment}
    yield DataScript(path="data/search.js", name="featdslSearch", value=value)


def _row(entry: EntryBase) -> list[Any]:
    description = entry.description if len(entry.description) <= _LONGEST else entry.description[:_LONGEST] + "…"
    return [
        entry.kind,
        page_path(entry.kind, entry.address),
        entry.address,
        description,
        entry.owner,
        _entity(entry),
        entry.dtype if isinstance(entry, FeatureEntry) else "",
        list(entry.tags[:_MOST_TAGS]),
        entry.freshness.status if isinstance(entry, FeatureEntry | GroupEntry) else "",
        _status(entry),
        _sets(entry),
        _words(entry),
        uses(entry) if isinstance(entry, FeatureEntry) else 0,
    ]


def _entity(entry: EntryBase) -> str:
    if entry.kind == "entity":
        return entry.name
    return (entry.entity or "") if isinstance(entry, FeatureEntry | GroupEntry) else ""


def _status(entry: EntryBase) -> list[str]:
    """Return what one filters by: what is wrong with a definition, or special."""
    found = ["deprecated"] if entry.deprecated else []
    if not entry.description:
        found.append("no description")
    if isinstance(entry, FeatureEntry | GroupEntry):
        found += ["private"] * entry.private + ["ad hoc"] * entry.adhoc
        found += ["rule broken"] * any(rule.last and rule.last.broken for rule in entry.rules)
    if isinstance(entry, FeatureEntry):
        found += ["in use" if uses(entry) else "not used", *(["built more than once"] if entry.same else [])]
    if isinstance(entry, ModelEntry) and entry.outdated:
        found.append("outdated")
    return found


def _sets(entry: EntryBase) -> list[str]:
    match entry:
        case FeatureEntry():
            return list(dict.fromkeys(use.feature_set for use in entry.used_in))
        case SetEntry():
            return [entry.address]
        case ModelEntry():
            return [entry.feature_set]
        case _:
            return []


def _words(entry: EntryBase) -> str:
    """Return the columns that a definition reads or has: people also search for those."""
    match entry:
        case FeatureEntry():
            words = [
                entry.source or "",
                entry.unit,
                *entry.definition.get("reads", ()),
                *entry.definition.get("columns", ()),
            ]
        case SetEntry():
            words = [str(member.get("feature", "")) for member in entry.definition.get("members", ())]
        case SourceEntry():
            words = [*entry.definition.get("columns", ()), *entry.definition.get("location", ())]
        case _:
            words = []
    return " ".join(dict.fromkeys(words))[:_LONGEST_WORDS]
