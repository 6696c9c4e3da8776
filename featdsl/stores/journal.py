"""What an apply has done before it publishes, so that the next one can go on from there if it dies."""

from __future__ import annotations

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
    """A file of one line for each step; a line that was cut counts as not written."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> dict[str, Noted]:
        """Return what is noted, by table; of a table the last."""
        found = {}
        for line in self._path.read_text(encoding="utf-8").splitlines() if self._path.exists() else ():
            try:
                noted = _adapter().validate_python(json.loads(line))
            except ValueError:
                continue
            found[noted.table.name] = noted
        return found

    def note(self, noted: Noted) -> None:
        """Add what is done."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(noted)) + "\n")

    def clear(self) -> None:
        """Forget everything: it is published, or no use any more."""
        self._path.unlink(missing_ok=True)


@cache
def _adapter() -> TypeAdapter[Any]:
    from pydantic import TypeAdapter

    return TypeAdapter(Noted)
