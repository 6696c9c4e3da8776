"""Derive the ordered steps of a plan, each with its SQL."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from featdsl.definitions import graph, quality_rules, udfs
from featdsl.definitions.catalog import Catalog
from featdsl.definitions.dialects import STORE, TITLES
from featdsl.definitions.kinds import Definition, FeatureDefinition, GroupDefinition, revised
from featdsl.definitions.snapshot import Drift, Snapshot
from featdsl.definitions.table_spec import TableSpec
from featdsl.engines import Baseline, Compiler, UnprovedError, derived_rows, table_layout
from featdsl.engines.lookups import Versions
from featdsl.errors import DeclarationError, Origin, Problem
from featdsl.plan import rule_checks
from featdsl.plan.diff import Change
from featdsl.plan.document import BuildTable, CheckRows, Forget, OpenSource, Record, Step
from featdsl.plan.sides import Queries, Sides
from featdsl.plan.views import view_steps

_NOWHERE = Origin("", 0)


def derive(sides: Sides, changes: Iterable[Change], drift: Drift, queries: Queries, live: Versions) -> Iterator[Step]:
    """Yield the steps that take the registry to the target: build, check, publish, record, delete.

    The versions of `queries` include features that the target pins and the registry has deleted. `live` are the versions
    that a group or a set version reads once the plan is applied.
    """
    snapshot, target, written = sides.snapshot, sides.target, sides.written.versions
    stale = [(name, table) for name in _in_order(target) for table in _to_build(snapshot, target, name, drift)]
    yield from _open_sources(target, dict.fromkeys(name for name, _ in stale))
    for name, table in stale:
        features = target.tables_of(name)[table]
        yield build_step(target, features, queries, _why(snapshot, features, changes))
        if TableSpec.of(features).rows != "events":
            yield uniqueness(target.groups[name], features, queries.compiler)
    yield from _checks(snapshot, target, queries, {name for name, _ in stale})
    yield from view_steps(sides, queries, drift, live)
    yield from _records(sides.written_own, target)
    current = {(feature.address, feature.fingerprint) for feature in target.features.values()}
    for key in sorted(live.keys() - current):
        was = written.get(key)
        if was is None or (was != live[key] and _placeless(was) != _placeless(live[key])):
            yield Record(definition=live[key])
    for key in sorted(written.keys() - live.keys()):
        yield Forget(kind="feature", address=key[0], fingerprint=key[1])


def _in_order(catalog: Catalog) -> list[str]:
    return graph.ordered({name: catalog.upstream_of(name) for name in catalog.groups})


def _to_build(snapshot: Snapshot, catalog: Catalog, group: str, drift: Drift) -> list[str]:
    return [name for name in catalog.tables_of(group) if name not in snapshot.tables or name in drift.tables]


def _why(snapshot: Snapshot, features: Sequence[FeatureDefinition], changes: Iterable[Change]) -> str:
    """Return why a table is built: the new, changed and removed features of its group."""
    group = TableSpec.of(features).group
    if group not in snapshot.catalog.groups:
        return "new"
    touched = [c for c in changes if c.kind == "feature" and c.address.partition(".")[0] == group]
    if not touched:
        times = (r.after for c in changes if c.address == group for r in c.reasons if r.code == "rows at")
        return next((f"rows at {moments}" for moments in times), "lost from the store")
    return ", ".join(
        f"{c.address.partition('.')[2]} {c.change_class if c.action == 'change' else c.action}" for c in touched
    )


def _open_sources(catalog: Catalog, groups: Iterable[str]) -> Iterator[OpenSource]:
    read = [source for name in groups if (source := catalog.groups[name].source)]
    yield from (OpenSource(source=source) for source in graph.with_inputs(catalog, read))


def build_step(catalog: Catalog, features: Sequence[FeatureDefinition], queries: Queries, reason: str) -> BuildTable:
    """Return the step that builds the table of features, in the dialect of the engine that computes their group.

    Raises DeclarationError for SQL that this engine is not known to compute with the same values.
    """
    spec = TableSpec.of(features)
    group = catalog.groups[spec.group]
    compiler = queries.compilers.of(group)
    step = partial(
        BuildTable,
        group=group.name,
        table=spec.name,
        dialect=compiler.dialect,
        keys=tuple(spec.key_names),
        timed=spec.timed,
        reason=reason,
        origin=group.origin,
    )
    with _proved(group):
        if group.source is None:
            compiled = compiler.derived_table(features, queries.versions, tables=queries.tables)
            reads = derived_rows.tables_read(features, queries.versions)
            return step(sql=compiled.sql, columns=compiled.columns, reads=reads)
        source = catalog.sources[group.source]
        compile_table = compiler.events_table if spec.rows == "events" else compiler.base_table
        compiled = compile_table(group, features, source)
    return step(
        sql=compiled.sql,
        columns=compiled.columns,
        reads=(),
        source=source.name,
        source_keys=table_layout.source_keys(group, spec.keys),
        functions=tuple(udfs.of(features, source)),
    )


@contextmanager
def _proved(group: GroupDefinition) -> Iterator[None]:
    """Raise DeclarationError for SQL that the engine of a group is not known to compute with the same values."""
    try:
        yield
    except UnprovedError as error:
        what, fix = f"group {group.name}: {error}.", f'Let DuckDB compute the group: engine="{STORE}".'
        raise DeclarationError(Problem(f"Not computed on {TITLES[group.engine]}", what, group.origin, fix)) from None


def checks_of(
    catalog: Catalog, features: Sequence[FeatureDefinition], queries: Queries, since: str | None
) -> Iterator[CheckRows]:
    """Yield the checks of a group after a write to its table with these features.

    Checks of single rows look at the rows since an event time, given as text, or at all rows if it is None.
    """
    table, baseline = TableSpec.of(features), Baseline(since)
    group = catalog.groups[table.group]
    if table.rows != "events":
        yield uniqueness(group, features, queries.compiler, since)
    rules = rule_checks.RuleCompiler(queries.compiler, catalog, queries.versions)
    for address, rule in rule_checks.declared(catalog, group.name):
        own = address == group.name or any(each.address == address for each in features)
        if own and rule_checks.can_be_run(rule, baseline):
            yield rules.check(group.name, address, rule, baseline)


def uniqueness(
    group: GroupDefinition, features: Sequence[FeatureDefinition], compiler: Compiler, since: str | None = None
) -> CheckRows:
    """Return the check that a table of a group has one row for each entity and time."""
    table = TableSpec.of(features)
    return CheckRows(
        address=group.name,
        rule=f"one row for each {' and '.join(table.identity)}" if table.identity else "one row",
        dialect=compiler.dialect,
        sql=compiler.duplicates(features, is_base=group.source is not None, since=since),
        reads=(table.name,),
        fix="Remove the duplicates in a Source(sql=...), or say which row wins: Source(tie_break=...).",
        origin=group.origin,
    )


def _checks(snapshot: Snapshot, target: Catalog, queries: Queries, built: set[str]) -> Iterator[CheckRows]:
    """Yield the checks of every rule of the built groups, and of new rules of the stored ones."""
    rules = rule_checks.RuleCompiler(queries.compiler, target, queries.versions)
    for name in sorted(target.groups):
        applied = name in snapshot.catalog.groups and name not in built
        known = set(rule_checks.declared(snapshot.catalog, name)) if applied else set()
        for address, rule in rule_checks.declared(target, name):
            baseline = Baseline(before=_before(snapshot, target, address))
            if (address, rule) not in known and rule_checks.can_be_run(rule, baseline):
                yield rules.check(name, address, rule, baseline)


def _before(snapshot: Snapshot, target: Catalog, address: str) -> FeatureDefinition | None:
    """Return the applied version of a feature whose stored values this plan replaces by values of the same kind, or None."""
    was, now = snapshot.catalog.features.get(address), target.features.get(address)
    if was is None or now is None or was.table == now.table or was.table not in snapshot.tables:
        return None
    same = quality_rules.is_number(was.dtype) == quality_rules.is_number(now.dtype)
    return was if same and not was.is_rowless else None


def versions_of(
    snapshot: Snapshot, target: Catalog, project: str, earlier: Snapshot | None = None
) -> dict[tuple[str, str], FeatureDefinition]:
    """Return every known feature by address and fingerprint: of the registry and of the target.

    The project's own features of an `earlier` state replace those of the registry; other projects' only fill gaps.
    """
    then = earlier.versions if earlier else {}
    own = {key: each for key, each in then.items() if each.project == project}
    return {**then, **snapshot.versions, **own, **{(f.address, f.fingerprint): f for f in target.features.values()}}


def _records(before: Catalog, target: Catalog) -> Iterator[Record | Forget]:
    """Yield the changes of the registry. A new origin alone is not recorded."""
    applied, declared = before.by_key, target.by_key
    for key in sorted(applied.keys() - declared.keys()):
        if key[0] != "feature":
            yield Forget(kind=key[0], address=key[1])
    for key in sorted(declared):
        was, now = applied.get(key), declared[key]
        if was is None or (was is not now and _placeless(was) != _placeless(now)):
            yield Record(definition=now)


def _placeless(definition: Definition) -> Definition:
    return revised(definition, origin=_NOWHERE)
