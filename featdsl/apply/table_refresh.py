"""Bring stored tables up to date, one after another: decide which rows are new, compute them, check them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from featdsl.apply import build_specs, file_changes, increments
from featdsl.apply.build_specs import BuildSpec
from featdsl.apply.checks import check
from featdsl.apply.events import Listener, Refreshed
from featdsl.apply.increments import Increment, Wish
from featdsl.apply.run import Run
from featdsl.apply.source_changes import SourceChanges
from featdsl.definitions import graph
from featdsl.definitions.dialects import EXTERNAL
from featdsl.definitions.kinds import FeatureDefinition, GroupDefinition, SetDefinition
from featdsl.definitions.names import escaped
from featdsl.definitions.snapshot import PROD
from featdsl.definitions.sources import SourceDefinition
from featdsl.definitions.stored_tables import Reading
from featdsl.definitions.timestamps import in_order
from featdsl.engines import Compilers, UnprovedError, derived_rows
from featdsl.engines.external import Computed
from featdsl.engines.increments import Bounds, Increments
from featdsl.engines.session import EngineError
from featdsl.errors import DataError
from featdsl.plan import scope, steps
from featdsl.plan.diff import altered
from featdsl.plan.document import BuildTable
from featdsl.plan.live_versions import live_versions
from featdsl.plan.sides import Queries
from featdsl.stores import row_digests


@dataclass(frozen=True, kw_only=True)
class RefreshRequest:
    """The tables to refresh: all, or those selected; rows from an event time on, and no new rows from another time on."""

    environment: str = PROD
    select: Sequence[str] = ()
    since: str | None = None
    upto: str | None = None
    full: bool = False


class TableRefresh:
    """The tables of one refresh, and how each is brought up to date."""

    def __init__(self, run: Run, request: RefreshRequest, compilers: Compilers, listen: Listener) -> None:
        self.run, self._request, self._listen = run, request, listen
        self._snapshot = run.writer.snapshot
        columns = {name: table.columns for name, table in self._snapshot.tables.items()}
        self._queries = Queries(compilers, self._snapshot.versions, columns)
        self._own = self._snapshot.catalog.of_project(run.project.name)
        self._lost = run.store.drift(self._snapshot).tables
        self._features = self._by_table()
        over_sources = [name for name, features in self._features.items() if not features[0].inputs]
        kept = run.store.build_specs(over_sources)
        specs = {name: build_specs.from_json(text) for name, text in kept.items()}
        self._specs = {name: self._in_present_dialect(spec, self._features[name]) for name, spec in specs.items()}
        self._readings = run.store.readings(over_sources)
        self.has_new_listings = False
        """Whether new states of files are kept although no table has changed."""

    def _in_present_dialect(self, spec: BuildSpec, features: Sequence[FeatureDefinition]) -> BuildSpec:
        """Return a build spec for the engine that computes the group now, which may be another than the one that built the table."""
        group = self._own.groups.get(features[0].group)
        if group is None or group.engine == spec.build.dialect:
            return spec
        compiler = self._queries.compilers.of(group)
        compile_table = compiler.events_table if features[0].window else compiler.base_table
        try:
            compiled = compile_table(group, sorted(features, key=lambda each: each.name), spec.source)
        except UnprovedError:
            return spec  # an older version, which the engine of its time goes on to compute
        build = replace(spec.build, dialect=compiler.dialect, sql=compiled.sql, columns=compiled.columns)
        return replace(spec, build=build)

    def _by_table(self) -> dict[str, list[FeatureDefinition]]:
        """Return the features of this project by table: pinned older versions, too, if they are computed from a source.

        A derived feature is computed from its inputs when it is read; only its current version has a table for analysts.
        """
        tables: dict[str, list[FeatureDefinition]] = {}
        for feature in self._selected():
            current = self._own.features.get(feature.address)
            is_old = feature.inputs and (current is None or current.table != feature.table)
            if feature.project == self.run.project.name and feature.table in self._snapshot.tables and not is_old:
                tables.setdefault(feature.table, []).append(feature)
        return dict(sorted(tables.items()))

    def _selected(self) -> list[FeatureDefinition]:
        versions = self._snapshot.versions
        if not self._request.select:
            return list(versions.values())
        keys = scope.chosen(self._request.select, self._own)
        holders = [each for each in self._own.of_keys(keys) if isinstance(each, GroupDefinition | SetDefinition)]
        return list(live_versions(holders, versions).values())

    def tables(self) -> Iterator[str]:
        """Yield the tables, each after the tables that it reads."""
        yield from (name for name, features in self._features.items() if not features[0].inputs)
        for group in graph.ordered({name: self._own.upstream_of(name) for name in self._own.groups}):
            derived = self._own.tables_of(group)
            yield from (name for name in derived if name in self._features and derived[name][0].inputs)

    def group_of(self, table: str) -> str:
        """Return the group of a table."""
        return self._features[table][0].group

    def refresh(self, name: str) -> Refreshed:
        """Bring one table up to date. Raises DataError, ResourceError."""
        if self._features[name][0].inputs:
            return self._derived(name)
        spec = self._specs.get(name)
        if spec is None:
            return self._report(name, Increment("not refreshed", "the store does not tell how it was computed"))
        gone = [each.name for each in spec.functions if each.fingerprint not in self.run.functions]
        if gone:
            return self._report(name, Increment("not refreshed", f"{gone[0]} is not declared as it was then"))
        if why := self._broken(name, spec):
            return self._report(name, Increment("not refreshed", why))
        return self._over_source(name, spec)

    def _report(self, name: str, done: Increment, rows: int = 0) -> Refreshed:
        return Refreshed(
            group=self.group_of(name), table=name, how=done.how, why=done.why, since=done.since, rows=rows,
            unread=done.unread,
        )  # fmt: skip

    # Over a source

    def _over_source(self, name: str, spec: BuildSpec) -> Refreshed:
        changes = self._changes(name, spec)
        request = self._request
        wish = Wish(request.full, name in self._lost, request.since, request.upto)
        increment = increments.decide(changes, wish, _TimesOf(self, changes))
        if increment.how not in increments.WRITTEN:
            self._keep(name, changes)
            return self._report(name, increment)
        rows = self._execute(spec, increment)
        self._keep(name, changes, increment)
        if rows is None:
            unchanged = replace(increment, how="nothing new", why=f"{increment.why}, and no row is other")
            return self._report(name, unchanged)
        self._check(name, since=increment.since)
        return self._report(name, increment, rows)

    def _changes(self, name: str, spec: BuildSpec) -> SourceChanges:
        """Return the sources of a table now, beside the sources that it was last computed from."""
        sources, root = self.run.sources, self.run.project.root
        before, listing = self._readings.get(name, Reading("")), sources.listing(spec.sources)
        listed = file_changes.from_json(before.files, root)
        changes = file_changes.compare(listed, before.at, listing.files, sources.digest) if listed else None
        if listed and changes is not None:
            changed = {*changes.edited, *changes.added, *(now for _, now in changes.renamed)}
            sources.trust(each for each in listed.files if each.path not in changed)
        return SourceChanges(spec, before, listed, listing, changes, root)

    def _broken(self, name: str, spec: BuildSpec) -> str:
        """Return why a table that only older versions read can no longer be computed: a plan removed columns of its source."""
        if any(self._own.features.get(each.address) == each for each in self._features[name]):
            return ""
        pairs = [(each, self._snapshot.catalog.sources.get(each.name)) for each in spec.sources]
        gone = [f"{was.name}.{column.name}" for was, now in pairs if now for column in altered(was, now)[0]]
        if not gone:
            return ""
        if self.run.is_external(spec.build):
            return f"{' and '.join(gone)} {'is' if len(gone) == 1 else 'are'} gone; it stays as it is"
        try:
            self.open(spec)
            with self.run.calling(spec.build):
                self.run.session.columns(spec.build.sql)
        except (EngineError, DataError) as error:
            if isinstance(error, EngineError) and error.kind != "binding":
                raise
            return f"{' and '.join(gone)} {'is' if len(gone) == 1 else 'are'} gone; it stays as it is"
        return ""

    def open(self, spec: BuildSpec, paths: Sequence[str] = ()) -> None:
        """Let SQL read the sources of a build spec; of the last one only some files, if they are given."""
        *inputs, last = map(self._as_planned, spec.sources)
        location = (*last.location[:1], *paths) if last.format == "push" else tuple(map(escaped, paths))
        for source in (*inputs, replace(last, location=location) if paths else last):
            if self.run.sources.opened.get(source.name) != source:
                self.run.sources.open(source)

    def _as_planned(self, source: SourceDefinition) -> SourceDefinition:
        """Return a source of a build spec with the columns that the last plan of the same source found."""
        now = self._snapshot.catalog.sources.get(source.name)
        if now is None or now.fingerprint != source.fingerprint or not now.columns:
            return source
        return replace(source, columns=now.columns, formats=now.formats)

    def _execute(self, spec: BuildSpec, increment: Increment) -> int | None:
        """Write the rows of an increment; return their number, or None if no row changed."""
        build, run, since = spec.build, self.run, increment.since
        self.open(spec, increment.files)
        bounds = Bounds(since, increment.upto)
        if run.is_external(build):
            opened = [run.sources.opened[each.name] for each in spec.sources]
            with run.reported(build):
                return self._taken_in(build, run.external.over_source(build, spec.table, opened, bounds), since)
        query = run.session.increments.query(spec.table, bounds)
        with run.calling(build), run.reported(build):
            if since is not None:
                run.writer.open([build.table])
            with query as sql:
                if since is None:
                    return self._rebuild(build.table, sql, build.reads)
                return run.writer.extend(build.table, sql, since=since)

    def _taken_in(self, step: BuildTable, computed: Computed, since: str | None) -> int | None:
        """Write the rows that another engine has computed from an event time on; return their number, or None if no row changed."""
        if since is not None:
            query = self.run.session.parquet_rows(computed.rows, step.columns)
            return self.run.writer.extend(step.table, query, since=since)
        if self._is_built_again(step.table):
            return self.run.taken_over(step, computed)
        return self.run.writer.replace_with(step.table, computed)

    def _rebuild(self, name: str, sql: str, reads: Sequence[str]) -> int | None:
        """Compute all rows of a table; return their number, or None if no row changed."""
        table = self._snapshot.tables[name]
        if self._is_built_again(name):
            return self.run.writer.build(name, sql, table.columns, reads, table.keys)
        return self.run.writer.replace(name, sql, reads)

    def _is_built_again(self, name: str) -> bool:
        """Return whether a table is built as a new one: it is lost, or its rows cannot be compared."""
        digest = self._snapshot.tables[name].digest
        return name in self._lost or bool(self._request.full and digest and not row_digests.is_known(digest))

    def _keep(self, name: str, changes: SourceChanges, done: Increment | None = None) -> None:
        """Keep which rows of a table's sources were read: all, or only those before an event time."""
        if changes.none and done is None:
            return
        if done is not None and (done.unread or done.upto is not None):
            reading = self._part_reading(changes, done)
        else:
            reading = self.run.sources.reading(changes.listing)
            self.has_new_listings |= changes.files_differ
        self.run.writer.keep(name, build_specs.to_json(changes.spec), reading)

    def _part_reading(self, changes: SourceChanges, done: Increment) -> Reading:
        """Return the reading of sources of which some rows were not read, so that the next refresh looks for them."""
        before = changes.listed_before
        if done.unread:
            files = replace(before, whole=False).to_json(changes.root) if before else ""
            return Reading(changes.before.at if done.upto else self.run.sources.begun, files)
        if done.since is not None:
            return changes.before
        return self.run.sources.reading(replace(changes.listing, upto=done.upto))

    # Over other features

    def _derived(self, name: str) -> Refreshed:
        features, versions, writer = self._features[name], self._snapshot.versions, self.run.writer
        reads = derived_rows.tables_read(features, versions)
        written = [writer.table(each).changed_since(writer.table(name).written[-1].serial) for each in reads]
        since = [since for changed, since in written if changed]
        is_lost, is_full = name in self._lost, self._request.full
        if not since and not is_full and not is_lost:
            return self._report(name, Increment("nothing new", "its inputs are as they were"))
        is_whole = is_full or is_lost or None in since or not derived_rows.only_times_of_its_own(features, versions)
        first = (
            None
            if is_whole or not features[0].timed
            else min((each for each in since if each is not None), key=in_order)
        )
        why = "it was lost from the store" if is_lost else "its inputs have changed"
        why = "asked for" if is_full else why
        rows = self._compute_derived(name, first, reads)
        if rows is None:
            return self._report(name, Increment("nothing new", f"{why}, and no row is other"))
        self._check(name, since=first)
        return self._report(name, Increment("rebuilt" if first is None else "extended", why, since=first), rows)

    def _compute_derived(self, name: str, since: str | None, reads: Sequence[str]) -> int | None:
        """Write the rows of a derived table from an event time on, or all; return their number, or None if no row changed."""
        writer, group = self.run.writer, self._own.groups[self.group_of(name)]
        compiler = self._queries.compilers.of(group)
        sql = compiler.derived_table(self._features[name], self._snapshot.versions, since, self._queries.tables).sql
        if compiler.dialect in EXTERNAL:
            step = replace(steps.build_step(self._own, self._features[name], self._queries, ""), sql=sql)
            with self.run.reported(group):
                return self._taken_in(step, self.run.external.derived(step), since)
        with self.run.reported(group):
            if since is not None:
                return writer.extend(name, sql, since=since, reads=reads)
            return self._rebuild(name, sql, reads)

    # Checks

    def _check(self, name: str, since: str | None = None) -> None:
        """Raise DataError if rows of a current table from a time on break a rule."""
        features = [each for each in self._features[name] if self._own.features.get(each.address) == each]
        if not features:
            return
        for step in steps.checks_of(self._own, features, self._queries, since):
            check(step, self.run, self._listen)


@dataclass(frozen=True)
class _TimesOf:
    """Implements `increments.TableTimes` for one table of a refresh."""

    tables: TableRefresh
    changes: SourceChanges

    def read_from(self) -> str | None:
        """Return the event time from which on rows may be new; None if the table has no rows."""
        table = self.changes.spec.table
        with self._opened() as times:
            return times.time_to_read_from(table.name, table.clock, self.changes.before.at, self.changes.spec.lookback)

    def last(self) -> str | None:
        """Return the table's last event time; None if it has no rows."""
        with self._opened() as times:
            return times.last_time(self.changes.spec.table.name)

    def after_last(self) -> str | None:
        """Return the time just after the table's last event time; None if it has no rows."""
        table = self.changes.spec.table
        with self._opened() as times:
            return times.time_after_last(table.name, table.clock)

    def first_in(self, paths: Sequence[str]) -> str | None:
        """Return the first event time in some files of the source; None if they have no rows."""
        spec = self.changes.spec
        self.tables.open(spec, paths)
        with self.tables.run.reported(spec.source):
            return self.tables.run.session.increments.first_time(spec.table)

    @contextmanager
    def _opened(self) -> Iterator[Increments]:
        """Open the stored table, and report errors that its rows raise."""
        with self.tables.run.reported(self.changes.spec.build):
            self.tables.run.writer.open([self.changes.spec.table.name])
            yield self.tables.run.session.increments
