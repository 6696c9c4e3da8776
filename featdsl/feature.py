"""One named, typed value for each entity and time."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Annotated, Any, ClassVar, Generic, Never, Self, TypeVar, overload

from pydantic import AfterValidator, Field, InstanceOf, PrivateAttr, StrictBool, model_validator

from featdsl import window as windowing
from featdsl.declaration import ColumnName, Declaration, DType, Name, Texts, length_of, mapping, place, remember
from featdsl.deprecated import Deprecated
from featdsl.errors import DeclarationError, FeatureNotFoundError, Problem
from featdsl.expect import Expectations, Expected
from featdsl.names import is_column
from featdsl.reasons import shown
from featdsl.window import Closed, Rows, Shift, Span, Spans

T = TypeVar("T")


class Feature(Declaration, Generic[T]):
    """One value of a group: `age = Feature(int, sql="date_sub('year', birth_date, updated_at)")`.

    `dtype` is a Python type, or the text of a DuckDB type where Python has none (`"DECIMAL(18, 2)"`, `"FLOAT[384]"`,
    `"STRUCT(a INTEGER, b VARCHAR)"`). `sql` is an expression in DuckDB's dialect over the columns of the group's source,
    or over its `inputs`; left out, the column of the feature's own name. `expect` is a condition, or several, that every
    stored row meets, as text or as `Expect(...)`; NULL meets all. Both may use Jinja. `Between(...)` and `Stable(...)` there
    are rules on all of its values together.
    `name` is needed only where the feature is not an attribute of a class body. What is `protect`ed is not removed,
    `deprecated=Deprecated(...)` warns who uses it, and what was applied as `renamed_from` keeps its values and answers to
    its old name too.

    With a window, `sql` aggregates the rows of the source that lie in it, exactly at each time t that is asked for:

    - `window="30 days"`: those of [t - 30 days, t), to the second or by calendar months and years; `"lifetime"`: all
      before t;
    - `windows=["7 days", "30 days"]`: a family, one feature a window: `spend` has `spend_7d` and `spend_30d`, in code
      `Spending.spend["7 days"]`;
    - `closed`: which ends count, `"left"`, `"right"`, `"both"` or `"neither"`;
    - `delay="1 hour"`, where data come in late, and `offset="7 days"`, for the week before the last: the window lies
      so much earlier;
    - `last_n=10`: only the last rows of the window count, of all rows before t where no window is given;
    - `every="1 day"`: the value of the last whole day, or other grid, at or before t.

    A count over no rows is 0, every other aggregate NULL.
    """

    __hash__ = Declaration.__hash__  # pyright thinks that a subclass of a pydantic model has none
    kind: ClassVar[str] = "feature"
    title: ClassVar[str] = "Feature"

    dtype: DType
    sql: str | None = None
    description: str = ""
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
        sql: str | None = ...,
        description: str = ...,
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
        sql: str | None = ...,
        description: str = ...,
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
        sql: str | None = None,
        description: str = "",
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
        given = {
            "dtype": dtype, "sql": sql, "description": description, "expect": expect, "tags": tags, "name": name,
            "protect": protect, "deprecated": deprecated, "renamed_from": renamed_from,
            "window": window, "windows": windows, "closed": closed,
            "delay": delay, "offset": offset, "last_n": last_n, "every": every, **unknown,
        }  # fmt: skip
        super().__init__(given)
        if self.valid and self.windows:
            given |= {"windows": None, "name": None}
            self._family = {windowing.canonical(one): self._over({**given, "window": one}) for one in self.windows}

    def _over(self, given: dict[str, object]) -> Feature[T]:
        """Return the feature of this family over one window."""
        if self.renamed_from:
            given |= {"renamed_from": f"{self.renamed_from}_{windowing.ending(str(given['window']))}"}
        one: Feature[T] = Feature.__new__(Feature)
        Declaration.__init__(one, given, placed=self.origin)
        return one

    @model_validator(mode="after")
    def _windowed(self) -> Self:
        if self.window and self.windows:
            raise ValueError("window= and windows= are both given; give one of them")
        if not (self.window or self.windows or self.last_n):
            alone = [name for name in ("delay", "offset", "every") if getattr(self, name)]
            alone += ["closed"] if self.closed != "left" else []
            if alone:
                raise ValueError(f"{alone[0]}= belongs to a window; give window= as well, such as window='30 days'")
        if self.is_windowed and self.sql is None:
            raise ValueError("a window needs sql= that aggregates its rows, such as sql='sum(amount)'")
        return self

    @property
    def is_windowed(self) -> bool:
        """Whether it aggregates the rows of a window."""
        return bool(self.window or self.windows or self.last_n)

    def each(self) -> tuple[Feature[T], ...]:
        """Return the features that this stands for: of a family one a window, else itself."""
        return tuple(self._private["_family"].values()) or (self,)

    def named(self, name: str) -> dict[str, Feature[T]]:
        """Return the features that this stands for by their names, when it is called `name`."""
        if not self._private["_family"]:
            return {name: self}
        return {f"{name}_{windowing.ending(str(one.window))}": one for one in self.each()}

    def __getitem__(self, window: str | timedelta) -> Feature[T]:
        """Return the feature of a family over one window: `Spending.spend["7 days"]`.

        Raises FeatureNotFoundError, with the windows that there are.
        """
        try:
            return self._family[windowing.canonical(str(length_of(window)))]  # type: ignore[no-any-return]
        except (KeyError, ValueError):
            pass
        known = ", ".join(f'"{one}"' for one in self.windows or ())
        asked = f'"{window}"' if isinstance(window, str) else shown(window)
        what = f"{self.address or 'The feature'} has no window {asked}."
        mend = f"Its windows are: {known}." if known else "It has none; give it windows=[...]."
        raise FeatureNotFoundError(Problem("Unknown window", what, mend=mend))

    @property
    def name(self) -> str:
        """Its name within its group."""
        return self._private["_name"] or self.given_name or ""

    @property
    def address(self) -> str:
        """Its name for everyone: `user_profile.age`."""
        group = self._private["_group"]
        return f"{group.address}.{self.name}" if group else self.name

    @property
    def joined(self) -> bool:
        """Whether it belongs to a group, which is for good."""
        return self._private["_group"] is not None

    @property
    def family_name(self) -> str:
        """The name that it shares with those of its family, or nothing."""
        return self._private["_family_name"]  # type: ignore[no-any-return]

    @property
    def pulled(self) -> str:
        """The fingerprint that it was pulled with; nothing where it is declared here."""
        return self._private["_pulled"]  # type: ignore[no-any-return]

    @property
    def group(self) -> Declaration:
        """The group that it belongs to. Raises DeclarationError before it has one."""
        group: Declaration | None = self._private["_group"]
        if group is None:
            raise DeclarationError(
                Problem(
                    "Feature without a group",
                    f"Feature {self.name or '(unnamed)'} is used before it belongs to a group.",
                    self.origin,
                    "Write it in the body of a FeatureGroup class and use it through the class.",
                )
            )
        return group

    def join(self, group: Declaration, name: str) -> None:
        """Make this feature `name` of `group`, and pickle it by the module of its group."""
        self._private.update(_group=group, _name=name, _module=group.module)
        for one in self._private["_family"].values():
            one._family_name = name  # noqa: SLF001 - likewise
        remember(self)

    def alias(
        self, name: str | None = None, *, keys: Mapping[str, str | Feature[Any]] | None = None
    ) -> FeatureAlias[T]:
        """Return this feature under another column name, or read for its entity in another role.

        `Weather.temp.alias("temp_at_destination", keys={"airport": "dest"})` is a column `temp_at_destination` that
        looks the airport up by the spine's column `dest`; among the inputs of a group, by the key `dest` of its entity.
        There `keys={"carrier": Flights.carrier}` looks the carrier up by the value of a feature.
        """
        if self.windows:
            what = (
                f"{self.address or 'The feature'} is a family of {len(self.windows)} features, and an alias is of one."
            )
            mend = f'Say which window: ["{self.windows[0]}"].'
            raise DeclarationError(Problem("Alias of a family", what, place(), mend))
        return FeatureAlias(self, name=name, keys=keys)


def _key_given_by(given: Any) -> Any:
    if not isinstance(given, Feature) and not (isinstance(given, str) and is_column(given)):
        raise ValueError(f"{shown(given)} is neither a key column nor a feature that has the key as its value")
    return given


class FeatureAlias(Declaration, Generic[T]):
    """A feature under another column name or in another role of its entity; made by `Feature.alias`."""

    __hash__ = Declaration.__hash__  # pyright thinks that a subclass of a pydantic model has none
    kind: ClassVar[str] = "alias"

    feature: Annotated[Any, "a Feature; pydantic would copy a generic one"]
    name: Name
    keys: dict[ColumnName, Annotated[Any, AfterValidator(_key_given_by), "a column or a Feature"]]

    def __init__(self, feature: Feature[T], *, name: str | None, keys: Mapping[str, str | Feature[Any]] | None) -> None:
        super().__init__({"feature": feature, "name": feature.name if name is None else name, "keys": mapping(keys)})

    def __reduce__(self) -> tuple[Any, ...]:
        return _alias, (self.feature, self.name, self.keys)


def _alias(feature: Feature[Any], name: str, keys: dict[str, str | Feature[Any]]) -> FeatureAlias[Any]:
    return feature.alias(name, keys=keys)
