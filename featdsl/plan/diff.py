"""Compare the declared definitions with the applied ones."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from featdsl.definitions import durations
from featdsl.definitions.catalog import KINDS, Catalog
from featdsl.definitions.kinds import (
    Definition,
    EntityDefinition,
    FeatureDefinition,
    GroupDefinition,
    Input,
    Member,
    ModelDefinition,
    PolicyDefinition,
    SetDefinition,
    address,
)
from featdsl.definitions.quality_rules import Rule
from featdsl.definitions.sources import Column, SourceDefinition

Action = Literal["create", "change", "recompute", "remove"]
ChangeClass = Literal["metadata", "additive", "definition", "breaking", "upstream"]
"""What a change means for consumers: nothing, nothing yet, new values, a break, or new values from an upstream change."""

SYMBOLS: dict[Action, str] = {"create": "+", "change": "~", "recompute": "↻", "remove": "-"}
SIGNS = {"added": "+", "removed": "-", "redefined": "~"}
"""The mark of a feature that differs between two set versions."""
_SEVERITY: tuple[ChangeClass, ...] = ("metadata", "additive", "upstream", "definition", "breaking")


@dataclass(frozen=True, kw_only=True)
class Reason:
    """Why a definition changed: a constant code, and the old and the new value as text."""

    code: str
    change_class: ChangeClass
    before: str = ""
    after: str = ""


@dataclass(frozen=True, kw_only=True)
class MemberChange:
    """One feature that differs between two set versions, by column, with the reasons."""

    how: Literal["added", "removed", "redefined"]
    column: str
    feature: str
    reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Change:
    """One changed definition, with its reasons.

    For a new set version, or a model that moves to another one, `members` are the differences to the version `since`.
    """

    action: Action
    kind: Literal["entity", "source", "group", "feature", "set", "model", "policy"]
    address: str
    owner: str
    change_class: ChangeClass
    reasons: tuple[Reason, ...] = ()
    since: str = ""
    members: tuple[MemberChange, ...] = ()


def compare(before: Catalog, after: Catalog) -> tuple[Change, ...]:
    """Return every difference, by kind and then in address order. Equal definitions yield nothing."""
    applied, declared = before.by_key, after.by_key
    other = [key for key in applied.keys() | declared.keys() if applied.get(key) is not declared.get(key)]
    keys = sorted(other, key=lambda key: (KINDS.index(key[0]), key[1]))
    found = (_change(before, after, applied.get(key), declared.get(key)) for key in keys)
    return tuple(change for change in found if change is not None)


def _change(before: Catalog, after: Catalog, old: Definition | None, new: Definition | None) -> Change | None:
    if old is None:
        return _made("create", new, "additive") if new is not None else None
    if old == new:
        return None
    if new is None:
        return _made("remove", old, "metadata" if isinstance(old, PolicyDefinition) else "breaking")
    reasons = tuple(_reasons(before, after, old, new))
    if not reasons:
        return None
    worst = max((reason.change_class for reason in reasons), key=_SEVERITY.index)
    return _made("recompute" if worst == "upstream" else "change", new, worst, reasons)


def _made(action: Action, definition: Definition, worst: ChangeClass, reasons: tuple[Reason, ...] = ()) -> Change:
    return Change(
        action=action,
        kind=definition.kind,
        address=address(definition),
        owner=definition.owner,
        change_class=worst,
        reasons=reasons,
    )


def _reasons(before: Catalog, after: Catalog, old: Definition, new: Definition) -> Iterable[Reason]:
    match old, new:
        case EntityDefinition(), EntityDefinition():
            yield from _if_other("keys", "breaking", _keys(old), _keys(new))
        case SourceDefinition(), SourceDefinition():
            yield from _source_reasons(before, after, old, new)
        case GroupDefinition(), GroupDefinition():
            yield from _if_other("entity", "breaking", old.entity or "none", new.entity or "none")
            yield from _if_other("tags", "metadata", ", ".join(old.tags), ", ".join(new.tags))
            yield from _if_other("access", "metadata", old.access, new.access)
            yield from _if_other("rules", "metadata", _rules(old.rules, "; "), _rules(new.rules, "; "))
            yield from _if_other("rows at", "metadata", old.moments, new.moments)
            yield from _if_other("online", "metadata", _on(old.online), _on(new.online))
            yield from _if_other("engine", "metadata", old.engine, new.engine)
            yield from _guard_reasons(old, new)
        case FeatureDefinition(), FeatureDefinition():
            yield from _feature_reasons(before, after, old, new)
            yield from _guard_reasons(old, new)
        case SetDefinition(), SetDefinition():
            yield from _if_other("features", "breaking", _members(old.members), _members(new.members))
            yield from _if_other("online", "metadata", _on(old.online), _on(new.online))
            yield from _guard_reasons(old, new)
        case ModelDefinition(), ModelDefinition():
            yield from _if_other("features", "metadata", old.features, new.features)
        case PolicyDefinition(), PolicyDefinition():
            yield from _if_other("approvals", "metadata", old.approvals, new.approvals)
        case _:
            raise AssertionError(f"{old.kind} compared with {new.kind}")
    yield from _if_other("owner", "metadata", old.owner, new.owner)
    yield from _if_other("description", "metadata", old.description, new.description)
    if isinstance(old, FeatureDefinition) and isinstance(new, FeatureDefinition):
        yield from _if_other("unit", "metadata", old.unit, new.unit)


def _if_other(code: str, change_class: ChangeClass, before: str, after: str) -> Iterable[Reason]:
    if before != after:
        yield Reason(code=code, change_class=change_class, before=before, after=after)


def _on(value: bool) -> str:  # noqa: FBT001 - a field of a definition
    return "on" if value else "off"


def _guard_reasons(
    old: GroupDefinition | FeatureDefinition | SetDefinition, new: GroupDefinition | FeatureDefinition | SetDefinition
) -> Iterable[Reason]:
    yield from _if_other("protect", "metadata", _on(old.protect), _on(new.protect))
    yield from _if_other("deprecated", "metadata", str(old.deprecated or "no"), str(new.deprecated or "no"))
    yield from _if_other("renamed from", "metadata", old.renamed_from, new.renamed_from)


def _source_reasons(before: Catalog, after: Catalog, old: SourceDefinition, new: SourceDefinition) -> Iterable[Reason]:
    yield from _column_reasons(old, new)
    yield from _if_other("lookback", "metadata", _length(old.lookback), _length(new.lookback))
    if old.fingerprint == new.fingerprint:
        return
    own = [
        *_if_other("format", "definition", old.format, new.format),
        *_if_other("location", "definition", ", ".join(old.location), ", ".join(new.location)),
        *_if_other("options", "definition", _pairs(old.options), _pairs(new.options)),
        *_if_other("schema", "definition", _typed(old.schema), _typed(new.schema)),
        *_if_other("timestamp", "definition", old.timestamp or "none", new.timestamp or "none"),
        *_if_other("time_unit", "definition", old.time_unit or "none", new.time_unit or "none"),
        *_if_other("timezone", "definition", old.timezone or "none", new.timezone or "none"),
        *_if_other("ambiguous", "definition", old.ambiguous, new.ambiguous),
        *_if_other("available_at", "definition", old.available_at or "none", new.available_at or "none"),
        *_if_other("valid_to", "definition", old.valid_to or "none", new.valid_to or "none"),
        *_if_other("tie_break", "definition", ", ".join(old.tie_breaks) or "none", ", ".join(new.tie_breaks) or "none"),
    ]
    if old.sql != new.sql and _query_form(old.sql) != _query_form(new.sql):
        own.append(Reason(code="sql", change_class="definition", before=old.sql, after=new.sql))
    own += [*_variant_reasons(old, new), *_function_reasons(old, new)]
    yield from own
    for name in new.inputs:
        if name in before.sources and before.sources[name].fingerprint != after.sources[name].fingerprint:
            yield Reason(code="upstream", change_class="upstream", after=f"source {name}")


def _typed(columns: Iterable[Column]) -> str:
    return ", ".join(f"{column.name} {column.dtype}" for column in columns) or "none"


def altered(old: SourceDefinition, new: SourceDefinition) -> tuple[list[Column], list[tuple[Column, Column]]]:
    """Return the removed columns of a source, and the retyped columns as pairs of old and new."""
    now = {column.name.lower(): column for column in new.columns}
    gone = [column for column in old.columns if column.name.lower() not in now]
    pairs = [(column, now[column.name.lower()]) for column in old.columns if column.name.lower() in now]
    return gone, [(was, found) for was, found in pairs if was.dtype != found.dtype]


def _column_reasons(old: SourceDefinition, new: SourceDefinition) -> Iterable[Reason]:
    """Yield changes of the schema: they recompute nothing, but affect the readers of removed and retyped columns."""
    gone, retyped = altered(old, new)
    for column in gone:
        yield Reason(code="column gone", change_class="breaking", before=_columns([column]))
    for was, now in retyped:
        yield Reason(code="column type", change_class="breaking", before=_columns([was]), after=_columns([now]))
    had = {column.name.lower() for column in old.columns}
    added = _columns(column for column in new.columns if column.name.lower() not in had)
    yield from _if_other("column added", "metadata", "", added)


def _feature_reasons(
    before: Catalog, after: Catalog, old: FeatureDefinition, new: FeatureDefinition
) -> Iterable[Reason]:
    if old.fingerprint != new.fingerprint:
        yield from _own_reasons(old, new)
        yield from _upstream_reasons(before, after, old, new)
    yield from _if_other("tags", "metadata", ", ".join(old.tags), ", ".join(new.tags))
    yield from _if_other(
        "expect", "metadata", _rules((*old.expect, *old.whole), " and "), _rules((*new.expect, *new.whole), " and ")
    )


def _own_reasons(old: FeatureDefinition, new: FeatureDefinition) -> Iterable[Reason]:
    """Yield the differences between two definitions of a feature, apart from upstream changes."""
    yield from _if_other("dtype", "breaking", old.dtype, new.dtype)
    yield from _if_other("keys", "breaking", _keys(old), _keys(new))
    yield from _if_other("request", "breaking", _columns(old.request), _columns(new.request))
    yield from _if_other("ttl", "definition", _length(old.ttl), _length(new.ttl))
    yield from _if_other("window", "definition", str(old.window or "none"), str(new.window or "none"))
    if old.function or new.function:
        yield from _function_reasons(old, new)
    elif old.sql != new.sql and _expression_form(old.sql) != _expression_form(new.sql):
        yield Reason(code="sql", change_class="definition", before=old.sql, after=new.sql)
    yield from _variant_reasons(old, new)


def _variant_reasons(
    old: FeatureDefinition | SourceDefinition, new: FeatureDefinition | SourceDefinition
) -> Iterable[Reason]:
    """Yield a reason for each dialect whose own text of the SQL differs."""
    was, now = dict(old.variants), dict(new.variants)
    for dialect in sorted({*was, *now}):
        yield from _if_other(f"sql for {dialect}", "definition", was.get(dialect, "none"), now.get(dialect, "none"))


def version_reasons(old: FeatureDefinition, new: FeatureDefinition) -> tuple[Reason, ...]:
    """Return why two versions of a feature differ, from the versions alone: their old sources are no longer known."""
    found = [*_own_reasons(old, new), *_input_reasons(old, new)]
    return tuple(found) or (Reason(code="upstream", change_class="upstream", after="its source"),)


def _rules(rules: Iterable[Rule], between: str) -> str:
    return between.join(str(rule) for rule in rules)


def _function_reasons(
    old: FeatureDefinition | SourceDefinition, new: FeatureDefinition | SourceDefinition
) -> Iterable[Reason]:
    """Yield a reason if a function changed, or if SQL became a function or a function SQL."""
    was, now = (each.function.fingerprint if each.function else "" for each in (old, new))
    if was != now:
        before, after = (each.function.text if each.function else each.sql for each in (old, new))
        yield Reason(code="function", change_class="definition", before=before, after=after)


def _upstream_reasons(
    before: Catalog, after: Catalog, old: FeatureDefinition, new: FeatureDefinition
) -> Iterable[Reason]:
    old_source, new_source = before.groups[old.group].source, after.groups[new.group].source
    yield from _if_other("source", "definition", old_source or "inputs", new_source or "inputs")
    old_keys, new_keys = before.groups[old.group].keys, after.groups[new.group].keys
    yield from _if_other("key columns", "definition", _pairs(old_keys), _pairs(new_keys))
    same = new_source if old_source == new_source else None
    if same is not None and before.sources[same].fingerprint != after.sources[same].fingerprint:
        yield Reason(code="upstream", change_class="upstream", after=f"source {same}")
    yield from _input_reasons(old, new)


def _input_reasons(old: FeatureDefinition, new: FeatureDefinition) -> Iterable[Reason]:
    was = {item.column: item for item in old.inputs}
    for item in new.inputs:
        earlier = was.get(item.column)
        was_text = _input_text(earlier) if earlier else "none"
        if was_text != _input_text(item):
            yield Reason(code="input", change_class="definition", before=was_text, after=_input_text(item))
    earlier_ones = dict(old.upstream)
    for name, fingerprint in new.upstream:
        if earlier_ones.get(name, fingerprint) != fingerprint:
            yield Reason(code="upstream", change_class="upstream", after=f"feature {name}")


def _query_form(text: str) -> str:
    """Return a query without differences of spelling."""
    if not text:
        return ""
    from featdsl.sql import syntax_tree

    return syntax_tree.form(text)


def _expression_form(text: str) -> str:
    """Return an expression without differences of spelling."""
    if not text:
        return ""
    from featdsl.sql import syntax_tree

    return syntax_tree.form(syntax_tree.whole(text))


def _keys(definition: EntityDefinition | FeatureDefinition) -> str:
    return _columns(definition.keys)


def _columns(columns: Iterable[Column]) -> str:
    return ", ".join(f"{column.name} {column.dtype}" for column in columns)


def _input_text(item: Input) -> str:
    role = f" by {_pairs((role.key, role.feature or role.column) for role in item.keys)}" if item.keys else ""
    return f"{item.feature}{role}"


def _length(seconds: int | None) -> str:
    return durations.written(seconds) if seconds else "none"


def _pairs(pairs: Iterable[tuple[str, str]]) -> str:
    return ", ".join(f"{left} = {right}" for left, right in pairs)


def _members(members: Iterable[Member]) -> str:
    return ", ".join(sorted(member_text(member) for member in members))


def member_text(member: Member) -> str:
    """Return how a set lists a feature: its address, with its alias and its keys if it has them."""
    role = f" by {_pairs(member.keys)}" if member.keys else ""
    other = not member.renamed and member.column != member.feature.rpartition(".")[2]
    name = f" as {member.column}" if other else ""
    return f"{member.feature}{name}{role}"
