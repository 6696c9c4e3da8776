"""What an import found in another tool: plain data, before it is written as declarations.

Names are those that the declarations will have. `names.py` turns names of other tools into valid ones, and `writing.py` writes the
modules.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class ImportedEntity:
    """An entity: its key columns with their DuckDB types."""

    name: str
    keys: Mapping[str, str]
    description: str = ""
    team: str = ""
    """The folder that declares it; `""` for the one team that uses it, or the top of the features package."""


@dataclass(frozen=True, kw_only=True)
class ImportedSource:
    """A source: the options of `Source(...)` with their values, in the order in which they are written.

    Values are texts, numbers, booleans, lists, dicts and `PythonCode`. `sql` is a template: a literal `{{` in it must be escaped with
    `names.literal_sql`.
    """

    name: str
    options: Mapping[str, object]
    description: str = ""
    team: str = ""
    """The folder that declares it; `""` for the one team that uses it, or the top of the features package."""
    pushed: bool = False
    """Whether it is written as `Source.push(...)`."""


@dataclass(frozen=True)
class PythonCode:
    """A Python expression that is written as it stands, such as `int`."""

    text: str


@dataclass(frozen=True, kw_only=True)
class ImportedRule:
    """A condition that each value of a feature must meet."""

    condition: str
    severity: str = "error"
    name: str = ""


@dataclass(frozen=True, kw_only=True)
class ImportedUnique:
    """Columns whose combination of values no two entities share."""

    columns: tuple[str, ...]
    severity: str = "error"


@dataclass(frozen=True, kw_only=True)
class ImportedFeature:
    """A feature of a group. `options` has what is rare: `window`, `windows`, `unit`, `every`, `protect`, ..."""

    name: str
    dtype: str
    """A DuckDB type; written as a Python type if there is one."""
    sql: str = ""
    """A template; `""` for the column with the feature's name."""
    description: str = ""
    tags: tuple[str, ...] = ()
    expect: tuple[ImportedRule, ...] = ()
    options: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ImportedReference:
    """A feature in the inputs of a group or in a set, by its address; `*` for all features of a group: `user_profile.*`."""

    address: str
    alias: str = ""
    keys: Mapping[str, str] = field(default_factory=dict)
    """For another role of the entity: its key columns with the columns of the spine, or of the group's entity."""


@dataclass(frozen=True, kw_only=True)
class ImportedGroup:
    """A group over a source, or over inputs. `options` has what is rare: `ttl`, `online`, `max_age`, `rows`, `access`, ..."""

    name: str
    entity: str | None
    features: tuple[ImportedFeature, ...]
    team: str
    """The folder among the features, which is the owner."""
    source: str = ""
    inputs: tuple[ImportedReference, ...] = ()
    request: Mapping[str, str] = field(default_factory=dict)
    """Request-time data among its inputs, with DuckDB types."""
    keys: Mapping[str, str] = field(default_factory=dict)
    description: str = ""
    tags: tuple[str, ...] = ()
    unique: tuple[ImportedUnique, ...] = ()
    options: Mapping[str, object] = field(default_factory=dict)
    module: str = ""
    """The module in the team's folder; `""` for one with the group's name. Groups of one module stand in one file."""
    code: str = ""
    """Methods of the class body that are already written, such as Python features, without indentation."""
    imports: tuple[str, ...] = ()
    """Import lines that `code` needs, such as `import pyarrow as pa`."""


@dataclass(frozen=True, kw_only=True)
class ImportedSet:
    """A version of a feature set. It is written to `sets.py` of its team."""

    name: str
    features: tuple[ImportedReference, ...]
    team: str
    version: int = 1
    description: str = ""


@dataclass(frozen=True, order=True)
class LeftOut:
    """Something that was not carried over, and why."""

    kind: str
    """In the other tool's words: `model`, `metric`, `feature view`, `query`."""
    name: str
    reason: str
    where: str = ""
    """The file, with its line if it is known: `models/orders.sql:3`."""


@dataclass(frozen=True, order=True)
class ImportNote:
    """Something that was carried over with a change, or that the import has inferred: the reader should check it."""

    name: str
    text: str


@dataclass(frozen=True, kw_only=True)
class ImportedProject:
    """All that an import found, in the order of the other tool."""

    name: str
    """The name of the project, for featproject.toml."""
    origin: str
    """What it was imported from, for the docstrings: `the dbt project shop`."""
    entities: tuple[ImportedEntity, ...] = ()
    sources: tuple[ImportedSource, ...] = ()
    groups: tuple[ImportedGroup, ...] = ()
    sets: tuple[ImportedSet, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    notes: tuple[ImportNote, ...] = ()
    variables: Mapping[str, object] = field(default_factory=dict)
    """Variables for `[variables]` of featproject.toml, if the import writes that file."""
