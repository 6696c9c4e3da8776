"""Render the results of commands as text: lists, descriptions, histories, checks and refreshes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from featdsl.apply.check_rules import Checked
from featdsl.apply.doctor import Finding
from featdsl.apply.garbage import Garbage
from featdsl.apply.refresh import RefreshResult
from featdsl.definitions.history import CheckResult, HistoryEntry, Touched
from featdsl.definitions.quality_rules import rule_text
from featdsl.definitions.snapshot import Environment
from featdsl.definitions.value_shifts import Compared
from featdsl.discovery.describe import Described
from featdsl.discovery.filters import Entry
from featdsl.discovery.outdated import Moved, Outdated
from featdsl.discovery.search import Found, Listed
from featdsl.plan.diff import MemberChange
from featdsl.plan.document import Kept
from featdsl.query.parity import Difference, Parity
from featdsl.render import sizes
from featdsl.render.differences import Room, member_lines
from featdsl.render.phrases import counted, members_line
from featdsl.render.plan_text import plain
from featdsl.render.value_shifts import shift_lines


def _short(commit: str) -> str:
    """Return the first 10 digits of a commit, and its `+dirty` mark if files were not committed."""
    head, mark, dirty = commit.partition("+")
    return f"{head[:10]}{mark}{dirty}"


def listing(features: Sequence[Listed], width: int) -> str:
    """Return features as a table of at most `width` columns."""
    rows = [
        (each.address, each.dtype, each.entity or "(global)", _owner(each.owner, adhoc=each.adhoc), _marked(each))
        for each in features
    ]
    return table(("feature", "type", "entity", "owner", "description"), rows, width)


def results(matches: Sequence[Found], width: int) -> str:
    """Return search results as a table, the best first."""
    rows = [(f"{each.kind} {each.address}", each.owner, _marked(each)) for each in matches]
    return table(("name", "owner", "description"), rows, width)


def entries(definitions: Sequence[Entry], width: int) -> str:
    """Return definitions of one kind as a table of at most `width` columns."""
    shows_entities = any(each.entities for each in definitions) and definitions[0].kind != "entity"
    titles = (definitions[0].kind, *(["entity"] if shows_entities else []), "owner", "description")
    rows = [
        (each.address, *([", ".join(each.entities)] if shows_entities else []), each.owner, _marked(each))
        for each in definitions
    ]
    return table(titles, rows, width)


def _marked(each: Listed | Found | Entry) -> str:
    """Return a description, after `(private)` and `(deprecated, use ...)` if they apply."""
    marks = ["(private)"] if each.private else []
    if each.deprecated is not None:
        marks.append(f"(deprecated{f', use {each.deprecated.use}' if each.deprecated.use else ''})")
    return " ".join([*marks, each.description]).rstrip()


def history(entries: Sequence[tuple[HistoryEntry, str]], width: int) -> str:
    """Return applies as a table, the newest first; an entry with a name shows only the changes of that definition.

    The table has a project column if several projects applied.
    """
    several = len({entry.project for entry, _ in entries}) > 1
    rows = [
        (
            *(str(e.serial), e.applied_at, *([e.project] if several else [])),
            *(e.user, _short(e.commit) or "-", f"{e.rows:,}", _done(e, name)),
        )
        for e, name in entries
    ]
    project = ("project",) if several else ()
    return table(("state", "applied at", *project, "by", "commit", "rows", "changes"), rows, width)


def _done(entry: HistoryEntry, name: str) -> str:
    if not name:
        return _approved(entry)
    touched = [each for each in entry.changes if replace(entry, changes=(each,)).touches(name)]
    return ", ".join(f"{each.action}{_address(each, name)} ({each.change_class})" for each in touched)


def _approved(entry: HistoryEntry) -> str:
    summary = entry.summary or "no change"  # an environment was created, or its expiry was moved
    return f"{summary}; approved by {', '.join(entry.approved_by)}" if entry.approved_by else summary


def _address(touched: Touched, name: str) -> str:
    return "" if touched.address == name else f" {touched.address}"


def environments(existing: Sequence[Environment], width: int) -> str:
    """Return the environments as a table."""
    if not existing:
        return "Nothing has been applied yet.\n"
    rows = [(each.name, str(each.serial), each.made_at, each.made_by, each.expires_at or "never") for each in existing]
    return table(("environment", "state", "created at", "by", "expires"), rows, width)


def outdated(consumers: Sequence[Outdated]) -> str:
    """Return which features changed since each model or lock file was trained, how, and by whom."""
    lines = []
    for each in consumers:
        owner = f" ({each.owner})" if each.owner else ""
        lines += [f"{each.kind} {each.name}{owner} is outdated", f"  trained on {each.features}; since then:"]
        for moved in each.moved:
            lines.append(f"  {moved_line(moved)}")
            if moved.code == "definition":
                lines += [f"      - {line}" for line in moved.before.splitlines()]
                lines += [f"      {'+ ' if moved.before else ''}{line}" for line in moved.after.splitlines()]
    return "\n".join(lines or ["No model is outdated."]) + "\n"


def moved_line(moved: Moved) -> str:
    """Return how a feature changed, in which state, and by whom."""
    since = f" from {moved.after}" if moved.code in {"rows", "added"} and moved.after else ""
    return f"{moved.feature} {_MOVED[moved.code]}{since}{_by(moved)}"


_MOVED = {
    "definition": "has a new definition",
    "data": "was rebuilt",
    "rows": "has changed rows",
    "added": "has new rows",
    "gone": "was removed",
    "list": "differs from the set version's current list",
}


def _by(moved: Moved) -> str:
    if moved.state is None:
        return ""
    commit = f", commit {_short(moved.commit)}" if moved.commit else ""
    return f" in state {moved.state}, by {moved.user} on {moved.applied_at[:10]}{commit}"


def differences(shifts: Sequence[Compared], only_in: Mapping[str, Sequence[str]], width: int) -> str:
    """Return how the values of two environments differ, and which features only one of them has."""
    lines = (
        list(shift_lines(shifts, width=width, paint=plain))
        if shifts
        else ["The features in both environments have equal values."]
    )
    lines += [f"Only in {name}: {', '.join(listed)}" for name, listed in only_in.items() if listed]
    return "\n".join(lines).strip("\n") + "\n"


def set_versions(before: str, after: str, members: Sequence[MemberChange], width: int) -> str:
    """Return which features differ between two set versions, and why."""
    room = Room(width, len(members) or 1, plain)
    return "\n".join([f"{after} {members_line(before, members)}", *member_lines(members, room)]) + "\n"


def garbage(candidates: Garbage, width: int) -> str:
    """Return the unused tables and expired environments that garbage collection would delete."""
    if not candidates:
        return "Nothing to delete.\n"
    lines = [f"environment {name} has expired" for name in candidates.environments]
    rows = [(each.name, f"{each.rows:,}", f"{each.bytes:,}", each.built_at) for each in candidates.tables]
    listed = table(("unused table", "rows", "bytes", "built"), rows, width) if rows else ""
    return "".join([*(f"{line}\n" for line in lines), listed])


def findings(issues: Sequence[Finding]) -> str:
    """Return one line for each problem of a store, with its fix, and one for each that was fixed."""
    lines = [
        f"{'fixed' if each.fixed else each.code}: {each.what}{f'; {each.fix}' if each.fix else ''}" for each in issues
    ]
    left = sum(each.is_left for each in issues)
    return "\n".join([*lines, f"{counted(left, 'problem')} left." if left else "No problems found."]) + "\n"


def refreshed(result: RefreshResult, width: int) -> str:
    """Return what a refresh did to each table, and its totals."""
    if not result.summary.serial:
        return "Nothing has been applied yet; run: featdsl apply\n"
    rows = [
        (each.group, each.how, f"{each.rows:,}" if each.rows else "", each.since or "", each.why)
        for each in result.tables
    ]
    listed = table(("group", "", "rows", "from", "because"), rows, width) if rows else ""
    done = result.summary
    if not done.built:
        return f"{listed}{_nothing_new(result)}\n"
    counts = f"{counted(done.built, 'table')}, {sizes.rows(done.rows)}, {sizes.size(done.bytes)}, {done.seconds:.1f} s"
    warned = f"; {counted(done.warnings, 'warning')}" if done.warnings else ""
    text = f"{listed}Refreshed {counts}{warned}. The store is at state {done.serial}.\n"
    return f"{text}{_UNREAD}\n" if result.unread else text


_UNREAD = "Older rows were not read again. To pick up edits of older rows, run: featdsl refresh --full"


def _nothing_new(result: RefreshResult) -> str:
    """Return the message of a refresh that wrote no rows."""
    left = f"{counted(len(result.left), 'table')} could not be refreshed." if result.left else ""
    if result.unread:
        return "\n".join(filter(None, ("No new rows.", left, _UNREAD)))
    return left or "Everything is up to date."


def checks(checked: Sequence[Checked]) -> str:
    """Return each rule with its verdict, and examples of the rows that break it."""
    lines = []
    for each in checked:
        verdict = "ok    " if not each.broken else "broken" if each.severity == "error" else "warn  "
        rule = rule_text(each.rule, each.name, "error")
        count = f"  {_broken(each)}".rstrip() if each.broken else ""
        lines.append(f"{verdict}  {each.address} ({each.owner}): {rule}{count}")
        lines += [f"          {', '.join(f'{name} = {value}' for name, value in row.items())}" for row in each.examples]
    broken = sum(bool(each.broken) and each.severity == "error" for each in checked)
    warned = sum(bool(each.broken) and each.severity == "warn" for each in checked)
    warnings = f", {counted(warned, 'warning')}" if warned else ""
    return "\n".join([*lines, f"{counted(len(checked), 'check')}, {broken} broken{warnings}."]) + "\n"


def _broken(result: Checked | CheckResult) -> str:
    """Return how many rows, values or figures break a rule; an empty text for rules on age or stability."""
    match result.kind:
        case "expect":
            return f"{result.broken:,} of {result.rows:,} rows"
        case "unique":
            return counted(result.broken, "value")
        case "rows":
            return sizes.rows(result.rows)
        case "max_age" | "stable":
            return ""
        case "between":
            return counted(result.broken, "figure")


def check_history(past: Sequence[CheckResult], width: int) -> str:
    """Return the results of past checks as a table, the newest first."""
    if not past:
        return "No check results have been saved yet.\n"
    rows = [
        (each.checked_at[:19], each.verdict, str(each.serial), each.during, each.by, each.address, _outcome(each))
        for each in past
    ]
    return table(("checked at", "verdict", "state", "during", "by", "name", "rule"), rows, width)


def _outcome(result: CheckResult) -> str:
    """Return a rule, after how many rows, values or figures broke it."""
    broken = _broken(result) if result.broken else ""
    return f"{broken}: {result.rule_text}" if broken else result.rule_text


def parity(compared: Parity) -> str:
    """Return each value that differs between serving and training, and how many values were compared."""
    lines = list(map(_difference, compared.differences))
    at = f" at up to {compared.moments:,} moments" if compared.moments > 1 else ""
    counts = f"{compared.values:,} values compared{at}, {len(lines):,} differ."
    skipped = (
        [f"Not compared because they need request data: {', '.join(compared.skipped)}."] if compared.skipped else []
    )
    for why in dict.fromkeys(compared.unpublished.values()):
        columns = [column for column, own in compared.unpublished.items() if own == why]
        skipped.append(f"Read from the tables ({why}): {', '.join(columns)}.")
    return "\n".join([*lines, counts, *skipped]) + "\n"


def _difference(each: Difference) -> str:
    if each.at is None:
        return f"{each.feature} of {each.keys}: served {each.served!r}, trained on {each.trained!r}"
    values = f"online store {each.served!r}, tables {each.tables!r}, training {each.trained!r}"
    place = f"{each.feature} of {each.keys} at {each.at:%Y-%m-%d %H:%M:%S.%f} UTC"
    return f"{place}: {values}; differing: {', '.join(each.differing)}"


def table(titles: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> str:
    """Return rows under their titles in aligned columns; lines longer than `width` are cut."""
    firsts = [[_first_line(cell) for cell in row] for row in [titles, *rows]]
    widths = [max(len(row[column]) for row in firsts) for column in range(len(titles))]
    lines = []
    for row in firsts:
        line = "  ".join(cell.ljust(wide) for cell, wide in zip(row, widths, strict=True)).rstrip()
        lines.append(line if len(line) <= width else f"{line[: width - 1].rstrip()}…")
    return "\n".join(lines) + "\n"


def description(described: Described, width: int) -> str:
    """Return the description of one definition, one fact per line."""
    dtype = described.definition.get("dtype", "")
    lines = [f"{described.kind} {described.address}  {dtype}".rstrip()]
    lines += [f"  {line}" for line in described.description.splitlines()]
    facts = dict(_facts(described))
    wide = max(len(name) for name in facts)
    for name, value in facts.items():
        first, *rest = str(value).splitlines() or [""]
        lines.append(
            _cut(f"  {name.ljust(wide)}  {first}", width)
            if name not in {"sql", "code"}
            else f"  {name.ljust(wide)}  {first}"
        )
        lines += [f"  {' ' * wide}  {line}".rstrip() for line in rest]
    return "\n".join(lines) + "\n"


def _facts(described: Described) -> Iterator[tuple[str, str]]:
    yield "owner", _owner(described.owner, adhoc=described.adhoc)
    yield "declared", described.declared_at
    if described.deprecated is not None:
        yield "deprecated", str(described.deprecated)
    for name, value in described.definition.items():
        if name != "dtype" and value not in (None, [], {}, "") and value is not False:
            yield name, _value(value)
    data = described.data
    if data:
        null_share = data.get("null_share")
        nulls = f", {100 * null_share:.1f} % null" if null_share is not None else ""
        yield "rows", f"{data['rows']:,}{nulls}"
        yield "newest", _time(data["newest"]) if data["newest"] else "no event time"
        yield "built", f"{data['built_at']} by {data['engine']}"
    if data.get("samples"):
        yield "samples", ", ".join(str(value) for value in data["samples"])
    if described.checks:
        yield "checks", "\n".join(_last_result(each, described.address) for each in described.checks)
    yield "made of", "\n".join(described.made_of) or "nothing"
    yield "used by", "\n".join(described.used_by) or "nothing"
    if described.kept:
        yield "old versions", "\n".join(_older(each) for each in described.kept)


def _last_result(result: CheckResult, address: str) -> str:
    name = "" if result.address == address else f"{result.address.removeprefix(f'{address}.')}: "
    return f"{result.checked_at[:19]} {result.verdict:7}  {name}{_outcome(result)}"


def _older(kept: Kept) -> str:
    size = ", ".join(filter(None, (sizes.rows(kept.rows), sizes.size(kept.bytes))))
    return f"{kept.feature} {kept.fingerprint[:8]}: {size}\n  used by {', '.join(kept.held_by) or 'nothing'}"


def _value(value: Any) -> str:
    if value is True:
        return "yes"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {inner}" for key, inner in value.items())
    if isinstance(value, list):
        return "\n".join(map(_member, value)) if isinstance(value[0], Mapping) else ", ".join(map(str, value))
    return str(value)


def _member(member: Mapping[str, Any]) -> str:
    name = f"{member['column']} = " if member["column"] != member["feature"].rpartition(".")[2] else ""
    role = f" by {_value(member['keys'])}" if member["keys"] else ""
    older = "" if member["current"] else "  (pinned to an old definition)"
    return f"{name}{member['feature']}{role}  {member['dtype']}{older}"


def _owner(owner: str, *, adhoc: bool) -> str:
    return f"{owner} (ad hoc)" if adhoc else owner


def _time(value: Any) -> str:
    return value.isoformat(sep=" ") if isinstance(value, datetime) else str(value)


def _first_line(text: str) -> str:
    return text.partition("\n")[0]


def _cut(line: str, width: int) -> str:
    return line if len(line) <= width else f"{line[: width - 1].rstrip()}…"


def values(rows: Iterable[Mapping[str, Any]]) -> str:
    """Return feature values, one feature per line and one block per entity."""
    blocks = []
    for row in rows:
        wide = max((len(name) for name in row), default=0)
        blocks.append("\n".join(f"{name.ljust(wide)}  {value}" for name, value in row.items()))
    return "\n\n".join(blocks) + "\n"
