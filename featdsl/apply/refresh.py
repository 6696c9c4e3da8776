"""Bring stored tables up to date with their sources: compute only new rows, and publish all of them at once."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from featdsl.apply import increments, statistics
from featdsl.apply.events import (
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
from featdsl.apply.execute import commit
from featdsl.apply.run import Run, running
from featdsl.apply.table_refresh import RefreshRequest, TableRefresh
from featdsl.definitions.history import HistoryEntry, Touched
from featdsl.engines import Runtime
from featdsl.stores import environments
from featdsl.stores.damage import undamaged
from featdsl.stores.provenance import user

if TYPE_CHECKING:
    from featdsl.project.settings import Project
    from featdsl.stores import Store


@dataclass(frozen=True, kw_only=True)
class RefreshResult:
    """The result of a refresh: one entry for each table, and a summary."""

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
    project: Project, store: Store, request: RefreshRequest, runtime: Runtime, *, listen: Listener
) -> RefreshResult:
    """Refresh an environment's tables of this project, including those of pinned versions, and publish them.

    After an error the store is as it was. Raises DataError if data break a rule, ResourceError if memory or disk space run
    out, StoreLockedError if another writer holds the store for too long.
    """
    begun, timeout = time.monotonic(), project.lock_timeout
    with (
        store.writing(lambda holder: listen(Waiting(holder, timeout)), request.environment) as writer,
        undamaged(store.damaged, writer.snapshot.tables.values),
    ):
        if behind := writer.behind():
            listen(ClockBehind(behind))
        with running(project, store, writer, runtime.functions, request.environment, during="refresh") as run:
            work = TableRefresh(run, request, runtime.compilers, listen)
            tables = list(work.tables())
            listen(Started(len(tables)))
            done = [_refreshed(work, number, table, listen) for number, table in enumerate(tables)]
        changed = _changed(done)
        rows, serial = sum(each.rows for each in changed), writer.serial - 1
        if changed or work.has_new_listings:
            statistics.collect((each.table for each in changed), run)
            writer.refreshes()
            writer.checked(run.results.checks)
            serial = writer.publish(_entry(changed, run, time.monotonic() - begun)).serial
            listen(Published(serial, rows, time.monotonic() - begun))
        summary = Summary(
            environment=request.environment,
            serial=serial,
            changes=0,
            steps=len(tables),
            built=len(changed),
            reused=len(done) - len(changed),
            rows=rows,
            bytes=writer.written(),
            seconds=time.monotonic() - begun,
            warnings=sum(each.broken > 0 and each.severity == "warn" for each in run.results.checks),
        )
    listen(summary)
    return RefreshResult(tables=tuple(done), summary=summary)


def _changed(tables: Sequence[Refreshed]) -> list[Refreshed]:
    return [each for each in tables if each.how in increments.WRITTEN]


def _refreshed(work: TableRefresh, number: int, table: str, listen: Listener) -> Refreshed:
    """Bring one table up to date, and report events about it."""
    group, started = work.group_of(table), time.monotonic()
    label = f"refresh {group}"
    listen(StepStarted(number, label, group, table))
    before = work.run.writer.written()
    refreshed = work.refresh(table)
    seconds = time.monotonic() - started
    is_written = refreshed.how in increments.WRITTEN
    size = work.run.writer.written() - before if is_written else None
    listen(StepFinished(number, label, refreshed.rows if is_written else None, size, seconds, group, table))
    timed = replace(refreshed, seconds=round(seconds, 3))
    listen(timed)
    return timed


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
