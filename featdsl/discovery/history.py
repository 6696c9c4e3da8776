"""Follow one definition through the history of applies, across its renames."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from featdsl.definitions.catalog import Catalog
from featdsl.definitions.history import HistoryEntry
from featdsl.definitions.kinds import address
from featdsl.definitions.snapshot import Snapshot
from featdsl.errors import FeatureNotFoundError
from featdsl.query import selection


@dataclass(frozen=True)
class Past:
    """The applies of an environment, the newest first; `plan` returns the JSON of a kept plan by serial, else an empty text."""

    entries: Sequence[HistoryEntry]
    plan: Callable[[int], str]
    _renames: dict[int, list[tuple[str, str, str]]] = field(default_factory=dict, init=False, compare=False)

    def of(self, name: str) -> Iterator[tuple[HistoryEntry, str]]:
        """Yield the applies that changed the definition that has this name now, each with the name that it had then."""
        for entry in self.entries:
            if entry.touches(name):
                yield entry, name
            for kind, new, old in self._renamed(entry, name):
                name = _called(name, kind, new, old)

    def reasons(self, entry: HistoryEntry) -> Mapping[tuple[str, str], list[Mapping[str, str]]]:
        """Return the reasons for the changes of an apply, by kind and address; none if its plan is no longer kept."""
        if all(each.action in {"create", "remove"} for each in entry.changes):
            return {}
        text = self.plan(entry.serial)
        changes = [each["change"] for each in json.loads(text)["changes"]] if text else []
        return {(each["kind"], each["address"]): each["reasons"] for each in changes}

    def named(self) -> Iterator[tuple[HistoryEntry, Callable[[str, str], str]]]:
        """Yield each apply, the newest first, with a function from kind and name of then to the present name."""
        later: list[tuple[str, str, str]] = []

        def present(kind: str, name: str) -> str:
            for renamed, new, old in reversed(later):
                if renamed == kind or (renamed == "group" and kind == "feature"):
                    name = _called(name, renamed, old, new)
            return name

        for entry in self.entries:
            yield entry, present
            later += self._renamed(entry)

    def known(self, name: str, snapshot: Snapshot) -> str:
        """Return the present address for a name: a former name, a bare name, or the name of a removed definition.

        An unknown name is returned as it is. Raises AmbiguousFeatureError, with the candidates, for an ambiguous bare name.
        """
        former = snapshot.catalog.former
        former = {
            **former,
            **{old.partition("@")[0]: new.partition("@")[0] for old, new in former.items() if "@" in old},
        }
        if name in former:
            return former[name]
        if any(entry.touches(name) for entry in self.entries):
            return self.now(name, snapshot.catalog, since=0)
        try:
            return address(selection.find(snapshot, name))
        except FeatureNotFoundError:
            return name

    def moves(self, entry: HistoryEntry, model: str) -> bool:
        """Return whether an apply moved a model to another set version; False if its plan is no longer kept."""
        text = self.plan(entry.serial)
        changes = [each["change"] for each in json.loads(text)["changes"]] if text else []
        return any(
            (each["kind"], each["address"]) == ("model", model)
            and any(reason["code"] == "features" for reason in each["reasons"])
            for each in changes
        )

    def now(self, name: str, catalog: Catalog, since: int) -> str:
        """Return the present name of the definition that had this name at state `since`; unchanged if no rename is known."""
        taken = {*catalog.features, *catalog.groups, *catalog.sets, *(each.name for each in catalog.sets.values())}
        for entry in reversed(self.entries):
            if name in taken:
                break
            if entry.serial > since:
                for kind, new, old in reversed(self._renamed(entry)):
                    name = _called(name, kind, old, new)
        return name

    def _renamed(self, entry: HistoryEntry, name: str = "") -> list[tuple[str, str, str]]:
        """Return the renames of an apply as (kind, new, old address), groups last; with a name an apply that cannot concern it has none."""
        own = {name, name.partition(".")[0], name.partition("@")[0]}
        if not any(
            each.action == "change"
            and each.kind in {"feature", "group", "set"}
            and (not name or {each.address, each.address.partition("@")[0]} & own)
            for each in entry.changes
        ):
            return []
        if entry.serial not in self._renames:
            self._renames[entry.serial] = list(_renames(self.plan(entry.serial)))
        return self._renames[entry.serial]


def _renames(plan: str) -> Iterator[tuple[str, str, str]]:
    changes = [each["change"] for each in json.loads(plan)["changes"]] if plan else []
    for change in sorted(changes, key=lambda each: each["kind"] == "group"):
        old = _former(change)
        if old and change["action"] == "change":
            kind, new = change["kind"], change["address"]
            group = f"{new.partition('.')[0]}." if kind == "feature" else ""
            yield kind, new.partition("@")[0], f"{group}{old}"


def _former(change: Mapping[str, Any]) -> str:
    return next((each["after"] for each in change["reasons"] if each["code"] == "renamed from"), "")


def _called(name: str, kind: str, old: str, new: str) -> str:
    """Return a name after a rename of the definition itself, or of the group or set that it belongs to."""
    separator = {"feature": "", "group": ".", "set": "@"}[kind]
    if name == old or (separator and name.startswith(f"{old}{separator}")):
        return f"{new}{name[len(old) :]}"
    return name
