"""Read the latest values of one environment: from the online store if there is one, else from the tables."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from featdsl.declarations.feature import Feature, FeatureAlias
from featdsl.declarations.feature_set import FeatureSet
from featdsl.definitions.durations import seconds
from featdsl.definitions.kinds import FeatureDefinition
from featdsl.definitions.moments import moment, naive_time_of, time_of
from featdsl.engines.lookups import Read, Want, own_rows
from featdsl.engines.pushed_events import EventTexts
from featdsl.engines.reading import KeyRows
from featdsl.errors import OnlineStoreError, Problem
from featdsl.online.connect import open_online
from featdsl.online.fetch import LatestRequest
from featdsl.online.manifest import read_manifest
from featdsl.online.read import OnlineReads, SelectedState
from featdsl.project import invocation
from featdsl.project.settings import Project
from featdsl.query import deprecation_warnings, latest_values
from featdsl.query.answer import Answer, ServedValue
from featdsl.query.data_errors import computing
from featdsl.query.selection import Selection, select
from featdsl.query.statuses import served_value
from featdsl.states import OpenState, States

if TYPE_CHECKING:
    from featdsl.query.parity import Parity

NO_STORE = "there is no online store"
_UNPUBLISHED = "nothing is published yet"
_DOWN = "the online store is down"
_ATTEMPTS = 3
"""How often parity is checked while applies or publications come in between."""


_INHERITED: list[object] = []
"""Reads that a forked process has from its parent. They are kept: closing their sessions may wait forever."""


class LatestReads:
    """Reads the latest values. Threads may share it. It may be pickled and used after a fork."""

    def __init__(self, project: Project, environment: str, states: States) -> None:
        self._project = project
        self._environment = environment
        self._states = states
        self._begin()

    def _begin(self) -> None:
        """Start without connections and compiled requests."""
        self._lock = threading.Lock()
        self._reads: OnlineReads | None = None
        self._process = os.getpid()

    def __getstate__(self) -> dict[str, Any]:
        return {"project": self._project, "environment": self._environment, "states": self._states}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._project, self._environment, self._states = state["project"], state["environment"], state["states"]
        self._begin()

    def read(self, features: Any, request: LatestRequest) -> Answer:
        """Return the latest values of features. Raises the errors of `FeatureStore.get_features`."""
        self._leave_parent()
        try:
            reads = self._online()
            answer = reads.read(features, _key(features), request) if reads else None
        except OnlineStoreError:
            if self._project.settings.serving.when_down != "tables":
                raise
            return self._of_tables(features, request, _DOWN)
        return answer or self._of_tables(features, request, _UNPUBLISHED if reads else NO_STORE)

    async def aread(self, features: Any, request: LatestRequest) -> Answer:
        """Return the same as `read`, without blocking the event loop."""
        self._leave_parent()
        try:
            reads = self._reads or await asyncio.to_thread(self._online)
            answer = await reads.aread(features, _key(features), request) if reads else None
        except OnlineStoreError:
            if self._project.settings.serving.when_down != "tables":
                raise
            return await asyncio.to_thread(self._of_tables, features, request, _DOWN)
        if answer is not None:
            return answer
        return await asyncio.to_thread(self._of_tables, features, request, _UNPUBLISHED if reads else NO_STORE)

    def _leave_parent(self) -> None:
        """After a fork, start anew: compiled requests of the parent refer to its sessions."""
        if self._process != os.getpid():
            _INHERITED.append(self._reads)
            self._begin()

    def publish_events(self, source: str, events: EventTexts) -> None:
        """Publish the values of the entities of pushed events, if the environment is published.

        Raises OnlineStoreError, which says that the events themselves are stored.
        """
        if self._project.settings.serving.url is None or not events.texts:
            return
        from featdsl.publishing import publish_events

        self._leave_parent()
        try:
            if reads := self._online():
                publish_events(self._project, self._states, reads.online, source, events)
        except OnlineStoreError as error:
            raise OnlineStoreError([_after_push(problem) for problem in error.problems]) from None

    def parity(self, sample: int, moments: int) -> Parity | None:
        """Compare the online store with the tables and training sets; None if the project has no online store.

        Compared again if an apply or a publication comes in between. Raises OnlineStoreError if it cannot be reached.
        """
        from featdsl.online.parity import ParityRequest, online_parity
        from featdsl.publishing import published_state

        self._leave_parent()
        reads = self._online()
        if reads is None:
            return None
        horizon = seconds(self._project.settings.serving.horizon) * 1_000_000
        for _ in range(_ATTEMPTS):
            before, newest = self._states.newest(), reads.online.newest()
            now = max(moment(datetime.now(UTC)), read_manifest(newest.manifest).published_at if newest else 0)
            request = ParityRequest(sample=sample, moments=moments, now=now, upto=now + horizon)
            with published_state(self._project, self._states.newest) as state, state.reading(), computing():
                reader = state.reader_of(set(state.snapshot.tables))
                found = online_parity(reads.online, StoredTables(self._project, self._states), state, reader, request)
            if not found.differences or (self._states.newest() is before and reads.online.newest() == newest):
                return found
        return found

    def _online(self) -> OnlineReads | None:
        """Return the reads from the online store; None if the project has none, or before the first apply."""
        if self._reads is not None or self._project.settings.serving.url is None:
            return self._reads
        with self._lock:
            lineage = self._states.newest().snapshot.head.lineage
            if self._reads is None and lineage:
                online = open_online(self._project, f"{lineage}/{self._environment}")
                self._reads = OnlineReads(online, StoredTables(self._project, self._states)) if online else None
            return self._reads

    def _of_tables(self, features: Any, request: LatestRequest, why: str) -> Answer:
        tables = StoredTables(self._project, self._states)
        answer = tables.read(*tables.select(features), request)
        return replace(answer, from_tables=dict.fromkeys(answer.dtypes, why))


class StoredTables:
    """Implements `featdsl.online.read.Tables`: the tables of one environment."""

    def __init__(self, project: Project, states: States) -> None:
        self._project = project
        self._states = states

    def select(self, features: Any) -> tuple[OpenState, Selection]:
        """Return the newest state and the requested features, and warn of deprecated ones."""
        state = self._states.newest()
        selection = select(state.snapshot, features, self._project.name)
        deprecation_warnings.warn(state.snapshot, selection)
        return state, selection

    def is_current(self, state: SelectedState) -> bool:
        """Return whether a state is the newest one."""
        return self._states.newest() is state

    def read(self, state: SelectedState, selection: Selection, request: LatestRequest) -> Answer:
        """Return the latest values of a selection from the tables of a state."""
        at = request.at or moment(datetime.now(UTC))
        rows = latest_values.key_rows(selection, request.rows, request.request)
        rows = replace(rows, at=naive_time_of(at))
        state.open_tables_of(selection.wants)
        with state.reading():
            values = latest_values.values(state.reader(), selection, rows)
            statuses = _statuses(state, selection, rows, values) if request.with_status else None
        return Answer(
            name=selection.name,
            rows=values,
            statuses=statuses,
            dtypes=selection.dtypes,
            fingerprints={want.column: want.feature.fingerprint for want in selection.wants},
            read_at=time_of(at),
            from_tables=dict.fromkeys(selection.columns, ""),
            state=state.snapshot.newest,
            published_at=None,
            selection=selection,
        )


def _after_push(problem: Problem) -> Problem:
    """Return a problem of the online store with what a push has done and how to finish it."""
    what = f"{problem.what}\nThe events are stored, but their values are not published."
    fix = f"{problem.fix}\nPush the same events again, or publish: {invocation.command('publish')}".strip()
    return Problem(problem.summary, what, problem.where, fix)


def explained(answer: Answer) -> str:
    """Return where the values of an answer come from, a line for each source."""
    lines = []
    if online := [column for column in answer.dtypes if column not in answer.from_tables]:
        when = f", published {answer.published_at:%Y-%m-%d %H:%M:%S} UTC" if answer.published_at else ""
        lines.append(f"online store (state {answer.state}{when}): {', '.join(online)}")
    for why in dict.fromkeys(answer.from_tables.values()):
        columns = [column for column, own in answer.from_tables.items() if own == why]
        lines.append(f"tables ({why}): {', '.join(columns)}")
    return "\n".join(lines)


def _key(features: Any) -> Any:
    """Return what identifies the features of a call, so that its compiled request can be used again."""
    if isinstance(features, str):
        return features
    if isinstance(features, FeatureSet):
        return features.address
    if isinstance(features, Sequence):
        return tuple(map(_key, features))
    if isinstance(features, Feature):
        return features.address
    if isinstance(features, FeatureAlias):
        return features.feature.address, features.name, tuple(sorted((k, str(by)) for k, by in features.keys.items()))
    return features if isinstance(features, type) else repr(features)


def _statuses(
    state: SelectedState, selection: Selection, rows: KeyRows, values: Sequence[Mapping[str, Any]]
) -> list[dict[str, ServedValue]]:
    """Return the status of each value that was read from the tables."""
    stored = {want.column: own_rows(want, state.snapshot.versions) for want in selection.wants}
    places = {read: i for i, read in enumerate(dict.fromkeys(read for reads in stored.values() for read in reads))}
    features = {read: state.snapshot.versions[read.feature, read.fingerprint] for read in places}
    times = state.reader().row_times([_want(read, features[read]) for read in places], rows)
    now = moment(rows.at) if rows.at else 0
    return [
        {
            column: served_value(value[column], [(features[read], found[places[read]]) for read in reads], now)
            for column, reads in stored.items()
        }
        for value, found in zip(values, times, strict=True)
    ]


def _want(read: Read, feature: FeatureDefinition) -> Want:
    return Want("", feature, tuple((key, str(column)) for key, column in read.roles if key != column))
