"""Render a plan as Markdown for a pull request comment."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from featdsl.definitions.escaping import in_markdown, shown
from featdsl.definitions.kinds import Definition, FeatureDefinition
from featdsl.plan.diff import SYMBOLS, Change, MemberChange, Reason
from featdsl.plan.document import Plan, PlannedChange
from featdsl.render.audience import affected, few, not_affected, verdict
from featdsl.render.fold import Rest, edits, parts
from featdsl.render.phrases import (
    LONG,
    Line,
    approval_lines,
    block_lines,
    checks,
    compute_lines,
    counted,
    counts_line,
    kept_lines,
    line_changes,
    member_line,
    members_line,
    members_shown,
    notice_lines,
    reason_line,
    recorded,
    repair_lines,
    some,
    statements,
    steps_line,
    summary,
    title,
    warning_lines,
)
from featdsl.render.value_shifts import shift_section

LIMIT = 65_000
"""The longest comment in bytes: GitHub accepts 65,536 characters, and the bot that posts it may add a line."""
_CELL, _INLINE = 200, 80
"""The longest text in a table cell, and the longest side of a description that a cell shows in line."""
_MEMBERS = 12
"""The most features of a set version that a table row lists."""
_WHOLE = "see `featdsl plan --format json`"


@dataclass(frozen=True)
class _Caps:
    """The most changes, lines of each diff, and names of one kind in each list to show."""

    changes: int
    lines: int
    names: int


_LEVELS = (_Caps(80, 40, 10), _Caps(80, 6, 10), _Caps(40, 0, 6), _Caps(10, 0, 3), _Caps(2, 0, 1))
"""Levels of detail, the fullest first; a plan is rendered at the first level that fits the limit."""


def markdown(plan: Plan, limit: int = LIMIT) -> str:
    """Return the plan as Markdown of at most `limit` bytes, its SQL in a collapsed section.

    A longer plan is cut and says so: first its SQL, then diffs, then table rows.
    """
    for caps in _LEVELS:
        page = shown("\n".join(_lines(plan, caps)) + "\n")
        if _bytes(page) <= limit - _SQL_FRAME:
            return page + shown(_sql(plan, limit - _bytes(page)))
    return f"### {title(plan)}\n\n{_cell(verdict(plan))}\n\nToo long to show: {_WHOLE}.\n"


def _lines(plan: Plan, caps: _Caps) -> Iterator[str]:
    yield f"### {_escaped(title(plan))}"
    yield from ["", _verdict(plan)]
    if not plan.empty:
        yield from ["", f"{counts_line(plan)} {steps_line(plan)}"]
    yield from _list("Warnings", map(_cell, warning_lines(plan)), caps)
    yield from _list("Blocked", _with_fixes(block_lines(plan)), caps)
    approvals = (f"**{_cell(team)}** {_cell(affects)}" for team, affects, _ in approval_lines(plan))
    yield from _list("Required approvals", approvals, caps)
    yield from _list("Notices", _with_fixes(notice_lines(plan)), caps)
    yield from _changes(plan, caps)
    yield from shift_section(plan.preview)
    yield from _affected(plan, caps)
    yield from _table("Tables to build", "table", compute_lines(plan, caps.names))
    yield from _table("Old versions kept", "old version of", kept_lines(plan, caps.names))
    rules = (f"{_code(rule)}: {_cell(some(addresses, caps.names))}" for rule, addresses in checks(plan))
    yield from _list("Data checks", rules, caps)
    yield from _list("Repairs", repair_lines(plan), caps)
    if plan.adhoc:
        named = some([f"`{name}`" for name in plan.adhoc], caps.names * 3)
        yield from ["", f"**Ad hoc**, kept until the code declares them: {named}."]


def _verdict(plan: Plan) -> str:
    """Return the verdict with its first word in bold, or all of it in bold if it names teams."""
    line = _cell(verdict(plan), 1000)
    word, colon, why = line.partition(": ")
    return f"**{word}:** {why}" if colon and " (" not in word else f"**{line}**"


def _list(heading: str, lines: Iterable[str], caps: _Caps) -> Iterator[str]:
    listed, most = list(lines), caps.names * 2
    if listed:
        yield from ["", f"#### {heading}", "", *(f"- {line}" for line in listed[:most])]
        if len(listed) > most:
            yield f"- and {len(listed) - most:,} more: {_WHOLE}"


def _with_fixes(pairs: Iterable[tuple[str, str]]) -> Iterator[str]:
    yield from (f"{_cell(what, 1000)}<br>{_cell(fix, 1000)}" if fix else _cell(what, 1000) for what, fix in pairs)


def _table(heading: str, first: str, lines: Iterable[Line]) -> Iterator[str]:
    listed = list(lines)
    if listed:
        yield from ["", f"#### {heading}", "", f"| {first} | |", "|---|---|"]
        yield from (f"| {f'`{name}`' if is_thing else name} | {_cell(text)} |" for name, text, is_thing in listed)


# Changes


def _changes(plan: Plan, caps: _Caps) -> Iterator[str]:
    teams, left = parts(plan, caps.changes)
    definitions, members = recorded(plan), partial(members_shown, plan)
    if teams:
        yield from ["", "#### Changes"]
    for part in teams:
        count = f": {counted(part.count, 'change')}" if part.folded else ""
        yield from ["", f"**{_escaped(part.owner)}**{count}", "", "| | name | class | detail |", "|---|---|---|---|"]
        for each in part.shown:
            yield _rest(each) if isinstance(each, Rest) else _row(each.change, definitions, members(each.change))
        for edit in edits(part.shown):
            changes = [each.change for each in edit if isinstance(each, PlannedChange)]
            if changes:
                yield from _diffs(changes, members(changes[0]), caps.lines)
    if left:
        yield from ["", f"{left}: {_WHOLE}."]


def _rest(rest: Rest) -> str:
    return f"| {f'`{rest.symbol}`' if rest.symbol.strip() else ''} | {_cell(rest.text)} | | |"


def _row(change: Change, definitions: Mapping[tuple[str, str], Definition], members: Sequence[MemberChange]) -> str:
    definition = definitions.get((change.kind, change.address))
    details = [_reason(reason) for reason in change.reasons]
    if change.action == "create" and definition is not None:
        dtype = f"`{definition.dtype}` " if isinstance(definition, FeatureDefinition) else ""
        details = [f"{dtype}{_cell(summary(definition))}".rstrip()]
    if change.since:
        details += [_escaped(members_line(change.since, change.members)), *map(_member, members[:_MEMBERS])]
        left = len(members) - _MEMBERS
        details += [f"{counted(left, 'more feature')}: {_WHOLE}"] if left > 0 else []
    name = f"{change.kind} `{change.address}`"
    return f"| `{SYMBOLS[change.action]}` | {name} | {change.change_class} | {'<br>'.join(details)} |"


def _member(member: MemberChange) -> str:
    """Return a feature that differs between two set versions, with its reasons in one line."""
    sign, _, column = member_line(member).partition(" ")
    reasons = "; ".join(_reason(each) for each in member.reasons)
    return f"`{sign}` {_code(column)}{f' {reasons}' if reasons else ''}"


def _reason(reason: Reason) -> str:
    if _is_long(reason):
        return f"{reason.code}, below"
    if reason.code in {"upstream", "renamed from"}:
        return _cell(reason_line(reason))
    sides = [_code(side) for side in (reason.before, reason.after) if side]
    lead = "" if len(sides) > 1 else "+ " if reason.after else "- "
    return f"{reason.code}: {lead}{' → '.join(sides)}"


def _is_long(reason: Reason) -> bool:
    if reason.code not in LONG:
        return False
    return reason.code != "description" or any("\n" in s or len(s) > _INLINE for s in (reason.before, reason.after))


def _diffs(changes: Sequence[Change], members: Sequence[MemberChange], most: int) -> Iterator[str]:
    """Yield diffs that do not fit in a table cell, `most` lines of each; the changes share one edit."""
    for reason in changes[0].reasons:
        if _is_long(reason):
            yield from _diff(reason, ", ".join(f"`{each.address}`" for each in changes), most)
    change = changes[0]
    for member in members[:_MEMBERS]:
        for reason in member.reasons:
            if _is_long(reason):
                yield from _diff(
                    reason, f"`{member.column}`, `{change.since}` → {change.kind} `{change.address}`", most
                )


def _diff(reason: Reason, of: str, most: int) -> Iterator[str]:
    listed = [f"{sign} {_cut(line, 10 * _CELL)}".rstrip() for sign, line in line_changes(reason)]
    yield from ["", f"{reason.code} of {of}:"]
    if most:
        yield from ["", *_fenced("diff", listed[:most])]
    if len(listed) > most:
        yield from ["", f"{counted(len(listed) - most, 'more line')}: {_WHOLE}."]


def _fenced(language: str, lines: Sequence[str]) -> list[str]:
    """Return a code block whose fence is longer than any fence inside it."""
    longest = max((len(fence) for line in lines for fence in re.findall(r"`{3,}", line)), default=2)
    return [f"{'`' * (longest + 1)}{language}", *lines, "`" * (longest + 1)]


# Impact


def _affected(plan: Plan, caps: _Caps) -> Iterator[str]:
    teams, spared = affected(plan), not_affected(plan, caps.names)
    if not teams and not spared:
        return
    yield from ["", "#### Impact"]
    if teams:
        yield from ["", "| team | | name | effect |", "|---|---|---|---|"]
    most = max(1, caps.changes // 4)
    for team in teams[:most]:
        shown, left = few(team, caps.names)
        yield f"| **{_cell(team.owner)}** | | | {team.counts} |"
        for each in shown:
            kind = "" if each.kind == "feature" else f"{each.kind} "
            yield f"| | `{each.symbol}` | {kind}`{each.address}` | {_cell(each.text)} |"
        if left:
            yield f"| | | and {left:,} more | |"
    if len(teams) > most:
        yield f"| and {counted(len(teams) - most, 'more team')} | | {_cell(some([t.owner for t in teams[most:]], 10))} | |"
    if spared:
        yield from ["", f"{'' if teams else 'Nobody. '}Not affected: {_escaped(spared)}."]


# SQL

_SQL_OPEN, _SQL_CLOSE = "\n<details><summary>SQL</summary>\n\n", "\n\n</details>\n"
_SQL_FRAME = 500
"""Bytes reserved for the markup around the SQL and for the line that counts what is left out."""


def _sql(plan: Plan, room: int) -> str:
    """Return the SQL in a collapsed section: every statement that fits whole in `room` bytes."""
    lines: list[str] = []
    left = 0
    size = room - _SQL_FRAME
    for name, statement in statements(plan):
        length = _bytes("\n".join([name, *statement, "", ""]))
        if length > size:
            left += 1
            continue
        size -= length
        lines += [name, *statement, ""]
    more = f"{counted(left, 'more statement')}: {_WHOLE}." if left else ""
    if not lines:
        return f"\nSQL left out, {more}\n" if more else ""
    block = "\n".join(_fenced("sql", lines[:-1]))
    return _SQL_OPEN + block + (f"\n\n{more}" if more else "") + _SQL_CLOSE


# Escaping


def _bytes(text: str) -> int:
    return len(text.encode())


def _code(text: str) -> str:
    """Return a text as inline code whose fence is longer than any fence inside it."""
    inside = _cut(" ".join(text.split()), _CELL).replace("|", "\\|")
    longest = max(map(len, re.findall("`+", inside)), default=0)
    room = " " if longest else ""
    return f"{'`' * (longest + 1)}{room}{inside}{room}{'`' * (longest + 1)}"


def _cell(text: str, most: int = _CELL) -> str:
    return _escaped(_cut(" ".join(text.split()), most))


def _escaped(text: str) -> str:
    return in_markdown(text)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"
