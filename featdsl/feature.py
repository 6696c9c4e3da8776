"""One named, typed value for each entity and time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Generic, Never, TypeVar, overload

from pydantic import Field, PrivateAttr

from featdsl.declaration import ColumnName, Declaration, DType, Name, Texts, remember
from featdsl.errors import DeclarationError, Problem

T = TypeVar("T")


class Feature(Declaration, Generic[T]):
    """One value of a group: `age = Feature(int, sql="date_diff('year', birth_date, updated_at)")`.

    `dtype` is a Python type, or the text of a DuckDB type where Python has none (`"DECIMAL(18, 2)"`, `"FLOAT[384]"`,
    `"STRUCT(a INTEGER, b VARCHAR)"`). `sql` is an expression in DuckDB's dialect over the columns of the group's source,
    or over its `inputs`; left out, the column of the feature's own name. `expect` is a condition, or several, that every
    stored row meets; NULL meets all. Both may use Jinja.
    `name` is needed only where the feature is not an attribute of a class body.
    """

    __hash__ = Declaration.__hash__  # pyright thinks that a subclass of a pydantic model has none
    kind: ClassVar[str] = "feature"
    title: ClassVar[str] = "Feature"

    dtype: DType
    sql: str | None = None
    description: str = ""
    expect: Texts = ()
    tags: Texts = ()
    given_name: Name | None = Field(default=None, alias="name")

    _group: Declaration | None = PrivateAttr(default=None)
    _name: str = PrivateAttr(default="")

    @overload
    def __init__(
        self: Feature[T],
        dtype: type[T],
        *,
        sql: str | None = ...,
        description: str = ...,
        expect: str | Sequence[str] = ...,
        tags: str | Sequence[str] | set[str] | frozenset[str] = ...,
        name: str | None = ...,
    ) -> None: ...

    @overload
    def __init__(
        self: Feature[Any],
        dtype: str,
        *,
        sql: str | None = ...,
        description: str = ...,
        expect: str | Sequence[str] = ...,
        tags: str | Sequence[str] | set[str] | frozenset[str] = ...,
        name: str | None = ...,
    ) -> None: ...

    def __init__(  # noqa: PLR0913 - one flat call is what people type
        self,
        dtype: type[T] | str,
        *,
        sql: str | None = None,
        description: str = "",
        expect: str | Sequence[str] = (),
        tags: str | Sequence[str] | set[str] | frozenset[str] = (),
        name: str | None = None,
        **unknown: Never,
    ) -> None:
        given = {"dtype": dtype, "sql": sql, "description": description, "expect": expect, "tags": tags}
        super().__init__({**given, "name": name, **unknown})

    @property
    def name(self) -> str:
        """Its name within its group."""
        return self._name or self.given_name or ""

    @property
    def address(self) -> str:
        """Its name for everyone: `user_profile.age`."""
        return f"{self._group.address}.{self.name}" if self._group else self.name

    @property
    def joined(self) -> bool:
        """Whether it belongs to a group, which is for good."""
        return self._group is not None

    @property
    def group(self) -> Declaration:
        """The group that it belongs to. Raises DeclarationError before it has one."""
        if self._group is None:
            raise DeclarationError(
                Problem(
                    "Feature without a group",
                    f"Feature {self.name or '(unnamed)'} is used before it belongs to a group.",
                    self.origin,
                    "Write it in the body of a FeatureGroup class and use it through the class.",
                )
            )
        return self._group

    def join(self, group: Declaration, name: str) -> None:
        """Make this feature `name` of `group`, and pickle it by the module of its group."""
        self._group, self._name, self._module = group, name, group._module  # noqa: SLF001 - the same private field
        remember(self)

    def alias(self, name: str | None = None, *, keys: Mapping[str, str] | None = None) -> FeatureAlias[T]:
        """Return this feature under another column name, or read for its entity in another role.

        `Weather.temp.alias("temp_at_destination", keys={"airport": "dest"})` is a column `temp_at_destination` that
        looks the airport up by the spine's column `dest`.
        """
        return FeatureAlias(self, name=name, keys=keys)


class FeatureAlias(Declaration, Generic[T]):
    """A feature under another column name or in another role of its entity; made by `Feature.alias`."""

    __hash__ = Declaration.__hash__  # pyright thinks that a subclass of a pydantic model has none
    kind: ClassVar[str] = "alias"

    feature: Annotated[Any, "a Feature; pydantic would copy a generic one"]
    name: Name
    keys: dict[ColumnName, ColumnName]

    def __init__(self, feature: Feature[T], *, name: str | None, keys: Mapping[str, str] | None) -> None:
        super().__init__({"feature": feature, "name": name or feature.name, "keys": dict(keys or {})})

    def __reduce__(self) -> tuple[Any, ...]:
        return _alias, (self.feature, self.name, self.keys)


def _alias(feature: Feature[Any], name: str, keys: dict[str, str]) -> FeatureAlias[Any]:
    return feature.alias(name, keys=keys)
