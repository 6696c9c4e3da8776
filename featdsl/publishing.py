"""Publish an environment of a store to the project's online store, after a run or by itself."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from datetime import UTC, datetime

from featdsl.apply.doctor import Finding
from featdsl.apply.events import Listener, OnlinePublished
from featdsl.definitions.durations import about, seconds
from featdsl.definitions.moments import moment
from featdsl.definitions.snapshot import PROD, Snapshot
from featdsl.engines.duckdb.session import open_session
from featdsl.engines.lookups import Want
from featdsl.engines.pushed_events import EventTexts
from featdsl.engines.reading import Reader
from featdsl.engines.session import Session
from featdsl.errors import OnlineStoreError, Problem, StoreError
from featdsl.online import OnlineStore
from featdsl.online.connect import open_online
from featdsl.online.manifest import Manifest, read_manifest
from featdsl.online.publish import PublishRequest, publish, publish_pending
from featdsl.online.tables import tables_of
from featdsl.project import invocation
from featdsl.project.settings import Project
from featdsl.push import pending
from featdsl.push.pending import ChangedEntities, StateReplacedError
from featdsl.query.data_errors import computing
from featdsl.states import OpenState, States
from featdsl.stores import Store, environments

_MICROSECONDS = 1_000_000


def publish_environment(
    project: Project, store: Store, environment: str, *, full: bool = False, listen: Listener
) -> OnlinePublished:
    """Publish an environment to the online store, and report it. `full` writes every record anew.

    Raises OnlineStoreError if the project has no online store or it cannot be reached, StoreError for an unknown environment
    and before the first apply.
    """
    snapshot = environments.read(store, environment)
    if project.settings.serving.url is None:
        what = "featproject.toml names no online store to publish to."
        fix = 'Add to featproject.toml:\n[serving]\nurl = "embedded"'
        raise OnlineStoreError(Problem("No online store", what, fix=fix))
    if not snapshot.head.lineage:
        fix = f"Apply first: {invocation.command('apply')}"
        raise StoreError(Problem("Nothing to publish", "Nothing has been applied yet.", fix=fix))
    with _opened(project, snapshot) as online:
        published = _publish(project, store, environment, online, full=full)
    listen(published)
    return published


def publish_after_run(
    project: Project, store: Store, environment: str, *, listen: Listener
) -> tuple[OnlinePublished, ...]:
    """Publish what an apply or a refresh has changed, and report it.

    prod is published if the project has an online store, another environment if it was published before. Environments share
    tables, so the others that were published before follow if they are behind. Raises OnlineStoreError, which says that the run
    itself is done.
    """
    if project.settings.serving.url is None:
        return ()
    others = sorted({PROD, *(each.name for each in store.environments())} - {environment})
    done = [_publish_due(project, store, name, is_own=name == environment) for name in (environment, *others)]
    published = tuple(each for each in done if each is not None)
    for each in published:
        listen(each)
    return published


def _publish_due(project: Project, store: Store, environment: str, *, is_own: bool) -> OnlinePublished | None:
    """Publish an environment if it is due: the run's own one in any case, unless only `publish` may begin; another if it is behind."""
    snapshot = store.read(environment)
    if not snapshot.head.lineage or snapshot.is_new:
        return None
    begins = is_own and environment == PROD
    try:
        with _opened(project, snapshot) as online:
            manifest = None if begins else _manifest(online)
            is_due = begins or (manifest is not None and (is_own or manifest.state != snapshot.newest))
            return _publish(project, store, environment, online, full=False) if is_due else None
    except OnlineStoreError as error:
        raise OnlineStoreError([_after_run(problem, snapshot, environment) for problem in error.problems]) from None


def _after_run(problem: Problem, snapshot: Snapshot, environment: str) -> Problem:
    """Return a problem of the online store with what the run has done and the command that finishes it."""
    command = invocation.command("publish", *(["--env", environment] if environment != PROD else []))
    what = f"{problem.what}\nThe tables are at state {snapshot.newest}; the online store still has an earlier one."
    return Problem(problem.summary, what, problem.where, f"{problem.fix}\nThen publish: {command}".strip())


def withdraw(project: Project, snapshot: Snapshot) -> None:
    """Delete what was published of an environment that is dropped. Raises OnlineStoreError."""
    if project.settings.serving.url is None or not snapshot.head.lineage:
        return
    with _opened(project, snapshot) as online:
        before = _manifest(online)
        if before is None:
            return
        with online.publishing() as publisher:
            for name in before.tables:
                publisher.clear(name)
            publisher.commit(Manifest(published_at=moment(datetime.now(UTC))).to_bytes())


def examine(project: Project, store: Store) -> Iterator[Finding]:
    """Yield the problems of the online store: out of reach, behind the tables, or without the values of now."""
    if project.settings.serving.url is None:
        return
    for environment in (PROD, *(each.name for each in store.environments() if each.name != PROD)):
        snapshot = store.read(environment)
        if not snapshot.head.lineage or snapshot.is_new:
            continue
        fix = invocation.command("publish", *(["--env", environment] if environment != PROD else []))
        try:
            with _opened(project, snapshot) as online:
                manifest = _manifest(online)
        except OnlineStoreError as error:
            problem = error.problems[0]
            yield Finding(code="online", what=problem.what, fix=problem.fix)
            return
        if manifest is not None or environment == PROD:
            yield from _behind(project, snapshot, manifest, fix)


def _behind(project: Project, snapshot: Snapshot, manifest: Manifest | None, fix: str) -> Iterator[Finding]:
    name = snapshot.environment
    tables = {table.name: table for table in tables_of(snapshot)}
    if manifest is None:
        if tables:
            yield Finding(code="online", what=f"nothing of {name} is published to the online store", fix=fix)
        return
    if manifest.state != snapshot.newest or manifest.tables.keys() != tables.keys():
        what = f"the online store has state {manifest.state} of {name}; the tables are at state {snapshot.newest}"
        yield Finding(code="online", what=what, fix=fix)
    horizon = seconds(project.settings.serving.horizon)
    oldest = min((table.moments_at for table in manifest.tables.values()), default=None)
    age = 0 if oldest is None else (moment(datetime.now(UTC)) - oldest) // _MICROSECONDS
    if age > horizon:
        what = (
            f"values of {name} were published {about(age)} ago for {about(horizon)} ahead; later reads use the tables"
        )
        yield Finding(code="online", what=what, fix=fix)


def _manifest(online: OnlineStore) -> Manifest | None:
    """Return what is published; None before the first publication, and after `withdraw`."""
    newest = online.newest()
    manifest = read_manifest(newest.manifest) if newest else Manifest()
    return manifest if manifest.state else None


@contextmanager
def _opened(project: Project, snapshot: Snapshot) -> Iterator[OnlineStore]:
    online = open_online(project, f"{snapshot.head.lineage}/{snapshot.environment}")
    if online is None:
        raise AssertionError("a project without an online store publishes nothing")
    try:
        yield online
    finally:
        online.close()


def publish_events(project: Project, states: States, online: OnlineStore, source: str, events: EventTexts) -> None:
    """Publish the values of the entities of pushed events, if the environment is published.

    Raises OnlineStoreError if the online store cannot be reached, DataError if the SQL of a feature fails on the data.
    """
    with ExitStack() as stack:

        def newest() -> PendingState:
            return _with_pending(states.newest, project, stack, [source], events)

        publish_pending(online, newest, _request(project))


def _request(project: Project, *, full: bool = False) -> PublishRequest:
    horizon = seconds(project.settings.serving.horizon) * _MICROSECONDS
    return PublishRequest(at=moment(datetime.now(UTC)), horizon=horizon, full=full)


class PendingState:
    """A state whose reader also sees the events that were pushed since its tables were computed.

    Implements `featdsl.online.publish.ReadableState` and `featdsl.online.read.SelectedState`.
    """

    def __init__(self, state: OpenState, session: Session, changed: Mapping[str, ChangedEntities]) -> None:
        self.snapshot = state.snapshot
        self.pending = {name: each.relation for name, each in changed.items()}
        self._state = state
        self._session = session

    def reader_of(self, tables: set[str]) -> Reader:
        """Open tables and return a reader of them."""
        self._state.open_tables(tables)
        return self.reader()

    def reader(self) -> Reader:
        """Return a reader of the open tables."""
        return self._state.reader(self._session)

    def open_tables_of(self, wants: Sequence[Want]) -> None:
        """Let readers read the stored tables of features."""
        self._state.open_tables_of(wants)

    def reading(self) -> AbstractContextManager[None]:
        """Raise StoreError if the body fails and the files of open tables are damaged."""
        return self._state.reading()


@contextmanager
def published_state(project: Project, newest: Callable[[], OpenState]) -> Iterator[PendingState]:
    """Yield the newest state as it is published: with the events that were pushed since its tables were computed."""
    with ExitStack() as stack:
        yield _with_pending(newest, project, stack)


def _with_pending(
    newest: Callable[[], OpenState],
    project: Project,
    stack: ExitStack,
    sources: Sequence[str] | None = None,
    only: EventTexts | None = None,
) -> PendingState:
    """Return the newest state with the events that are pending for it: those of some sources, and of the entities of some events."""
    while True:
        state = newest()
        try:
            published = {each.table for table in tables_of(state.snapshot) for each in table.stored}
            tables = pending.find(state, project.root, sources, published)
        except StateReplacedError:
            continue
        state.open_tables({each.stored.name for each in tables})
        session = stack.enter_context(closing(state.session.cursor()))
        with computing():
            changed = stack.enter_context(pending.overlay(session, tables, only))
        return PendingState(state, session, changed)


def _publish(project: Project, store: Store, environment: str, online: OnlineStore, *, full: bool) -> OnlinePublished:
    with closing(open_session(project)) as session, ExitStack() as stack:

        def state() -> OpenState:
            token = store.token()
            return OpenState(store, environments.read(store, environment), session, threading.Lock(), token)

        done = publish(online, lambda: _with_pending(state, project, stack), _request(project, full=full))
    return OnlinePublished(
        environment=environment,
        state=done.state,
        tables=len(done.written),
        removed=len(done.removed),
        records=done.records,
        deleted=done.deleted,
        seconds=done.seconds,
    )
