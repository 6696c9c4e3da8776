"""Publish to Redis: stage records under names that nobody reads, and move them into place by one script."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import redis

from featdsl.errors import OnlineStoreError
from featdsl.online import Publication
from featdsl.online.options import already_committed
from featdsl.online.redis.errors import explained
from featdsl.online.redis.layout import Names, marked
from featdsl.online.redis.lease import Lease
from featdsl.online.redis.scripts import COMMIT, DROP_OVERLAY, MERGE, REMOVE, UNSTAGE

_FIELDS = 500
"""Records of one command: it keeps the server busy for less than a millisecond."""

_AT_ONCE = 8_000
"""Records that are sent before waiting for answers."""

_SMALL = 2_000
"""Changes that the commit itself writes, instead of staging them: a script of that many runs for a few milliseconds."""


@dataclass(slots=True)
class _Changes:
    """The changes of one table: those kept here, by key, and how many others are staged. None deletes a record."""

    is_new: bool
    is_cleared: bool = False
    is_staged: bool = False
    staged: int = 0
    kept: dict[bytes, bytes | None] = field(default_factory=dict)

    @property
    def replaces(self) -> bool:
        """Whether the staged records are the whole table."""
        return self.is_new or self.is_cleared


class RedisPublisher:
    """The publisher of a namespace in Redis."""

    def __init__(self, store: object, names: Names, client: redis.Redis, lease: Lease) -> None:
        self._store = store
        self._names = names
        self._client: Any = client
        self._lease = lease
        self._changes: dict[str, _Changes] = {}
        self._newest: Publication | None = None
        self._committed = False

    def begin(self) -> None:
        """Undo or finish what a publisher that died has left."""
        with explained(self._store):
            self._tidy()
            token, manifest = self._client.mget(self._names.token, self._names.manifest)
            self._newest = None if token is None else Publication(token, manifest or b"")

    @property
    def newest(self) -> Publication | None:
        """The publication that this one follows; None for the first."""
        return self._newest

    def get(self, table: str, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the published records of keys, in order."""
        found: list[bytes | None] = []
        with explained(self._store):
            for start in range(0, len(keys), _AT_ONCE):
                found += self._client.hmget(self._names.table(table), keys[start : start + _AT_ONCE])
        return found

    def keys(self, table: str) -> Iterator[bytes]:
        """Yield the published keys of a table, each once."""
        seen: set[bytes] = set()
        cursor = None
        while cursor != 0:
            with explained(self._store):
                cursor, page = self._page(self._names.table(table), cursor or 0)
            # Redis may name a key twice while it makes a table larger.
            fresh = set(page) - seen
            seen |= fresh
            yield from fresh

    def put(self, table: str, records: Iterable[tuple[bytes, bytes]]) -> None:
        """Write records, each with its key, and keep the other records of the table."""
        changes = self._of(table)
        rest = iter(records)
        while part := dict(islice(rest, _AT_ONCE)):
            changes.kept.update(part)
            self._stage_if_many(table, changes)

    def delete(self, table: str, keys: Iterable[bytes]) -> None:
        """Delete the records of keys."""
        changes = self._of(table)
        rest = iter(keys)
        while part := dict.fromkeys(islice(rest, _AT_ONCE)):
            changes.kept.update(part)
            self._stage_if_many(table, changes)

    def clear(self, table: str) -> None:
        """Delete all records of a table."""
        changes = self._of(table)
        if changes.is_staged:
            with explained(self._store):
                self._client.unlink(self._staged(table))
        self._changes[table] = _Changes(changes.is_new, is_cleared=True)

    def commit(self, manifest: bytes) -> Publication:
        """Publish everything at once, and return the publication with its new token."""
        self._refuse_after_commit()
        publication = Publication(secrets.token_bytes(16), manifest)
        small = sum(len(changes.kept) for changes in self._changes.values()) <= _SMALL
        for table, changes in self._changes.items():
            if not small or changes.is_staged or changes.is_cleared:
                self._stage(table, changes)
        names, steps = self._names, [self._step(table, changes) for table, changes in self._changes.items()]
        keys = [names.lock, names.token, names.manifest, names.leftovers, names.overlays]
        keys += [name for table in self._changes for name in self._names_of(table)]
        values = [
            self._lease.owner,
            publication.token,
            manifest,
            len(steps),
            *(value for step in steps for value in step),
        ]
        with explained(self._store):
            self._client.eval(COMMIT, len(keys), *keys, *values)
        self._committed = True
        return publication

    def end(self) -> None:
        """Undo what is not committed. After a commit, write the overlays to their tables."""
        # The next publisher does it, if the server is out of reach.
        with contextlib.suppress(OnlineStoreError), explained(self._store):
            self._tidy()

    def _of(self, table: str) -> _Changes:
        self._refuse_after_commit()
        if table not in self._changes:
            with explained(self._store):
                self._changes[table] = _Changes(is_new=not self._client.exists(self._names.table(table)))
        return self._changes[table]

    def _refuse_after_commit(self) -> None:
        if self._committed:
            raise already_committed(self._store)

    def _staged(self, table: str) -> str:
        return self._names.staged(self._lease.owner, table)

    def _names_of(self, table: str) -> tuple[str, str, str, str]:
        trash = self._names.trash(self._lease.owner, table)
        return self._names.table(table), self._staged(table), self._names.overlay(table), trash

    def _step(self, table: str, changes: _Changes) -> list[Any]:
        """Return what the script of the commit needs to know of a table."""
        if changes.is_cleared or (changes.is_new and changes.is_staged):
            return ["replace", table, changes.staged]
        if changes.is_staged:
            return ["overlay", table, changes.staged]
        written = [each for key, record in changes.kept.items() for each in (key, marked(record))]
        return ["write", table, len(changes.kept), *written]

    def _stage_if_many(self, table: str, changes: _Changes) -> None:
        if len(changes.kept) > _SMALL:
            self._stage(table, changes)

    def _stage(self, table: str, changes: _Changes) -> None:
        """Send the changes that are kept here to the hash that the commit moves into place."""
        if not changes.kept:
            return
        name = self._staged(table)
        with explained(self._store):
            pipeline = self._client.pipeline(transaction=False)
            # Each time: another publisher that took over has removed the name, and this one does not know yet.
            pipeline.sadd(self._names.leftovers, name)
            rest = iter(changes.kept.items())
            while part := list(islice(rest, _FIELDS)):
                self._write(pipeline, name, part, changes)
            changes.staged += sum(pipeline.execute()[1:])
        changes.is_staged = True
        changes.kept = {}

    def _write(self, pipeline: Any, name: str, part: Sequence[tuple[bytes, bytes | None]], changes: _Changes) -> None:
        if not changes.replaces:
            pipeline.hset(name, items=[each for key, record in part for each in (key, marked(record))])
            return
        if written := [each for key, record in part if record is not None for each in (key, record)]:
            pipeline.hset(name, items=written)
        if gone := [key for key, record in part if record is None]:
            pipeline.eval(UNSTAGE, 1, name, *gone)

    def _tidy(self) -> None:
        """Write overlays to their tables, and remove the names that publishers use for themselves."""
        for table in self._client.smembers(self._names.overlays):
            self._merge(table.decode())
        leftovers = list(self._client.smembers(self._names.leftovers))
        keys = [self._names.lock, self._names.leftovers, *leftovers]
        self._client.eval(REMOVE, len(keys), *keys, self._lease.owner)

    def _merge(self, table: str) -> None:
        names, owner, cursor = self._names, self._lease.owner, None
        while cursor != 0:
            cursor, page = self._client.hscan(names.overlay(table), cursor or 0, count=_FIELDS)
            if page:
                flat = [each for pair in page.items() for each in pair]
                self._client.eval(MERGE, 2, names.lock, names.table(table), owner, *flat)
        self._client.eval(DROP_OVERLAY, 3, names.lock, names.overlay(table), names.overlays, owner, table)

    def _page(self, name: str, cursor: int) -> tuple[int, Iterable[bytes]]:
        try:
            found: tuple[int, Iterable[bytes]] = self._client.hscan(name, cursor, count=_AT_ONCE, no_values=True)
        except redis.ResponseError as error:
            if "syntax" not in str(error):
                raise
            # Redis before 7.4 and Valkey before 8 send the records too.
            found = self._client.hscan(name, cursor, count=_AT_ONCE)
        return found
