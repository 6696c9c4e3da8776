"""Collect the registry edits of one apply, to be written at once. Every store's writer builds on this."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from featdsl.definitions.history import CheckResult
from featdsl.definitions.kinds import Definition, FeatureDefinition, address
from featdsl.definitions.serialize import to_json
from featdsl.definitions.snapshot import Environment, Snapshot
from featdsl.definitions.statistics import TableStatistics
from featdsl.definitions.stored_tables import Reading, StoredTable
from featdsl.stores.provenance import user
from featdsl.stores.registry import Edits

_A_MINUTE = 60


@dataclass(frozen=True)
class PriorState:
    """The store before an apply: its state, its environments, and the ISO time of its latest state."""

    serial: int = 0
    environments: Sequence[Environment] = ()
    latest: str = ""


class Recording:
    """Record the edits of one apply."""

    def __init__(self, snapshot: Snapshot, before: PriorState, history_seconds: int) -> None:
        self.snapshot = snapshot
        self.serial = before.serial + 1
        self._before, self._history_seconds = before, history_seconds
        self._edits = Edits(snapshot.environment)
        self._expire_after: int | None = None

    def behind(self) -> int:
        """Return by how many seconds this machine's clock is behind the latest state; 0 up to a minute."""
        return behind(self._before.latest)

    def refreshes(self) -> None:
        """Mark this apply as a refresh: plans for the environment stay valid."""
        self._edits.refreshes = True

    def put_view(self, name: str, sql: str) -> None:
        """Create or replace a view."""
        self._edits.views[name] = sql

    def drop_view(self, name: str) -> None:
        """Drop a view."""
        self._edits.views[name] = None

    def record(self, definition: Definition) -> None:
        """Write a definition to the registry."""
        fingerprint = definition.fingerprint if isinstance(definition, FeatureDefinition) else ""
        self._edits.documents[definition.kind, address(definition), fingerprint] = to_json(definition)

    def forget(self, kind: str, address: str, fingerprint: str) -> None:
        """Remove a definition from the registry."""
        self._edits.documents[kind, address, fingerprint] = None

    def release(self, table: str) -> None:
        """Unlist a table; its data are deleted once no reader can need them."""
        self._edits.tables[table] = None

    def checked(self, results: Iterable[CheckResult]) -> None:
        """Collect check results, which `publish` or `keep_checks` stores."""
        self._edits.checks += results

    def measured(self, statistics: Iterable[TableStatistics]) -> None:
        """Collect statistics of tables that this apply has written, which `publish` stores."""
        self._edits.statistics += statistics

    def expire_after(self, seconds: int | None) -> None:
        """Let the environment expire after this many seconds without an apply; None leaves its expiry unchanged."""
        self._expire_after = seconds

    def drop_environment(self, name: str) -> None:
        """Drop an environment and its views; shared tables stay."""
        self._edits.dropped.append(name)

    def forget_until(self, serial: int) -> None:
        """Delete what was replaced up to state `serial`; no rollback reaches past it afterwards."""
        self._edits.forgotten = serial

    def table(self, name: str) -> StoredTable:
        """Return a table as this apply has it so far."""
        return self._edits.tables.get(name) or self.snapshot.tables[name]

    @property
    def _built(self) -> dict[str, StoredTable]:
        """The tables that this apply has built, replaced or extended."""
        return {name: table for name, table in self._edits.tables.items() if table}

    def _keep_build_spec(self, table: str, build_spec: str, reading: Reading) -> None:
        if build_spec:
            self._edits.build_specs[table], self._edits.readings[table] = build_spec, reading

    def _oldest_check(self) -> str:
        """Return the ISO time before which check results are deleted."""
        return (datetime.now(UTC) - timedelta(seconds=self._history_seconds)).isoformat(timespec="milliseconds")

    def _environment(self) -> Environment:
        """Return this apply's environment with its new state and expiry."""
        name, now = self.snapshot.environment, datetime.now(UTC)
        existing = {each.name: each for each in self._before.environments}.get(name)
        expiry = now + timedelta(seconds=self._expire_after) if self._expire_after else None
        return Environment(
            name=name,
            made_at=existing.made_at if existing else now.isoformat(timespec="seconds"),
            made_by=existing.made_by if existing else user(),
            serial=existing.serial if existing and self._edits.is_upkeep else self.serial,
            expires_at=expiry.isoformat(timespec="seconds") if expiry else existing.expires_at if existing else None,
        )


def behind(latest: str) -> int:
    """Return by how many seconds this machine's clock is behind an ISO time; 0 up to a minute."""
    if not latest:
        return 0
    seconds = int((datetime.fromisoformat(latest) - datetime.now(UTC)).total_seconds())
    return seconds if seconds > _A_MINUTE else 0
