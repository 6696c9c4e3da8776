"""A plan as Markdown, for a pull request."""

from __future__ import annotations

from collections.abc import Iterator

from featdsl.definitions import Definition, FeatureDefinition
from featdsl.diff import SYMBOLS, Change, Reason
from featdsl.plan import Plan, PlannedChange
from featdsl.render.phrases import (
    LONG,
    NOTHING,
    affected,
    by_owner,
    counts_line,
    kept,
    line_changes,
    reason_line,
    recorded,
    sql_lines,
    steps_line,
    summary,
    title,
    used_by,
)
from featdsl.render.shifts import shift_section

_CELL = 80
"""The longest text that stays within a cell of a Markdown table."""


def markdown(plan: Plan) -> str:
    """Return the plan as Markdown for a pull request, its SQL folded away."""
    return "\n".join(_lines(plan)) + "\n"


def _lines(plan: Plan) -> Iterator[str]:
    yield f"### {title(plan)}"
    yield ""
    if plan.empty:
        yield NOTHING
        yield from (f"\n**Lost for good:** {said}." for said in plan.lost)
        return
    yield f"**{counts_line(plan)}** {steps_line(plan)}"
    definitions = recorded(plan)
    for owner, changes in by_owner(plan.changes):
        yield from ["", f"#### {owner}", "", "| | what | class | detail |", "|---|---|---|---|"]
        for planned in changes:
            yield _row(planned, definitions.get((planned.change.kind, planned.change.address)))
        for planned in changes:
            yield from _diffs(planned.change)
    yield from shift_section(plan.preview)
    met = affected(plan)
    if met:
        yield from ["", "#### Downstream", "", "| who | owner | effect |", "|---|---|---|"]
        for each, causes in met:
            yield f"| {each.kind} `{each.address}` | {each.owner} | {_cell(kept(each, causes))} |"
    if plan.repairs:
        yield from [
            "",
            "#### Repairs",
            "",
            *(f"- {name} is lost from the store and is made again" for name in plan.repairs),
        ]
    yield from (f"\n**Lost for good:** {said}." for said in plan.lost)
    if plan.adhoc:
        yield from ["", f"**Ad hoc**, kept until code declares them: {', '.join(f'`{name}`' for name in plan.adhoc)}."]
    statements = list(sql_lines(plan))
    if statements:
        yield from ["", "<details><summary>SQL</summary>", "", "```sql", *statements[:-1], "```", "", "</details>"]


def _row(planned: PlannedChange, definition: Definition | None) -> str:
    change = planned.change
    details = [_reason_cell(reason) for reason in change.reasons]
    if change.action == "create" and definition is not None:
        dtype = f"`{definition.dtype}` " if isinstance(definition, FeatureDefinition) else ""
        details = [f"{dtype}{_cell(summary(definition))}".rstrip()]
    details += [_cell(line) for line in used_by(planned)]
    what = f"{change.kind} `{change.address}`"
    return f"| `{SYMBOLS[change.action]}` | {what} | {change.change_class} | {'<br>'.join(details)} |"


def _reason_cell(reason: Reason) -> str:
    if _is_long(reason):
        return f"{reason.code}: below"
    if reason.code == "upstream":
        return reason_line(reason)
    sides = [_code(side) for side in (reason.before, reason.after) if side]
    lead = "" if len(sides) > 1 else "+ " if reason.after else "- "
    return f"{reason.code}: {lead}{' → '.join(sides)}"


def _diffs(change: Change) -> Iterator[str]:
    """Yield what is too long for a cell of the table."""
    for reason in change.reasons:
        if _is_long(reason):
            listed = (f"{sign} {line}".rstrip() for sign, line in line_changes(reason))
            yield from ["", f"{reason.code} of `{change.address}`:", "", "```diff", *listed, "```"]


def _is_long(reason: Reason) -> bool:
    return reason.code in LONG and any("\n" in side or len(side) > _CELL for side in (reason.before, reason.after))


def _code(said: str) -> str:
    fence = "``" if "`" in said else "`"
    return f"{fence}{_cell(said)}{fence}"


def _cell(said: str) -> str:
    return " ".join(said.split()).replace("|", "\\|")
