"""Typed events of an apply or a refresh, which listeners show."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

How = Literal["nothing new", "extended", "rebuilt", "not refreshed"]
"""The result of a refresh for one table."""


@dataclass(frozen=True)
class Waiting:
    """Another writer, `holder`, holds the store; the run waits for up to `timeout` seconds."""

    holder: str
    timeout: int


@dataclass(frozen=True)
class ClockBehind:
    """The clock of this machine is `seconds` behind the newest state, which another machine may have written."""

    seconds: int


@dataclass(frozen=True)
class Started:
    """A run of `steps` steps starts."""

    steps: int


@dataclass(frozen=True)
class StepStarted:
    """A step starts; `group` and `table` say which table it builds or refreshes, None for other steps."""

    number: int
    label: str
    group: str | None = None
    table: str | None = None


@dataclass(frozen=True)
class StepFinished:
    """A step is done; `rows` and `bytes` are the size of the table that it built, None if it builds none.

    Small tables share a file, so their bytes are known only in the summary.
    """

    number: int
    label: str
    rows: int | None
    bytes: int | None
    seconds: float
    group: str | None = None
    table: str | None = None


@dataclass(frozen=True)
class Progress:
    """The progress of a long step; `seconds_left` is None until it can be estimated."""

    number: int
    label: str
    rows_done: int
    rows_total: int
    seconds_left: float | None


@dataclass(frozen=True, kw_only=True)
class RuleChecked:
    """A declared rule was checked: `broken` of the `rows` break it; for a rule on all rows together, `broken` is 0 or 1."""

    address: str
    kind: str
    rule: str
    name: str
    severity: str
    broken: int
    rows: int


@dataclass(frozen=True)
class Warned:
    """`broken` of the `rows` break a rule that only warns; `examples` are some of these rows, by column.

    `name` is the name of the rule, if it has one.
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
    """The result of a refresh for a group's table, and the reason; `rows` were written, from the event time `since` on or all.

    If `unread`, earlier rows of a database or a function were not read, so whether they changed is unknown.
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
    """Readers see the new state."""

    serial: int
    rows: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class OnlinePublished:
    """The online store has the state `state` of an environment.

    `tables` were computed and `removed` were deleted; `records` were written and `deleted` were deleted.
    """

    environment: str
    state: int
    tables: int
    removed: int
    records: int
    deleted: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The totals of a run: the last event of every run that succeeds.

    `built` and `reused` are numbers of tables; `rows` and `bytes` are the totals of the tables that were written.
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
    Waiting
    | ClockBehind
    | Started
    | StepStarted
    | StepFinished
    | Progress
    | RuleChecked
    | Warned
    | Refreshed
    | Published
    | OnlinePublished
    | Summary
)
Listener = Callable[[Event], None]


def ignore(event: Event) -> None:
    """Ignore the event."""
    del event
