"""The canonical form of what teams declare: plain frozen data, the same in a catalogue, the registry and a plan."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, Union

from featdsl import checkedtext
from featdsl.durations import Length
from featdsl.errors import Origin
from featdsl.instants import Clock
from featdsl.names import AS_OF_TIMESTAMP, EVENT_TIMESTAMP, SOURCE_TIMESTAMP, VALID_TO
from featdsl.rules import Expectation, GroupRule, WholeRule
from featdsl.timereading import TimeReading
from featdsl.timeunits import TimeUnit
from featdsl.zones import Ambiguous

if TYPE_CHECKING:
    from pydantic import TypeAdapter

Merge = Literal["count", "sum", "avg", "min", "max", "bool_and", "bool_or", "bit_and", "bit_or", "bit_xor"]
"""Aggregates whose results over parts of the rows give that over all of them."""
SourceFormat = Literal["parquet", "csv", "json", "iceberg", "delta", "table", "sql", "frame", "python"]


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column and its DuckDB type."""

    name: checkedtext.AnyColumn
    dtype: checkedtext.DType


@dataclass(frozen=True, kw_only=True)
class FunctionDefinition:
    """A Python function: what it is called by, what it is given, and the text of all that counts in it."""

    module: str
    qualname: str
    parameters: tuple[str, ...]
    fingerprint: str
    text: str

    @property
    def name(self) -> str:
        """Its name for everyone: `features.reviews:Reviews.sentiment`."""
        return f"{self.module}:{self.qualname}"


@dataclass(frozen=True, kw_only=True)
class EntityDefinition:
    """What features describe, with its key columns in the order of declaration."""

    kind: Literal["entity"] = "entity"
    name: checkedtext.Name
    project: checkedtext.Name
    owner: str
    description: str
    keys: tuple[Column, ...]
    origin: Origin


@dataclass(frozen=True, kw_only=True)
class SourceDefinition:
    """Rows to compute from.

    `location` holds path globs, or a database and its table, or the hash of a frame; `sql` is rendered, and names
    other sources as `source.<name>`. `columns` is the schema that was found when it was last planned, and `lineage`
    tells for each column of a query which columns of its inputs it is made of. `function` makes the rows of a Python
    source, whose `columns` are declared. Rows may come up to `lookback` seconds late. Times that are numbers count
    `time_unit`s since 1970; those without a zone are of `timezone`, where `ambiguous` decides what comes twice.
    `schema` holds the types of columns of files that are declared, `formats` the formats of dates that were found in them.
    """

    kind: Literal["source"] = "source"
    name: checkedtext.Name
    project: checkedtext.Name
    owner: str
    description: str
    format: SourceFormat
    location: tuple[str, ...] = ()
    options: tuple[tuple[str, str], ...] = ()
    sql: str = ""
    inputs: tuple[str, ...] = ()
    function: FunctionDefinition | None = None
    timestamp: str | None
    available_at: str | None = None
    valid_to: str | None = None
    tie_break: str | tuple[str, ...] | None
    lookback: int | None = None
    time_unit: TimeUnit | None = None
    timezone: str | None = None
    ambiguous: Ambiguous = "refuse"
    fingerprint: str
    schema: tuple[Column, ...] = ()
    formats: tuple[tuple[str, str], ...] = ()
    columns: tuple[Column, ...] = ()
    lineage: tuple[tuple[str, tuple[str, ...]], ...] = ()
    origin: Origin

    @property
    def times(self) -> tuple[str, ...]:
        """The columns that tell when a row became true, and when it became known."""
        return tuple(column for column in (self.timestamp, self.available_at) if column)

    @property
    def tie_breaks(self) -> tuple[str, ...]:
        """The columns that choose between rows of one time, the one that decides first in front."""
        return (self.tie_break,) if isinstance(self.tie_break, str) else self.tie_break or ()

    def dtype(self, name: str) -> str:
        """Return the type of a column, or that of plain times as long as the schema was not looked at."""
        found = (column.dtype for column in self.columns if column.name.lower() == name.lower())
        return next(found, "TIMESTAMP")

    @property
    def reading(self) -> TimeReading:
        """How its times are read."""
        return TimeReading(unit=self.time_unit, zone=self.timezone, ambiguous=self.ambiguous)

    @property
    def clock(self) -> Clock:
        """The clock that loses nothing of its times."""
        read = [*self.times, *([self.valid_to] if self.valid_to else [])]
        return "TIMESTAMP_NS" if any(self.reading.is_fine(self.dtype(name)) for name in read) else "TIMESTAMP"

    def instant(self, name: str, clock: Clock) -> str:
        """Return the SQL of the instant that one of its columns tells, in UTC and in a clock."""
        return self.reading.instant(name, self.dtype(name), clock)


@dataclass(frozen=True, kw_only=True)
class Deprecation:
    """That something should be used no longer: since when, from when it may go, and what takes its place.

    The dates are ISO texts; without `remove_after` it may go at once. `use` is an address, or nothing.
    """

    since: str
    remove_after: str | None = None
    use: str = ""

    def __str__(self) -> str:
        until = f", may go from {self.remove_after}" if self.remove_after else ""
        return f"since {self.since}{until}{f'; use {self.use}' if self.use else ''}"


Access = Literal["public", "private"]

Bare = Literal["all", "project", "none"]
"""For whom a feature's bare name means it: for all, for its own project, or for nobody, because another had it first."""

Policy = Literal["none", "affected-teams"]
"""Whether apply insists on the approval of teams whose things change or go."""


@dataclass(frozen=True, kw_only=True)
class Role:
    """Where a key of an input's entity is found: in a key column of the group's own entity, or as a feature's value."""

    key: str
    column: str = ""
    feature: str = ""
    fingerprint: str = ""


@dataclass(frozen=True, kw_only=True)
class Input:
    """A feature that another is derived from: under `column` in the SQL, at one fingerprint.

    `keys` tells of the keys of its entity that are not the group's key columns of the same name.
    """

    column: checkedtext.Column
    feature: checkedtext.Address
    fingerprint: str
    keys: tuple[Role, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Window:
    """Which rows an aggregate looks at, for each time t: those between two ends that lie before t.

    The later end is t, or the last multiple of `every` before it, less `delay` and `offset`; the earlier one is `length`
    before that, or there is none. Of the rows between them only the `last_n` count, where it is given.
    """

    length: Length | None
    closed: Literal["left", "right", "both", "neither"] = "left"
    delay: Length | None = None
    offset: Length | None = None
    last_n: int | None = None
    every: Length | None = None

    @property
    def shifts(self) -> tuple[Length, ...]:
        """How much before t the later end lies."""
        return tuple(shift for shift in (self.delay, self.offset) if shift)

    def __str__(self) -> str:
        later = "".join(["t", *(f" − {shift}" for shift in self.shifts)])
        left = "[" if self.closed in {"left", "both"} and self.length else "("
        right = "]" if self.closed in {"right", "both"} else ")"
        rows = f"last {self.last_n} of " if self.last_n else ""
        grid = f", t every {self.every}" if self.every else ""
        return f"{rows}{left}{f'{later} − {self.length}' if self.length else '−∞'}, {later}{right}{grid}"


ORDER = '"#order"'
AS_OF = '"#as of"'
"""The time that is asked for, in the formula of a windowed feature."""


@dataclass(frozen=True, kw_only=True)
class Aggregate:
    """One aggregate of a windowed feature: `call` over the rows that meet `where`, `empty` over none.

    Where the result depends on the order of the rows, `call` has ORDER in the place of that order. `merges` says which
    aggregate of `argument`, of type `dtype`, it is where its results over parts of the rows can be merged; `total` is
    the canonical text of what it then counts or sums. `slides` says that it can be computed by OVER.
    """

    call: str
    where: str = ""
    empty: str = ""
    merges: Merge | None = None
    argument: str = ""
    total: str = ""
    slides: bool = True
    dtype: str = ""


@dataclass(frozen=True, kw_only=True)
class FeatureDefinition:
    """One feature at one fingerprint, with all that a reader needs to look its values up.

    `keys` are the entity's key columns, `timed` whether values have event timestamps, `clock` how fine these are, `late`
    whether they tell when rows were known, with the rows' own times beside; `ends` whether they tell when
    a row ends; `time_unit` is what the times of its source
    count, where they are numbers; `ttl` is in seconds, `table` the stored
    table. A derived feature has `inputs` and is computed when read; `reads` names the columns of the source
    or of the inputs that its SQL uses, `roots` the columns of stored data that these come from.
    A feature with a `window` is computed when read as well: its table has the source's rows, and its value is
    `formula` over the results of its `aggregates`. `order` tells which of two rows at one time comes later. The SQL
    of a Python feature calls its `function`.
    What a feature needs of the call, by way of its inputs too, is its `request`; `as_of` says that a derived feature
    counts up to the time that is asked for. Either is stored nowhere.
    A feature that is `protect`ed cannot be removed; its name before was `renamed_from`. A version that others still read
    under an earlier name tells by its `successor` what the feature is called now. Its `bare` name means it for all,
    unless another feature was applied under that name before. `moments` are those of its group.
    """

    kind: Literal["feature"] = "feature"
    name: checkedtext.Name
    group: checkedtext.Name
    project: checkedtext.Name
    owner: str
    description: str
    tags: tuple[str, ...]
    dtype: checkedtext.DType
    sql: str
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
    renamed_from: checkedtext.Former = ""
    successor: str = ""
    bare: Bare = "all"
    fingerprint: str
    table: str
    stored: str = ""
    moments: Moments = "every change"
    origin: Origin

    @property
    def address(self) -> str:
        """Its name for everyone: `user_profile.age`."""
        return f"{self.group}.{self.name}"

    @property
    def column(self) -> str:
        """The column of its table, which keeps the name that the feature had when the table was built."""
        return self.stored or self.name

    @property
    def computed(self) -> bool:
        """Whether it is computed when it is read."""
        return bool(self.inputs or self.request or self.as_of)

    @property
    def is_rowless(self) -> bool:
        """Whether it has no stored values: only a call knows the request, or the time, that they depend on."""
        return bool(self.request) or self.as_of

    @property
    def upstream(self) -> tuple[tuple[str, str], ...]:
        """The address and fingerprint of each feature that it is derived from, those that give keys included."""
        if not self.inputs:
            return ()
        direct = [(item.feature, item.fingerprint) for item in self.inputs]
        keys = [(role.feature, role.fingerprint) for item in self.inputs for role in item.keys if role.feature]
        return tuple(dict.fromkeys([*direct, *keys]))

    @property
    def asks(self) -> tuple[Column, ...]:
        """What its own SQL reads of the request."""
        taken = {item.column for item in self.inputs}
        return tuple(column for column in self.request if column.name in self.reads and column.name not in taken)

    @property
    def asks_time(self) -> bool:
        """Whether its own SQL reads the time that is asked for."""
        return self.as_of and AS_OF_TIMESTAMP in self.reads

    @property
    def times(self) -> tuple[Column, ...]:
        """The columns of times in its table."""
        names = [EVENT_TIMESTAMP] * self.timed + [SOURCE_TIMESTAMP] * self.late
        return tuple(Column(name=name, dtype=self.clock) for name in names)

    @property
    def bounds(self) -> tuple[Column, ...]:
        """The columns in its table of times and of when rows end."""
        return (*self.times, *([Column(name=VALID_TO, dtype=self.clock)] if self.ends else []))


@dataclass(frozen=True, kw_only=True)
class Member:
    """A feature and its fingerprint, under the name that a group or a set gives it.

    `keys` renames key columns of the entity: `(("airport", "dest"),)` looks the airport up by the column `dest`. Where the
    feature was `renamed` since, the column has the name of before. `by` tells how a set lists it: by its whole group, which is
    `*`, by the name of its family of windows, or by itself, which is nothing; None where a registry of before lacks it.
    """

    column: checkedtext.Column
    feature: checkedtext.Address
    fingerprint: str
    keys: tuple[tuple[str, str], ...] = ()
    renamed: bool = False
    by: str | None = None


Moments = Literal["every change", "own changes"]
"""When a derived group has rows: at every change of an input, or at those of inputs of its own entity alone."""


@dataclass(frozen=True, kw_only=True)
class GroupDefinition:
    """Features of one owner. `keys` maps entity keys to differently named source columns, `rules` are of all its rows.

    `moments` tells at which times the table of a derived group has rows.
    """

    kind: Literal["group"] = "group"
    name: checkedtext.Name
    project: checkedtext.Name
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
    renamed_from: checkedtext.Former = ""
    rules: tuple[GroupRule, ...] = ()
    moments: Moments = "every change"
    members: tuple[Member, ...]
    origin: Origin


@dataclass(frozen=True, kw_only=True)
class SetDefinition:
    """One version of a set, with the fingerprint of each feature that it was applied with."""

    kind: Literal["set"] = "set"
    name: checkedtext.Name
    version: int
    project: checkedtext.Name
    owner: str
    description: str
    protect: bool = False
    deprecated: Deprecation | None = None
    renamed_from: checkedtext.Former = ""
    members: tuple[Member, ...]
    origin: Origin

    @property
    def address(self) -> str:
        """Its name for everyone: `credit_risk@1`."""
        return f"{self.name}@{self.version}"

    @property
    def view(self) -> str:
        """Its view for analysts: `credit_risk_v1`."""
        return f"{self.name}_v{self.version}"


@dataclass(frozen=True, kw_only=True)
class ModelDefinition:
    """A consumer of one version of a set."""

    kind: Literal["model"] = "model"
    name: checkedtext.Name
    project: checkedtext.Name
    owner: str
    description: str
    features: str
    origin: Origin


@dataclass(frozen=True, kw_only=True)
class PolicyDefinition:
    """What a project insists on when it is applied, under the project's name; recorded only where it insists on something.

    It is in the registry so that a change of code cannot lift it for itself.
    """

    kind: Literal["policy"] = "policy"
    name: checkedtext.Name
    project: checkedtext.Name
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
KINDS = ("entity", "source", "group", "feature", "set", "model", "policy")
"""Every kind, those that others are made of first."""


@dataclass(frozen=True)
class Catalog:
    """Everything that is declared, or everything that is applied: the two sides that a plan compares.

    Each mapping is by address. Features are the current ones; the registry keeps older versions beside.
    """

    entities: Mapping[str, EntityDefinition] = field(default_factory=dict)
    sources: Mapping[str, SourceDefinition] = field(default_factory=dict)
    groups: Mapping[str, GroupDefinition] = field(default_factory=dict)
    features: Mapping[str, FeatureDefinition] = field(default_factory=dict)
    sets: Mapping[str, SetDefinition] = field(default_factory=dict)
    models: Mapping[str, ModelDefinition] = field(default_factory=dict)
    policies: Mapping[str, PolicyDefinition] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Definition]:
        """Yield every definition, by kind and then by address."""
        return iter(self.by_key.values())

    @cached_property
    def by_key(self) -> Mapping[tuple[str, str], Definition]:
        """Every definition by its kind and address, in the order of both."""
        return {
            (kind, name): by_address[name]
            for kind, by_address in self._by_kind().items()
            for name in sorted(by_address)
        }

    def _by_kind(self) -> dict[str, Mapping[str, Definition]]:
        return {kind: getattr(self, name) for kind, name in _MAPPINGS.items()}

    def members_of(self, group: str) -> Sequence[FeatureDefinition]:
        """Return the features of a group, in its order."""
        found = self._members.get(group)
        if found is None:
            found = self._members[group] = [self.features[member.feature] for member in self.groups[group].members]
        return found

    @cached_property
    def _members(self) -> dict[str, Sequence[FeatureDefinition]]:
        """The features of the groups that were asked for, which a plan does many times."""
        return {}

    def protects(self, feature: FeatureDefinition) -> bool:
        """Return whether a feature or its group is protected against removal."""
        return feature.protect or (feature.group in self.groups and self.groups[feature.group].protect)

    def deprecation_of(self, definition: Definition) -> Deprecation | None:
        """Return how a thing is deprecated, a feature also by way of its group."""
        own = getattr(definition, "deprecated", None)
        if own is None and isinstance(definition, FeatureDefinition) and definition.group in self.groups:
            return self.groups[definition.group].deprecated
        return own

    def stored_members_of(self, group: str) -> list[FeatureDefinition]:
        """Return the features of a group that have stored values, in its order."""
        return [feature for feature in self.members_of(group) if not feature.is_rowless]

    def upstream_of(self, group: str) -> list[str]:
        """Return the groups that a group is derived from, sorted."""
        return sorted({name.partition(".")[0] for each in self.members_of(group) for name, _ in each.upstream})

    def tables_of(self, group: str) -> dict[str, list[FeatureDefinition]]:
        """Return the stored tables of a group, in order of name, with the features that are read from each."""
        tables: dict[str, list[FeatureDefinition]] = {}
        for feature in self.members_of(group):
            if feature.table:
                tables.setdefault(feature.table, []).append(feature)
        return dict(sorted(tables.items()))

    @property
    def tables(self) -> set[str]:
        """The stored tables of all current features."""
        return {feature.table for feature in self.features.values() if feature.table}

    @cached_property
    def former(self) -> Mapping[str, str]:
        """The present name for each former name of a group, feature or set version, where nothing else has that now."""
        names = {group.renamed_from: group.name for group in self.groups.values() if group.renamed_from}
        for feature in self.features.values():
            earlier = self.groups[feature.group].renamed_from if feature.group in self.groups else ""
            if earlier or feature.renamed_from:
                for group in filter(None, (feature.group, earlier)):
                    for name in filter(None, (feature.name, feature.renamed_from)):
                        names[f"{group}.{name}"] = feature.address
        names |= {
            f"{each.renamed_from}@{each.version}": each.address for each in self.sets.values() if each.renamed_from
        }
        taken = {*self.groups, *self.features, *self.sets}
        return {old: new for old, new in names.items() if old not in taken}

    def of_project(self, project: str) -> Catalog:
        """Return what belongs to one project."""
        return self.only(lambda definition: definition.project == project)

    def only(self, wanted: Callable[[Definition], bool]) -> Catalog:
        """Return what is wanted of it."""
        return self._of_keys({key: each for key, each in self.by_key.items() if wanted(each)})

    def of_keys(self, keys: Container[tuple[str, str]]) -> Catalog:
        """Return what has one of these kinds and addresses."""
        return self._of_keys({key: each for key, each in self.by_key.items() if key in keys})

    def without(self, *others: Catalog) -> Catalog:
        """Return what none of the others has."""
        taken: set[tuple[str, str]] = set().union(*(other.by_key for other in others))
        return self._of_keys({key: each for key, each in self.by_key.items() if key not in taken})

    def updated(self, other: Catalog) -> Catalog:
        """Return this with all that another has, which goes first."""
        if not self.by_key:
            return other
        both = {**self.by_key, **other.by_key}
        return self._of_keys({key: both[key] for key in sorted(both)})

    @classmethod
    def _of_keys(cls, by_key: Mapping[tuple[str, str], Definition]) -> Catalog:
        """Return the catalogue of definitions by key, each kind of them in order of address."""
        catalog: dict[str, dict[str, Any]] = {kind: {} for kind in _MAPPINGS}
        for (kind, name), definition in by_key.items():
            catalog[kind][name] = definition
        return cls(**{_MAPPINGS[kind]: found for kind, found in catalog.items()})

    @classmethod
    def of(cls, definitions: Iterable[Definition]) -> Catalog:
        """Return the catalogue of these definitions."""
        catalog: dict[str, dict[str, Any]] = {name: {} for name in _MAPPINGS.values()}
        for definition in definitions:
            catalog[_MAPPINGS[definition.kind]][address(definition)] = definition
        return cls(**catalog)


def revised(definition: D, **fields: object) -> D:
    """Return a definition with other values of some fields, as `dataclasses.replace` does.

    That calls `__init__` with every field, which is most of the time of a plan over many definitions.
    """
    found = object.__new__(type(definition))
    found.__dict__.update(definition.__dict__, **fields)
    return found


_MAPPINGS = {
    "entity": "entities", "source": "sources", "group": "groups", "feature": "features", "set": "sets",
    "model": "models", "policy": "policies",
}  # fmt: skip


def address(definition: Definition) -> str:
    """Return the name that others use for a definition."""
    return definition.address if isinstance(definition, (FeatureDefinition, SetDefinition)) else definition.name


@cache
def _adapter() -> TypeAdapter[Definition]:
    from pydantic import Field, TypeAdapter

    return TypeAdapter(Annotated[Union[Definition], Field(discriminator="kind")])  # noqa: UP007 - pydantic reads it


@cache
def _adapter_of_many() -> TypeAdapter[list[Definition]]:
    from pydantic import Field, TypeAdapter

    return TypeAdapter(list[Annotated[Union[Definition], Field(discriminator="kind")]])  # noqa: UP007 - pydantic reads it


def to_json(definition: Definition) -> str:
    """Return a definition as JSON text."""
    return _adapter().dump_json(definition).decode()


def from_json(text: str | bytes) -> Definition:
    """Return the definition that `to_json` wrote. Raises pydantic.ValidationError for anything else."""
    return _adapter().validate_json(text)


def all_from_json(texts: Iterable[str]) -> Sequence[Definition]:
    """Return the definitions that `to_json` wrote. Raises pydantic.ValidationError for anything else."""
    return _adapter_of_many().validate_json(f"[{','.join(texts)}]")
