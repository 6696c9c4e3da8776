"""Read the applied state that a plan starts from: of a store, of an export, or of a store with an earlier state to restore."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from featdsl.definitions.history import HistoryEntry
from featdsl.definitions.kinds import SetDefinition
from featdsl.definitions.snapshot import PROD
from featdsl.definitions.sources import SourceDefinition
from featdsl.errors import Problem, StoreError
from featdsl.plan.planner import State
from featdsl.stores import Store, environments
from featdsl.stores.export import Exported


def _no_history() -> Sequence[HistoryEntry]:
    return ()


@dataclass(frozen=True)
class AppliedState:
    """The state that a plan starts from, with the parts of the store that only some plans need.

    `frames` is the folder or URL of kept dataframes. `history` returns the change history, newest first, and `past_sets` the
    removed set versions. `back_to` is the serial of the earlier state of a rollback, whose own head has the newest serial.
    `exported` are the sources of an export, whose data need not be readable; None for a store.
    """

    state: State
    frames: Path | str = ""
    history: Callable[[], Sequence[HistoryEntry]] = _no_history
    past_sets: Callable[[], Mapping[str, SetDefinition]] = field(default=dict)
    back_to: int | None = None
    exported: Mapping[str, SourceDefinition] | None = None


class StateReader(Protocol):
    """Reads the state that a plan starts from."""

    def read(self) -> AppliedState:
        """Return the state. Raises StoreError if the store has no such state."""
        ...


@dataclass(frozen=True)
class StoreState:
    """Reads the newest state of an environment of a store."""

    store: Store
    environment: str = PROD

    def read(self) -> AppliedState:
        """Return the newest state; of an environment that does not exist yet, the state of prod."""
        snapshot, drift = self.store.read_with_drift(environments.checked(self.environment))
        return applied_state(self.store, State(snapshot, drift))


@dataclass(frozen=True)
class ExportedState:
    """Reads the state in an export, without a store."""

    exported: Exported

    def read(self) -> AppliedState:
        """Return the exported state."""
        snapshot = self.exported.snapshot
        return AppliedState(State(snapshot, self.exported.drift), exported=snapshot.catalog.sources)


@dataclass(frozen=True)
class EarlierState:
    """Reads the newest state of an environment of a store, with the earlier state `serial` to restore."""

    store: Store
    serial: int
    environment: str = PROD

    def read(self) -> AppliedState:
        """Return the newest state with the earlier one. Raises StoreError if the environment or that state does not exist."""
        snapshot = environments.read(self.store, self.environment)
        self._refuse_unknown()
        earlier = self.store.read(self.environment, self.serial)
        applied = applied_state(self.store, State(snapshot, self.store.drift(snapshot), earlier))
        return replace(applied, back_to=self.serial)

    def _refuse_unknown(self) -> None:
        """Raise StoreError if the environment was never at the state, with the states next to it."""
        states = [each.serial for each in self.store.history() if each.environment == self.environment]
        if self.serial not in states:
            near = sorted(sorted(states, key=lambda each: abs(each - self.serial))[:5])
            what = f"{self.environment} was never at state {self.serial}; it was at {', '.join(map(str, near))}."
            raise StoreError(Problem("Unknown state", what, fix="See what each was: featdsl history"))


def applied_state(store: Store, state: State) -> AppliedState:
    """Return a state of a store."""
    environment = state.snapshot.environment
    return AppliedState(state, store.frames, store.history, lambda: store.past_sets(environment))
