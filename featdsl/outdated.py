"""Which models were trained on features that have changed since, what has changed, and by whom."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from featdsl.definitions import FeatureDefinition
from featdsl.errors import LockFileError, Problem
from featdsl.locks import Lock
from featdsl.past import Past
from featdsl.snapshot import HistoryEntry, Snapshot, StoredTable, Written

Code = Literal["definition", "data", "rows", "gone"]
"""Why: `data` were built anew, or a refresh replaced `rows`."""


@dataclass(frozen=True, kw_only=True)
class Moved:
    """One feature that is no longer what a model was trained on: why, and the newest apply that made it so."""

    column: str
    feature: str
    owner: str
    code: Code
    before: str
    after: str
    state: int | None = None
    applied_at: str = ""
    user: str = ""
    commit: str = ""


@dataclass(frozen=True, kw_only=True)
class Outdated:
    """A declared model, or a lock in a file, with all that has moved under it."""

    kind: Literal["model", "lock"]
    name: str
    owner: str
    features: str
    moved: tuple[Moved, ...]


def models(snapshot: Snapshot, past: Past) -> Iterator[Outdated]:
    """Yield the declared models whose set version pins a definition that is not the current one any more."""
    for name in sorted(snapshot.catalog.models):
        model = snapshot.catalog.models[name]
        members = snapshot.catalog.sets[model.features].members
        pinned = {member.column: (member.feature, member.fingerprint) for member in members}
        moved = tuple(_moved(snapshot, past, pinned, _named(snapshot, past, pinned)))
        if moved:
            yield Outdated(kind="model", name=name, owner=model.owner, features=model.features, moved=moved)


def lock(snapshot: Snapshot, past: Past, kept: Lock, name: str) -> Outdated | None:
    """Return what has changed since a lock was made, if anything: definitions, or the data of a table that it read.

    What has another name by now is told under that. Raises LockFileError for a lock of another store.
    """
    if kept.lineage != snapshot.head.lineage:
        what = f"{name} was made from another store than this project's."
        raise LockFileError(Problem("Lock of another store", what, mend="Ask in the project that it was made in."))
    features = _named(snapshot, past, kept.features, since=kept.serial)
    moved = list(_moved(snapshot, past, kept.features, features))
    still = {column: features[column] for column in features.keys() - {each.column for each in moved}}
    moved += _rebuilt(snapshot, past, kept, still)
    if not moved:
        return None
    return Outdated(kind="lock", name=name, owner="", features=kept.set or ", ".join(kept.features), moved=tuple(moved))


Pinned = Mapping[str, tuple[str, str]]
"""The address and the fingerprint of the feature behind each column."""


def _named(snapshot: Snapshot, past: Past, pinned: Pinned, since: int = 0) -> Pinned:
    """Return what was pinned under the names that it has now, which had these ones at a state."""
    former = snapshot.catalog.former
    return {
        column: (past.now(former.get(feature, feature), snapshot.catalog, since), fingerprint)
        for column, (feature, fingerprint) in pinned.items()
    }


def _moved(snapshot: Snapshot, past: Past, pinned: Pinned, named: Pinned) -> Iterator[Moved]:
    for column, (feature, fingerprint) in named.items():
        versions, current = snapshot.versions, snapshot.catalog.features.get(feature)
        old = versions.get((feature, fingerprint)) or versions.get(pinned[column])
        if current is not None and current.fingerprint == fingerprint:
            continue
        code: Code = "gone" if current is None else "definition"
        before, after = _difference(old, current)
        owner = current.owner if current else old.owner if old else ""
        who = _who(_cause(past, feature))
        yield Moved(column=column, feature=feature, owner=owner, code=code, before=before, after=after, **who)


def _rebuilt(snapshot: Snapshot, past: Past, kept: Lock, features: Mapping[str, tuple[str, str]]) -> Iterator[Moved]:
    """Yield the features whose own table was built anew since, or had rows replaced by a refresh."""
    for column, (feature, fingerprint) in sorted(features.items()):
        definition = snapshot.versions[feature, fingerprint]
        before, table = kept.tables.get(definition.table, ""), snapshot.tables.get(definition.table)
        if table is None or not before:
            continue
        moved = Moved(
            column=column, feature=feature, owner=definition.owner, code="data", before=before, after=table.built_at
        )
        if table.built_at != before or _is_new(table, kept.written.get(table.name)):
            who = _who(next((each for each in reversed(past.entries) if each.applied_at >= table.built_at), None))
            yield replace(moved, **who)
        elif changed := _changed(table, kept.written.get(table.name)):
            who = _who(next((each for each in past.entries if each.serial == changed.serial), None))
            yield replace(moved, code="rows", before="", after=changed.since or "", **who)


def _is_new(table: StoredTable, known: int | None) -> bool:
    """Return whether all of a table was written after a state; not, where that state is not known."""
    first = table.written[0] if table.written else None
    return known is not None and first is not None and first.since is None and first.serial > known


def _changed(table: StoredTable, known: int | None) -> Written | None:
    """Return the first refresh after a state that replaced rows of a table; None where that state is not known."""
    later = [each for each in table.written if known is not None and each.serial > known and each.changed]
    return later[0] if later else None


def _who(entry: HistoryEntry | None) -> dict[str, Any]:
    """Return who did it when, as the fields of a row."""
    if entry is None:
        return {}
    return {"state": entry.serial, "applied_at": entry.applied_at, "user": entry.user, "commit": entry.commit}


def _cause(past: Past, feature: str) -> HistoryEntry | None:
    """Return the newest apply that changed the values of a feature or removed it."""
    for entry, name in past.of(feature):
        for each in entry.changes:
            if (each.kind, each.address) == ("feature", name) and each.change_class not in {"metadata", "additive"}:
                return entry
    return None


def _moves(old: FeatureDefinition, new: FeatureDefinition) -> bool:
    """Return whether the SQL says something else, and not only the same with the new names of what it reads."""
    if not old.sql or not new.sql:
        return old.sql != new.sql
    from featdsl import sql, syntax

    text, columns = old.sql, {each.feature: each.column for each in new.inputs}
    for each in old.inputs:
        text = sql.renamed(text, each.column, columns.get(each.feature, each.column))
    return syntax.form(syntax.whole(text)) != syntax.form(syntax.whole(new.sql))


def _difference(old: FeatureDefinition | None, new: FeatureDefinition | None) -> tuple[str, str]:
    """Return what a definition said and says where they differ, as short texts."""
    if old is None or new is None:
        return (old.sql if old else "", new.sql if new else "")
    for was, now in (
        (old.sql if _moves(old, new) else new.sql, new.sql),
        (old.dtype, new.dtype),
        (str(old.window or ""), str(new.window or "")),
    ):
        if was != now:
            return was, now
    was_upstream = dict(old.upstream)
    changed = [name for name, fingerprint in new.upstream if was_upstream.get(name, fingerprint) != fingerprint]
    return "", f"because {', '.join(changed) if changed else 'what it is computed from'} changed"
