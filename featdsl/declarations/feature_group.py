"""Feature groups: features that one team computes together."""

from __future__ import annotations

import copyreg
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Annotated, Any, ClassVar, Literal, Never, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    InstanceOf,
    PrivateAttr,
    SkipValidation,
    StrictBool,
    model_validator,
)

from featdsl.declarations.declaration import (
    ColumnName,
    Declaration,
    Duration,
    Name,
    SourceColumn,
    Texts,
    is_applied,
    listed,
    mapping,
    place,
    recall,
    refuse,
)
from featdsl.declarations.deprecation import Deprecated
from featdsl.declarations.entity import Entity
from featdsl.declarations.expectations import Ages, MaxAge, Rows, Unique, Uniques, Volumes
from featdsl.declarations.feature import Feature
from featdsl.declarations.references import Reference, described, valid_inputs
from featdsl.declarations.request import Request
from featdsl.declarations.source import Source
from featdsl.definitions.dialects import Dialect
from featdsl.definitions.names import (
    AS_OF_TIMESTAMP,
    EVENT_TIMESTAMP,
    SOURCE_TIMESTAMP,
    VALID_TO,
    did_you_mean,
    snake_case,
)
from featdsl.definitions.sheets import Cell, Code, Grid, grid_of
from featdsl.definitions.validation_errors import shown
from featdsl.errors import DeprecatedWarning, FeatureNotFoundError, Problem


class _Body(dict[str, Any]):
    """The names in a class body. It reports a second feature of the same name, which Python would let replace the first."""

    def __init__(self, group: str) -> None:
        super().__init__()
        self._group = group

    def __setitem__(self, name: str, value: Any) -> None:
        earlier = self.get(name)
        if isinstance(earlier, Feature) and isinstance(value, Feature):
            what = f"{self._group} has two features named {name}; the other one is at line {earlier.origin.line}."
            refuse(Problem("Name used twice", what, value.origin, "Rename one of them."))
        super().__setitem__(name, value)


class _GroupType(type):
    """The metaclass of groups: they print as their name, look up features by name, and are pickled by reference."""

    declaration: GroupDeclaration

    @classmethod
    def __prepare__(cls, name: str, bases: tuple[type, ...], /, **options: Any) -> _Body:
        del bases
        return _Body(str(options.get("name") or snake_case(name)))

    def __getitem__(cls, name: str) -> Feature[Any]:
        """Return a feature by name, for features made in a loop: `Lags["delay_6h"]`. Raises FeatureNotFoundError."""
        declaration = cls.declaration
        if not isinstance(name, str) or name not in declaration.features:
            what = f"Group {declaration.name} has no feature {shown(name)}."
            fix = did_you_mean(str(name), declaration.features)
            raise FeatureNotFoundError(Problem("Unknown feature", what, fix=fix))
        return declaration.features[name]

    def __getattr__(cls, name: str) -> Feature[Any]:
        """Return the feature that was renamed from `name`, with a warning. Raises AttributeError."""
        declared: GroupDeclaration | None = cls.__dict__.get("declaration")
        features: Iterable[Feature[Any]] = declared.features.values() if declared else ()
        for feature in features:
            if feature.renamed_from == name:
                text = f"{cls.__name__}.{name} was renamed to {feature.address}; the old name will be removed"
                where = place()
                warnings.warn_explicit(text, DeprecatedWarning, where.file, where.line)
                return feature
        if declared is not None and not declared.foreign and is_applied(f"{declared.name}.{name}"):
            return _removed(declared, name)
        raise AttributeError(f"type object {cls.__name__!r} has no attribute {name!r}")

    def __repr__(cls) -> str:
        return f"<FeatureGroup {cls.declaration.name}>" if "declaration" in cls.__dict__ else super().__repr__()

    def _repr_html_(cls) -> str | None:
        return cls.declaration.sheet().html() if "declaration" in cls.__dict__ else None


def _removed(group: GroupDeclaration, name: str) -> Feature[Any]:
    """Return a placeholder for an applied feature that the group no longer declares. The plan reports its consumers."""
    feature: Feature[Any] = Feature("VARCHAR")
    feature.join(group, name)
    return feature


MYPY = False  # mypy takes a variable of this name for True
if MYPY:  # noqa: SIM108 - mypy reads no conditional expression here
    _Metaclass = type  # mypy checks the options of a class header only where it sees no metaclass
else:
    _Metaclass = _GroupType


class FeatureGroup(metaclass=_Metaclass):
    """Features with one owner, one entity, one table, written as a class body.

        class UserProfile(FeatureGroup, entity=user, source=accounts):
            '''Who the account holder is.'''

            age = Feature(int, sql="date_sub('year', birth_date, updated_at)")

    - `entity`: what the features describe, or None for values without an entity;
    - `source`: the rows that the features are computed from, or `inputs`: the features that they are derived from, with
      request-time data in a `Request`;
    - `keys`: key columns that have another name in the source, `{"airport": "origin"}`;
    - `ttl`: how long a value stays valid, `"30 days"`. Default: forever;
    - `name`: the group's name in the store. Default: the class name in snake case;
    - `features`: more features by name, such as features made in a loop;
    - `unique`: columns whose values no two entities share, `"email"`, a list for a combination, or `Unique(...)`;
    - `max_age`: the age of the newest row from which a check warns, `"2 days"`, or `MaxAge(...)`;
    - `rows`: the minimum and the maximum number of rows, `(1_000, None)`, or `Rows(...)`;
    - `access`: `"private"` if only the owning team may use the features;
    - `protect`: whether plans must not remove the group or its features;
    - `deprecated`: a `Deprecated(...)` that warns the consumers;
    - `renamed_from`: the name that the group was applied under. It keeps its values, and the old name still works;
    - `materialize`: for `inputs` of another entity: whether the table also has a row for each change of that entity's inputs,
      and not only of its own entity's. The table gets larger, but queries on it see every change;
    - `online`: whether the group is published to the online store by itself, beside the set versions that have its features;
    - `engine`: the engine that computes the group's tables, `"spark"` or `"duckdb"`. Default: `kind` of `[engine]`;
    - `shared_by`: the project that computes the features, in modules written by `featdsl pull`; instead of `source` and `inputs`.

    Raises DeclarationError if an option is invalid.
    """

    declaration: ClassVar[GroupDeclaration]

    def __init_subclass__(  # noqa: PLR0913 - one flat class header is what people type
        cls,
        *,
        entity: Entity | None,
        source: Source | None = None,
        inputs: Collection[Reference | Request] | None = None,
        keys: Mapping[str, str] | None = None,
        ttl: str | timedelta | None = None,
        name: str | None = None,
        features: Mapping[str, Feature[Any]] | Collection[Feature[Any]] = (),
        unique: str | Unique | Collection[str] | Collection[Unique] = (),
        max_age: str | timedelta | MaxAge | None = None,
        rows: tuple[int | None, int | None] | Rows | None = None,
        tags: str | Collection[str] = (),
        access: Literal["public", "private"] = "public",
        protect: bool = False,
        deprecated: Deprecated | None = None,
        renamed_from: str | None = None,
        materialize: bool = False,
        online: bool = False,
        engine: Dialect | None = None,
        shared_by: str = "",
        **unknown: Never,
    ) -> None:
        super().__init_subclass__()
        for problem in _inherited(cls):
            refuse(problem)
        address = name or snake_case(cls.__name__)
        gathered = _Body(address)
        written = [(attribute, value) for attribute, value in vars(cls).items() if isinstance(value, Feature)]
        declared = [*written, *_named(features)]
        for attribute, value in declared:
            for each, feature in _expanded(attribute, value):
                gathered[each] = feature
        options: dict[str, object] = {
            "name": address, "entity": entity, "source": source,
            "inputs": listed(inputs), "keys": mapping(keys), "ttl": ttl,
            "description": _description(cls), "tags": tags, "access": access, "protect": protect, "deprecated": deprecated,
            "renamed_from": renamed_from, "unique": unique, "max_age": max_age, "rows": rows,
            "materialize": materialize, "online": online, "engine": engine, "shared_by": shared_by,
            "features": dict(gathered), **unknown,
        }  # fmt: skip
        declaration = GroupDeclaration(options)
        for feature_name, feature in [*declared, *declaration.features.items()]:
            if isinstance(feature, Feature) and not feature.joined:
                feature.join(declaration, feature_name)
            setattr(cls, feature_name, feature)
        declaration.belongs_to(cls)
        cls.declaration = declaration


def _inherited(cls: type) -> Iterator[Problem]:
    """Yield a problem for each base class with features: a feature belongs to one group."""
    for above in cls.__mro__[1:]:
        if not any(isinstance(value, Feature) for value in vars(above).values()):
            continue
        group = f"the group {above.declaration.name}" if issubclass(above, FeatureGroup) else "a class with features"
        what = f"{cls.__name__} inherits from {above.__name__}, {group}, but a feature belongs to one group only."
        fix = (
            f"Declare {cls.__name__}(FeatureGroup, ...) with its own features. To share declarations between groups,"
            " write a function that creates them: features=common()."
        )
        if issubclass(above, FeatureGroup):
            first = next(iter(above.declaration.features))
            fix += f"\nTo read features of {above.__name__}, use inputs: inputs=[{above.__name__}.{first}]."
        yield Problem("Group cannot inherit features", what, place(), fix)


def _named(features: Any) -> list[tuple[str, Any]]:
    """Return features with their names. A value that is not a collection gets an empty name; validation refuses it."""
    if isinstance(features, Mapping):
        return [(str(name), feature) for name, feature in features.items()]
    items = listed(features)
    return [(_name_of(feature), feature) for feature in (items if isinstance(items, tuple) else (items,))]


def _name_of(feature: Any) -> str:
    return feature.name if isinstance(feature, Feature) else ""


def _expanded(name: str, feature: Any) -> Iterable[tuple[str, Any]]:
    """Return a feature with its name, or each feature of a family."""
    return feature.named(name).items() if isinstance(feature, Feature) and name else [(name, feature)]


def _own(features: dict[str, Any]) -> dict[str, Any]:
    """Return the features if each can belong to the group. Raises ValueError."""
    seen: dict[int, str] = {}
    for name, feature in features.items():
        if not isinstance(feature, Feature):
            raise ValueError(f"{shown(feature)} is not a Feature")  # noqa: TRY004 - pydantic turns ValueError into a problem
        if not name:
            raise ValueError("a feature in features=[...] needs name=")
        other = feature.address if feature.joined else seen.get(id(feature))
        if other is not None:
            raise ValueError(f"{name!r} is the same object as {other}; declare a separate Feature")
        seen[id(feature)] = name
    return features


class GroupDeclaration(Declaration):
    """The validated options and features of a group class."""

    kind: ClassVar[str] = "group"
    title: ClassVar[str] = "FeatureGroup"

    name: Name
    entity: InstanceOf[Entity] | None
    source: InstanceOf[Source] | None = None
    inputs: Annotated[tuple[Reference | Request, ...] | None, SkipValidation, AfterValidator(valid_inputs)] = None
    keys: dict[ColumnName, SourceColumn] = Field(default_factory=dict)
    ttl: Duration | None = None
    description: str = ""
    tags: Texts = ()
    access: Literal["public", "private"] = "public"
    protect: StrictBool = False
    deprecated: InstanceOf[Deprecated] | None = None
    renamed_from: Name | None = None
    unique: Uniques = ()
    max_age: Ages = ()
    rows: Volumes = ()
    materialize: StrictBool = False
    online: StrictBool = False
    engine: Dialect | None = None
    shared_by: str = ""
    features: Annotated[dict[Name, Annotated[Feature[Any], SkipValidation]], BeforeValidator(_own)]

    _class: type[FeatureGroup] | None = PrivateAttr(default=None)

    def __init__(self, options: Mapping[str, object]) -> None:
        super().__init__(options)
        self._foreign = self.shared_by

    @model_validator(mode="after")
    def _ends(self) -> Self:
        if self.ttl and self.source and self.source.valid and self.source.timestamp is None and not self.shared_by:
            raise ValueError("ttl= counts from the timestamp of a row, and the source has none; give it timestamp=")
        if self.materialize and self.source is not None:
            raise ValueError("materialize= is for groups with inputs=; a group over a source is always stored")
        return self

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.shared_by:
            return self
        if (self.source is None) == (self.inputs is None):
            raise ValueError("give either source= (rows to compute from) or inputs= (features to derive from)")
        if self.inputs is not None and not self.inputs:
            raise ValueError("inputs= is empty; list the features to derive from")
        if self.inputs is not None and (self.ttl or self.keys):
            raise ValueError("ttl= and keys= are for groups over a source; the inputs bring their own")
        if not self.features:
            raise ValueError("the group has no features")
        self._refuse_taken()
        keys = self.entity.keys if self.entity else {}
        for taken in sorted({*keys, *self.features} & {name for each in self.requests for name in each.columns}):
            what = "a key of the entity" if taken in keys else "a feature of the group"
            raise ValueError(f"the request {taken!r} has the same name as {what}; rename it")
        for unknown in sorted(self.keys.keys() - keys):
            raise ValueError(
                f"keys= renames {unknown!r}, which is not a key of the entity; its keys are {sorted(keys)}"
            )
        return self

    def _refuse_taken(self) -> None:
        """Raise ValueError for feature and key names that are already in use."""
        keys = self.entity.keys if self.entity else {}
        for taken in sorted({"declaration"} & self.features.keys()):
            raise ValueError(f"{taken!r} is an attribute of every group; rename the feature")
        for taken in sorted({AS_OF_TIMESTAMP} & self.features.keys()):
            raise ValueError(f"{taken!r} is the time of the read; rename the feature")
        times = {EVENT_TIMESTAMP}
        times |= {SOURCE_TIMESTAMP} if self.source and self.source.available_at else set()
        times |= {VALID_TO} if self.source and self.source.valid_to else set()
        for taken in sorted({*times, *keys} & self.features.keys()):
            raise ValueError(f"{taken!r} is already a column of the group's table; rename the feature")
        for taken in sorted(times & keys.keys()):
            raise ValueError(f"{taken!r} is already a column of the group's table; rename the entity's key")

    @property
    def references(self) -> tuple[Reference, ...]:
        """The features among its inputs."""
        return tuple(item for item in self.inputs or () if not isinstance(item, Request))

    @property
    def requests(self) -> tuple[Request, ...]:
        """The request-time data among its inputs."""
        return tuple(item for item in self.inputs or () if isinstance(item, Request))

    @property
    def group_class(self) -> type[FeatureGroup] | None:
        """The class that declares the group."""
        return self._class

    def facts(self) -> Iterator[tuple[str, str]]:
        """Yield its options."""
        yield from self.origins()
        yield from super().facts()

    def origins(self) -> Iterator[tuple[str, str]]:
        """Yield what its features describe, and what they are computed from."""
        yield "entity", self.entity.titled() if self.entity else "none: one value for everyone"
        yield "source", self.source.name if self.source else ""
        yield "inputs", "\n".join(described(self.inputs or ()))
        yield "ttl", self.ttl or ""
        yield "access", f"private to {self.owner or 'its team'}" if self.access == "private" else ""

    def grids(self) -> Iterator[Grid]:
        """Yield its features."""
        yield grid_of([*self.features.values()], _cells)

    def belongs_to(self, group_class: type[FeatureGroup]) -> None:
        """Set the class that declares the group."""
        self._class = group_class


def _cells(feature: Feature[Any]) -> dict[str, Cell]:
    return {
        "feature": Code(feature.name), "type": Code(feature.dtype),
        "description": feature.description.partition("\n")[0], "tags": ", ".join(feature.tags),
    }  # fmt: skip


def _description(cls: type) -> str:
    lines = [line.strip() for line in (cls.__doc__ or "").strip().splitlines()]
    return "\n".join(lines)


def _recall_class(module: str, address: str) -> type[FeatureGroup] | None:
    declaration = recall(module, GroupDeclaration.kind, address)
    return declaration.group_class if isinstance(declaration, GroupDeclaration) else None


def _reduce_class(cls: _GroupType) -> str | tuple[Any, ...]:
    if "declaration" not in cls.__dict__:
        return cls.__qualname__
    _, reference = cls.declaration.__reduce__()
    return _recall_class, (reference[0], reference[2])


copyreg.pickle(_GroupType, _reduce_class)
