"""What happens while a plan is applied, as typed events that others show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Waiting:
    """Another writer holds the store; `holder` says who, `timeout` for how many seconds to wait."""

    holder: str
    timeout: int


@dataclass(frozen=True)
class Started:
    """A plan starts, with so many steps."""

    steps: int


@dataclass(frozen=True)
class StepStarted:
    """A step starts."""

    number: int
    label: str


@dataclass(frozen=True)
class StepFinished:
    """A step is done; `rows` counts what it built, None where it builds nothing."""

    number: int
    label: str
    rows: int | None
    seconds: float


@dataclass(frozen=True)
class Progress:
    """How far a long step is; the seconds that are left are None as long as nothing tells."""

    number: int
    label: str
    rows_done: int
    rows_total: int
    seconds_left: float | None


@dataclass(frozen=True)
class Published:
    """Everything is visible to readers, at once."""

    serial: int
    rows: int
    seconds: float


Event = Waiting | Started | StepStarted | StepFinished | Progress | Published
Listener = Callable[[Event], None]


def ignore(event: Event) -> None:
    """Listen to nothing."""
    del event
