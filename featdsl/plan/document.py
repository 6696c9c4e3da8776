"""A plan as plain data: the steps of an apply, and their effects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from featdsl.definitions.dialects import STORE, Dialect
from featdsl.definitions.kinds import Definition, Policy
from featdsl.definitions.notices import Notice
from featdsl.definitions.quality_rules import Kind, Severity, rule_text
from featdsl.definitions.readers import Affected
from featdsl.definitions.snapshot import Head
from featdsl.definitions.sources import Column, SourceDefinition
from featdsl.definitions.udfs import FunctionUse
from featdsl.definitions.value_shifts import Compared
from featdsl.errors import Origin
from featdsl.plan.diff import Change

FORMAT = 3
"""The version of the plan's JSON. A reader refuses a newer one."""


@dataclass(frozen=True, kw_only=True)
class OpenSource:
    """Let the SQL that follows read a source as `source.<name>`."""

    step: Literal["open_source"] = "open_source"
    source: SourceDefinition


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """The expected size and time of a build; `seconds` and `bytes` are 0 where they are unknown.

    `basis` says where the figures come from: the last build of the table, the stored tables that it reads, or the files of its
    source, which have `source_bytes`.
    """

    rows: int
    seconds: float
    bytes: int
    basis: Literal["last build", "inputs", "source"] = "last build"
    source_bytes: int = 0


@dataclass(frozen=True, kw_only=True)
class BuildTable:
    """Build the table of a group, unique by keys and event timestamp, and sorted by them.

    It is built from the rows of `source`, whose columns `source_keys` are the keys, or without a source from the tables in
    `reads`.
    """

    step: Literal["build_table"] = "build_table"
    group: str
    table: str
    dialect: Dialect = STORE
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
    """Fail or warn if the query finds rows: they break `rule`.

    Every published table has the check of kind "identity", which nobody declares.
    """

    step: Literal["check_rows"] = "check_rows"
    address: str
    kind: Kind | Literal["identity"] = "identity"
    rule: str
    name: str = ""
    severity: Severity = "error"
    dialect: str = "duckdb"
    sql: str
    reads: tuple[str, ...]
    fix: str
    origin: Origin

    @property
    def rule_text(self) -> str:
        """The rule with its name and its severity."""
        return rule_text(self.rule, self.name, self.severity)


@dataclass(frozen=True, kw_only=True)
class PutView:
    """Create or replace a view of the environment."""

    step: Literal["put_view"] = "put_view"
    name: str
    dialect: str = "duckdb"
    sql: str


@dataclass(frozen=True, kw_only=True)
class DropView:
    """Drop a view of the environment."""

    step: Literal["drop_view"] = "drop_view"
    name: str


@dataclass(frozen=True, kw_only=True)
class Record:
    """Write a definition into the registry."""

    step: Literal["record"] = "record"
    definition: Definition


@dataclass(frozen=True, kw_only=True)
class Forget:
    """Remove a definition from the registry; for a feature, the version with this fingerprint."""

    step: Literal["forget"] = "forget"
    kind: str
    address: str
    fingerprint: str = ""


@dataclass(frozen=True, kw_only=True)
class KeepEnvironment:
    """Create an environment as a copy of prod, or extend it: it expires this number of seconds from now."""

    step: Literal["keep_environment"] = "keep_environment"
    seconds: int


Step = KeepEnvironment | OpenSource | BuildTable | CheckRows | PutView | DropView | Record | Forget


@dataclass(frozen=True, kw_only=True)
class PlannedChange:
    """A change, and the definitions downstream of it."""

    change: Change
    downstream: tuple[Affected, ...]


@dataclass(frozen=True, kw_only=True)
class Block:
    """A reason why a plan cannot be applied: it removes or breaks a guarded definition. `fix` says how to go on."""

    code: Literal["protected", "deprecated", "pinned", "used", "gone"]
    kind: str
    address: str
    owner: str
    what: str
    fix: str


@dataclass(frozen=True, kw_only=True)
class Approval:
    """A team that should approve a plan, because it changes or removes their definitions: `feature affordability.monthly`."""

    team: str
    because: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Kept:
    """An older feature version that is kept, with the definitions that hold it, and the size of its table."""

    feature: str
    fingerprint: str
    table: str
    rows: int
    bytes: int
    held_by: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Reused:
    """A stored table that a plan reuses. It is `new` if no applied feature is read from it."""

    group: str
    table: str
    rows: int
    new: bool


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The steps of an apply, and the reasons for them. The same code and registry give the same bytes.

    `untouched` has the readers of a changed table or source that read none of the changed columns. `preview` has the shifts of
    values, if requested. `back_to` is the state that a rollback restores.
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
        """Whether the plan has no steps."""
        return not self.steps

    @property
    def unapproved(self) -> tuple[str, ...]:
        """The teams that must approve the plan before it may be applied."""
        return tuple(each.team for each in self.approvals) if self.policy == "affected-teams" else ()
