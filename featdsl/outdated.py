"""Which models were trained on features that have changed since, what has changed, and by whom."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from featdsl.definitions import FeatureDefinition
from featdsl.errors import LockFileError, Problem, StoreError
from featdsl.locks import Lock
from featdsl.past import Past
from featdsl.pointintime import tables_of
from featdsl.snapshot import HistoryEntry, Snapshot, StoredTable, Written
from featdsl.stores import Store

Code = Literal["definition", "data", "rows", "added", "gone", "list"]
"""Why: `data` were built anew, a refresh replaced `rows`, rows were only `added`, or a set version lists something else."""


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


@dataclass(frozen=True)
class _Known:
    """The data that a model was trained on: for each table that there was, in which state it was written last, and built when.

    `serial` is the state of then. None stands for a state that a lock of before refreshes does not tell, and a time of
    building is known from locks alone.
    """

    serial: int
    written: Mapping[str, int | None]
    built: Mapping[str, str]

    @classmethod
    def of_lock(cls, kept: Lock) -> _Known:
        """Return what a lock knows."""
        return cls(kept.serial, {name: kept.written.get(name) for name in kept.tables}, kept.tables)

    @classmethod
    def of_state(cls, then: Snapshot, serial: int) -> _Known:
        """Return what is known of an earlier state of the store."""
        return cls(serial, {each.table: serial for each in then.versions.values()}, {})

    def built_since(self, table: StoredTable) -> bool:
        """Return whether a table of then was made anew after that."""
        known, first = self.written.get(table.name), table.written[0] if table.written else None
        is_new = known is not None and first is not None and first.since is None and first.serial > known
        return is_new or table.built_at != self.built.get(table.name, table.built_at)

    def later(self, table: StoredTable) -> Sequence[Written]:
        """Return what refreshes wrote into a table after that; one that was not there then was made of the same rows."""
        if table.name not in self.written:
            return [each for each in table.written[1:] if each.serial > self.serial]
        known = self.written[table.name]
        return [each for each in table.written if known is not None and each.serial > known]


Earlier = Callable[[int], Snapshot | None]
"""Returns an earlier state of the store, None where it is not kept any more."""


def state(store: Store, environment: str, serial: int) -> Snapshot | None:
    """Return an earlier state of a store, None where it is not kept any more."""
    try:
        return store.read(environment, serial)
    except StoreError:
        return None


def models(snapshot: Snapshot, past: Past, earlier: Earlier, *, data: bool = False) -> Iterator[Outdated]:
    """Yield the declared models whose set version pins a definition that is not the current one, or whose data have changed.

    Data count from the apply that the model was declared in, or moved to its set version, for as long as that state is
    kept. Rows that were only added count where `data` is asked for.
    """
    for name in sorted(snapshot.catalog.models):
        model = snapshot.catalog.models[name]
        members = snapshot.catalog.sets[model.features].members
        pinned = {member.column: (member.feature, member.fingerprint) for member in members}
        named = _named(snapshot, past, pinned)
        moved = list(_moved(snapshot, past, pinned, named))
        entry = _applied(past, name)
        then = earlier(entry.serial) if entry else None
        if entry is not None and then is not None:
            known = {column: pin for column, pin in pinned.items() if pin in snapshot.versions}
            found = _rewritten(snapshot, past, _Known.of_state(then, entry.serial), known, added=data)
            moved += [each for each in found if each.column not in {other.column for other in moved}]
        if moved:
            yield Outdated(kind="model", name=name, owner=model.owner, features=model.features, moved=tuple(moved))


def _applied(past: Past, model: str) -> HistoryEntry | None:
    """Return the newest apply that declared a model or moved it to another set version; None where it is not kept."""
    for entry in past.entries:
        touched = next((each for each in entry.changes if (each.kind, each.address) == ("model", model)), None)
        if touched and (touched.action == "create" or (touched.action == "change" and past.moves(entry, model))):
            return entry
    return None


def lock(snapshot: Snapshot, past: Past, kept: Lock, name: str, *, data: bool = False) -> Outdated | None:
    """Return what has changed since a lock was made, if anything: definitions, or the data of a table that it read.

    What has another name by now is told under that. Rows that were only added count where `data` is asked for. Raises
    LockFileError for a lock of another store.
    """
    if kept.lineage != snapshot.head.lineage:
        what = f"{name} was made from another store than this project's."
        raise LockFileError(Problem("Lock of another store", what, mend="Ask in the project that it was made in."))
    features = _named(snapshot, past, kept.features, since=kept.serial)
    moved = list(_moved(snapshot, past, kept.features, features))
    still = {column: features[column] for column in features.keys() - {each.column for each in moved}}
    moved += [each for each in _listed(snapshot, kept) if each.column not in {other.column for other in moved}]
    known = _Known.of_lock(kept)
    moved += _rewritten(snapshot, past, known, still, added=data)
    if not moved:
        return None
    return Outdated(kind="lock", name=name, owner="", features=kept.set or ", ".join(kept.features), moved=tuple(moved))


Pinned = Mapping[str, tuple[str, str]]
"""The address and the fingerprint of the feature behind each column."""


def _named(snapshot: Snapshot, past: Past, pinned: Pinned, since: int = 0) -> Pinned:
    """Return what was pinned under the names that it has now, which had these ones at a state."""
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
    """Yield the features whose stored rows were built anew since, replaced by a refresh, or, where asked for, added."""
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
    """Yield what the set version of a lock lists otherwise by now: it was dropped, forgotten and made anew."""
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
    """Yield how a table was written since: why, when it was built before, when or from which time on, and in which state."""
    if known.built_since(table):
        before = known.built.get(table.name, "")
        yield "data", before, table.built_at, table.written[0].serial if table.written else None
        return
    for each in known.later(table):
        yield "rows" if each.changed else "added", "", each.since or "", each.serial


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
