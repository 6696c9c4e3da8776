"""Features: one named, typed value for each entity and time."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import timedelta
from typing import Annotated, Any, ClassVar, Generic, Never, Self, TypeVar, overload

from pydantic import AfterValidator, Field, InstanceOf, PrivateAttr, StrictBool, model_validator

from featdsl.declarations import variants
from featdsl.declarations import window as windowing
from featdsl.declarations.declaration import (
    ColumnName,
    Declaration,
    DType,
    Name,
    Texts,
    length_of,
    mapping,
    place,
    remember,
)
from featdsl.declarations.deprecation import Deprecated
from featdsl.declarations.expectations import Expectations, Expected
from featdsl.declarations.variants import SqlTexts, Variants
from featdsl.declarations.window import Closed, Rows, Shift, Span, Spans
from featdsl.definitions.names import is_column
from featdsl.definitions.validation_errors import shown
from featdsl.errors import DeclarationError, FeatureNotFoundError, Problem

T = TypeVar("T")


class Feature(Declaration, Generic[T]):
    """One feature of a group: `age = Feature(int, sql="date_sub('year', birth_date, updated_at)")`.

    - `dtype`: a Python type, or the name of a DuckDB type (`"DECIMAL(18, 2)"`, `"FLOAT[384]"`,
      `"STRUCT(a INTEGER, b VARCHAR)"`);
    - `sql`: an expression in DuckDB's dialect over the columns of the group's source, or over its `inputs`. Default: the
      column with the feature's name. May use Jinja. `sql={"duckdb": "...", "spark": "..."}` also has the text for an engine that
      does not compute the first with the same values;
    - `expect`: one or more conditions that every stored row must meet, as strings or `Expect(...)`, or rules on all values
      together: `Between(...)`, `Stable(...)`. A condition that is NULL passes. May use Jinja;
    - `unit`: the unit of its values, for people: `"mph"`, `"USD per year"`;
    - `name`: needed only if the feature is not an attribute of a class body;
    - `protect`: whether plans must not remove it;
    - `deprecated`: a `Deprecated(...)` that warns its consumers;
    - `renamed_from`: the name that it was applied under. It keeps its values, and the old name still works.

    With a window, `sql` aggregates the rows of the source that lie in the window, exact at each requested time t:

    - `window="30 days"`: the rows in [t - 30 days, t), to the second, or by calendar months and years; `"lifetime"`: all
      rows before t;
    - `windows=["7 days", "30 days"]`: a family with one feature per window: `spend` becomes `spend_7d` and `spend_30d`, in
      code `Spending.spend["7 days"]`;
    - `closed`: which ends of the window are included: `"left"`, `"right"`, `"both"` or `"neither"`;
    - `delay="1 hour"`: ends the window earlier, for data that arrives late;
    - `offset="7 days"`: ends the window earlier, to look at the week before the last;
    - `last_n=10`: uses only the last rows of the window, or of all rows before t if there is no window;
    - `every="1 day"`: gives the value at the last whole day (or other grid point) at or before t.

    A count over no rows is 0; every other aggregate is NULL.
    """

    __hash__ = Declaration.__hash__  # pyright thinks that a subclass of a pydantic model has none
    kind: ClassVar[str] = "feature"
    title: ClassVar[str] = "Feature"

    dtype: DType
    sql: str | None = None
    variants: Variants
    description: str = ""
    unit: str = ""
    expect: Expectations = ()
    tags: Texts = ()
    given_name: Name | None = Field(default=None, alias="name")
    protect: StrictBool = False
    deprecated: InstanceOf[Deprecated] | None = None
    renamed_from: Name | None = None
    window: Span | None = None
    windows: Spans = None
    closed: Closed = "left"
    delay: Shift | None = None
    offset: Shift | None = None
    last_n: Rows | None = None
    every: Shift | None = None

    _group: Declaration | None = PrivateAttr(default=None)
    _name: str = PrivateAttr(default="")
    _family: dict[str, Any] = PrivateAttr(default={})
    _family_name: str = PrivateAttr(default="")
    _pulled: str = PrivateAttr(default="")

    @overload
    def __init__(
        self: Feature[T],
        dtype: type[T],
        *,
        sql: str | SqlTexts | None = ...,
        description: str = ...,
        unit: str = ...,
        expect: Expected | Collection[Expected] = ...,
        tags: str | Collection[str] = ...,
        name: str | None = ...,
        protect: bool = ...,
        deprecated: Deprecated | None = ...,
        renamed_from: str | None = ...,
        window: str | timedelta | None = ...,
        windows: Collection[str | timedelta] | None = ...,
        closed: Closed = ...,
        delay: str | timedelta | None = ...,
        offset: str | timedelta | None = ...,
        last_n: int | None = ...,
        every: str | timedelta | None = ...,
    ) -> None: ...

    @overload
    def __init__(
        self: Feature[Any],
        dtype: str,
        *,
        sql: str | SqlTexts | None = ...,
        description: str = ...,
        unit: str = ...,
        expect: Expected | Collection[Expected] = ...,
        tags: str | Collection[str] = ...,
        name: str | None = ...,
        protect: bool = ...,
        deprecated: Deprecated | None = ...,
        renamed_from: str | None = ...,
        window: str | timedelta | None = ...,
        windows: Collection[str | timedelta] | None = ...,
        closed: Closed = ...,
        delay: str | timedelta | None = ...,
        offset: str | timedelta | None = ...,
        last_n: int | None = ...,
        every: str | timedelta | None = ...,
    ) -> None: ...

    def __init__(  # noqa: PLR0913 - one flat call is what people type
        self,
        dtype: type[T] | str,
        *,
        sql: str | SqlTexts | None = None,
        description: str = "",
        unit: str = "",
        expect: Expected | Collection[Expected] = (),
        tags: str | Collection[str] = (),
        name: str | None = None,
        protect: bool = False,
        deprecated: Deprecated | None = None,
        renamed_from: str | None = None,
        window: str | timedelta | None = None,
        windows: Collection[str | timedelta] | None = None,
        closed: Closed = "left",
        delay: str | timedelta | None = None,
        offset: str | timedelta | None = None,
        last_n: int | None = None,
        every: str | timedelta | None = None,
        **unknown: Never,
    ) -> None:
        options = {
            "dtype": dtype, **variants.split(sql), "description": description, "unit": unit, "expect": expect, "tags": tags, "name": name,
            "protect": protect, "deprecated": deprecated, "renamed_from": renamed_from,
            "window": window, "windows": windows, "closed": closed,
            "delay": delay, "offset": offset, "last_n": last_n, "every": every, **unknown,
        }  # fmt: skip
        super().__init__(options)
        if self.valid and self.windows:
            options |= {"windows": None, "name": None}
            self._family = {windowing.canonical(one): self._over({**options, "window": one}) for one in self.windows}

    def _over(self, options: dict[str, object]) -> Feature[T]:
        """Return the feature of this family over one window."""
        if self.renamed_from:
            options |= {"renamed_from": f"{self.renamed_from}_{windowing.ending(str(options['window']))}"}
        one: Feature[T] = Feature.__new__(Feature)
        Declaration.__init__(one, options, placed=self.origin)
        return one

    @model_validator(mode="after")
    def _written(self) -> Self:
        variants.required(self.sql, self.variants)
        return self

    @model_validator(mode="after")
    def _windowed(self) -> Self:
        if self.window and self.windows:
            raise ValueError("give window= or windows=, not both")
        if not (self.window or self.windows or self.last_n):
            alone = [name for name in ("delay", "offset", "every") if getattr(self, name)]
            alone += ["closed"] if self.closed != "left" else []
            if alone:
                raise ValueError(f"{alone[0]}= needs a window; add one, such as window='30 days'")
        if self.is_windowed and self.sql is None:
            raise ValueError("a window needs sql= with an aggregate, such as sql='sum(amount)'")
        return self

    @property
    def is_windowed(self) -> bool:
        """Whether it aggregates the rows of a window."""
        return bool(self.window or self.windows or self.last_n)

    def each(self) -> tuple[Feature[T], ...]:
        """Return the features of this family, one per window; otherwise this feature alone."""
        return tuple(self._private["_family"].values()) or (self,)

    def named(self, name: str) -> dict[str, Feature[T]]:
        """Return the same features as `each`, by the names that they have if this one is named `name`."""
        if not self._private["_family"]:
            return {name: self}
        return {f"{name}_{windowing.ending(str(one.window))}": one for one in self.each()}

    def __getitem__(self, window: str | timedelta) -> Feature[T]:
        """Return the feature of a family over one window: `Spending.spend["7 days"]`.

        Raises FeatureNotFoundError, which lists the known windows.
        """
        try:
            return self._family[windowing.canonical(str(length_of(window)))]  # type: ignore[no-any-return]
        except (KeyError, ValueError):
            pass
        known = ", ".join(f'"{one}"' for one in self.windows or ())
        requested = f'"{window}"' if isinstance(window, str) else shown(window)
        what = f"{self.address or 'The feature'} has no window {requested}."
        fix = f"Its windows are {known}." if known else "It has no windows; declare it with windows=[...]."
        raise FeatureNotFoundError(Problem("Unknown window", what, fix=fix))

    @property
    def name(self) -> str:
        """The feature's name within its group."""
        return self._private["_name"] or self.given_name or ""

    @property
    def address(self) -> str:
        """The feature's full name: `user_profile.age`."""
        group = self._private["_group"]
        return f"{group.address}.{self.name}" if group else self.name

    @property
    def joined(self) -> bool:
        """Whether it belongs to a group. A feature never changes its group."""
        return self._private["_group"] is not None

    @property
    def family_name(self) -> str:
        """The name of its family, or `""`."""
        return self._private["_family_name"]  # type: ignore[no-any-return]

    @property
    def pulled(self) -> str:
        """The fingerprint that it was pulled with; `""` if it is declared in this project."""
        return self._private["_pulled"]  # type: ignore[no-any-return]

    @property
    def group(self) -> Declaration:
        """The group that it belongs to. Raises DeclarationError if it has none yet."""
        group: Declaration | None = self._private["_group"]
        if group is None:
            raise DeclarationError(
                Problem(
                    "Feature without a group",
                    f"Feature {self.name or '(unnamed)'} is used before it belongs to a group.",
                    self.origin,
                    "Declare it in the body of a FeatureGroup class, and refer to it through the class.",
                )
            )
        return group

    def facts(self) -> Iterator[tuple[str, str]]:
        """Yield what its values describe and how they are computed."""
        yield "unit", self.unit
        yield from self._private["_group"].origins() if self.joined else ()
        yield "sql", self.sql or ""
        yield from ((f"sql for {dialect}", text) for dialect, text in self.variants.items())
        for option in ("window", "delay", "offset", "every"):
            yield option, getattr(self, option) or ""
        yield "windows", ", ".join(self.windows or ())
        yield "closed", self.closed if self.closed != "left" else ""
        yield "last n", str(self.last_n or "")
        yield "expect", "\n".join(str(rule) for rule in self.expect)
        yield from super().facts()

    def join(self, group: Declaration, name: str) -> None:
        """Add this feature to `group` as `name`. Pickles then refer to the group's module."""
        self._private.update(_group=group, _name=name, _module=group.module)
        for one in self._private["_family"].values():
            one._family_name = name  # noqa: SLF001 - another Feature
        remember(self)

    def alias(
        self, name: str | None = None, *, keys: Mapping[str, str | Feature[Any]] | None = None
    ) -> FeatureAlias[T]:
        """Return this feature under another column name, or with its entity in another role.

        `Weather.temp.alias("temp_at_destination", keys={"airport": "dest"})` is a column `temp_at_destination` that looks
        up the airport by the spine's column `dest`; in the inputs of a group, by the key `dest` of the group's entity.
        In inputs, `keys={"carrier": Flights.carrier}` looks up the carrier by the value of a feature.
        Raises DeclarationError for a family of windows.
        """
        if self.windows:
            what = f"{self.address or 'The feature'} is a family of {len(self.windows)} features; an alias needs one of them."
            fix = f'Select a window: ["{self.windows[0]}"].'
            raise DeclarationError(Problem("Alias of a family", what, place(), fix))
        return FeatureAlias(self, name=name, keys=keys)


def _key_reference(value: Any) -> Any:
    if not isinstance(value, Feature) and not (isinstance(value, str) and is_column(value)):
        raise ValueError(f"{shown(value)} is neither a key column nor a feature whose value is the key")
    return value


class FeatureAlias(Declaration, Generic[T]):
    """A feature under another column name or in another role of its entity; made by `Feature.alias`."""

    __hash__ = Declaration.__hash__  # pyright thinks that a subclass of a pydantic model has none
    kind: ClassVar[str] = "alias"

    feature: Annotated[Any, "a Feature; pydantic would copy a generic one"]
    name: Name
    keys: dict[ColumnName, Annotated[Any, AfterValidator(_key_reference), "a column or a Feature"]]

    def __init__(self, feature: Feature[T], *, name: str | None, keys: Mapping[str, str | Feature[Any]] | None) -> None:
        super().__init__({"feature": feature, "name": feature.name if name is None else name, "keys": mapping(keys)})

    def facts(self) -> Iterator[tuple[str, str]]:
        """Yield the feature, and by which columns or features it is looked up."""
        yield "feature", f"{self.feature.address} {self.feature.dtype}"
        yield "keys", "\n".join(f"{key} by {getattr(by, 'address', by)}" for key, by in self.keys.items())
        yield from super().facts()

    def __reduce__(self) -> tuple[Any, ...]:
        return _alias, (self.feature, self.name, self.keys)


def _alias(feature: Feature[Any], name: str, keys: dict[str, str | Feature[Any]]) -> FeatureAlias[Any]:
    return feature.alias(name, keys=keys)
