"""What is applied, beside which a new declaration gets its fingerprint: the applied one, as long as the SQL means the same.

Fingerprints are of a parser's print. Another release of the parser may print a text otherwise, and an edit may leave its
meaning as it was; in both cases the applied fingerprint stays. A fingerprint that the registry has for a text of another
meaning is not taken twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from featdsl import fingerprints, syntax
from featdsl.definitions import AS_OF, Catalog, FeatureDefinition, SourceDefinition, revised
from featdsl.errors import SqlProblem
from featdsl.names import AS_OF_TIMESTAMP, SOURCE_SCHEMA, quote

_INPUTS = f"{SOURCE_SCHEMA}.inputs"
Keys = tuple[tuple[str, str, str], ...]
"""Of each key of an entity its name, its type, and the column of the source that it is."""


@dataclass(frozen=True)
class Applied:
    """The catalogue of a registry, and every version of a feature that it keeps, by address and fingerprint."""

    catalog: Catalog = field(default_factory=Catalog)
    versions: Mapping[tuple[str, str], FeatureDefinition] = field(default_factory=dict)

    def source(
        self,
        declared: SourceDefinition,
        of: Callable[[SourceDefinition, Mapping[str, str]], str],
        inputs: Mapping[str, str],
    ) -> SourceDefinition:
        """Return a source with its fingerprint, and with its applied SQL where that means the same.

        `of` makes a fingerprint of a definition and the fingerprints of the sources that it reads.
        """
        was = self.catalog.sources.get(declared.name)
        declared = _spelled_as(was, declared) if was else declared
        own = of(declared, inputs)
        declared = revised(declared, fingerprint=own)
        if was is None or not was.sql or not declared.sql or (was.sql == declared.sql and was.fingerprint == own):
            return declared
        if not syntax.alike(was.sql, declared.sql, self._relation(was)):
            return revised(declared, fingerprint=_apart(own, declared.sql)) if was.fingerprint == own else declared
        now = of(revised(declared, sql=was.sql), inputs)
        if was.fingerprint == own or now == _made(lambda: of(was, self._inputs(was))):
            return revised(declared, sql=was.sql, fingerprint=was.fingerprint)
        return declared

    def _inputs(self, source: SourceDefinition) -> Mapping[str, str]:
        known = self.catalog.sources
        return {name: known[name].fingerprint for name in source.inputs if name in known}

    def _relation(self, source: SourceDefinition) -> syntax.Relation:
        """Return the columns of the sources that a query reads, as they were when it was applied."""
        known = [self.catalog.sources[name] for name in source.inputs if name in self.catalog.sources]
        return {f"{SOURCE_SCHEMA}.{each.name}": {c.name: c.dtype for c in each.columns} for each in known}

    def feature(
        self,
        declared: FeatureDefinition,
        former: Sequence[str],
        of: Callable[[FeatureDefinition], str],
        made_of: Callable[[FeatureDefinition], str],
    ) -> FeatureDefinition:
        """Return a feature with its fingerprint, and with its applied SQL where that means the same.

        `former` are addresses that it may have been applied under.
        `of` makes the fingerprint of a definition as it is declared, `made_of` that of an applied one.
        """
        own = of(declared)
        found = (self.catalog.features.get(address) for address in (declared.address, *former))
        was = next((each for each in found if each is not None), None)
        declared = revised(declared, fingerprint=own)
        if was is None or (was.sql == declared.sql and was.fingerprint == own):
            return declared
        other = self.versions.get((was.address, own))
        if other is not None:
            alike = self._alike(other, declared)
            return _as(other, declared) if alike else revised(declared, fingerprint=_apart(own, declared.sql))
        if self._alike(was, declared):
            inputs = declared.inputs if _columns(was) == _columns(declared) else was.inputs
            now = of(revised(declared, sql=was.sql, inputs=inputs))
            if now == _made(lambda: made_of(was)):
                return _as(was, declared)
        return declared

    def _alike(self, was: FeatureDefinition, declared: FeatureDefinition) -> bool:
        """Return whether DuckDB makes the same of two features' SQL."""
        if bool(was.inputs) != bool(declared.inputs):
            return False
        texts = [syntax.whole(each.sql) for each in (was, declared)]
        if _columns(was) != _columns(declared):
            names = [{item.column: fingerprints.input_name(item) for item in each.inputs} for each in (was, declared)]
            return syntax.form(texts[0], names[0]) == syntax.form(texts[1], names[1])
        if was.sql == declared.sql:
            return True
        table, columns = self._columns_of(was)
        schema, _, name = table.partition(".")
        one, other = (f"{text}\nFROM {quote(schema)}.{quote(name)}" for text in texts)
        return syntax.alike(one, other, {table: columns})

    def _columns_of(self, feature: FeatureDefinition) -> tuple[str, Mapping[str, str]]:
        """Return the name of a table that the SQL of an applied feature can be bound over, and its columns."""
        group = self.catalog.groups.get(feature.group)
        source = self.catalog.sources.get(group.source) if group and group.source else None
        if source is not None:
            time = {AS_OF_TIMESTAMP: "TIMESTAMP"} if AS_OF in feature.formula else {}
            return f"{SOURCE_SCHEMA}.{source.name}", time | {each.name: each.dtype for each in source.columns}
        inputs = {item.column: self.versions.get((item.feature, item.fingerprint)) for item in feature.inputs}
        known = {name: each.dtype for name, each in inputs.items() if each is not None}
        asked = {column.name: column.dtype for column in feature.request}
        return _INPUTS, known | asked | ({AS_OF_TIMESTAMP: "TIMESTAMP"} if feature.asks_time else {})

    def totals_of(self, features: Sequence[FeatureDefinition]) -> list[FeatureDefinition]:
        """Return features of a group with the names that their running totals have where they are applied.

        A name that was of two totals is of neither.
        """
        named: dict[str, set[str]] = {}
        pairs = [(each, self.versions.get((each.address, each.fingerprint))) for each in features]
        for now, was in pairs:
            for one, other in zip(now.aggregates, was.aggregates if was else (), strict=False):
                named.setdefault(other.total, set()).add(one.total)
        taken = {one for names in named.values() for one in names}
        kept = {
            next(iter(names)): old
            for old, names in named.items()
            if len(names) == 1 and (old in names or old not in taken)
        }
        return [
            revised(
                each, aggregates=tuple(replace(one, total=kept.get(one.total, one.total)) for one in each.aggregates)
            )
            if each.aggregates
            else each
            for each in features
        ]

    def keys(self, group: str, declared: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
        """Return which columns of its source the keys of a group are, as they were applied where only letter case differs."""
        was = self.catalog.groups[group].keys if group in self.catalog.groups else ()
        alike = [(key, column.lower()) for key, column in was] == [(key, column.lower()) for key, column in declared]
        return was if alike else declared

    def base_of(self, feature: FeatureDefinition) -> tuple[Keys, str]:
        """Return the keys of an applied feature over a source, and the fingerprint of the source; none where one is gone."""
        group = self.catalog.groups.get(feature.group)
        source = self.catalog.sources.get(group.source) if group and group.source else None
        if group is None or source is None:
            return (), ""
        columns = dict(group.keys)
        keys = tuple((key.name, key.dtype, columns.get(key.name, key.name).lower()) for key in feature.keys)
        return keys, source.fingerprint


def _spelled_as(was: SourceDefinition, declared: SourceDefinition) -> SourceDefinition:
    """Return a source with the names of its columns as they were applied, where only letter case differs: SQL has none."""
    kept: dict[str, object] = {}
    for role in ("timestamp", "available_at", "valid_to"):
        old, new = getattr(was, role), getattr(declared, role)
        if old and new and old.lower() == new.lower():
            kept[role] = old
    if [each.lower() for each in was.tie_breaks] == [each.lower() for each in declared.tie_breaks]:
        kept["tie_break"] = was.tie_break
    old_schema, new_schema = ([(each.name.lower(), each.dtype) for each in one.schema] for one in (was, declared))
    if old_schema == new_schema:
        kept["schema"] = was.schema
    return revised(declared, **kept)


def _columns(feature: FeatureDefinition) -> set[str]:
    """Return the names under which the SQL of a derived feature has its inputs."""
    return {item.column for item in feature.inputs}


def _as(was: FeatureDefinition, declared: FeatureDefinition) -> FeatureDefinition:
    """Return a feature with the fingerprint of an applied one, and its SQL where the columns have the same names."""
    text = was.sql if _columns(was) == _columns(declared) else declared.sql
    return revised(declared, fingerprint=was.fingerprint, sql=text)


def _apart(fingerprint: str, text: str) -> str:
    """Return another fingerprint for a text that means something else than the one that the registry has it for."""
    return fingerprints.of({"apart": fingerprint, "sql": text})


def _made(fingerprint: Callable[[], str]) -> str:
    """Return a fingerprint, nothing where the SQL of before can no longer be read."""
    try:
        return fingerprint()
    except SqlProblem:
        return ""
