"""Compute the tables of a trial, for the entities of its spine alone where their keys are known."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from featdsl.apply import run_errors
from featdsl.definitions import graph, udfs
from featdsl.definitions.catalog import Catalog
from featdsl.definitions.kinds import FeatureDefinition
from featdsl.definitions.names import quote
from featdsl.definitions.quality_rules import broken_rule, example_lines
from featdsl.definitions.snapshot import Snapshot
from featdsl.definitions.sources import Column, SourceDefinition
from featdsl.definitions.stored_tables import StoredTable
from featdsl.engines import Runtime
from featdsl.engines.comparisons import SideSource
from featdsl.engines.lookups import Lookups, Read, Roles, Spine, Versions, Want, rounds_of
from featdsl.errors import DataError, Problem, StoreError
from featdsl.plan.steps import uniqueness

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from featdsl.apply.run_errors import Subject
    from featdsl.engines.reading import Reader
    from featdsl.engines.session import Session

DECLARED = "declared"
"""The side of a session on which the sources of the declarations are open."""
_SHOWN_ROWS = 5
_ORDER_OF_APPLY = ("Nothing was published. ", ", then apply again", " Nothing was published.")


@contextmanager
def reported(subject: Subject, session: Session) -> Iterator[None]:
    """Raise DataError or ResourceError, in the words of a trial, for what the engine cannot read or compute in the body."""
    try:
        with run_errors.reported(subject, session):
            yield
    except DataError as error:
        raise type(error)([replace(each, fix=_reworded(each.fix)) for each in error.problems]) from None


def _reworded(fix: str) -> str:
    for words in _ORDER_OF_APPLY:
        fix = fix.replace(words, "")
    return fix


@dataclass(frozen=True)
class Bench:
    """A session in which a trial's tables are computed.

    `catalog` has the definitions to compute, `state` every definition and the stored tables; `reader_of` returns a reader of a
    state in the session, `open_stored` lets the session read stored tables.
    """

    session: Session
    catalog: Catalog
    state: Snapshot
    runtime: Runtime
    reader_of: Callable[[Snapshot], Reader]
    open_stored: Callable[[Iterable[StoredTable]], None]

    def open_sources(self, open_source: Callable[[SourceDefinition], None]) -> None:
        """Open every source of the catalogue, each after the sources that it reads."""
        with self.session.comparisons.side(DECLARED):
            for source in graph.with_inputs(self.catalog, self.catalog.sources):
                with reported(source, self.session):
                    open_source(source)

    def compute(self, wants: Sequence[Want], spine: Spine | None) -> Snapshot:
        """Compute every table that wanted features read, and return the state with these tables.

        The tables have the entities of the spine, or all entities of the sources.
        """
        state = self.state
        rounds = rounds_of(wants, state.versions)
        for number, lookups in enumerate(rounds):
            earlier = {table for each in rounds[:number] for table, _ in each}
            later = {table for each in rounds[number + 1 :] for table, _ in each}
            for table in dict.fromkeys(table for table, _ in lookups if table not in earlier):
                # Keys of a later round may come from the table itself.
                roles = None if table in later else [roles for name, roles in lookups if name == table]
                stored = self._stored(state, _features(rounds, table), roles, spine)
                state = replace(state, tables={**state.tables, table: stored})
        return state

    def _stored(
        self, state: Snapshot, features: Sequence[FeatureDefinition], roles: Sequence[Roles] | None, spine: Spine | None
    ) -> StoredTable:
        """Compute the table of features, or open the stored one of another project's features."""
        first = features[0]
        if first.group in self.catalog.groups:
            return self._computed(features, self._entities(state, roles, first, spine))
        return self.open_table_of(first)

    def open_table_of(self, feature: FeatureDefinition) -> StoredTable:
        """Let the session read the stored table of another project's feature. Raises StoreError if there is none."""
        stored = self.state.tables.get(feature.table)
        if stored is None:
            what = (
                f"{feature.address} of the project {feature.project} is read from the store, which has no table of it."
            )
            raise StoreError(Problem("Table is not stored", what, fix="Let its project apply it: featdsl apply"))
        self.open_stored([stored])
        return stored

    def _entities(
        self, state: Snapshot, roles: Sequence[Roles] | None, feature: FeatureDefinition, spine: Spine | None
    ) -> str:
        """Return the query of the entities that a table is looked up for; empty if the table is computed whole."""
        if roles is None or spine is None or not feature.keys:
            return ""
        queries = [self._looked_up(state, feature, each, spine) for each in roles]
        return "\nUNION\n".join(queries) if all(queries) else ""

    def _looked_up(self, state: Snapshot, feature: FeatureDefinition, roles: Roles, spine: Spine) -> str:
        """Return the query of the entities that one lookup asks for; empty if features of other keys give its keys."""
        givers = list(dict.fromkeys(target for _, target in roles if isinstance(target, Read)))
        if any(isinstance(own, Read) for giver in givers for _, own in giver.roles):
            return ""
        names = {giver: f"#giver {number}" for number, giver in enumerate(givers)}
        values = [
            f"TRY_CAST({quote(names[target])} AS {key.dtype})" if isinstance(target, Read) else spine.keys[target]
            for key, (_, target) in zip(feature.keys, roles, strict=True)
        ]
        relation = spine.sql
        if givers:
            wants = [_giver(name, giver, state.versions) for giver, name in names.items()]
            relation = f"(\n{self.reader_of(state).training_query(wants, spine).sql}\n)"
        listed = ", ".join(f"{value} AS {quote(key.name)}" for value, key in zip(values, feature.keys, strict=True))
        return f"SELECT DISTINCT {listed} FROM {relation}"

    def _computed(self, features: Sequence[FeatureDefinition], kept: str) -> StoredTable:
        """Compute the table of features over the source of its group, of the entities in the query `kept` or of all."""
        group = self.catalog.groups[features[0].group]
        source = self.catalog.sources[str(group.source)]
        table = features[0].table
        compiler, comparisons = self.runtime.compilers.store, self.session.comparisons
        compiled = (compiler.events_table if features[0].window else compiler.base_table)(group, features, source)
        with _calling(self.session, list(udfs.of(features, source)), self.runtime), reported(group, self.session):
            comparisons.open_rows(SideSource(DECLARED, group, features[0], source), kept)
            comparisons.create_table(table, compiled.sql)
        if not features[0].window:
            self._refuse_duplicates(features)
        ((rows,),) = self.session.rows(f"SELECT count(*) FROM tables.{quote(table)}")
        return _table(table, rows, compiled.columns)

    def _refuse_duplicates(self, features: Sequence[FeatureDefinition]) -> None:
        """Raise DataError if an entity has several rows of one time, which apply would refuse."""
        step = uniqueness(self.catalog.groups[features[0].group], features, self.runtime.compilers.store)
        broken, rows = self.session.first_rows(step.sql, _SHOWN_ROWS)
        if broken:
            what = "\n".join(
                [broken_rule(step.address, step.kind, step.rule_text, broken), *example_lines(rows, broken)]
            )
            raise DataError(Problem("Check failed", what, step.origin, step.fix))


@contextmanager
def _calling(session: Session, uses: Sequence[udfs.FunctionUse], runtime: Runtime) -> Iterator[None]:
    try:
        with session.calling(uses, runtime.functions):
            yield
    except DataError as error:
        raise type(error)([replace(each, fix=_reworded(each.fix)) for each in error.problems]) from None


def _features(rounds: Sequence[Lookups], table: str) -> list[FeatureDefinition]:
    """Return the features that lookups read in a table, by name."""
    found = {
        f.address: f for lookups in rounds for (name, _), features in lookups.items() if name == table for f in features
    }
    return [found[address] for address in sorted(found)]


def _giver(column: str, giver: Read, versions: Versions) -> Want:
    feature = versions[giver.feature, giver.fingerprint]
    return Want(column, feature, tuple((key, str(target)) for key, target in giver.roles))


def _table(name: str, rows: int, columns: tuple[Column, ...]) -> StoredTable:
    return StoredTable(name=name, file="", rows=rows, columns=columns, engine="", built_at="")
