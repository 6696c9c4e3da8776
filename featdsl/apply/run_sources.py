"""The sources of one run: opened once, their files listed and digested before they are read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, closing, suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from featdsl.apply.file_changes import Listing, settled_before
from featdsl.definitions import udfs, urls
from featdsl.definitions.sources import FILE_FORMATS, SourceDefinition
from featdsl.definitions.stored_tables import Reading
from featdsl.engines.file_states import FileState
from featdsl.engines.frame_files import is_whole
from featdsl.engines.session import EngineError
from featdsl.engines.sources import SourceRows
from featdsl.errors import Problem, StoreError
from featdsl.stores.damage import DAMAGED

if TYPE_CHECKING:
    from featdsl.engines.session import Session
    from featdsl.project.settings import Project
    from featdsl.stores import Store

_COUNTED = frozenset({"parquet", "table", "push"})
"""Formats whose rows are counted without reading them."""


class RunSources:
    """The sources that SQL can read in a run. `begun` is the time when it began, in UTC."""

    def __init__(
        self,
        session: Session,
        project: Project,
        store: Store,
        functions: udfs.Functions,
        reported: Callable[[SourceDefinition], AbstractContextManager[None]],
    ) -> None:
        self.begun = datetime.now(UTC).replace(tzinfo=None).isoformat(sep=" ")
        self.opened: dict[str, SourceDefinition] = {}
        self._session, self._root, self._frames, self._functions = session, project.root, store.frames, functions
        self._log_of = store.event_log
        self._logs: dict[str, list[FileState]] = {}
        self._reported = reported
        self._files: dict[SourceDefinition, list[FileState] | None] = {}
        self._digests: dict[str, str] = {}
        self._rows: dict[SourceDefinition, int] = {}

    def open(self, source: SourceDefinition) -> None:
        """Let SQL read a source. Raises DataError."""
        self._digest_files(source)  # before they are read: new rows must not be taken for old ones the next time
        if source.name in self.opened:
            self._session.sources.close(self.opened[source.name])
        self.opened[source.name] = source
        if self._is_elsewhere(source):
            return  # only the engine that has its rows can open it
        with self._reported(source):
            if source.format == "frame":
                _refuse_damaged_frame(source, self._frames)
            # All tables of a run are made of the files that were listed first.
            rows = SourceRows(self.paths(source) or [], self._frames, self._functions)
            self._session.sources.open(source, rows)

    def _is_elsewhere(self, source: SourceDefinition) -> bool:
        """Return whether a source is a table of another engine's catalogue, or reads one."""
        inputs = (self.opened[name] for name in source.inputs if name in self.opened)
        return source.format == "cluster" or any(self._is_elsewhere(each) for each in inputs)

    def paths(self, source: SourceDefinition) -> list[str] | None:
        """Return the files of a source as the run first listed them; None if it is not in plain files."""
        return [state.path for state in self.listing([source]).files] if source.in_files else None

    def _digest_files(self, source: SourceDefinition) -> None:
        settled = settled_before(self.begun)
        for state in self.listing([source]).files:
            # Reading a database or a remote file whole takes long: only if its times do not identify its content.
            is_near = source.format in FILE_FORMATS and not urls.scheme(state.path)
            if is_near or max(state.modified, state.changed) >= settled:
                with self._reported(source):
                    self.digest(state)

    def digest(self, state: FileState) -> str:
        """Return the digest of a file's content, computed once; empty if the file is gone."""
        if state.path not in self._digests:
            with suppress(OSError):
                self._digests[state.path] = self._session.sources.digest_file(state.path)
        return self._digests.get(state.path, "")

    def trust(self, states: Iterable[FileState]) -> None:
        """Take over the known digests of files that have not changed since these were computed."""
        self._digests.update({state.path: state.digest for state in states if state.digest})

    def listing(self, sources: Sequence[SourceDefinition]) -> Listing:
        """Return the state that the files of sources had when the run first listed them."""
        for source in sources:
            if source not in self._files:
                with self._reported(source):
                    self._files[source] = self._list(source)
        states = [self._files[each] for each in sources]
        files = sorted({file for state in states for file in state or ()})
        return Listing(tuple(files), whole=all(state is not None for state in states))

    def _list(self, source: SourceDefinition) -> list[FileState] | None:
        if source.format != "push":
            return self._session.sources.list_files(source, self._frames)
        name, *only = source.location
        if name not in self._logs:
            self._logs[name] = self._moved_events(name, source)
        return [each for each in self._logs[name] if not only or each.path in only]

    def _moved_events(self, name: str, source: SourceDefinition) -> list[FileState]:
        """Move the events of a log to files, and return the states of all files of the log.

        Files of a log never change, so their sizes identify them, and no content is digested.
        """
        write = partial(self._session.pushed_events.write, order=source.timestamp or "")
        with closing(self._log_of(name)) as log:
            paths = log.move(write)
        try:
            return [FileState(path, Path(path).stat().st_size, 0) for path in paths]
        except OSError as error:
            what = f"{error.filename}, which holds events that were pushed to {name}, is missing."
            raise StoreError(Problem("Pushed events are lost", what, fix="Restore the file from a backup.")) from None

    def reading(self, listing: Listing) -> Reading:
        """Return what the store keeps of sources that this run has read: the time, and the files with their digests."""
        digested = tuple(state._replace(digest=self._digests.get(state.path, "")) for state in listing.files)
        return Reading(self.begun, replace(listing, files=digested).to_json(self._root))

    def count_rows(self, source: SourceDefinition) -> int | None:
        """Return the number of rows of an open source; None if only reading them would tell."""
        if source.format not in _COUNTED:
            return None
        if source not in self._rows:
            self._rows[source] = self._session.increments.count_rows(source)
        return self._rows[source]

    def count_parquet_rows(self, sources: Iterable[SourceDefinition]) -> None:
        """Count the rows of sources over Parquet files, all in one query: a query for each small source takes long."""
        files = {each: self.listing([each]).files for each in sources if each.format == "parquet"}
        try:
            rows = self._session.sources.count_file_rows([state.path for states in files.values() for state in states])
        except EngineError:
            return  # encrypted files, or no Parquet files: the step of each source reports them
        for source, states in files.items():
            if states and all(state.path in rows for state in states):
                self._rows[source] = sum(rows[state.path] for state in states)


def _refuse_damaged_frame(source: SourceDefinition, folder: Path | str) -> None:
    """Raise StoreError if the file that keeps a source in memory does not hold the bytes that were written."""
    if isinstance(folder, str):
        return
    path = folder / f"{source.location[0]}.parquet"
    if not is_whole(path):
        what = f"{path}, which keeps the rows of source {source.name}, is missing or was altered after it was written."
        raise StoreError(Problem(DAMAGED, what, source.origin, "Apply the code that has these rows: featdsl apply"))
