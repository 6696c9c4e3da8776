"""What happens while a plan is applied, as typed events that others show."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

How = Literal["nothing new", "extended", "rebuilt", "not refreshed"]
"""What a refresh does to a table."""


@dataclass(frozen=True)
class Waiting:
    """Another writer holds the store; `holder` says who, `timeout` for how many seconds to wait."""

    holder: str
    timeout: int


@dataclass(frozen=True)
class ClockBehind:
    """The clock of this machine is so many seconds behind the time of the newest state, which another one may have written."""

    seconds: int


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
    """A step is done; `rows` and `bytes` count what it wrote, None where it builds nothing.

    What a small table takes is known only when its file is whole: the bytes of the summary are those of the files.
    """

    number: int
    label: str
    rows: int | None
    bytes: int | None
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
class Warned:
    """Rows break a rule that stops nothing: `broken` of the `rows`; `examples` are some of those, by column.

    `name` is the rule's, where it has one.
    """

    address: str
    kind: str
    rule: str
    name: str
    broken: int
    rows: int
    examples: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, kw_only=True)
class Refreshed:
    """What a refresh did to a group's table, and why; `rows` were written, those from the event time `since` on, if not all.

    Rows of a database or a function before that time are `unread`: whether they have changed is not known.
    """

    group: str
    table: str
    how: How
    why: str
    since: str | None = None
    rows: int = 0
    seconds: float = 0.0
    unread: bool = False


@dataclass(frozen=True)
class Published:
    """Everything is visible to readers, at once."""

    serial: int
    rows: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What a run did, once it is over: always the last event of one that succeeds.

    `built` and `reused` count tables; `rows` and `bytes` are those that were written.
    """

    environment: str
    serial: int
    changes: int
    steps: int
    built: int = 0
    reused: int = 0
    rows: int = 0
    bytes: int = 0
    seconds: float = 0.0
    warnings: int = 0


Event = (
    Waiting | ClockBehind | Started | StepStarted | StepFinished | Progress | Warned | Refreshed | Published | Summary
)
Listener = Callable[[Event], None]


def ignore(event: Event) -> None:
    """Listen to nothing."""
    del event
