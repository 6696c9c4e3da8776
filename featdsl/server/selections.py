"""Resolve the features that a request names, for a caller, and keep the results between requests."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from featdsl.definitions.names import nearest
from featdsl.definitions.snapshot import Snapshot
from featdsl.errors import AmbiguousFeatureError, FeatureNotFoundError, RequestError
from featdsl.query.selection import Selection, members, resolve, select
from featdsl.server.access import Caller, hidden_group
from featdsl.server.json_values import Convert, decoder
from featdsl.server.refusals import Refusal

Named = str | tuple[str, ...]
"""A set version, such as `credit_risk@1`, or features by address or bare name; a single one may be a string too."""

LIST = "list"
"""The label of metrics and logs for features that are not a set."""
_MOST = 4096
"""The largest number of resolved requests to keep."""
_VIEW = re.compile(r"(.+)_v(\d+)")


@dataclass(frozen=True)
class Resolved:
    """Features that a caller may read, with the types of their keys and of their request-time data."""

    named: Named
    selection: Selection
    keys: Mapping[str, str]
    request: Mapping[str, str]

    @property
    def label(self) -> str:
        """The set version, or `list`: a name of the registry, never one that only a request has."""
        return self.selection.name or LIST

    @cached_property
    def key_decoders(self) -> Mapping[str, Convert]:
        """The conversion from JSON of each key that needs one."""
        return _decoders(self.keys)

    @cached_property
    def request_decoders(self) -> Mapping[str, Convert]:
        """The conversion from JSON of each value of request-time data that needs one."""
        return _decoders(self.request)


def _decoders(dtypes: Mapping[str, str]) -> dict[str, Convert]:
    decoders = {name: decoder(dtype) for name, dtype in dtypes.items()}
    return {name: each for name, each in decoders.items() if each is not None}


def address_of_service(service: str) -> str:
    """Return the set version that a feature service of Feast names: `credit_risk@1` or `credit_risk_v1`."""
    match = _VIEW.fullmatch(service)
    return f"{match[1]}@{match[2]}" if match and "@" not in service else service


class Resolver:
    """Resolves names in one state of the registry."""

    def __init__(self, snapshot: Snapshot, project: str) -> None:
        self.snapshot = snapshot
        self.state = snapshot.newest
        self._project = project
        self._known: dict[tuple[Named, Caller], Resolved] = {}
        self._readable: dict[tuple[str, Caller], list[str]] = {}

    def is_after(self, snapshot: Snapshot) -> bool:
        """Return whether this state is a later one of the same store: two threads may read the registry at once."""
        return snapshot.head.lineage == self.snapshot.head.lineage and snapshot.newest < self.state

    def resolved(self, named: Named, caller: Caller) -> Resolved:
        """Return the features of a request. Raises Refusal for unknown ones, and for those that the caller may not read."""
        found = self._known.get((named, caller))
        if found is None:
            names = self._names(named)
            selection = self._set(names, caller) if isinstance(names, str) else self._list(names, caller)
            features = [want.feature for want in selection.wants]
            if hidden_group(self.snapshot, features, caller):
                raise _private()
            found = Resolved(names, selection, selection.keys, selection.request)
            if len(self._known) < _MOST:
                self._known[named, caller] = found
        return found

    def _names(self, named: Named) -> Named:
        """Return a set version as a string, and features as a tuple."""
        if (
            not isinstance(named, str)
            or "@" in named
            or any(each.name == named for each in self.snapshot.catalog.sets.values())
        ):
            return named
        return (named,)

    def selection_of(self, features: str | Sequence[str]) -> Selection:
        """Return the features of an applied set version, or of a list, for any caller."""
        return select(self.snapshot, features, self._project)

    # Sets

    def _set(self, name: str, caller: Caller) -> Selection:
        """Return the features of a set version. Raises Refusal."""
        catalog = self.snapshot.catalog
        address = name if name in catalog.sets else catalog.former.get(name, name)
        if not caller.may_name(address):
            raise Refusal(403, "forbidden_set", f"The token may not read {shown(name)}.", self._near_sets(name, caller))
        if address not in catalog.sets:
            raise self._unknown_set(name, caller)
        return self.selection_of(address)

    def _unknown_set(self, name: str, caller: Caller) -> Refusal:
        base, at, _ = name.partition("@")
        known = self.readable_sets(caller)
        if versions := [each for each in known if each.partition("@")[0] == base]:
            what = f"The set {base} has no such version." if at else "A set is named with its version."
            return Refusal(404, "unknown_version", what, versions[-3:])
        text = f'No feature set "{shown(name)}" is applied.'
        return Refusal(404, "unknown_feature_set", text, self._near_sets(name, caller))

    def _near_sets(self, name: str, caller: Caller) -> list[str]:
        return nearest(shown(name), self.readable_sets(caller))

    def readable_sets(self, caller: Caller) -> list[str]:
        """Return the applied set versions that a caller may read, sorted by name and version."""
        known = self._readable.get(("sets", caller))
        if known is None:
            known = self._readable["sets", caller] = [
                each.address
                for each in sorted(self.snapshot.catalog.sets.values(), key=lambda each: (each.name, each.version))
                if caller.may_name(each.address)
                and not hidden_group(self.snapshot, (want.feature for want in members(self.snapshot, each)), caller)
            ]
        return known

    # Lists of features

    def _list(self, names: tuple[str, ...], caller: Caller) -> Selection:
        """Return the features of a list. Raises Refusal."""
        if not caller.may_list:
            text = "The token may read sets only. Name a set, such as credit_risk@1."
            raise Refusal(403, "forbidden_features", text, self.readable_sets(caller)[:3])
        if not names:
            raise Refusal(422, "invalid_features", "The list of features is empty.")
        for name in names:
            self._refuse(name, caller)
        try:
            return self.selection_of(names)
        except RequestError as error:
            problem = error.problems[0]
            raise Refusal(422, "invalid_features", f"{problem.summary}. {problem.what} {problem.fix}".strip()) from None

    def _refuse(self, name: str, caller: Caller) -> None:
        """Refuse the name of an unknown feature, and of one that the caller may not read."""
        if "@" in name:
            text = f"{shown(name)} is a set version, and a list has features only. Name the set as a string."
            raise Refusal(422, "invalid_features", text)
        try:
            address = resolve(self.snapshot, name, self._project)
        except AmbiguousFeatureError:
            same = [each for each in self._features(caller) if each.rpartition(".")[2] == name]
            text = f'"{shown(name)}" is a feature of several groups. Write it as group.feature.'
            raise Refusal(422, "ambiguous_feature", text, same) from None
        except FeatureNotFoundError:
            text = f'No feature "{shown(name)}" is applied.'
            raise Refusal(404, "unknown_feature", text, nearest(shown(name), self._features(caller))) from None
        if hidden_group(self.snapshot, [self.snapshot.catalog.features[address]], caller):
            raise _private()

    def _features(self, caller: Caller) -> list[str]:
        known = self._readable.get(("features", caller))
        if known is None:
            features = self.snapshot.catalog.features
            known = self._readable["features", caller] = [
                name for name, feature in features.items() if not hidden_group(self.snapshot, [feature], caller)
            ]
        return known


def _private() -> Refusal:
    return Refusal(403, "private_group", "A feature belongs to a group that is private to another team.")


def refuse_other_names(given: Iterable[str], wanted: Mapping[str, str], kind: str, row: int) -> Refusal:
    """Return the refusal of the names of a row of keys or of request-time data that differ from the wanted ones."""
    names = list(given)
    noun = "key" if kind == "key" else "request"
    listed = ", ".join(f"{name}: {dtype}" for name, dtype in wanted.items()) or "none"
    if unknown := sorted(set(names) - wanted.keys()):
        text = f'Row {row} has "{shown(unknown[0])}", but the features have no such {noun}; they have: {listed}.'
        return Refusal(
            422, "unknown_key" if kind == "key" else "unknown_request", text, nearest(shown(unknown[0]), wanted)
        )
    missing = [name for name in wanted if name not in names]
    text = f"Row {row} lacks the {noun} {missing[0]}. The features need: {listed}."
    return Refusal(422, "missing_key" if kind == "key" else "missing_request", text, missing)


def shown(name: str) -> str:
    """Return a name of a request for a message: its first 100 printable characters."""
    return "".join(each if each.isprintable() else "?" for each in name[:100])
