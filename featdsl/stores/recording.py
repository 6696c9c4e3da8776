"""What a writer is told and writes all at once in the end, whatever the store: the part that all writers have in common."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from featdsl.definitions import Definition, FeatureDefinition, address, to_json
from featdsl.snapshot import CheckResult, Environment, Snapshot
from featdsl.stores.lock import user
from featdsl.stores.registry import Edits

_A_MINUTE = 60


@dataclass(frozen=True)
class Before:
    """The state of a store before an apply, its environments then, and the latest time of a state in ISO format."""

    serial: int = 0
    environments: Sequence[Environment] = ()
    latest: str = ""


class Recording:
    """The edits of one apply."""

    def __init__(self, snapshot: Snapshot, before: Before) -> None:
        self.snapshot = snapshot
        self.serial = before.serial + 1
        self._before = before
        self._edits = Edits(snapshot.environment)
        self._expire_after: int | None = None

    def behind(self) -> int:
        """Return how many seconds the clock is behind the latest state; 0 where that is a matter of a minute."""
        return behind(self._before.latest)

    def refreshes(self) -> None:
        """Say that this apply only brings tables up to date: plans for the environment hold."""
        self._edits.refreshes = True

    def put_view(self, name: str, sql: str) -> None:
        """Make or replace a view."""
        self._edits.views[name] = sql

    def drop_view(self, name: str) -> None:
        """Remove a view."""
        self._edits.views[name] = None

    def record(self, definition: Definition) -> None:
        """Write a definition."""
        fingerprint = definition.fingerprint if isinstance(definition, FeatureDefinition) else ""
        self._edits.documents[definition.kind, address(definition), fingerprint] = to_json(definition)

    def forget(self, kind: str, address: str, fingerprint: str) -> None:
        """Remove a definition."""
        self._edits.documents[kind, address, fingerprint] = None

    def release(self, table: str) -> None:
        """Stop listing a table; its data go when no reader can be left that looks for them."""
        self._edits.tables[table] = None

    def checked(self, results: Iterable[CheckResult]) -> None:
        """Note what checks found: `publish` keeps it, and so does `keep_checks`."""
        self._edits.checks += results

    def expire_after(self, seconds: int | None) -> None:
        """Say how long the environment may stay without an apply; for good without a number."""
        self._expire_after = seconds

    def drop_environment(self, name: str) -> None:
        """Remove an environment with its views; tables stay for the others."""
        self._edits.dropped.append(name)

    def forget_until(self, serial: int) -> None:
        """Let go of what was replaced up to this state: nobody can go back to before it."""
        self._edits.forgotten = serial

    def _environment(self) -> Environment:
        """Return this apply's environment as it is from now on."""
        name, now = self.snapshot.environment, datetime.now(UTC)
        made = {each.name: each for each in self._before.environments}.get(name)
        expiry = now + timedelta(seconds=self._expire_after) if self._expire_after else None
        return Environment(
            name=name,
            made_at=made.made_at if made else now.isoformat(timespec="seconds"),
            made_by=made.made_by if made else user(),
            serial=made.serial if made and self._edits.is_upkeep else self.serial,
            expires_at=expiry.isoformat(timespec="seconds") if expiry else made.expires_at if made else None,
        )


def behind(latest: str) -> int:
    """Return how many seconds the clock of this machine is behind a time in ISO format, if more than a minute; else 0."""
    if not latest:
        return 0
    seconds = int((datetime.fromisoformat(latest) - datetime.now(UTC)).total_seconds())
    return seconds if seconds > _A_MINUTE else 0
