"""Rules for data as teams write them: a plain value, or the object of the same name that says how much they matter."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from datetime import timedelta
from typing import Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, Field, PlainValidator, model_validator

from featdsl.declaration import ColumnName, Declaration, Duration, Name, listed
from featdsl.durations import seconds
from featdsl.reasons import shown
from featdsl.rules import Expectation, Freshness, Severity, Uniqueness, Volume

Count = Annotated[int, Field(ge=0, strict=True)]


def _not_empty(text: str) -> str:
    if not text.strip():
        raise ValueError("it is empty; write a condition in SQL, such as 'age >= 0'")
    return text


def _unlike(columns: tuple[str, ...]) -> tuple[str, ...]:
    if not columns:
        raise ValueError("name the columns, such as Unique('email')")
    for column in columns:
        if columns.count(column) > 1:
            raise ValueError(f"{column!r} is listed twice")
    return columns


class _Rule(Declaration):
    """A rule, with what comes of breaking it, and a name to tell it by."""

    kind: ClassVar[str] = "rule"

    severity: Severity
    name: Name | None = None

    @property
    def address(self) -> str:
        """Its name, or nothing."""
        return self.name or ""


class Expect(_Rule):
    """A condition that every stored row meets: `Expect("age < 110", severity="warn", name="old_age")`.

    An `"error"` stops an apply, which then publishes nothing, and makes `featdsl check` fail; a `"warn"` is told, and
    stops nothing. Raises DeclarationError for what does not fit.
    """

    condition: Annotated[str, AfterValidator(_not_empty)]

    def __init__(self, condition: str, *, severity: Severity = "error", name: str | None = None) -> None:
        Declaration.__init__(self, {"condition": condition, "severity": severity, "name": name})

    @property
    def rule(self) -> Expectation:
        """The rule as plain data."""
        return Expectation(condition=self.condition, severity=self.severity, name=self.name or "")


class Unique(_Rule):
    """That no two entities have the same values in these columns together: `Unique("email", severity="warn")`.

    A row with a NULL among them counts for nothing. With `event_timestamp` among the columns, no two entities have
    them at one time. Raises DeclarationError for what does not fit.
    """

    columns: Annotated[tuple[ColumnName, ...], AfterValidator(_unlike)]

    def __init__(self, *columns: str, severity: Severity = "error", name: str | None = None) -> None:
        Declaration.__init__(self, {"columns": columns, "severity": severity, "name": name})

    @property
    def rule(self) -> Uniqueness:
        """The rule as plain data."""
        return Uniqueness(columns=self.columns, severity=self.severity, name=self.name or "")


class MaxAge(_Rule):
    """How old the newest row may be: `MaxAge("2 days", severity="error")`.

    It warns unless told otherwise: newer rows are better published than held back, however old they are. Raises
    DeclarationError for what does not fit.
    """

    age: Duration

    def __init__(self, age: str | timedelta, *, severity: Severity = "warn", name: str | None = None) -> None:
        Declaration.__init__(self, {"age": age, "severity": severity, "name": name})

    @property
    def rule(self) -> Freshness:
        """The rule as plain data."""
        return Freshness(seconds=seconds(self.age), severity=self.severity, name=self.name or "")


class Rows(_Rule):
    """How many rows there may be: `Rows(min=1_000, severity="warn")`. Raises DeclarationError for what does not fit."""

    min: Count | None = None
    max: Count | None = None

    def __init__(
        self,
        min: int | None = None,  # noqa: A002 - the words that people know
        max: int | None = None,  # noqa: A002 - likewise
        *,
        severity: Severity = "error",
        name: str | None = None,
    ) -> None:
        Declaration.__init__(self, {"min": min, "max": max, "severity": severity, "name": name})

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.min is None and self.max is None:
            raise ValueError("give the least rows, the most, or both: (1, None)")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"the least, {self.min}, is more than the most, {self.max}")
        return self

    @property
    def rule(self) -> Volume:
        """The rule as plain data."""
        return Volume(least=self.min, most=self.max, severity=self.severity, name=self.name or "")


def _expectations(given: Any) -> tuple[Expectation, ...]:
    """Return the conditions of a feature, as texts or objects."""
    plain = [Expectation(condition=each) if _is_condition(each) else each for each in _listed(given)]
    return _in_order(given, _ruled(each if isinstance(each, Expect | Expectation) else Expect(each) for each in plain))


def _is_condition(given: Any) -> bool:
    """Return whether it is a text that says something: most are, and such need no object of their own."""
    return isinstance(given, str) and bool(given.strip())


def _uniques(given: Any) -> tuple[Uniqueness, ...]:
    """Return what is unique: columns that are so together, or an object a rule."""
    listed = _listed(given)
    if listed and not any(isinstance(each, Unique) for each in listed):
        listed = [Unique(*(sorted(listed, key=str) if _is_set(given) else listed))]
    return _in_order(given, _ruled(each if isinstance(each, Unique) else Unique(each) for each in listed))


def _max_age(given: Any) -> tuple[Freshness, ...]:
    return () if given is None else _ruled([given if isinstance(given, MaxAge) else MaxAge(given)])


def _rows(given: Any) -> tuple[Volume, ...]:
    if given is None:
        return ()
    if isinstance(given, tuple | list) and len(given) == 2:  # noqa: PLR2004 - the least and the most
        given = Rows(*given)
    if not isinstance(given, Rows):
        said = f"{shown(given)} is not a pair of the least and the most rows; write (1, None), or Rows(min=1)"
        raise ValueError(said)  # noqa: TRY004 - pydantic turns ValueError into a problem
    return _ruled([given])


def _listed(given: Any) -> list[Any]:
    row = listed(given)
    return [*row] if isinstance(row, tuple) else [given]


def _is_set(given: Any) -> bool:
    return isinstance(given, AbstractSet)


def _in_order(given: Any, rules: tuple[Any, ...]) -> tuple[Any, ...]:
    # A set has no order of its own, and a plan must not depend on one.
    return tuple(sorted(rules, key=str)) if _is_set(given) else rules


def _ruled(given: Iterable[Expect | Unique | MaxAge | Rows | Expectation]) -> tuple[Any, ...]:
    """Return rules as plain data, without those whose mistake is told already. Raises ValueError for a name used twice."""
    rules = [each if isinstance(each, Expectation) else each.rule for each in given if _is_valid(each)]
    names = [rule.name for rule in rules if rule.name]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"two rules are called {name!r}; give one of them another name")
    return tuple(rules)


def _is_valid(given: Declaration | Expectation) -> bool:
    return isinstance(given, Expectation) or given.valid


Expectations = Annotated[tuple[Expectation, ...], PlainValidator(_expectations)]
"""One condition or several."""
Uniques = Annotated[tuple[Uniqueness, ...], PlainValidator(_uniques)]
"""Columns that are unique together, or several such rules."""
Ages = Annotated[tuple[Freshness, ...], PlainValidator(_max_age)]
"""A length of time, or none."""
Volumes = Annotated[tuple[Volume, ...], PlainValidator(_rows)]
"""The least and the most rows, or neither."""
