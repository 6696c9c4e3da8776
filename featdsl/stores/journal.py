"""What an apply has done before it publishes, so that the next one can go on from there if it dies."""

from __future__ import annotations

import hmac
import json
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from featdsl.snapshot import StoredTable

if TYPE_CHECKING:
    from pydantic import TypeAdapter


@dataclass(frozen=True)
class Noted:
    """A table in a file that nothing lists yet, what it was made of, and up to which event time it has rows, if not all."""

    table: StoredTable
    made_of: str
    upto: str | None = None


class Journal:
    """A file of one line for each step; a line that was cut, or that no writer of this store has sealed, counts as not written."""

    def __init__(self, path: Path, secret: str) -> None:
        self._path, self._secret = path, secret

    def read(self) -> dict[str, Noted]:
        """Return what is noted, by table; of a table the last."""
        found: dict[str, Noted] = {}
        if not self._path.is_file() or not self._secret:
            return found
        for line in self._path.read_bytes().splitlines():
            seal, _, text = line.partition(b" ")
            if not hmac.compare_digest(seal, self._seal(text)):
                continue
            try:
                noted = _adapter().validate_json(text)
            except ValueError:  # of another version
                continue
            found[noted.table.name] = noted
        return found

    def _seal(self, text: bytes) -> bytes:
        return hmac.digest(self._secret.encode(), text, "sha256").hex().encode()

    def note(self, noted: Noted) -> None:
        """Add what is done."""
        text = json.dumps(asdict(noted)).encode()
        with self._path.open("ab") as file:
            file.write(self._seal(text) + b" " + text + b"\n")

    def clear(self) -> None:
        """Forget everything: it is published, or no use any more."""
        self._path.unlink(missing_ok=True)


@cache
def _adapter() -> TypeAdapter[Any]:
    from pydantic import TypeAdapter

    return TypeAdapter(Noted)
