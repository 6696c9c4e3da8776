"""Canonical definitions as frozen data, the same in a catalogue, the registry and a plan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeVar

from featdsl.definitions import text_types
from featdsl.definitions.dialects import STORE, Dialect
from featdsl.definitions.names import AS_OF_TIMESTAMP, EVENT_TIMESTAMP, SOURCE_TIMESTAMP, VALID_TO
from featdsl.definitions.quality_rules import Expectation, GroupRule, WholeRule
from featdsl.definitions.sources import Column, FunctionDefinition, SourceDefinition
from featdsl.definitions.time_units import TimeUnit
from featdsl.definitions.timestamps import Clock
from featdsl.definitions.windows import Aggregate, Window
from featdsl.errors import Origin


@dataclass(frozen=True, kw_only=True)
class EntityDefinition:
    """An entity with its key columns in the order of declaration."""

    kind: Literal["entity"] = "entity"
    name: text_types.Name
    project: text_types.Name
    owner: str
    description: str
    keys: tuple[Column, ...]
    origin: Origin


@dataclass(frozen=True, kw_only=True)
class Deprecation:
    """A deprecation: since when, from when its owner may remove the definition, and the replacement.

    The dates are ISO strings; without `remove_after`, the owner may remove it at once. `use` is an address, or `""`.
    """

    since: str
    remove_after: str | None = None
    use: str = ""

    def __str__(self) -> str:
        until = f", may be removed from {self.remove_after}" if self.remove_after else ""
        return f"since {self.since}{until}{f'; use {self.use}' if self.use else ''}"


Access = Literal["public", "private"]

Bare = Literal["all", "project", "none"]
"""Where the bare name of a feature refers to it: everywhere, in its own project, or nowhere, because another has it first."""

Policy = Literal["none", "affected-teams"]
"""Whether apply requires the approval of teams that a plan affects."""


@dataclass(frozen=True, kw_only=True)
class Role:
    """Where to find a key of an input's entity: in a key column of the group's entity, or in the value of a feature."""

    key: str
    column: str = ""
    feature: str = ""
    fingerprint: str = ""


@dataclass(frozen=True, kw_only=True)
class Input:
    """A feature that another is derived from: its column name in the SQL, and its fingerprint.

    `keys` lists the keys of its entity that are not the group's key columns of the same name.
    """

    column: text_types.Column
    feature: text_types.Address
    fingerprint: str
    keys: tuple[Role, ...] = ()


AS_OF = '"#as of"'
"""The time of the read, in the formula of a windowed feature."""


@dataclass(frozen=True, kw_only=True)
class FeatureDefinition:
    """One feature at one fingerprint, with everything that a reader needs to look up its values.

    - `keys`: the key columns of the entity; `table`: the stored table;
    - `timed`: whether values have event timestamps, of the type `clock`; `time_unit`: the unit of numeric source times;
    - `late`: whether event timestamps are the times when rows became known; the table then also has the source timestamps;
    - `ends`: whether rows have a time when they end; `ttl`: how long values are valid, in seconds;
    - `inputs`: the features that a derived feature reads; it is computed when read;
    - `reads`: the columns of the source or the inputs that the SQL reads; `roots`: the stored columns that these come from;
    - `window`: a windowed feature is also computed when read: its table has the source's rows, and its value is `formula` over
      the results of its `aggregates`. `order` decides which of two rows of the same time is later;
    - `function`: the UDF that the SQL of a Python feature calls;
    - `request`: the request-time data that it needs, also through its inputs; `as_of`: whether a derived feature reads the
      time of the read. A feature with either has no stored values;
    - `protect`: whether plans must not remove it; `renamed_from`: its former name; `successor`: for a version that others
      still read under a former name, the current name;
    - `unit`: the unit of its values, for people: `mph`, `USD per year`;
    - `variants`: its SQL in other dialects, by dialect, for engines that do not compute `sql` with the same values;
    - `bare`: where its bare name refers to it; `moments`: those of its group.
    """

    kind: Literal["feature"] = "feature"
    name: text_types.Name
    group: text_types.Name
    project: text_types.Name
    owner: str
    description: str
    unit: str = ""
    tags: tuple[str, ...]
    dtype: text_types.DType
    sql: str
    variants: tuple[tuple[Dialect, str], ...] = ()
    expect: tuple[Expectation, ...]
    whole: tuple[WholeRule, ...] = ()
    function: FunctionDefinition | None = None
    reads: tuple[str, ...]
    roots: tuple[str, ...] = ()
    inputs: tuple[Input, ...] = ()
    window: Window | None = None
    aggregates: tuple[Aggregate, ...] = ()
    formula: str = ""
    order: tuple[str, ...] = ()
    request: tuple[Column, ...] = ()
    as_of: bool = False
    entity: str | None
    keys: tuple[Column, ...]
    timed: bool
    clock: Clock = "TIMESTAMP"
    late: bool = False
    ends: bool = False
    time_unit: TimeUnit | None = None
    ttl: int | None
    adhoc: bool = False
    protect: bool = False
    deprecated: Deprecation | None = None
    renamed_from: text_types.Former = ""
    successor: str = ""
    bare: Bare = "all"
    fingerprint: str
    table: str
    stored: str = ""
    moments: Moments = "every change"
    origin: Origin

    @property
    def address(self) -> str:
        """The full name: `user_profile.age`."""
        return f"{self.group}.{self.name}"

    @property
    def column(self) -> str:
        """Its column in the table: the name that the feature had when the table was built."""
        return self.stored or self.name

    @property
    def computed(self) -> bool:
        """Whether it is computed when read."""
        return bool(self.inputs or self.request or self.as_of)

    @property
    def is_rowless(self) -> bool:
        """Whether it has no stored values, because they depend on request-time data or on the time of the read."""
        return bool(self.request) or self.as_of

    @property
    def upstream(self) -> tuple[tuple[str, str], ...]:
        """The address and fingerprint of each direct input, including the features that provide keys."""
        if not self.inputs:
            return ()
        direct = [(item.feature, item.fingerprint) for item in self.inputs]
        keys = [(role.feature, role.fingerprint) for item in self.inputs for role in item.keys if role.feature]
        return tuple(dict.fromkeys([*direct, *keys]))

    @property
    def asks(self) -> tuple[Column, ...]:
        """The request-time data that its own SQL reads."""
        taken = {item.column for item in self.inputs}
        return tuple(column for column in self.request if column.name in self.reads and column.name not in taken)

    @property
    def asks_time(self) -> bool:
        """Whether its own SQL reads the time of the read."""
        return self.as_of and AS_OF_TIMESTAMP in self.reads

    @property
    def times(self) -> tuple[Column, ...]:
        """The time columns of its table."""
        names = [EVENT_TIMESTAMP] * self.timed + [SOURCE_TIMESTAMP] * self.late
        return tuple(Column(name=name, dtype=self.clock) for name in names)

    @property
    def bounds(self) -> tuple[Column, ...]:
        """The time columns of its table, and the column with the end of rows."""
        return (*self.times, *([Column(name=VALID_TO, dtype=self.clock)] if self.ends else []))


@dataclass(frozen=True, kw_only=True)
class Member:
    """A feature and its fingerprint, with its column name in a group or a set.

    `keys` renames key columns of the entity: `(("airport", "dest"),)` looks up the airport by the column `dest`. `renamed` says
    that the feature was renamed since, so the column has its former name. `by` says how a set lists it: `*` by its group, the
    name of its family of windows, or `""` by itself; None in older registries.
    """

    column: text_types.Column
    feature: text_types.Address
    fingerprint: str
    keys: tuple[tuple[str, str], ...] = ()
    renamed: bool = False
    by: str | None = None


Moments = Literal["every change", "own changes"]
"""When a derived group has rows: at every change of an input, or only at changes of inputs of its own entity."""


@dataclass(frozen=True, kw_only=True)
class GroupDefinition:
    """A group of features. `keys` maps entity keys to source columns of other names, `rules` apply to all its rows.

    `moments` says at which times the table of a derived group has rows, `online` whether the group is published by itself,
    `engine` which engine computes its tables.
    """

    kind: Literal["group"] = "group"
    name: text_types.Name
    project: text_types.Name
    owner: str
    description: str
    tags: tuple[str, ...]
    entity: str | None
    source: str | None
    keys: tuple[tuple[str, str], ...]
    ttl: int | None
    adhoc: bool = False
    access: Access = "public"
    protect: bool = False
    deprecated: Deprecation | None = None
    renamed_from: text_types.Former = ""
    rules: tuple[GroupRule, ...] = ()
    moments: Moments = "every change"
    online: bool = False
    engine: Dialect = STORE
    members: tuple[Member, ...]
    origin: Origin


@dataclass(frozen=True, kw_only=True)
class SetDefinition:
    """One version of a set, with the pinned fingerprint of each feature; `online` says whether it is published."""

    kind: Literal["set"] = "set"
    name: text_types.Name
    version: int
    project: text_types.Name
    owner: str
    description: str
    protect: bool = False
    deprecated: Deprecation | None = None
    renamed_from: text_types.Former = ""
    online: bool = True
    members: tuple[Member, ...]
    origin: Origin

    @property
    def address(self) -> str:
        """The name with the version: `credit_risk@1`."""
        return f"{self.name}@{self.version}"

    @property
    def view(self) -> str:
        """The name of its SQL view: `credit_risk_v1`."""
        return f"{self.name}_v{self.version}"


@dataclass(frozen=True, kw_only=True)
class ModelDefinition:
    """A model that consumes one version of a set."""

    kind: Literal["model"] = "model"
    name: text_types.Name
    project: text_types.Name
    owner: str
    description: str
    features: str
    origin: Origin


@dataclass(frozen=True, kw_only=True)
class PolicyDefinition:
    """The policy of a project, under the project's name; recorded only if it requires something.

    It is in the registry so that a code change cannot lift it for its own apply.
    """

    kind: Literal["policy"] = "policy"
    name: text_types.Name
    project: text_types.Name
    owner: str
    description: str = ""
    approvals: Policy
    origin: Origin


Definition = (
    EntityDefinition
    | SourceDefinition
    | FeatureDefinition
    | GroupDefinition
    | SetDefinition
    | ModelDefinition
    | PolicyDefinition
)
D = TypeVar("D", bound=Definition)


def revised(definition: D, **fields: object) -> D:
    """Return a definition with some fields changed, like `dataclasses.replace` but without calling `__init__`.

    With `replace`, a plan over many definitions would spend most of its time in `__init__`.
    """
    changed = object.__new__(type(definition))
    changed.__dict__.update(definition.__dict__, **fields)
    return changed


def address(definition: Definition) -> str:
    """Return the address of a definition: the name that other definitions refer to."""
    return definition.address if isinstance(definition, (FeatureDefinition, SetDefinition)) else definition.name
