"""Read the values that a request names: rights, keys, the read itself, and its metrics."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from featdsl.definitions.coercion import Misfit, Nobody, coerced
from featdsl.errors import FeatdslError, OnlineStoreError, RequestError, StoreError
from featdsl.server.access import Caller, Tokens
from featdsl.server.json_values import Convert
from featdsl.server.metrics import Metrics
from featdsl.server.refusals import Refusal, of_error, wrong_type
from featdsl.server.selections import Named, Resolved, Resolver, refuse_other_names

if TYPE_CHECKING:
    from featdsl.featurestore import FeatureStore
    from featdsl.project.settings import Project
    from featdsl.query.answer import Answer
    from featdsl.server.access_log import LogEntry

_FRESH = 1.0
"""Seconds until the server looks for a new state of the registry, if no answer shows one earlier."""

Rows = Sequence[Mapping[str, Any]]
Request = Mapping[str, Any] | Rows | None


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The largest request: its rows, and the bytes of its body."""

    rows: int
    body: int


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a request asks for. `is_json` says whether keys are in JSON's forms, and not yet Python values."""

    named: Named
    rows: Rows
    request: Request = None
    with_status: bool = False
    is_json: bool = True


class Serving:
    """Reads values from a feature store for requests. It follows each apply without a restart."""

    def __init__(self, store: FeatureStore, project: Project, limits: Limits, metrics: Metrics) -> None:
        self.store = store
        self.limits = limits
        self.metrics = metrics
        self.tokens = Tokens(project.settings.serving.tokens)
        self.is_published = project.settings.serving.url is not None
        self._project = project.name
        self._resolver: Resolver | None = None
        self._looked = 0.0
        self._sought = 0
        self._loading: asyncio.Task[None] | None = None

    async def resolver(self, state: int = 0) -> Resolver:
        """Return the resolver of a state of the registry that is at least `state`; after a second a newer one is looked for.

        Raises StoreError if the registry cannot be read and never was.
        """
        while True:
            known, is_fresh = self._resolver, time.monotonic() - self._looked < _FRESH
            if known is not None and is_fresh and state <= max(known.state, self._sought):
                return known
            if self._loading is None:
                self._loading = asyncio.create_task(self._load(state))
            if known is not None and state <= known.state:
                return known  # this request need not wait
            await asyncio.shield(self._loading)

    async def _load(self, state: int) -> None:
        """Read the registry in a thread; the known state stays if it cannot be read."""
        self._looked = time.monotonic()
        try:
            await self.newest()
        except FeatdslError:
            if self._resolver is None:
                raise
        finally:
            self._loading = None
            self._sought = max(self._sought, state)

    async def newest(self) -> Resolver:
        """Return the resolver of the newest state. Raises StoreError."""
        snapshot = await asyncio.to_thread(self.store.applied)
        known = self._resolver
        if known is None or not (known.snapshot is snapshot or known.is_after(snapshot)):
            known = self._resolver = Resolver(snapshot, self._project)
        return known

    async def resolved(self, named: Named, caller: Caller) -> tuple[Resolver, Resolved]:
        """Return the features of a request with the state that they are of. Raises Refusal, StoreError."""
        resolver = await self.resolver()
        try:
            return resolver, resolver.resolved(named, caller)
        except Refusal:  # an apply may have come since
            resolver = await self.newest()
            return resolver, resolver.resolved(named, caller)

    async def answer(self, wanted: Wanted, caller: Caller, entry: LogEntry) -> tuple[Resolved, Answer]:
        """Return the values of a request, and the features that it names. Raises Refusal."""
        began = time.perf_counter()
        entry.rows = len(wanted.rows)
        if len(wanted.rows) > self.limits.rows:
            raise Refusal(413, "too_many_rows", f"A request has up to {self.limits.rows} rows.")
        try:
            resolver, resolved = await self.resolved(wanted.named, caller)
            entry.set = resolved.label
            answer = await self._read(resolved, wanted)
            # An apply that came meanwhile may have changed rights. Tables may be newer than the publication.
            if answer.from_tables:
                resolved = (await self.newest()).resolved(wanted.named, caller)
            elif answer.state > resolver.state:
                resolved = (await self.resolver(answer.state)).resolved(wanted.named, caller)
        except FeatdslError as error:
            raise of_error(error) from None
        seconds = time.perf_counter() - began
        self.metrics.answered(resolved.label, seconds, answer, is_published=self.is_published)
        return resolved, answer

    async def _read(self, resolved: Resolved, wanted: Wanted) -> Answer:
        rows = _converted(wanted.rows, resolved.keys, resolved.key_decoders if wanted.is_json else {}, "key")
        request = _requests(wanted, resolved)
        named = resolved.named if isinstance(resolved.named, str) else list(resolved.named)
        try:
            return await self._serve(named, rows, request=request, with_status=wanted.with_status)
        except RequestError as error:
            raise _misfit(resolved, rows, request) or of_error(error) from None

    async def _serve(self, named: str | list[str], rows: Rows, *, request: Request, with_status: bool) -> Answer:
        """Read values without blocking the event loop: the feature store runs slow reads in threads."""
        return await self.store.aserve(named, rows, request=request, with_status=with_status)

    async def unready(self) -> str | None:
        """Return why requests cannot be answered, None if they can: the registry and the online store are read once."""
        try:
            self._looked = 0.0
            snapshot = await asyncio.to_thread(self.store.applied)
            if not snapshot.head.lineage:
                return "nothing has been applied"
            # A set version, or else a feature, is read for an entity without keys: nobody's values, by the way of all requests.
            named: list[str | list[str]] = [*snapshot.catalog.sets, *([name] for name in snapshot.catalog.features)]
            for each in named[:1]:
                selection = Resolver(snapshot, self._project).selection_of(each)
                nobody, nothing = dict.fromkeys(selection.keys), dict.fromkeys(selection.request)
                await self._serve(each, [nobody], request=nothing, with_status=False)
        except OnlineStoreError:
            return "the online store does not answer"
        except StoreError:
            return "the registry cannot be read"
        except FeatdslError:  # the SQL of a feature may fail on missing keys: the store has answered
            return None
        return None


def _converted(rows: Rows, wanted: Mapping[str, str], decoders: Mapping[str, Convert], kind: str) -> Rows:
    """Return rows with exactly the wanted names, their values read from JSON where their types need it. Raises Refusal."""
    names = wanted.keys()
    for row in rows:
        if row.keys() != names:
            number = next(i for i, each in enumerate(rows, start=1) if each is row)
            raise refuse_other_names(row, wanted, kind, number)
    if not decoders:
        return rows
    return [
        {**row, **{name: _decoded(convert, row[name], name, wanted, number) for name, convert in decoders.items()}}
        for number, row in enumerate(rows, start=1)
    ]


def _decoded(convert: Convert, value: Any, name: str, wanted: Mapping[str, str], row: int) -> Any:
    try:
        return None if value is None else convert(value)
    except Misfit:
        raise wrong_type(name, wanted[name], row) from None


def _requests(wanted: Wanted, resolved: Resolved) -> Request:
    """Return the request-time data of a request, read from JSON. Raises Refusal."""
    given = wanted.request
    if given is None and not resolved.request:
        return None
    listed = [given or {}] if given is None or isinstance(given, Mapping) else given
    if len(listed) != len(wanted.rows) and not (given is None or isinstance(given, Mapping)):
        text = f"There are {len(wanted.rows)} rows, but request-time data for {len(listed)}."
        raise Refusal(422, "invalid_request", text)
    decoders = resolved.request_decoders if wanted.is_json else {}
    converted = _converted(listed, resolved.request, decoders, "request")
    return converted[0] if given is None or isinstance(given, Mapping) else converted


def _misfit(resolved: Resolved, rows: Rows, request: Request) -> Refusal | None:
    """Return the refusal of the first value that does not fit its type; None if all do."""
    requests = [request] if isinstance(request, Mapping) else request or []
    for listed, dtypes, may_miss in ((rows, resolved.keys, Nobody), (requests, resolved.request, ())):
        for number, row in enumerate(listed, start=1):
            for name, dtype in dtypes.items():
                try:
                    coerced(row[name], dtype)
                except Misfit as misfit:
                    if may_miss and isinstance(misfit, may_miss):
                        continue  # a number outside of its type is the key of no entity
                    return wrong_type(name, dtype, number)
    return None
