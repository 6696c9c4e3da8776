"""Bring stored tables up to date with their sources: compute only what is new, and publish all of it at once."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from featdsl import building, calls, environments, graph, listings, newrows, recipes, selects, steps, subset
from featdsl.apply import check, commit
from featdsl.building import Run
from featdsl.definitions import Column, FeatureDefinition, GroupDefinition, SetDefinition, SourceDefinition
from featdsl.diff import altered
from featdsl.errors import DataError
from featdsl.events import (
    ClockBehind,
    Listener,
    Published,
    Refreshed,
    Started,
    StepFinished,
    StepStarted,
    Summary,
    Waiting,
)
from featdsl.names import SOURCE_SCHEMA, escaped, quote
from featdsl.newrows import New
from featdsl.recipes import Recipe
from featdsl.snapshot import PROD, HistoryEntry, Reading, StoredTable, Touched
from featdsl.stores import digests
from featdsl.stores.damage import undamaged
from featdsl.stores.lock import user

if TYPE_CHECKING:
    from featdsl.project import Project
    from featdsl.stores import Store


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What to bring up to date: all, or what is selected; from an event time on, and no new rows from another on."""

    environment: str = PROD
    select: Sequence[str] = ()
    since: str | None = None
    upto: str | None = None
    full: bool = False


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a refresh did to each table, and all in all."""

    tables: tuple[Refreshed, ...]
    summary: Summary

    @property
    def unread(self) -> list[Refreshed]:
        """The tables of databases and functions whose rows before a time were not read again."""
        return [each for each in self.tables if each.unread]

    @property
    def left(self) -> list[Refreshed]:
        """The tables that could not be refreshed."""
        return [each for each in self.tables if each.how == "not refreshed"]

    @property
    def changed(self) -> list[Refreshed]:
        """The tables that were written."""
        return _changed(self.tables)


def refresh(
    project: Project, store: Store, asked: Asked, *, listen: Listener, functions: calls.Functions | None = None
) -> Result:
    """Bring an environment's tables of this project up to date, those that pinned versions read too, and publish it.

    After an error the store is as it was. Raises DataError when data break a rule, ResourceError when memory or disk run
    out, StoreLockedError when another writer stays for too long.
    """
    begun, timeout = time.monotonic(), project.lock_timeout
    with (
        store.writing(lambda holder: listen(Waiting(holder, timeout)), asked.environment) as writer,
        undamaged(store.damaged, writer.snapshot.tables.values),
    ):
        if behind := writer.behind():
            listen(ClockBehind(behind))
        run = Run(project, store, writer, functions or {}, asked.environment, during="refresh")
        work = _Work(run, asked, listen)
        tables = list(work.tables())
        listen(Started(len(tables)))
        done = [_told(work, number, table, listen) for number, table in enumerate(tables)]
        changed = _changed(done)
        rows, serial = sum(each.rows for each in changed), writer.serial - 1
        if changed or work.noted:
            writer.refreshes()
            writer.checked(run.results)
            serial = writer.publish(_entry(changed, run, time.monotonic() - begun)).serial
            listen(Published(serial, rows, time.monotonic() - begun))
        summary = Summary(
            environment=asked.environment,
            serial=serial,
            changes=0,
            steps=len(tables),
            built=len(changed),
            reused=len(done) - len(changed),
            rows=rows,
            bytes=writer.written(),
            seconds=time.monotonic() - begun,
            warnings=sum(each.broken > 0 and each.severity == "warn" for each in run.results),
        )
    listen(summary)
    return Result(tables=tuple(done), summary=summary)


def _changed(tables: Sequence[Refreshed]) -> list[Refreshed]:
    return [each for each in tables if each.how in newrows.WRITTEN]


def _told(work: _Work, number: int, table: str, listen: Listener) -> Refreshed:
    """Bring one table up to date and tell of it."""
    label, started = f"refresh {work.group_of(table)}", time.monotonic()
    listen(StepStarted(number, label))
    before = work.run.writer.written()
    found = work.refresh(table)
    seconds = time.monotonic() - started
    is_written = found.how in newrows.WRITTEN
    taken = work.run.writer.written() - before if is_written else None
    listen(StepFinished(number, label, found.rows if is_written else None, taken, seconds))
    told = replace(found, seconds=round(seconds, 3))
    listen(told)
    return told


def _entry(changed: Sequence[Refreshed], run: Run, seconds: float) -> HistoryEntry:
    groups = sorted({each.group for each in changed})
    return HistoryEntry(
        serial=run.writer.serial,
        environment=run.environment,
        applied_at=environments.now().isoformat(timespec="seconds"),
        project=run.project.name,
        user=user(),
        commit=commit(run.project),
        summary=f"{len(changed)} refreshed",
        changes=tuple(Touched(action="refresh", kind="group", address=each, change_class="data") for each in groups),
        rows=sum(each.rows for each in changed),
        seconds=round(seconds, 3),
    )


class _Work:
    """One refresh: the tables that there are, and how each is brought up to date."""

    def __init__(self, run: Run, asked: Asked, listen: Listener) -> None:
        self.run, self._asked, self._listen = run, asked, listen
        self._snapshot = run.writer.snapshot
        self._own = self._snapshot.catalog.of_project(run.project.name)
        self._lost = run.store.drift(self._snapshot).tables
        self._features = self._by_table()
        over_sources = [name for name, features in self._features.items() if not features[0].inputs]
        known = run.store.recipes(over_sources)
        self._recipes = {name: recipes.from_json(text) for name, text in known.items()}
        self._readings = run.store.readings(over_sources)
        self.noted = False
        """Whether there is something to keep although no table has changed."""

    def _by_table(self) -> dict[str, list[FeatureDefinition]]:
        """Return the features of this project by their tables: old ones too that are pinned, where sources give them.

        A derived feature is computed from its inputs when it is read; only the current ones have a table for analysts.
        """
        found: dict[str, list[FeatureDefinition]] = {}
        for feature in self._chosen():
            current = self._own.features.get(feature.address)
            old = feature.inputs and (current is None or current.table != feature.table)
            if feature.project == self.run.project.name and feature.table in self._snapshot.tables and not old:
                found.setdefault(feature.table, []).append(feature)
        return dict(sorted(found.items()))

    def _chosen(self) -> list[FeatureDefinition]:
        versions = self._snapshot.versions
        if not self._asked.select:
            return list(versions.values())
        keys = subset.chosen(self._asked.select, self._own)
        holders = [each for each in self._own.of_keys(keys) if isinstance(each, GroupDefinition | SetDefinition)]
        return list(steps.live_versions(holders, versions).values())

    def tables(self) -> Iterator[str]:
        """Yield the tables, each after those that it reads."""
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
        recipe = self._recipes.get(name)
        if recipe is None:
            return self._report(name, New("not refreshed", "the store does not tell how it was computed"))
        gone = [each.name for each in recipe.functions if each.fingerprint not in self.run.functions]
        if gone:
            return self._report(name, New("not refreshed", f"{gone[0]} is not declared as it was then"))
        if why := self._broken(name, recipe):
            return self._report(name, New("not refreshed", why))
        return self._over_source(name, recipe)

    def _report(self, name: str, new: New, rows: int = 0) -> Refreshed:
        group = self.group_of(name)
        return Refreshed(
            group=group, table=name, how=new.how, why=new.why, since=new.since, rows=rows, unread=new.unread
        )

    # Over a source

    def _over_source(self, name: str, recipe: Recipe) -> Refreshed:
        looked = self._look(name, recipe)
        new = self._new(self._snapshot.tables[name], looked)
        if new.how not in newrows.WRITTEN:
            self._keep(name, looked)
            return self._report(name, new)
        upto = self._upto(recipe, new)
        rows = self._write(recipe, new, upto)
        self._keep(name, looked, new, upto)
        if rows is None:
            return self._report(name, replace(new, how="nothing new", why=f"{new.why}, and no row is other"))
        self._check(name, since=recipe.time(new.since) if new.since else "")
        return self._report(name, new, rows)

    def _look(self, name: str, recipe: Recipe) -> newrows.Looked:
        """Return how the sources of a table are now, beside how they were when it was made."""
        run, before = self.run, self._readings.get(name, Reading(""))
        root, listing = run.project.root, run.listing(recipe.sources)
        had = listings.from_json(before.files, root)
        changes = listings.compare(had, before.at, listing.files, run.digest) if had else None
        if had and changes is not None:
            changed = {*changes.edited, *changes.added, *(now for _, now in changes.renamed)}
            known = {each.path: each.digest for each in had.files if each.digest and each.path not in changed}
            run.digests.update(known)
        return newrows.Looked(recipe, before, had, listing, changes, root)

    def _broken(self, name: str, recipe: Recipe) -> str:
        """Return why a table that only old definitions read can be computed no more, for columns that a plan saw go."""
        import duckdb

        if any(self._own.features.get(each.address) == each for each in self._features[name]):
            return ""
        pairs = [(each, self._snapshot.catalog.sources.get(each.name)) for each in recipe.sources]
        gone = [f"{was.name}.{column.name}" for was, now in pairs if now for column in altered(was, now)[0]]
        if not gone:
            return ""
        connection, functions = self.run.writer.connection, recipe.build.functions
        try:
            self._open(recipe)
            with calls.opened(connection, functions, self.run.functions, self.run.project.root):
                connection.execute(f"EXPLAIN {recipe.sql()}")
        except (duckdb.BinderException, DataError):
            return f"{' and '.join(gone)} {'is' if len(gone) == 1 else 'are'} gone; it stays as it is"
        return ""

    def _keep(self, name: str, looked: newrows.Looked, new: New | None = None, upto: str | None = None) -> None:
        """Note what was read of a table's sources: all that there is, or rows before an event time alone."""
        if looked.unchanged and new is None:
            return
        if new is not None and (new.unread or upto is not None):
            read = self._in_part(looked, new, upto)
        else:
            read = building.reading(looked.listing, self.run)
            self.noted |= looked.is_other
        self.run.writer.keep(name, recipes.to_json(looked.recipe), read)

    def _in_part(self, looked: newrows.Looked, new: New, upto: str | None) -> Reading:
        """Return what is noted of sources of which some rows were not read, so that the next refresh looks for these."""
        if new.unread:
            files = replace(looked.had, whole=False).to_json(looked.root) if looked.had else ""
            return Reading(looked.before.at if upto else self.run.begun, files)
        if new.since is not None:
            return looked.before
        return building.reading(replace(looked.listing, upto=upto), self.run)

    def _new(self, table: StoredTable, looked: newrows.Looked) -> New:
        """Return which rows of a source are new."""
        if self._asked.full or table.name in self._lost:
            return New("rebuilt", "asked for" if self._asked.full else "it was lost from the store")
        since = self._asked.since if looked.recipe.in_parts else None
        if looked.unchanged and since is None:
            files = looked.listing.files
            return New("nothing new", "its files are as they were" if files else "its rows came from memory")
        if not looked.recipe.in_parts:
            return New("rebuilt", looked.why)
        asked = New("extended", "asked for", since=since, unread=not looked.unchanged and not looked.only_added)
        if looked.unchanged:
            return asked
        self.run.writer.open([table.name])
        first_of = partial(self._first, looked.recipe)
        found = newrows.find(looked, table, self.run.writer.connection, first_of)
        # Files tell of every row that is new; of those before the time that is asked for none is left out.
        if since is None or (found.how == "rebuilt" and looked.of_files) or (found.since and found.since < since):
            return found
        return asked

    def _first(self, recipe: Recipe, paths: Sequence[str]) -> str | None:
        """Return the first event time of some files of a source."""
        self._open(recipe, paths)
        query = f"SELECT CAST(min({recipe.known}) AS VARCHAR) FROM {SOURCE_SCHEMA}.{quote(recipe.source.name)}"
        execute = self.run.writer.connection.execute
        ((first,),) = building.in_words(recipe.source, lambda: execute(query).fetchall())
        return None if first is None else str(first)

    def _open(self, recipe: Recipe, paths: Sequence[str] = ()) -> None:
        """Let SQL read the sources of a recipe; of the last one some files alone, where they are given."""
        *before, last = map(self._as_planned, recipe.sources)
        for source in (*before, replace(last, location=tuple(map(escaped, paths))) if paths else last):
            if self.run.sources.get(source.name) != source:
                self.run.open(source)

    def _as_planned(self, source: SourceDefinition) -> SourceDefinition:
        """Return a source of a recipe with the schema that the last plan of the same source has read."""
        now = self._snapshot.catalog.sources.get(source.name)
        if now is None or now.fingerprint != source.fingerprint or not now.columns:
            return source
        return replace(source, columns=now.columns, formats=now.formats)

    def _upto(self, recipe: Recipe, new: New) -> str | None:
        """Return before which event time new rows are taken, None for all: never so early that stored ones would go."""
        upto = self._asked.upto if recipe.in_parts else None
        if upto is None or new.since is None:
            return upto
        table = self._snapshot.tables[recipe.build.table]
        self.run.writer.open([table.name])
        end = newrows.end(table, self.run.writer.connection, recipe.clock)
        return upto if end is None else max(upto, end)

    def _write(self, recipe: Recipe, new: New, upto: str | None) -> int | None:
        """Write the new rows; return how many, or None where nothing is other."""
        build, writer = recipe.build, self.run.writer
        self._open(recipe, new.files)
        sql = recipe.sql(new.since, upto)
        with calls.opened(writer.connection, build.functions, self.run.functions, self.run.project.root):
            if new.since is None:
                return building.in_words(
                    build, lambda: self._anew(build.table, sql, build.columns, build.reads, build.keys)
                )
            since = new.since
            return building.in_words(build, lambda: writer.extend(build.table, sql, since=since))

    def _anew(
        self, table: str, sql: str, columns: Sequence[Column], reads: Sequence[str], keys: Sequence[str]
    ) -> int | None:
        """Compute all rows of a table; return how many, or None where they are those that there were."""
        kept = self._snapshot.tables[table].digest
        without_digest = self._asked.full and kept and not digests.is_known(kept)
        if table in self._lost or without_digest:
            return self.run.writer.build(table, sql, columns, reads, keys)
        return self.run.writer.replace(table, sql, reads)

    # Over other features

    def _derived(self, name: str) -> Refreshed:
        features, versions, writer = self._features[name], self._snapshot.versions, self.run.writer
        reads = selects.tables_read(features, versions)
        found = [writer.table(each).changed_since(writer.table(name).written[-1].serial) for each in reads]
        since = [since for changed, since in found if changed]
        lost = name in self._lost
        if not since and not self._asked.full and not lost:
            return self._report(name, New("nothing new", "its inputs are as they were"))
        group, build = self._own.groups[features[0].group], writer.table(name)
        whole = self._asked.full or lost or None in since or not selects.only_times_of_its_own(features, versions)
        if whole or not features[0].timed:
            sql = selects.derived_table(features, versions)
            why = "it was lost from the store" if lost else "its inputs have changed"
            why = "asked for" if self._asked.full else why
            rows = building.in_words(group, lambda: self._anew(name, sql, build.columns, reads, build.keys))
            if rows is None:
                return self._report(name, New("nothing new", f"{why}, and no row is other"))
            self._check(name)
            return self._report(name, New("rebuilt", why), rows)
        first = min(each for each in since if each is not None)
        time = f"{features[0].clock} '{first}'"
        sql = selects.derived_table(features, versions, since=time)
        added = building.in_words(group, lambda: writer.extend(name, sql, since=first, reads=reads))
        if added is None:
            return self._report(name, New("nothing new", "its inputs have changed, and no row is other"))
        self._check(name, since=time)
        return self._report(name, New("extended", "its inputs have changed", since=first), added)

    # Checks

    def _check(self, name: str, since: str = "") -> None:
        """Stop where rows of a current table from a time on break a rule."""
        features = [each for each in self._features[name] if self._own.features.get(each.address) == each]
        if not features:
            return
        for step in steps.checks_of(self._own, features, self._snapshot.versions, since):
            check(step, self.run, self._listen)
