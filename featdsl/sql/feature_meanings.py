"""Reduce features to what decides their values, without any names: two features of one meaning have the same values.

A meaning has the rows and times of the source, the keys as columns of these rows, the SQL over these columns, the window, the
ttl and the type. Names of features, groups, entities, sources and projected columns do not count, nor how SQL is written.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from featdsl.definitions.catalog import Catalog
from featdsl.definitions.kinds import FeatureDefinition, GroupDefinition, Input
from featdsl.definitions.names import AS_OF_TIMESTAMP
from featdsl.definitions.sources import SourceDefinition
from featdsl.sql import meaning, relations, syntax_tree
from featdsl.sql.meaning import NameScope, Node, Relation, Term, UnresolvedSqlError, digest, is_nested

_ANYWHERE = ("/", "~")
_COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
_LITERAL = re.compile(r"'(?:[^']|'')*'|\b\d+(?:\.\d*)?(?:e[+-]?\d+)?\b", re.IGNORECASE)


@dataclass(frozen=True)
class _Read:
    """A source as features read it: its rows and columns, and how its times are read; `is_plain` if all its columns are stored."""

    relation: Relation
    times: str
    is_plain: bool


@dataclass
class Meanings:
    """The meanings of the features of a catalogue. Computes each when it is first asked for."""

    catalog: Catalog
    _sources: dict[str, _Read] = field(default_factory=dict)
    _features: dict[str, str] = field(default_factory=dict)
    _keys: dict[tuple[str, str], dict[str, Node]] = field(default_factory=dict)
    _trees: dict[str, Node | None] = field(default_factory=dict)
    _computed: set[tuple[str, str]] = field(default_factory=set)

    def of(self, feature: FeatureDefinition) -> str:
        """Return the hash of a feature's meaning."""
        known = self._features.get(feature.address)
        if known is None:
            try:
                known = digest(self._meaning(feature))
            except (UnresolvedSqlError, RecursionError, KeyError, TypeError):
                known = feature.fingerprint  # SQL that is not understood, or nested too deeply
            self._features[feature.address] = known
        return known

    def of_one_meaning(self, wanted: Collection[str] | None = None) -> list[list[FeatureDefinition]]:
        """Return the features that share a meaning with another, by meaning; with `wanted`, only those that share one of theirs.

        Compares figures that cost little first, so that most features are never parsed.
        """
        candidates = [*self.catalog.features.values()]
        if wanted is not None:
            outlines = {_outline(self.catalog.features[each]) for each in wanted}
            kinds = {_kind(self.catalog.features[each]) for each in wanted}
            candidates = [each for each in candidates if _kind(each) in kinds and _outline(each) in outlines]
        for key in (self._rows_read, self._literals, self.of):
            together: dict[object, list[FeatureDefinition]] = {}
            if key == self.of:
                self._parse(candidates)
            for each in candidates:
                together.setdefault(key(each), []).append(each)
            shared = [each for each in together.values() if len(each) > 1]
            if wanted is not None:
                shared = [each for each in shared if any(one.address in wanted for one in each)]
            candidates = [each for several in shared for each in several]
        return shared

    def _rows_read(self, feature: FeatureDefinition) -> object:
        """Return the rows and times that a feature reads, with its outline."""
        source = self._source_of(feature)
        rows = (source.relation.identity, source.times) if source else ("", "")
        if source is not None and not source.is_plain:
            self._computed.add(rows)
        return (*_outline(feature), *rows)

    def _literals(self, feature: FeatureDefinition) -> object:
        """Return the literals of a feature's SQL too, unless a query over the same rows may have them instead."""
        key = self._rows_read(feature)
        source = self._source_of(feature)
        if source is not None and (source.relation.identity, source.times) in self._computed:
            return key
        return key, tuple(sorted(_LITERAL.findall(_COMMENT.sub(" ", feature.sql))))

    def _parse(self, features: Iterable[FeatureDefinition]) -> None:
        """Parse the SQL of many features, and of their inputs, at once: one by one it takes longer."""
        listed = list(features)
        if listed:
            self._trees.update(syntax_tree.read_all(syntax_tree.whole(each.sql) for each in listed))

    # Features

    def _meaning(self, feature: FeatureDefinition) -> Node:
        source, group = self._source_of(feature), self.catalog.groups.get(feature.group)
        own = {"dtype": feature.dtype, "window": asdict(feature.window) if feature.window else None}
        if source is not None and group is not None:
            scope = NameScope({str(group.source): source.relation}, _TIME)
            return {
                **own, "rows": source.relation.identity, "times": source.times, "sql": self._expression(feature, scope),
                "ttl": None if feature.window else feature.ttl, "keys": _in_order(self._anchors(feature, group).values()),
            }  # fmt: skip
        if feature.computed and group is not None:
            return {**own, **self._derived(feature)}
        return {"fingerprint": feature.fingerprint}

    def _expression(self, feature: FeatureDefinition, scope: NameScope) -> Node:
        text = syntax_tree.whole(feature.sql)
        if text not in self._trees:
            self._trees[text] = syntax_tree.tree(text)
        return meaning.of_tree(self._trees[text], scope)

    def _anchors(self, feature: FeatureDefinition, group: GroupDefinition) -> dict[str, Node]:
        """Return what each key of a feature over a source is: its type and its column of the source.

        Of several keys the names count too: a transfer from one user to another is not one to the first.
        """
        source = self._source_of(feature)
        if source is None:
            return {}
        renamed = dict(group.keys)
        scope = NameScope({str(group.source): source.relation})
        columns = {key.name: scope.column([renamed.get(key.name, key.name).lower()]).tree for key in feature.keys}
        return {key.name: [key.dtype, columns[key.name], *_name_of(key.name, feature)] for key in feature.keys}

    # Derived features

    def _derived(self, feature: FeatureDefinition) -> Node:
        labels = self._labels(feature)
        inputs = {item.column: Term(self._input(item, labels), self._is_scalar(item)) for item in feature.inputs}
        asked = {each.name: Term({"#request": each.name}, not is_nested(each.dtype)) for each in feature.asks}
        return {
            "sql": self._expression(feature, NameScope({}, {**_TIME, **inputs, **asked})),
            "keys": _in_order(labels.values()), "request": {column.name: column.dtype for column in feature.asks},
        }  # fmt: skip

    def _is_scalar(self, item: Input) -> bool:
        known = self.catalog.features.get(item.feature)
        return known is not None and not is_nested(known.dtype)

    def _input(self, item: Input, labels: Mapping[str, Node]) -> Node:
        """Return what an input is: the meaning of its feature, and what each of its keys is looked up by."""
        read = self._read(item.feature, item.fingerprint)
        if read is None:
            return {"#input": item.fingerprint, "by": [asdict(role) for role in item.keys]}
        by = []
        for key, anchor in self._key_labels(read).items():
            role = next((each for each in item.keys if each.key == key), None)
            if role is not None and role.feature:
                giver = self._read(role.feature, role.fingerprint)
                by.append([anchor, {"#feature": self.of(giver) if giver else role.fingerprint}])
            else:
                by.append([anchor, labels[role.column if role else key]])
        return {"#input": self.of(read), "by": _in_order(by)}

    def _read(self, address: str, fingerprint: str) -> FeatureDefinition | None:
        """Return an input if it is the current version, else None."""
        known = self.catalog.features.get(address)
        return known if known is not None and known.fingerprint == fingerprint else None

    def _labels(self, feature: FeatureDefinition) -> dict[str, Node]:
        """Return what each key of a derived feature is: which keys of which inputs it looks up, and of several keys the name."""
        uses: dict[str, list[Node]] = {key.name: [] for key in feature.keys}
        for item in feature.inputs:
            read = self._read(item.feature, item.fingerprint)
            roles = {role.key: role for role in item.keys}
            for key, anchor in (self._key_labels(read) if read else {}).items():
                column = roles[key].column if key in roles else key
                if column in uses:
                    uses[column].append([self.of(read) if read else "", anchor])
        return {key.name: [key.dtype, _in_order(uses[key.name]), *_name_of(key.name, feature)] for key in feature.keys}

    def _key_labels(self, feature: FeatureDefinition) -> Mapping[str, Node]:
        cached = self._keys.get((feature.group, feature.address if feature.computed else ""))
        if cached is None:
            group = self.catalog.groups[feature.group]
            cached = self._labels(feature) if feature.computed else self._anchors(feature, group)
            self._keys[feature.group, feature.address if feature.computed else ""] = cached
        return cached

    # Sources

    def _source_of(self, feature: FeatureDefinition) -> _Read | None:
        group = self.catalog.groups.get(feature.group)
        if group is None or not group.source or group.source not in self.catalog.sources:
            return None
        return self._source(group.source)

    def _source(self, name: str) -> _Read:
        known = self._sources.get(name)
        if known is None:
            source = self.catalog.sources[name]
            inputs = {each: self._source(each).relation for each in source.inputs if each in self.catalog.sources}
            relation = _relation(source, inputs)
            is_plain = source.format != "sql" or all("#column" in term.tree for term in relation.columns.values())
            known = self._sources[name] = _Read(relation, _times(source, relation), is_plain)
        return known


def _kind(feature: FeatureDefinition) -> tuple[str, int | None, int, int]:
    """Return what features of one meaning share, and what is read at once: type, ttl, number of keys and of stored columns."""
    return feature.dtype, None if feature.window else feature.ttl, len(feature.keys), len(feature.roots)


def _outline(feature: FeatureDefinition) -> tuple[object, ...]:
    """Return what features of one meaning share and what costs little: also the window, and the names of stored columns."""
    roots = frozenset([each[each.rfind(".") + 1 :].lower() for each in feature.roots])
    return (*_kind(feature), str(feature.window) if feature.window else "", roots)


_TIME = {AS_OF_TIMESTAMP: Term({"#as of": True}, is_scalar=True)}


def _relation(source: SourceDefinition, inputs: Mapping[str, Relation]) -> Relation:
    columns = {each.name.lower(): each.dtype for each in source.columns}
    if source.format == "sql":
        return relations.query(source.sql, inputs, columns)
    rows: dict[str, Any] = {
        "format": source.format, "location": source.location, "options": sorted(source.options),
        "function": source.function.fingerprint if source.function else "", "event id": source.event_id,
        "inputs": [inputs[each].identity if each in inputs else each for each in source.inputs],
        "project": "" if all(map(_is_absolute, source.location)) else source.project,
    }  # fmt: skip
    declared = {each.name.lower(): each.dtype for each in source.schema}
    if source.format in {"python", "push"}:
        rows["columns"] = _in_order([name, dtype] for name, dtype in columns.items())
    return relations.stored(rows, columns, declared)


def _name_of(key: str, feature: FeatureDefinition) -> list[str]:
    return [key] if len(feature.keys) > 1 else []


def _is_absolute(location: str) -> bool:
    """Return whether a path names the same files for every project."""
    return location.startswith(_ANYWHERE) or "://" in location or location[1:3] == ":\\"


def _times(source: SourceDefinition, relation: Relation) -> str:
    """Return the hash of how a source's times are read, with its columns resolved."""
    scope = NameScope({source.name: relation})

    def column(name: str) -> Node:
        try:
            return scope.column([name.lower()]).tree
        except UnresolvedSqlError:
            return name.lower()

    named = [column(each) if each else None for each in (source.timestamp, source.available_at, source.valid_to)]
    return digest([
        *named, [column(each) for each in source.tie_breaks], source.time_unit, source.timezone, source.ambiguous,
    ])  # fmt: skip


def _in_order(trees: Iterable[Node]) -> list[Node]:
    return sorted(trees, key=digest)
