"""Show a plan in a notebook: its verdict, its changes and its impact."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from featdsl.definitions import html
from featdsl.definitions.html import Content, Html
from featdsl.definitions.kinds import Definition, FeatureDefinition
from featdsl.definitions.sheets import Cell, Code, Grid, Mark, Tone
from featdsl.plan.diff import SYMBOLS
from featdsl.plan.document import Plan, PlannedChange
from featdsl.render import plan_text
from featdsl.render.audience import affected, not_affected, verdict
from featdsl.render.differences import Room, member_lines, reason_lines
from featdsl.render.phrases import (
    Line,
    approval_lines,
    block_lines,
    compute_lines,
    counts_line,
    members_line,
    members_shown,
    notice_lines,
    recorded,
    steps_line,
    summary,
    title,
    warning_lines,
)

_TONES: Mapping[str, Tone] = {"create": "good", "change": "warn", "recompute": "", "remove": "bad"}
_VERDICTS: Mapping[str, Tone] = {"Blocked": "bad", "Needs": "warn", "Touches": "warn", "Safe": "good"}
_WIDTH, _LINES, _TABLES, _NAMES = 100, 24, 8, 6
"""The columns and lines of a difference, and the most tables and names that are listed one by one."""


@dataclass(frozen=True)
class PlanView:
    """A plan as a notebook shows it; `str()` returns it as text, as `featdsl plan` prints it. `plan` has it as data."""

    plan: Plan

    def __str__(self) -> str:
        return plan_text.text(self.plan)

    def __repr__(self) -> str:
        return f"<{title(self.plan)}: {counts_line(self.plan)}>"

    def _repr_html_(self) -> str:
        plan, line = self.plan, verdict(self.plan)
        tone = _VERDICTS.get(line.partition(" ")[0].rstrip(":"), "")
        counts = "" if plan.empty else f"{counts_line(plan)} {steps_line(plan)}"
        return html.page(
            html.element("header", html.element("small", "plan"), html.element("strong", title(plan))),
            html.element("p", html.element("span", line, class_=f"mark {tone}".rstrip())),
            _list("Warnings", ((text, "") for text in warning_lines(plan))),
            _list("Blocked", block_lines(plan)),
            _list("Required approvals", ((f"{each.name}: {each.text}", "") for each in approval_lines(plan))),
            _list("Notices", notice_lines(plan)),
            _grid("Changes", _changes(plan)),
            _grid("Impact", _impact(plan)),
            _list("Not affected", [(spared, "")] if (spared := not_affected(plan, _NAMES)) else []),
            "" if plan.empty else _grid("Tables to build", _built(compute_lines(plan, _TABLES))),
            html.element("p", html.element("small", counts)) if counts else "",
            kind="plan",
        )


def _list(title: str, pairs: Iterable[tuple[str, str]]) -> Content:
    """Return messages under a title, each with its fix."""
    rows = [
        html.element("p", what, html.element("br") if fix else "", html.element("code", fix) if fix else "")
        for what, fix in pairs
    ]
    return [html.element("p", html.element("small", title)), *rows] if rows else ""


def _grid(title: str, rows: Iterable[Mapping[str, Cell]]) -> Html:
    given = list(rows)
    if not given:
        return Html("")
    return Grid(titles=list(given[0]), rows=[list(row.values()) for row in given], title=title).html()


def _changes(plan: Plan) -> Iterator[dict[str, Cell]]:
    definitions = recorded(plan)
    room = Room(_WIDTH, _LINES, plan_text.plain)
    for planned in sorted(plan.changes, key=lambda each: (each.change.owner, each.change.address)):
        change = planned.change
        yield {
            "": Mark(f"{SYMBOLS[change.action]} {change.action}", _TONES[change.action]),
            "name": Code(change.address if change.kind == "feature" else f"{change.kind} {change.address}"),
            "team": change.owner,
            "what": _what(plan, planned, definitions, room),
        }


def _what(plan: Plan, planned: PlannedChange, definitions: Mapping[tuple[str, str], Definition], room: Room) -> Html:
    """Return what a created definition is, or the class of a change and its differences."""
    change = planned.change
    definition = definitions.get((change.kind, change.address))
    if change.action == "create" and definition is not None:
        dtype = html.element("code", definition.dtype) if isinstance(definition, FeatureDefinition) else ""
        first = html.joined([dtype, " " if dtype else "", summary(definition)])
    else:
        first = html.text(change.change_class)
    lines = [line for reason in change.reasons for line in reason_lines(reason, room)]
    if change.since:
        lines += [members_line(change.since, change.members), *member_lines(members_shown(plan, change), room)]
    return html.joined([first, html.element("pre", "\n".join(lines)) if lines else ""])


def _impact(plan: Plan) -> Iterator[dict[str, Cell]]:
    for team in affected(plan):
        for each in team.effects:
            yield {"team": team.owner, "": Mark(each.symbol), "name": Code(each.name), "effect": each.text}


def _built(lines: Iterable[Line]) -> Iterator[dict[str, Cell]]:
    for line in lines:
        yield {"group": Code(line.name) if line.is_thing else line.name, "expected": line.text}
