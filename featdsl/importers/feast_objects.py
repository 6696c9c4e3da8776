"""The objects of a Feast repository, as the reader prints them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class FeastObject:
    """What every object of Feast has."""

    name: str
    kind: str
    """The name of its class."""
    description: str = ""
    owner: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    file: str = ""
    line: int = 0

    @property
    def where(self) -> str:
        """The file and line of its declaration, relative to the repository; `""` if they are unknown."""
        return f"{self.file}:{self.line}" if self.file else ""


@dataclass(frozen=True, kw_only=True)
class FeastField:
    """A column of a schema, with its type as Feast prints it: `Array(Float32)`."""

    name: str
    dtype: str
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class FeastEntity(FeastObject):
    """An entity: one key column. `dtype` is `""` where the entity does not declare it."""

    key: str
    dtype: str = ""


@dataclass(frozen=True, kw_only=True)
class FeastSource(FeastObject):
    """A data source. `columns` has the stored types of columns, if the reader could look them up."""

    timestamp: str = ""
    created: str = ""
    mapping: Mapping[str, str] = field(default_factory=dict)
    """Columns of the source with their names in feature views."""
    batch: str = ""
    """The source with the stored rows of a push or stream source."""
    columns: tuple[tuple[str, str], ...] = ()
    problem: str = ""
    """Why the columns are unknown."""
    path: str = ""
    table: str = ""
    query: str = ""
    format: str = ""
    table_format: str = ""
    endpoint: str = ""

    def column(self, name: str) -> str:
        """Return the column of the source that a feature view knows by a name."""
        return next((column for column, known in self.mapping.items() if known == name), name)


@dataclass(frozen=True, kw_only=True)
class FeastView(FeastObject):
    """A feature view over a source. `computed` names what computes its values in Feast, such as `udf`."""

    entities: tuple[str, ...] = ()
    keys: tuple[FeastField, ...] = ()
    features: tuple[FeastField, ...] = ()
    ttl: float = 0
    """In seconds; 0 for no limit."""
    source: str = ""
    stream: str = ""
    computed: tuple[str, ...] = ()
    online: bool = True
    version: str = "latest"


@dataclass(frozen=True, kw_only=True)
class FeastProjection:
    """A selection of features of a view, under another name or with its entity in another role."""

    view: str
    alias: str = ""
    features: tuple[str, ...] = ()
    keys: Mapping[str, str] = field(default_factory=dict)
    version: str = ""


@dataclass(frozen=True, kw_only=True)
class FeastOnDemandView(FeastObject):
    """An on-demand view: a Python function over features and request data. `code` is its text, decorator included."""

    sources: tuple[FeastProjection, ...] = ()
    request: tuple[FeastField, ...] = ()
    features: tuple[FeastField, ...] = ()
    mode: str = "pandas"
    singleton: bool = False
    computed: tuple[str, ...] = ()
    code: str = ""
    code_file: str = ""
    code_line: int = 0


@dataclass(frozen=True, kw_only=True)
class FeastService(FeastObject):
    """A feature service. `references` are features that it names by text, `view:feature`."""

    projections: tuple[FeastProjection, ...] = ()
    references: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class FeastRepository:
    """All objects of a repository, in the order of its files."""

    feast: str
    project: str
    repository: str
    offline_store: Mapping[str, str] = field(default_factory=dict)
    entities: tuple[FeastEntity, ...] = ()
    sources: tuple[FeastSource, ...] = ()
    views: tuple[FeastView, ...] = ()
    on_demand: tuple[FeastOnDemandView, ...] = ()
    services: tuple[FeastService, ...] = ()
    others: tuple[FeastObject, ...] = ()


def parse(text: str) -> FeastRepository:
    """Return the repository that the reader printed. Raises ValueError for anything else."""
    from pydantic import TypeAdapter

    return TypeAdapter(FeastRepository).validate_json(text)
