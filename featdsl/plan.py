"""A plan as plain data: the steps that apply runs, and what they mean for everyone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from featdsl.definitions import Column, Definition, FunctionDefinition, SourceDefinition
from featdsl.diff import Change
from featdsl.errors import Origin
from featdsl.snapshot import Head

FORMAT = 1
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
class BuildTable:
    """Make the table of a group: unique by keys and event timestamp, sorted by them."""

    step: Literal["build_table"] = "build_table"
    group: str
    table: str
    sql: str
    keys: tuple[str, ...]
    timed: bool
    columns: tuple[Column, ...]
    reads: tuple[str, ...]
    functions: tuple[FunctionUse, ...] = ()
    reason: str
    origin: Origin


@dataclass(frozen=True, kw_only=True)
class CheckRows:
    """Stop unless the query finds no row: the rows that it finds break `rule`."""

    step: Literal["check_rows"] = "check_rows"
    address: str
    rule: str
    sql: str
    reads: tuple[str, ...]
    mend: str
    origin: Origin


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
class ReleaseTable:
    """Stop listing a table that no feature is read from any more."""

    step: Literal["release_table"] = "release_table"
    table: str


Step = OpenSource | BuildTable | CheckRows | PutView | DropView | Record | Forget | ReleaseTable


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
class Plan:
    """What apply will do, and why. The same code and registry give the same bytes."""

    format: int = FORMAT
    project: str
    base: Head
    changes: tuple[PlannedChange, ...]
    repairs: tuple[str, ...]
    lost: tuple[str, ...] = ()
    adhoc: tuple[str, ...]
    steps: tuple[Annotated[Step, Field(discriminator="step")], ...]

    @property
    def empty(self) -> bool:
        """Whether there is nothing to do."""
        return not self.steps
