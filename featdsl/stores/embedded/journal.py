"""Record the tables that an apply has built before it publishes, so that the next apply can resume after a crash."""

from __future__ import annotations

import hmac
import json
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from featdsl.definitions.stored_tables import StoredTable

if TYPE_CHECKING:
    from pydantic import TypeAdapter


@dataclass(frozen=True)
class JournalEntry:
    """An unpublished table, the state of the data it was built from, and the event time it reaches if it is incomplete."""

    table: StoredTable
    made_of: str
    upto: str | None = None


class Journal:
    """A file with one sealed line for each entry. Truncated lines, and lines without this store's seal, are ignored."""

    def __init__(self, path: Path, secret: str) -> None:
        self._path, self._secret = path, secret

    def read(self) -> dict[str, JournalEntry]:
        """Return the last entry of each table, by table."""
        entries: dict[str, JournalEntry] = {}
        if not self._path.is_file() or not self._secret:
            return entries
        for line in self._path.read_bytes().splitlines():
            seal, _, text = line.partition(b" ")
            if not hmac.compare_digest(seal, self._seal(text)):
                continue
            try:
                entry = _adapter().validate_json(text)
            except ValueError:  # written by another version
                continue
            entries[entry.table.name] = entry
        return entries

    def _seal(self, text: bytes) -> bytes:
        return hmac.digest(self._secret.encode(), text, "sha256").hex().encode()

    def append(self, entry: JournalEntry) -> None:
        """Append an entry."""
        text = json.dumps(asdict(entry)).encode()
        with self._path.open("ab") as file:
            file.write(self._seal(text) + b" " + text + b"\n")

    def clear(self) -> None:
        """Delete all entries: their tables are published, or useless."""
        self._path.unlink(missing_ok=True)


@cache
def _adapter() -> TypeAdapter[Any]:
    from pydantic import TypeAdapter

    return TypeAdapter(JournalEntry)
