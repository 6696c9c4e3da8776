"""Read latest values from the online store; what it does not have is computed or read from the tables."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar

from featdsl.definitions.kinds import FeatureDefinition
from featdsl.definitions.moments import naive_time_of, time_of
from featdsl.definitions.snapshot import Snapshot
from featdsl.engines.lookups import Read, Want
from featdsl.engines.reading import KeyRows, Reader, RowTime
from featdsl.online import OnlineStore, Publication
from featdsl.online.compile import CompiledRead, RowPlace, compile_read
from featdsl.online.fetch import PAST, LatestRequest, Steps, arun, fetched, run, value_at
from featdsl.online.manifest import Manifest, read_manifest
from featdsl.query import latest_values
from featdsl.query.answer import Answer, ServedValue
from featdsl.query.selection import Selection
from featdsl.query.statuses import served_value

_ATTEMPTS = 10
"""How often a request is compiled again because a publication came in between."""
BEYOND = "the publication does not reach the time of the read"
"""Why rows are read from the tables although they are published."""


class SelectedState(Protocol):
    """The newest state of the tables, which a request was resolved against."""

    @property
    def snapshot(self) -> Snapshot:
        """The registry."""
        ...

    def reader(self) -> Reader:
        """Return a reader of the open tables."""
        ...

    def open_tables_of(self, wants: Sequence[Want]) -> None:
        """Let readers read the stored tables of features."""
        ...

    def reading(self) -> AbstractContextManager[None]:
        """Raise StoreError if the body fails and the files of open tables are damaged."""
        ...


class Tables(Protocol):
    """The tables of an environment, which have what the online store does not."""

    def select(self, features: Any) -> tuple[SelectedState, Selection]:
        """Resolve the features of a call against the newest state of the registry."""
        ...

    def is_current(self, state: SelectedState) -> bool:
        """Return whether a state is the newest one."""
        ...

    def read(self, state: SelectedState, selection: Selection, request: LatestRequest) -> Answer:
        """Read a selection from the tables of a state."""
        ...


_KEPT = 1000
"""The number of compiled requests that are kept."""
T = TypeVar("T")


@dataclass(frozen=True)
class _Prepared:
    """A compiled request with the state that it was resolved against."""

    features: Any
    compiled: CompiledRead
    state: SelectedState
    of_thread: threading.local = field(default_factory=threading.local)

    def computed(self, rows: KeyRows, stored: Mapping[Read, Sequence[Any]]) -> list[dict[str, Any]]:
        """Return the columns that are computed at the call. Each thread keeps a reader: it has compiled their SQL."""
        reader: Reader = getattr(self.of_thread, "reader", None) or self.state.reader()
        self.of_thread.reader = None  # a reader whose call fails is not used again
        values = latest_values.computed(reader, self.compiled.computed, rows, stored)
        self.of_thread.reader = reader
        return values


class OnlineReads:
    """Reads from one online store. Threads may share it. Compiled requests are kept until a publication changes them."""

    def __init__(self, online: OnlineStore, tables: Tables) -> None:
        self.online = online
        self._tables = tables
        self._prepared: dict[Any, _Prepared] = {}
        self._manifest: tuple[bytes, Manifest] | None = None

    def read(self, features: Any, key: Any, request: LatestRequest) -> Answer | None:
        """Return the latest values of features; None if nothing is published yet. `key` identifies the features."""
        for _ in range(_ATTEMPTS):
            prepared = self._kept(key) or self._prepare(features, key)
            if prepared is None:
                return None
            now = request.at or time.time_ns() // 1000
            found = run(fetched(prepared.compiled, request, now), self.online.read)
            if found is not None:
                return self._answer(prepared, request, found, now)
            self._renew(key, prepared)
        return None

    async def aread(self, features: Any, key: Any, request: LatestRequest) -> Answer | None:
        """Return the same as `read`; whatever may take long runs in another thread."""
        for _ in range(_ATTEMPTS):
            prepared = self._kept(key) or await asyncio.to_thread(self._prepare, features, key)
            if prepared is None:
                return None
            now = request.at or time.time_ns() // 1000
            found = await arun(fetched(prepared.compiled, request, now), self.online)
            if found is not None:
                if prepared.compiled.is_complete and not any(PAST in steps for steps in found):
                    return self._answer(prepared, request, found, now)
                return await asyncio.to_thread(self._answer, prepared, request, found, now)
            await asyncio.to_thread(self._renew, key, prepared)
        return None

    def _kept(self, key: Any) -> _Prepared | None:
        """Return the compiled request, None if there is none, or if it reads tables that are not the newest any more."""
        prepared = self._prepared.get(key)
        if prepared is None or not prepared.compiled.from_tables or self._tables.is_current(prepared.state):
            return prepared
        return None

    def _prepare(self, features: Any, key: Any) -> _Prepared | None:
        """Resolve and compile a request against the newest publication, and keep it; None if there is none."""
        newest = self.online.newest()
        if newest is None:
            return None
        state, selection = self._tables.select(features)
        compiled = compile_read(selection, state.snapshot, newest.token, self._manifest_of(newest))
        prepared = _Prepared(features, compiled, state)
        if len(self._prepared) > _KEPT:
            self._prepared.clear()
        self._prepared[key] = prepared
        return prepared

    def _renew(self, key: Any, prepared: _Prepared) -> None:
        """Bind a compiled request to the newest publication, or drop it if that has other definitions or tables."""
        newest, compiled = self.online.newest(), prepared.compiled
        if newest is None or compiled.from_tables or not self._manifest_of(newest).reads_as(compiled.manifest):
            self._prepared.pop(key, None)
            return
        renewed = replace(compiled, token=newest.token, manifest=self._manifest_of(newest))
        self._prepared[key] = replace(prepared, compiled=renewed)

    def _manifest_of(self, publication: Publication) -> Manifest:
        """Return the manifest of a publication; the one of the newest publication is kept."""
        known = self._manifest
        if known is None or known[0] != publication.token:
            self._manifest = known = publication.token, read_manifest(publication.manifest)
        return known[1]

    def _answer(self, prepared: _Prepared, request: LatestRequest, steps: Steps, now: int) -> Answer:
        """Return the values of the records that were found, with what is computed at the call or read from the tables."""
        compiled = prepared.compiled
        values = _values(compiled, steps, len(request.rows))
        if compiled.computed:
            values = _merged(compiled, values, _computed(prepared, request, steps, now))
        answer = Answer(
            name=compiled.selection.name,
            rows=values,
            statuses=_statuses(compiled, steps, values, now) if request.with_status else None,
            dtypes=compiled.dtypes,
            fingerprints=compiled.fingerprints,
            read_at=time_of(now),
            from_tables=compiled.from_tables,
            state=compiled.manifest.state,
            published_at=time_of(compiled.manifest.published_at),
            selection=compiled.selection,
        )
        if compiled.from_tables:
            answer = self._with_columns_of_tables(prepared, replace(request, at=now), answer)
        if any(PAST in each for each in steps):
            answer = self._with_rows_of_tables(prepared, replace(request, at=now), steps, answer)
        return answer

    def _with_columns_of_tables(self, prepared: _Prepared, request: LatestRequest, answer: Answer) -> Answer:
        """Return the answer with the columns that are read from the tables."""
        compiled = prepared.compiled
        partial = Selection(tuple(want for want in compiled.selection.wants if want.column in compiled.from_tables))
        read = self._tables.read(prepared.state, partial, _narrowed(partial, request))
        statuses = answer.statuses
        if statuses is not None and read.statuses is not None:
            statuses = _merged(compiled, statuses, read.statuses)
        return replace(answer, rows=_merged(compiled, answer.rows, read.rows), statuses=statuses)

    def _with_rows_of_tables(self, prepared: _Prepared, request: LatestRequest, steps: Steps, answer: Answer) -> Answer:
        """Return the answer with the rows whose records do not reach the time of the read."""
        state, selection = self._tables.select(prepared.features)
        late = sorted({i for each in steps for i, step in enumerate(each) if step is PAST})
        if state.snapshot.newest != prepared.compiled.manifest.state:
            late = [*range(len(request.rows))]  # rows of two states are not mixed in one answer
        own = request.request
        if isinstance(own, Sequence):
            own = [own[i] for i in late]
        part = replace(request, rows=[request.rows[i] for i in late], request=own)
        read = self._tables.read(state, selection, part)
        rows, statuses = list(answer.rows), answer.statuses
        for place, row in zip(late, read.rows, strict=True):
            rows[place] = row
        if statuses is not None and read.statuses is not None:
            statuses = list(statuses)
            for place, status in zip(late, read.statuses, strict=True):
                statuses[place] = status
        from_tables = dict.fromkeys(answer.dtypes, BEYOND)
        return replace(answer, rows=rows, statuses=statuses, from_tables=from_tables)


def _values(compiled: CompiledRead, steps: Steps, rows: int) -> list[dict[str, Any]]:
    """Return the values that are read as they are, for each row."""
    if compiled.is_one_record:
        return [dict(zip(compiled.direct, step)) for step in steps[0]]  # noqa: B905 - steps have times, too
    if not compiled.direct:
        return [{} for _ in range(rows)]
    columns = [[step[i] if step else None for step in steps[lookup]] for lookup, i in compiled.direct.values()]
    return [dict(zip(compiled.direct, values, strict=True)) for values in zip(*columns, strict=True)]


def _computed(prepared: _Prepared, request: LatestRequest, steps: Steps, now: int) -> list[dict[str, Any]]:
    """Return the columns that are computed at the call from published values."""
    compiled = prepared.compiled
    rows = latest_values.request_rows(compiled.selection, len(request.rows), request.request)
    rows = replace(rows, at=naive_time_of(now))
    stored = {
        read: [value_at(steps, place, row) for row in range(len(request.rows))]
        for read, place in compiled.inputs.items()
    }
    return prepared.computed(rows, stored)


def _statuses(
    compiled: CompiledRead, steps: Steps, values: Sequence[Mapping[str, Any]], now: int
) -> list[dict[str, ServedValue]]:
    def row_time(place: RowPlace, row: int) -> tuple[FeatureDefinition, RowTime]:
        until = value_at(steps, place.until, row) if place.until else None
        return place.feature, RowTime(value_at(steps, place.at, row), until)

    return [
        {
            column: served_value(value[column], [row_time(place, row) for place in compiled.rows[column]], now)
            for column in compiled.dtypes
            if column in value
        }
        for row, value in enumerate(values)
    ]


def _merged(
    compiled: CompiledRead, rows: Sequence[Mapping[str, T]], others: Sequence[Mapping[str, T]]
) -> list[dict[str, T]]:
    """Return rows with further columns, in the order of the request."""
    return [
        {
            column: (row if column in row else other)[column]
            for column in compiled.dtypes
            if column in row or column in other
        }
        for row, other in zip(rows, others, strict=True)
    ]


def _narrowed(partial: Selection, request: LatestRequest) -> LatestRequest:
    """Return a request with only the keys and the request-time data that a part of its features needs."""
    rows = [{name: row[name] for name in partial.keys} for row in request.rows]
    given = request.request
    own: latest_values.Request
    if not partial.request:
        own = None
    elif isinstance(given, Mapping):
        own = {name: given[name] for name in partial.request if name in given}
    else:
        own = [{name: each[name] for name in partial.request if name in each} for each in given or ()]
    return replace(request, rows=rows, request=own)
