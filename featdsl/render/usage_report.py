"""Render a report on the use of features as text and as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from featdsl.definitions.escaping import in_markdown
from featdsl.discovery.alike_values import AlikeValues
from featdsl.discovery.duplicates import SameMeaning
from featdsl.discovery.report import Report, SharedFeature, TeamUse
from featdsl.render import sizes
from featdsl.render.phrases import counted
from featdsl.render.reports import table

_SHOWN = 15
"""The most rows of a section in text; Markdown and JSON have all."""


@dataclass(frozen=True)
class _Section:
    """A part of a report: a table under its title, or a sentence if there is nothing to list."""

    title: str
    titles: Sequence[str]
    rows: Sequence[Sequence[str]]
    otherwise: str


def text(report: Report, width: int) -> str:
    """Return the report as text of at most `width` columns, with the first rows of each section."""
    lines = [_title(report)]
    for each in _sections(report, width):
        lines += ["", each.title]
        shown = each.rows[:_SHOWN]
        listed = table(each.titles, shown, width - 2).splitlines() if shown else [each.otherwise]
        if len(each.rows) > _SHOWN:
            listed.append(f"and {len(each.rows) - _SHOWN:,} more: featdsl report --format json")
        lines += [f"  {line}" for line in listed]
    return "\n".join(lines) + "\n"


def markdown(report: Report) -> str:
    """Return the report as Markdown."""
    lines = [f"# {in_markdown(_title(report))}"]
    for each in _sections(report, None):
        lines += ["", f"## {in_markdown(each.title)}", ""]
        if not each.rows:
            lines.append(in_markdown(each.otherwise))
            continue
        lines += [_row(each.titles), f"|{'---|' * len(each.titles)}", *map(_row, each.rows)]
    return "\n".join(lines) + "\n"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(in_markdown(' '.join(cell.split())) for cell in cells)} |"


def _title(report: Report) -> str:
    whose = f" of team {report.team}" if report.team else ""
    place = report.project if report.environment == "prod" else f"{report.project}, environment {report.environment}"
    return f"Report on {place}, state {report.serial}: {counted(report.features, 'feature')}{whose}"


def _sections(report: Report, width: int | None) -> Iterator[_Section]:
    yield _matrix(report.uses, width)
    shared = [(each.feature, each.owner, *_users(each)) for each in report.shared]
    yield _Section("Most shared", ("feature", "owner", "used by", "in"), shared, "No team uses a feature of another.")
    yield _unused(report)
    same = [(each.features[0], *_others(each)) for each in report.duplicates]
    titles = ("feature", "same columns and SQL", "owners")
    yield _Section("Near duplicates by meaning", titles, same, "No two groups compute the same.")
    if report.values:
        yield _values(report)
    stale = [(each.group, each.owner, each.computed_at, str(each.features)) for each in report.stale]
    title = f"Stale: computed more than {report.stale_after} ago"
    yield _Section(title, ("group", "owner", "computed at", "features"), stale, "No group is stale.")
    for title, found, otherwise in (
        ("Without an owner: in no team's folder", report.ownerless, "Each definition is in the folder of a team."),
        ("Without a description", report.undocumented, "Each feature and group has a description."),
    ):
        rows = [(f"{each.kind} {each.address}", each.owner) for each in found]
        yield _Section(title, ("name", "owner"), rows, otherwise)


def _matrix(uses: Sequence[TeamUse], width: int | None) -> _Section:
    """Return how many features each team uses of each team: as a matrix if it fits, else as a list."""
    counts = {(each.team, each.owner): each.features for each in uses}
    teams, owners = (sorted({getattr(each, name) for each in uses}) for name in ("team", "owner"))
    title, otherwise = "Who uses whose features", "No set and no derived feature uses a feature."
    needed = max(map(len, teams), default=0) + sum(len(owner) + 2 for owner in owners) + 2
    if width is None or needed <= width:
        rows = [(team, *(str(counts.get((team, owner), "")) for owner in owners)) for team in teams]
        return _Section(title, ("team", *(f"of {owner}" for owner in owners)), rows, otherwise)
    listed = [(each.team, each.owner, str(each.features)) for each in uses]
    return _Section(title, ("team", "uses of", "features"), listed, otherwise)


def _users(each: SharedFeature) -> tuple[str, str]:
    kinds = (("set", each.sets), ("model", each.models), ("feature", each.derived))
    return ", ".join(each.teams), ", ".join(counted(len(names), kind) for kind, names in kinds if names)


def _unused(report: Report) -> _Section:
    rows = [(each.feature, each.owner, sizes.size(each.bytes), sizes.time(each.seconds)) for each in report.unused]
    total = [
        sizes.size(sum(each.bytes for each in report.unused)),
        sizes.time(sum(each.seconds for each in report.unused)),
    ]
    cost = ", ".join(part for part in total if part)
    title = f"In no set: {counted(len(rows), 'feature')}{f', {cost} a build' if cost else ''}" if rows else "In no set"
    return _Section(title, ("feature", "owner", "size", "build"), rows, "Each feature is needed by a set.")


def _others(each: SameMeaning) -> tuple[str, str]:
    return ", ".join(each.features[1:]), ", ".join(dict.fromkeys(each.owners))


def _values(report: Report) -> _Section:
    values = report.values
    found = values.pairs if values else ()
    rows = [(*each.features, _likeness(each), f"{each.rows:,}") for each in found]
    tried = f"{values.compared:,} pairs of {counted(values.features, 'feature')} compared" if values else ""
    title = f"Near duplicates by values: {tried}"
    return _Section(title, ("feature", "and", "likeness", "rows"), rows, "No values of two groups are alike.")


def _likeness(each: AlikeValues) -> str:
    return "equal" if each.is_equal else f"{each.measure} {each.likeness:.3f}"
