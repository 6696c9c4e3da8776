"""Features that one team computes together."""

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

from featdsl.declaration import (
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
from featdsl.deprecated import Deprecated
from featdsl.entity import Entity
from featdsl.errors import DeprecatedWarning, FeatureNotFoundError, Problem
from featdsl.expect import Ages, MaxAge, Rows, Unique, Uniques, Volumes
from featdsl.feature import Feature, FeatureAlias
from featdsl.names import AS_OF_TIMESTAMP, EVENT_TIMESTAMP, SOURCE_TIMESTAMP, VALID_TO, did_you_mean, snake_case
from featdsl.reasons import shown
from featdsl.request import Request
from featdsl.source import Source

Reference = Feature[Any] | FeatureAlias[Any] | str
"""A feature by object, under an alias, or by its address `group.feature`."""


def references(given: Any) -> tuple[Reference, ...] | None:
    """Return `given` when it is a tuple of what names features. Raises ValueError."""
    if isinstance(given, Feature | FeatureAlias | str):
        raise ValueError(f"{given!r} is one feature; list it: [...]")  # noqa: TRY004 - the same
    if given is not None and not isinstance(given, tuple):
        raise ValueError(f"{shown(given)} is not a list of features; write [UserProfile.age]")
    for item in given or ():
        if not isinstance(item, Feature | FeatureAlias | str):
            raise ValueError(f"{shown(item)} is not a feature; name features as UserProfile.age or 'user_profile.age'")  # noqa: TRY004 - likewise
    return given and tuple(each for item in given for each in (item.each() if isinstance(item, Feature) else (item,)))


def _inputs(given: Any) -> tuple[Reference | Request, ...] | None:
    """Return `given` when it is a tuple of what names features and of requests. Raises ValueError."""
    if isinstance(given, Request):
        raise ValueError(f"{given!r} is one request; list it: [...]")  # noqa: TRY004 - pydantic turns ValueError into a problem
    requests = [item for item in given if isinstance(item, Request)] if isinstance(given, tuple) else []
    if not requests:
        return references(given)
    return (*(references(tuple(item for item in given if not isinstance(item, Request))) or ()), *requests)


class _Body(dict[str, Any]):
    """The names in a class body; Python alone would let a later feature replace an earlier one of its name."""

    def __init__(self, group: str) -> None:
        super().__init__()
        self._group = group

    def __setitem__(self, name: str, value: Any) -> None:
        earlier = self.get(name)
        if isinstance(earlier, Feature) and isinstance(value, Feature):
            what = f"Two features of {self._group} are called {name}; the other one is at line {earlier.origin.line}."
            refuse(Problem("Name used twice", what, value.origin, "Give one of them another name."))
        super().__setitem__(name, value)


class _GroupType(type):
    """The type of group classes: they print as their name, give features by name, and are pickled by reference."""

    declaration: GroupDeclaration

    @classmethod
    def __prepare__(cls, name: str, bases: tuple[type, ...], /, **options: Any) -> _Body:
        del bases
        return _Body(str(options.get("name") or snake_case(name)))

    def __getitem__(cls, name: str) -> Feature[Any]:
        """Return a feature by name, for those that a loop made: `Lags["delay_6h"]`. Raises FeatureNotFoundError."""
        declaration = cls.declaration
        if not isinstance(name, str) or name not in declaration.features:
            what = f"Group {declaration.name} has no feature {shown(name)}."
            mend = did_you_mean(str(name), declaration.features)
            raise FeatureNotFoundError(Problem("Unknown feature", what, mend=mend))
        return declaration.features[name]

    def __getattr__(cls, name: str) -> Feature[Any]:
        """Return the feature that was renamed from `name`, and warn of it. Raises AttributeError."""
        declared: GroupDeclaration | None = cls.__dict__.get("declaration")
        features: Iterable[Feature[Any]] = declared.features.values() if declared else ()
        for feature in features:
            if feature.renamed_from == name:
                said = f"{cls.__name__}.{name} is called {feature.address} now; the old name goes some day"
                where = place()
                warnings.warn_explicit(said, DeprecatedWarning, where.file, where.line)
                return feature
        if declared is not None and not declared.foreign and is_applied(f"{declared.name}.{name}"):
            return _removed(declared, name)
        raise AttributeError(f"type object {cls.__name__!r} has no attribute {name!r}")

    def __repr__(cls) -> str:
        return f"<FeatureGroup {cls.declaration.name}>" if "declaration" in cls.__dict__ else super().__repr__()


def _removed(group: GroupDeclaration, name: str) -> Feature[Any]:
    """Return what stands for an applied feature that a group declares no more: a plan tells who still lists it."""
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

    - `entity`: what they describe, or None for values that belong to no entity;
    - `source`: the rows they are computed from, or `inputs`: the features that they are derived from, and in a
      `Request` what only the call knows;
    - `keys`: key columns that the source names differently, `{"airport": "origin"}`;
    - `ttl`: how long a value holds, `"30 days"`; for good when left out;
    - `name`: its name in the store, by default the class name in snake case;
    - `features`: more features by name, for those that a loop makes;
    - `unique`: columns that no two entities share the values of, `"email"`, or several together, or `Unique(...)`;
    - `max_age`: how old the newest row may be before a check warns, `"2 days"`, or `MaxAge(...)`;
    - `rows`: the least and the most rows, `(1_000, None)`, or `Rows(...)`;
    - `access`: `"private"` where only the own team may use them;
    - `protect`: whether the group and its features are protected against removal;
    - `deprecated`: a `Deprecated(...)` that warns who uses them;
    - `renamed_from`: the name that the group was applied with before: it keeps its values, and answers to both names;
    - `materialize`: with `inputs` of another entity, whether the table has a row for every change of these too, and not
      only for each change of its own entity's inputs: that many rows more, for who reads the table instead of asking;
    - `shared_by`: the project that computes them, in what `featdsl pull` writes: instead of `source` and `inputs`.

    Raises DeclarationError for what does not fit.
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
        shared_by: str = "",
        **unknown: Never,
    ) -> None:
        super().__init_subclass__()
        for problem in _inherited(cls):
            refuse(problem)
        address = name or snake_case(cls.__name__)
        gathered = _Body(address)
        written = [(attribute, value) for attribute, value in vars(cls).items() if isinstance(value, Feature)]
        given_names = [*written, *_named(features)]
        for attribute, value in given_names:
            for each, feature in _expanded(attribute, value):
                gathered[each] = feature
        given: dict[str, object] = {
            "name": address, "entity": entity, "source": source,
            "inputs": listed(inputs), "keys": mapping(keys), "ttl": ttl,
            "description": _description(cls), "tags": tags, "access": access, "protect": protect, "deprecated": deprecated,
            "renamed_from": renamed_from, "unique": unique, "max_age": max_age, "rows": rows,
            "materialize": materialize, "shared_by": shared_by,
            "features": dict(gathered), **unknown,
        }  # fmt: skip
        declaration = GroupDeclaration(given)
        for feature_name, feature in [*given_names, *declaration.features.items()]:
            if isinstance(feature, Feature) and not feature.joined:
                feature.join(declaration, feature_name)
            setattr(cls, feature_name, feature)
        declaration.belongs_to(cls)
        cls.declaration = declaration


def _inherited(cls: type) -> Iterator[Problem]:
    """Yield a problem for each class above a group that brings features: a feature belongs to one group."""
    for above in cls.__mro__[1:]:
        if not any(isinstance(value, Feature) for value in vars(above).values()):
            continue
        group = f"the group {above.declaration.name}" if issubclass(above, FeatureGroup) else "a class with features"
        what = f"{cls.__name__} inherits from {above.__name__}, {group}, and a feature belongs to one group."
        mend = (
            f"Declare {cls.__name__}(FeatureGroup, ...) with features of its own. Features that several groups have come"
            " from a function that makes them: features=common()."
        )
        if issubclass(above, FeatureGroup):
            first = next(iter(above.declaration.features))
            mend += f"\nWhat reads {above.__name__} takes it as input: inputs=[{above.__name__}.{first}]."
        yield Problem("Group cannot inherit features", what, place(), mend)


def _named(features: Any) -> list[tuple[str, Any]]:
    """Return features by their names; what is no row of them stands there without one, to be refused."""
    if isinstance(features, Mapping):
        return [(str(name), feature) for name, feature in features.items()]
    row = listed(features)
    return [(_name_of(feature), feature) for feature in (row if isinstance(row, tuple) else (row,))]


def _name_of(feature: Any) -> str:
    return feature.name if isinstance(feature, Feature) else ""


def _expanded(name: str, feature: Any) -> Iterable[tuple[str, Any]]:
    """Return a feature under its name, or each one of a family."""
    return feature.named(name).items() if isinstance(feature, Feature) and name else [(name, feature)]


def _own(features: dict[str, Any]) -> dict[str, Any]:
    """Return the features when they can belong to the group. Raises ValueError."""
    seen: dict[int, str] = {}
    for name, feature in features.items():
        if not isinstance(feature, Feature):
            raise ValueError(f"{shown(feature)} is not a Feature")  # noqa: TRY004 - pydantic turns ValueError into a problem
        if not name:
            raise ValueError("a feature in features=[...] needs name=")
        other = feature.address if feature.joined else seen.get(id(feature))
        if other is not None:
            raise ValueError(f"{name!r} is the same object as {other}; write a Feature of its own")
        seen[id(feature)] = name
    return features


class GroupDeclaration(Declaration):
    """What a group class says, checked."""

    kind: ClassVar[str] = "group"
    title: ClassVar[str] = "FeatureGroup"

    name: Name
    entity: InstanceOf[Entity] | None
    source: InstanceOf[Source] | None = None
    inputs: Annotated[tuple[Reference | Request, ...] | None, SkipValidation, AfterValidator(_inputs)] = None
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
    shared_by: str = ""
    features: Annotated[dict[Name, Annotated[Feature[Any], SkipValidation]], BeforeValidator(_own)]

    _class: type[FeatureGroup] | None = PrivateAttr(default=None)

    def __init__(self, given: Mapping[str, object]) -> None:
        super().__init__(given)
        self._foreign = self.shared_by

    @model_validator(mode="after")
    def _ends(self) -> Self:
        if self.ttl and self.source and self.source.valid and self.source.timestamp is None and not self.shared_by:
            raise ValueError("ttl= counts from the time of a row, and the source has no timestamp=; give it one")
        if self.materialize and self.source is not None:
            raise ValueError("materialize= belongs to a group with inputs=; one over a source is always stored")
        return self

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.shared_by:
            return self
        if (self.source is None) == (self.inputs is None):
            raise ValueError("give source= (rows to compute from) or inputs= (features to derive from), one of them")
        if self.inputs is not None and not self.inputs:
            raise ValueError("inputs= is empty; list the features to derive from")
        if self.inputs is not None and (self.ttl or self.keys):
            raise ValueError("ttl= and keys= belong to a group over a source; its inputs have theirs")
        if not self.features:
            raise ValueError("the group has no features")
        self._refuse_taken()
        keys = self.entity.keys if self.entity else {}
        for taken in sorted({*keys, *self.features} & {name for each in self.requests for name in each.columns}):
            what = "a key of the entity" if taken in keys else "a feature of the group"
            raise ValueError(f"the request {taken!r} has the name of {what}; give it another one")
        for unknown in sorted(self.keys.keys() - keys):
            raise ValueError(f"keys= renames {unknown!r}, which is no key of the entity; its keys are {sorted(keys)}")
        return self

    def _refuse_taken(self) -> None:
        """Refuse names that something else of the group has."""
        keys = self.entity.keys if self.entity else {}
        for taken in sorted({"declaration"} & self.features.keys()):
            raise ValueError(f"{taken!r} is an attribute of every group; give the feature another name")
        for taken in sorted({AS_OF_TIMESTAMP} & self.features.keys()):
            raise ValueError(f"{taken!r} is the time that values are asked for; give the feature another name")
        times = {EVENT_TIMESTAMP}
        times |= {SOURCE_TIMESTAMP} if self.source and self.source.available_at else set()
        times |= {VALID_TO} if self.source and self.source.valid_to else set()
        for taken in sorted({*times, *keys} & self.features.keys()):
            raise ValueError(f"{taken!r} is a column of the group's table already; give the feature another name")
        for taken in sorted(times & keys.keys()):
            raise ValueError(f"{taken!r} is a column of the group's table already; give the entity's key another name")

    @property
    def references(self) -> tuple[Reference, ...]:
        """The features that it is derived from."""
        return tuple(item for item in self.inputs or () if not isinstance(item, Request))

    @property
    def requests(self) -> tuple[Request, ...]:
        """What it needs of the call."""
        return tuple(item for item in self.inputs or () if isinstance(item, Request))

    @property
    def group_class(self) -> type[FeatureGroup] | None:
        """The class that declares it."""
        return self._class

    def belongs_to(self, group_class: type[FeatureGroup]) -> None:
        """Remember the class that declares it."""
        self._class = group_class


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
