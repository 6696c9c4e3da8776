"""Find models that were trained on features that changed since: what changed, when, and by whom."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from featdsl.definitions.history import HistoryEntry
from featdsl.definitions.kinds import FeatureDefinition
from featdsl.definitions.snapshot import Snapshot
from featdsl.definitions.stored_tables import StoredTable, Written
from featdsl.discovery.history import Past
from featdsl.engines.lookups import tables_of
from featdsl.errors import LockFileError, Problem, StoreError
from featdsl.query.lockfile import Lock, refuse_other_store
from featdsl.query.selection import select
from featdsl.stores import Store

Code = Literal["definition", "data", "rows", "added", "gone", "list"]
"""Why a feature is outdated: it has a new `definition`; its `data` was rebuilt; a refresh replaced `rows`, or only `added`
some; it is `gone`; or the set version was declared again with another `list`."""


@dataclass(frozen=True, kw_only=True)
class Moved:
    """One feature that changed since a model was trained: why, and the newest apply that changed it."""

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
    """A declared model or a lock file, with the features that changed since it was trained."""

    kind: Literal["model", "lock"]
    name: str
    owner: str
    features: str
    moved: tuple[Moved, ...]


@dataclass(frozen=True)
class _Known:
    """The data that a model was trained on: for each table, the state that last wrote it, and when it was built.

    `serial` is the state at training. A state is None in lock files written before refreshes were recorded. Build times
    are known only from lock files.
    """

    serial: int
    written: Mapping[str, int | None]
    built: Mapping[str, str]

    @classmethod
    def of_lock(cls, kept: Lock) -> _Known:
        """Return the data that a lock file records."""
        return cls(kept.serial, {name: kept.written.get(name) for name in kept.tables}, kept.tables)

    @classmethod
    def of_state(cls, then: Snapshot, serial: int) -> _Known:
        """Return the data of an earlier state of the store."""
        return cls(serial, {each.table: serial for each in then.versions.values()}, {})

    def built_since(self, table: StoredTable) -> bool:
        """Return whether a table was rebuilt since training."""
        known, first = self.written.get(table.name), table.written[0] if table.written else None
        is_new = known is not None and first is not None and first.since is None and first.serial > known
        return is_new or table.built_at != self.built.get(table.name, table.built_at)

    def later(self, table: StoredTable) -> Sequence[Written]:
        """Return what refreshes wrote since training; a table built later first held the rows that training read."""
        if table.name not in self.written:
            return [each for each in table.written[1:] if each.serial > self.serial]
        known = self.written[table.name]
        return [each for each in table.written if known is not None and each.serial > known]


Earlier = Callable[[int], Snapshot | None]
"""Return an earlier state of the store, or None if it is no longer kept."""


def state(store: Store, environment: str, serial: int) -> Snapshot | None:
    """Return an earlier state of a store, or None if it is no longer kept."""
    try:
        return store.read(environment, serial)
    except StoreError:
        return None


def models(snapshot: Snapshot, past: Past, earlier: Earlier, *, data: bool = False) -> Iterator[Outdated]:
    """Yield the declared models whose set version pins an old definition, or whose data changed.

    Data is compared with the state that declared the model or moved it to its set version, if that state is still kept.
    Rows that were only added count if `data` is true.
    """
    for name in sorted(snapshot.catalog.models):
        model = snapshot.catalog.models[name]
        members = snapshot.catalog.sets[model.features].members
        pinned = {member.column: (member.feature, member.fingerprint) for member in members}
        named = _named(snapshot, past, pinned)
        moved = list(_moved(snapshot, past, pinned, named))
        entry = trained_at(past, name)
        then = earlier(entry.serial) if entry else None
        if entry is not None and then is not None:
            known = {column: pin for column, pin in pinned.items() if pin in snapshot.versions}
            found = _rewritten(snapshot, past, _Known.of_state(then, entry.serial), known, added=data)
            moved += [each for each in found if each.column not in {other.column for other in moved}]
        if moved:
            yield Outdated(kind="model", name=name, owner=model.owner, features=model.features, moved=tuple(moved))


def trained_at(past: Past, model: str) -> HistoryEntry | None:
    """Return the newest apply that declared a model or moved it to another set version, or None if it is not kept."""
    for entry in past.entries:
        touched = next((each for each in entry.changes if (each.kind, each.address) == ("model", model)), None)
        if touched and (touched.action == "create" or (touched.action == "change" and past.moves(entry, model))):
            return entry
    return None


def lock(snapshot: Snapshot, past: Past, kept: Lock, name: str, *, data: bool = False) -> Outdated | None:
    """Return the definitions and data that changed since a lock file was written, or None if nothing did.

    Renamed features are reported under their present names. Rows that were only added count if `data` is true. Raises
    LockFileError if the lock file is of another store.
    """
    if kept.lineage != snapshot.head.lineage:
        what = f"{name} was written for another store than this project's."
        fix = "Run featdsl outdated in the project that trained the model."
        raise LockFileError(Problem("Lock of another store", what, fix=fix))
    features = _named(snapshot, past, kept.features, since=kept.serial)
    moved = list(_moved(snapshot, past, kept.features, features))
    still = {column: features[column] for column in features.keys() - {each.column for each in moved}}
    moved += [each for each in _listed(snapshot, kept) if each.column not in {other.column for other in moved}]
    known = _Known.of_lock(kept)
    moved += _rewritten(snapshot, past, known, still, added=data)
    if not moved:
        return None
    return Outdated(kind="lock", name=name, owner="", features=kept.set or ", ".join(kept.features), moved=tuple(moved))


def unserved(snapshot: Snapshot, past: Past, kept: Lock, name: str) -> tuple[Moved, ...]:
    """Return the features of a lock that are served with another definition, or not at all.

    A set version goes on serving the definitions that it pins, also if its features have newer ones. Raises LockFileError
    for the lock of another store, FeatureNotFoundError if the set version is gone.
    """
    refuse_other_store(kept, snapshot)
    named = _named(snapshot, past, kept.features, since=kept.serial)
    if kept.set:
        served = {want.column: want.feature.fingerprint for want in select(snapshot, kept.set).wants}
    else:
        current = snapshot.catalog.features
        served = {column: current[each].fingerprint for column, (each, _) in named.items() if each in current}
    trained = {column: fingerprint for column, (_, fingerprint) in named.items()}
    found = lock(snapshot, past, kept, name) if served != trained else None
    return tuple(each for each in found.moved if served.get(each.column) != trained.get(each.column)) if found else ()


Pinned = Mapping[str, tuple[str, str]]
"""The address and the fingerprint of the feature behind each column."""


def _named(snapshot: Snapshot, past: Past, pinned: Pinned, since: int = 0) -> Pinned:
    """Return pinned features under their present names; `since` is the state in which they had the pinned names."""
    former, versions = snapshot.catalog.former, snapshot.versions
    present = {key: each.successor for key, each in versions.items() if each.successor}
    return {
        column: (present.get(pin) or past.now(former.get(pin[0], pin[0]), snapshot.catalog, since), pin[1])
        for column, pin in pinned.items()
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


def _rewritten(snapshot: Snapshot, past: Past, known: _Known, features: Pinned, *, added: bool) -> Iterator[Moved]:
    """Yield the features whose stored rows were rebuilt, replaced by a refresh or, with `added`, added since training."""
    for column, (feature, fingerprint) in sorted(features.items()):
        definition = snapshot.versions[feature, fingerprint]
        names = {definition.table, *tables_of([definition], snapshot.versions)}
        tables = [snapshot.tables[name] for name in sorted(names & snapshot.tables.keys())]
        found = [each for table in tables for each in _writes(table, known)]
        worst = next((each for code in ("data", "rows", "added") for each in found if each[0] == code), None)
        if worst is None or (worst[0] == "added" and not added):
            continue
        code, before, after, serial = worst
        entry = next((each for each in past.entries if each.serial == serial), None)
        yield Moved(
            column=column, feature=feature, owner=definition.owner, code=code, before=before, after=after, **_who(entry)
        )


def _listed(snapshot: Snapshot, kept: Lock) -> Iterator[Moved]:
    """Yield the features that the set version of a lock file lists differently now: it was dropped and declared again."""
    made = snapshot.catalog.sets.get(kept.set or "")
    now = {each.column: each for each in made.members} if made else {}
    for column in sorted(now.keys() | kept.features.keys()) if made else ():
        feature, fingerprint = kept.features.get(column, ("", ""))
        member = now.get(column)
        if member is None or member.fingerprint != fingerprint:
            owner = made.owner if made else ""
            after = member.feature if member else ""
            yield Moved(column=column, feature=feature or after, owner=owner, code="list", before=feature, after=after)


def _writes(table: StoredTable, known: _Known) -> Iterator[tuple[Code, str, str, int | None]]:
    """Yield the writes of a table since training: code, old build time, new build time or first changed time, state."""
    if known.built_since(table):
        before = known.built.get(table.name, "")
        yield "data", before, table.built_at, table.written[0].serial if table.written else None
        return
    for each in known.later(table):
        yield "rows" if each.changed else "added", "", each.since or "", each.serial


def _who(entry: HistoryEntry | None) -> dict[str, Any]:
    """Return who applied an entry and when, as fields of Moved."""
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
    """Return whether the SQL changed by more than the new names of its inputs."""
    if not old.sql or not new.sql:
        return old.sql != new.sql
    from featdsl.sql import parser, syntax_tree

    text, columns = old.sql, {each.feature: each.column for each in new.inputs}
    for each in old.inputs:
        text = parser.renamed(text, each.column, columns.get(each.feature, each.column))
    return syntax_tree.form(syntax_tree.whole(text)) != syntax_tree.form(syntax_tree.whole(new.sql))


def _difference(old: FeatureDefinition | None, new: FeatureDefinition | None) -> tuple[str, str]:
    """Return the old and the new side of the first difference between two definitions, as short texts."""
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
    return "", f"because {', '.join(changed) if changed else 'its source or inputs'} changed"
