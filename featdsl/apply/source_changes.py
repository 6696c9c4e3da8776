"""The sources of a stored table now, beside the sources that it was last computed from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from featdsl.apply.build_specs import BuildSpec
from featdsl.apply.file_changes import Changes, Listing
from featdsl.definitions.sources import FILE_FORMATS
from featdsl.definitions.stored_tables import Reading


@dataclass(frozen=True)
class SourceChanges:
    """A table's build spec, its last reading and listing of files, and the files now.

    `changes` is the difference of the files; None if the files that were read then are unknown.
    """

    spec: BuildSpec
    before: Reading
    listed_before: Listing | None
    listing: Listing
    changes: Changes | None
    root: Path

    @property
    def none(self) -> bool:
        """Whether it is certain that no row is new."""
        return self._is_known and not self.changes and self.upto is None

    @property
    def only_added(self) -> bool:
        """Whether all new rows are in added files, or are rows from an event time on that were left out before."""
        in_files = self.spec.source.in_files
        return self._is_known and self.changes is not None and self.changes.only_added and in_files

    @property
    def added(self) -> tuple[str, ...]:
        """The paths of new files."""
        return self.changes.added if self.changes else ()

    @property
    def upto(self) -> str | None:
        """The event time from which on rows were left out the last time."""
        return self.listed_before.upto if self.listed_before else None

    @property
    def read_by_time(self) -> bool:
        """Whether only rows from an event time on are read, as the source's lookback allows."""
        files_changed = self._has_files and self.files_differ
        return bool(self.spec.lookback) and not self.all_in_files and not files_changed

    @property
    def files_differ(self) -> bool:
        """Whether the files differ from the kept listing, so that a new listing is worth keeping."""
        return self.changes is None or bool(self.changes)

    @property
    def why_any_row(self) -> str:
        """Why any row of the table may have changed."""
        if self.changes:
            return self.changes.text(self.root)
        if self.listing.whole:
            return "which files were read is not known"
        return "nothing tells which rows are new"

    @property
    def all_in_files(self) -> bool:
        """Whether all rows come from files, which show every edit. The file of a database holds other tables, too."""
        return self.listing.whole and all(each.format != "table" for each in self.spec.sources)

    @property
    def _is_known(self) -> bool:
        before = self.listed_before
        return before is not None and before.whole and self.listing.whole and self.changes is not None

    @property
    def _has_files(self) -> bool:
        return any(each.format in FILE_FORMATS for each in self.spec.sources)
