"""A plan as plain data: the steps that apply runs, and what they mean for everyone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from featdsl.definitions import Column, Definition, FunctionDefinition, Policy, SourceDefinition
from featdsl.diff import Change
from featdsl.errors import Origin
from featdsl.rules import Kind, Severity, told
from featdsl.shifts import Compared
from featdsl.snapshot import Head

FORMAT = 2
"""The version of the plan's JSON. A reader refuses a newer one."""


@dataclass(frozen=True, kw_only=True)
class OpenSource:
    """Let the SQL that follows read a source as `source.<name>`."""

    step: Literal["open_source"] = "open_source"
    source: SourceDefinition


@dataclass(frozen=True, kw_only=True)
class FunctionUse:
    """A Python function that SQL calls by `name`, with columns of these types, for a feature of this type."""

    name: str
    feature: str
    function: FunctionDefinition
    columns: tuple[Column, ...]
    dtype: str
    origin: Origin


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What building a table may take, by what it took the last time: rows, seconds, bytes."""

    rows: int
    seconds: float
    bytes: int


@dataclass(frozen=True, kw_only=True)
class BuildTable:
    """Make the table of a group: unique by keys and event timestamp, sorted by them.

    It is made of the rows of `source`, in which the keys are the columns `source_keys`; without one, of the tables that
    it `reads`.
    """

    step: Literal["build_table"] = "build_table"
    group: str
    table: str
    sql: str
    keys: tuple[str, ...]
    timed: bool
    columns: tuple[Column, ...]
    reads: tuple[str, ...]
    source: str = ""
    source_keys: tuple[str, ...] = ()
    functions: tuple[FunctionUse, ...] = ()
    reason: str
    estimate: Estimate | None = None
    origin: Origin


@dataclass(frozen=True, kw_only=True)
class CheckRows:
    """Stop unless the query finds no row, or warn: the rows that it finds break `rule`.

    Where the identity of rows is checked, nobody declared that: it holds for whatever is published.
    """

    step: Literal["check_rows"] = "check_rows"
    address: str
    kind: Kind | Literal["identity"] = "identity"
    rule: str
    name: str = ""
    severity: Severity = "error"
    sql: str
    reads: tuple[str, ...]
    mend: str
    origin: Origin

    @property
    def told(self) -> str:
        """The rule with its name, and that it only warns."""
        return told(self.rule, self.name, self.severity)


@dataclass(frozen=True, kw_only=True)
class PutView:
    """Make or replace a view of the environment."""

    step: Literal["put_view"] = "put_view"
    name: str
    sql: str


@dataclass(frozen=True, kw_only=True)
class DropView:
    """Remove a view of the environment."""

    step: Literal["drop_view"] = "drop_view"
    name: str


@dataclass(frozen=True, kw_only=True)
class Record:
    """Write a definition into the registry."""

    step: Literal["record"] = "record"
    definition: Definition


@dataclass(frozen=True, kw_only=True)
class Forget:
    """Remove a definition from the registry; of a feature, one fingerprint."""

    step: Literal["forget"] = "forget"
    kind: str
    address: str
    fingerprint: str = ""


@dataclass(frozen=True, kw_only=True)
class KeepEnvironment:
    """Make an environment as a copy of prod, or keep it from expiring: it stays for so many seconds from now."""

    step: Literal["keep_environment"] = "keep_environment"
    seconds: int


Step = KeepEnvironment | OpenSource | BuildTable | CheckRows | PutView | DropView | Record | Forget


@dataclass(frozen=True, kw_only=True)
class Affected:
    """Someone downstream of a change. A set version that was applied before keeps what it pinned."""

    kind: str
    address: str
    owner: str
    effect: Literal["changes", "keeps", "new", "removed"]


@dataclass(frozen=True, kw_only=True)
class PlannedChange:
    """A change, and who is downstream of it."""

    change: Change
    downstream: tuple[Affected, ...]


@dataclass(frozen=True, kw_only=True)
class Block:
    """Why a plan cannot be applied: a guard of something that it would remove or break, and how to go on."""

    code: Literal["protected", "deprecated", "pinned", "used", "gone"]
    kind: str
    address: str
    owner: str
    what: str
    mend: str


@dataclass(frozen=True, kw_only=True)
class Approval:
    """A team that should agree, because these things of theirs change or go: `feature affordability.monthly`."""

    team: str
    because: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Notice:
    """What a reviewer should know and that stops nothing."""

    code: Literal[
        "deprecated", "probable rename", "not checked", "pulled", "frozen list", "bare name", "name", "old rows"
    ]
    address: str
    what: str
    mend: str


@dataclass(frozen=True, kw_only=True)
class Kept:
    """An older version of a feature that lives on, who holds it, and how large its table is."""

    feature: str
    fingerprint: str
    table: str
    rows: int
    bytes: int
    held_by: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Reused:
    """A stored table that an applied group goes on with, or that another environment made before."""

    group: str
    table: str
    rows: int
    new: bool


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What apply will do, and why. The same code and registry give the same bytes.

    `untouched` names what reads something near a change, and none of the columns that change. `preview` tells how far
    values move, where that was asked for. `back_to` is the state that a rollback goes back to.
    """

    format: int = FORMAT
    project: str
    environment: str = "prod"
    base: Head
    back_to: int | None = None
    policy: Policy = "none"
    blocks: tuple[Block, ...] = ()
    approvals: tuple[Approval, ...] = ()
    notices: tuple[Notice, ...] = ()
    changes: tuple[PlannedChange, ...]
    untouched: tuple[Affected, ...] = ()
    kept: tuple[Kept, ...] = ()
    reused: tuple[Reused, ...] = ()
    preview: tuple[Compared, ...] = ()
    repairs: tuple[str, ...]
    lost: tuple[str, ...] = ()
    adhoc: tuple[str, ...]
    steps: tuple[Annotated[Step, Field(discriminator="step")], ...]

    @property
    def empty(self) -> bool:
        """Whether there is nothing to do."""
        return not self.steps

    @property
    def unapproved(self) -> tuple[str, ...]:
        """The teams that must agree before it may be applied."""
        return tuple(each.team for each in self.approvals) if self.policy == "affected-teams" else ()
