"""Show what was found to people at a terminal: lists, descriptions, results."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from featdsl.checks import Checked, Parity
from featdsl.diff import MemberChange
from featdsl.discovery import Described, Found, Listed
from featdsl.doctor import Finding
from featdsl.filters import Entry
from featdsl.gc import Garbage
from featdsl.outdated import Moved, Outdated
from featdsl.plan import Kept
from featdsl.refresh import Result
from featdsl.render import sizes
from featdsl.render.differences import Room, member_lines
from featdsl.render.phrases import counted, members_line
from featdsl.render.shifts import shift_lines
from featdsl.render.terminal import plain
from featdsl.rules import told
from featdsl.shifts import Compared
from featdsl.snapshot import CheckResult, Environment, HistoryEntry, Touched


def _short(commit: str) -> str:
    """Return a commit as people quote it, with its mark where files were not committed."""
    head, mark, dirty = commit.partition("+")
    return f"{head[:10]}{mark}{dirty}"


def listing(features: Sequence[Listed], width: int) -> str:
    """Return features as a table of at most `width` columns."""
    rows = [
        (each.address, each.dtype, each.entity or "(global)", _owner(each.owner, adhoc=each.adhoc), _warned(each))
        for each in features
    ]
    return table(("feature", "type", "of", "owner", "description"), rows, width)


def results(found: Sequence[Found], width: int) -> str:
    """Return search results as a table, the best first."""
    rows = [(f"{each.kind} {each.address}", each.owner, _warned(each)) for each in found]
    return table(("what", "owner", "description"), rows, width)


def entries(found: Sequence[Entry], width: int) -> str:
    """Return things of one kind as a table of at most `width` columns."""
    of = any(each.entities for each in found) and found[0].kind != "entity"
    titles = (found[0].kind, *(["of"] if of else []), "owner", "description")
    rows = [(each.address, *([", ".join(each.entities)] if of else []), each.owner, _warned(each)) for each in found]
    return table(titles, rows, width)


def _warned(each: Listed | Found | Entry) -> str:
    """Return what a thing is, after a mark where it is for its own team alone, or deprecated."""
    marks = ["(private)"] if each.private else []
    if each.deprecated is not None:
        marks.append(f"(deprecated{f', use {each.deprecated.use}' if each.deprecated.use else ''})")
    return " ".join([*marks, each.description]).rstrip()


def history(entries: Sequence[tuple[HistoryEntry, str]], width: int) -> str:
    """Return applies as a table, the newest first; of one thing, by the name that it had, what was done to it.

    Where several projects applied, each line tells which.
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
    return ", ".join(f"{each.action}{_which(each, name)} ({each.change_class})" for each in touched)


def _approved(entry: HistoryEntry) -> str:
    summary = entry.summary or "no change"  # of an environment that was made, or kept for longer
    return f"{summary}; approved by {', '.join(entry.approved_by)}" if entry.approved_by else summary


def _which(touched: Touched, name: str) -> str:
    return "" if touched.address == name else f" {touched.address}"


def environments(found: Sequence[Environment], width: int) -> str:
    """Return the environments as a table."""
    rows = [(each.name, str(each.serial), each.made_at, each.made_by, each.expires_at or "never") for each in found]
    return table(("environment", "state", "made at", "by", "expires"), rows, width)


def outdated(found: Sequence[Outdated]) -> str:
    """Return what has changed under each model or lock, and by whom."""
    lines = []
    for each in found:
        owner = f" ({each.owner})" if each.owner else ""
        lines += [f"{each.kind} {each.name}{owner} is outdated", f"  trained on {each.features}, where by now:"]
        for moved in each.moved:
            since = f" from {moved.after} on" if moved.code in {"rows", "added"} and moved.after else ""
            lines.append(f"  {moved.feature} {_MOVED[moved.code]}{since}{_by(moved)}")
            if moved.code == "definition":
                lines += [f"      - {line}" for line in moved.before.splitlines()]
                lines += [f"      {'+ ' if moved.before else ''}{line}" for line in moved.after.splitlines()]
    return "\n".join(lines or ["Every model is trained on what its features are now."]) + "\n"


_MOVED = {
    "definition": "has another definition",
    "data": "was built anew",
    "rows": "has other rows",
    "added": "has more rows",
    "gone": "is gone",
    "list": "is not what the set version lists now",
}


def _by(moved: Moved) -> str:
    if moved.state is None:
        return ""
    commit = f", commit {_short(moved.commit)}" if moved.commit else ""
    return f" since state {moved.state}, by {moved.user} on {moved.applied_at[:10]}{commit}"


def differences(found: Sequence[Compared], alone: Mapping[str, Sequence[str]], width: int) -> str:
    """Return how the values of two environments differ, and which features only one of them has."""
    lines = (
        list(shift_lines(found, width=width, paint=plain)) if found else ["No feature that both have has other values."]
    )
    lines += [f"Only in {name}: {', '.join(listed)}" for name, listed in alone.items() if listed]
    return "\n".join(lines).strip("\n") + "\n"


def set_versions(before: str, after: str, found: Sequence[MemberChange], width: int) -> str:
    """Return which features of a set version are other than in another one, and why."""
    room = Room(width, len(found) or 1, plain)
    return "\n".join([f"{after} {members_line(before, found)}", *member_lines(found, room)]) + "\n"


def garbage(found: Garbage, width: int) -> str:
    """Return what there is to let go of."""
    if not found:
        return "Nothing to let go of.\n"
    lines = [f"environment {name} has expired" for name in found.environments]
    rows = [(each.name, f"{each.rows:,}", f"{each.bytes:,}", each.built_at) for each in found.tables]
    listed = table(("table that nothing reads", "rows", "bytes", "built"), rows, width) if rows else ""
    return "".join([*(f"{line}\n" for line in lines), listed])


def findings(found: Sequence[Finding]) -> str:
    """Return what is wrong with a store, a line each with what mends it, and what was mended."""
    lines = [
        f"{'mended' if each.mended else each.code}: {each.what}{f'; {each.mend}' if each.mend else ''}"
        for each in found
    ]
    left = sum(each.is_left for each in found)
    return "\n".join([*lines, f"{counted(left, 'finding')} left." if left else "All is well."]) + "\n"


def refreshed(result: Result, width: int) -> str:
    """Return what a refresh did to each table, and what it came to."""
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
    said = f"{listed}Refreshed {counts}{warned}. The store is at state {done.serial}.\n"
    return f"{said}{_UNREAD}\n" if result.unread else said


_UNREAD = "Rows before the times above were not read again; edits of them need: featdsl refresh --full"


def _nothing_new(result: Result) -> str:
    """Return what there is to say where no row was written."""
    left = f"{counted(len(result.left), 'table')} could not be refreshed." if result.left else ""
    if result.unread:
        return "\n".join(filter(None, ("No new rows.", left, _UNREAD)))
    return left or "Everything is up to date."


def checks(checked: Sequence[Checked]) -> str:
    """Return each rule and whether the stored rows keep it, with examples of those that do not."""
    lines = []
    for each in checked:
        verdict = "ok    " if not each.broken else "broken" if each.severity == "error" else "warn  "
        rule = told(each.rule, each.name, "error")
        count = f"  {_broken(each)}".rstrip() if each.broken else ""
        lines.append(f"{verdict}  {each.address} ({each.owner}): {rule}{count}")
        lines += [f"          {', '.join(f'{name} = {value}' for name, value in row.items())}" for row in each.examples]
    broken = sum(bool(each.broken) and each.severity == "error" for each in checked)
    warned = sum(bool(each.broken) and each.severity == "warn" for each in checked)
    warnings = f", {counted(warned, 'warning')}" if warned else ""
    return "\n".join([*lines, f"{counted(len(checked), 'check')}, {broken} broken{warnings}."]) + "\n"


def _broken(found: Checked | CheckResult) -> str:
    """Return how much of what was checked breaks the rule; of an age there is no more to say."""
    match found.kind:
        case "expect":
            return f"{found.broken:,} of {found.rows:,} rows"
        case "unique":
            return counted(found.broken, "value")
        case "rows":
            return sizes.rows(found.rows)
        case "max_age" | "stable":
            return ""
        case "between":
            return counted(found.broken, "figure")


def check_history(found: Sequence[CheckResult], width: int) -> str:
    """Return what checks found as a table, the newest first."""
    rows = [
        (each.checked_at[:19], each.verdict, str(each.serial), each.during, each.by, each.address, _outcome(each))
        for each in found
    ]
    return table(("checked at", "verdict", "state", "during", "by", "what", "rule"), rows, width)


def _outcome(found: CheckResult) -> str:
    """Return a rule, and by how much it was broken."""
    said = _broken(found) if found.broken else ""
    return f"{said}: {found.told}" if said else found.told


def parity(compared: Parity) -> str:
    """Return how many values are served as they are trained on, and those that are not."""
    lines = [
        f"{each.feature} of {each.keys}: served {each.served!r}, trained on {each.trained!r}"
        for each in compared.differences
    ]
    counted = f"{compared.values:,} values compared, {len(lines):,} differ."
    skipped = [f"Not compared, as they need a request: {', '.join(compared.skipped)}."] if compared.skipped else []
    return "\n".join([*lines, counted, *skipped]) + "\n"


def table(titles: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> str:
    """Return rows under their titles in aligned columns; the last column is cut where the line would be too long."""
    firsts = [[_first_line(cell) for cell in row] for row in [titles, *rows]]
    widths = [max(len(row[column]) for row in firsts) for column in range(len(titles))]
    lines = []
    for row in firsts:
        line = "  ".join(cell.ljust(wide) for cell, wide in zip(row, widths, strict=True)).rstrip()
        lines.append(line if len(line) <= width else f"{line[: width - 1].rstrip()}…")
    return "\n".join(lines) + "\n"


def description(found: Described, width: int) -> str:
    """Return all that is known of one thing, a fact a line."""
    dtype = found.definition.get("dtype", "")
    lines = [f"{found.kind} {found.address}  {dtype}".rstrip()]
    lines += [f"  {line}" for line in found.description.splitlines()]
    facts = dict(_facts(found))
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


def _facts(found: Described) -> Iterator[tuple[str, str]]:
    yield "owner", _owner(found.owner, adhoc=found.adhoc)
    yield "declared", found.declared_at
    if found.deprecated is not None:
        yield "deprecated", str(found.deprecated)
    for name, value in found.definition.items():
        if name != "dtype" and value not in (None, [], {}, "") and value is not False:
            yield name, _value(value)
    data = found.data
    if data:
        null_share = data.get("null_share")
        nulls = f", {100 * null_share:.1f} % null" if null_share is not None else ""
        yield "rows", f"{data['rows']:,}{nulls}"
        yield "newest", _time(data["newest"]) if data["newest"] else "holds at all times"
        yield "built", f"{data['built_at']} by {data['engine']}"
    if data.get("samples"):
        yield "samples", ", ".join(str(value) for value in data["samples"])
    if found.checks:
        yield "checks", "\n".join(_last_result(each, found.address) for each in found.checks)
    yield "made of", "\n".join(found.made_of) or "nothing else"
    yield "used by", "\n".join(found.used_by) or "nobody yet"
    if found.kept:
        yield "older", "\n".join(_older(each) for each in found.kept)


def _last_result(found: CheckResult, address: str) -> str:
    of = "" if found.address == address else f"{found.address.removeprefix(f'{address}.')}: "
    return f"{found.checked_at[:19]} {found.verdict:7}  {of}{_outcome(found)}"


def _older(kept: Kept) -> str:
    size = ", ".join(filter(None, (sizes.rows(kept.rows), sizes.size(kept.bytes))))
    return f"{kept.feature} {kept.fingerprint[:8]}: {size}\n  for {', '.join(kept.held_by) or 'nobody'}"


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
    older = "" if member["current"] else "  (pinned: its definition has changed since)"
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
    """Return feature values, a feature a line and an entity a block."""
    blocks = []
    for row in rows:
        wide = max((len(name) for name in row), default=0)
        blocks.append("\n".join(f"{name.ljust(wide)}  {value}" for name, value in row.items()))
    return "\n\n".join(blocks) + "\n"
