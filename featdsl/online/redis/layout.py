"""The names of a namespace's keys in Redis, and how an overlay's records are marked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_DELETED = b"-"


@dataclass(frozen=True, slots=True)
class Names:
    """The names of a namespace's keys. All carry one hash tag: a cluster keeps them on one node."""

    namespace: str

    @property
    def token(self) -> str:
        """The token of the newest publication."""
        return self._of("token")

    @property
    def manifest(self) -> str:
        """The manifest of the newest publication."""
        return self._of("manifest")

    @property
    def lock(self) -> str:
        """The lock of the publisher, which expires."""
        return self._of("lock")

    @property
    def leftovers(self) -> str:
        """The set of the names that a publisher uses for itself."""
        return self._of("leftovers")

    @property
    def overlays(self) -> str:
        """The set of the tables that have an overlay."""
        return self._of("overlays")

    def table(self, table: str) -> str:
        """The hash of a table's records by key."""
        return self._of(f"table:{table}")

    def overlay(self, table: str) -> str:
        """The hash of a table's newest changes, which win over the table: marked records by key."""
        return self._of(f"overlay:{table}")

    def staged(self, owner: str, table: str) -> str:
        """The hash that a publisher fills before its commit."""
        return self._of(f"staged:{owner}:{table}")

    def trash(self, owner: str, table: str) -> str:
        """A table that a commit has replaced."""
        return self._of(f"trash:{owner}:{table}")

    def _of(self, name: str) -> str:
        return f"featdsl:{{{self.namespace}}}:{name}"


def marked(record: bytes | None) -> bytes:
    """Return a record as an overlay has it; None means that it is deleted."""
    return _DELETED if record is None else b"+" + record


def covered(overlay: Sequence[bytes | None], table: Sequence[bytes | None]) -> Sequence[bytes | None]:
    """Return the records of a table, with those of its overlay in their place."""
    if not any(overlay):
        return table
    return [
        record if over is None else None if over == _DELETED else over[1:]
        for over, record in zip(overlay, table, strict=True)
    ]
