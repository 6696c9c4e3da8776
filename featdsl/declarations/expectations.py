"""Data quality rules as teams declare them: plain values, or objects that also set a severity and a name."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from datetime import timedelta
from typing import Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, model_validator

from featdsl.declarations.declaration import ColumnName, Declaration, Duration, Name, listed
from featdsl.definitions.durations import seconds
from featdsl.definitions.quality_rules import (
    FIGURES,
    Distribution,
    Expectation,
    Freshness,
    Severity,
    Stability,
    Uniqueness,
    Volume,
    WholeRule,
)
from featdsl.definitions.validation_errors import shown

Count = Annotated[int, Field(ge=0, strict=True)]


def _not_empty(text: str) -> str:
    if not text.strip():
        raise ValueError("it is empty; write an SQL condition, such as 'age >= 0'")
    return text


def _distinct(columns: tuple[str, ...]) -> tuple[str, ...]:
    if not columns:
        raise ValueError("name the columns, such as Unique('email')")
    for column in columns:
        if columns.count(column) > 1:
            raise ValueError(f"{column!r} is listed twice")
    return columns


class _Rule(Declaration):
    """A data quality rule with a severity and an optional name."""

    kind: ClassVar[str] = "rule"

    severity: Severity
    name: Name | None = None

    @property
    def address(self) -> str:
        """Its name, or `""`."""
        return self.name or ""


class Expect(_Rule):
    """A condition that every stored row must meet: `Expect("age < 110", severity="warn", name="old_age")`.

    A broken rule of severity `"error"` fails the apply, which then publishes nothing, and fails `featdsl check`. Severity
    `"warn"` only reports it. Raises DeclarationError if an argument is invalid.
    """

    condition: Annotated[str, AfterValidator(_not_empty)]

    def __init__(self, condition: str, *, severity: Severity = "error", name: str | None = None) -> None:
        Declaration.__init__(self, {"condition": condition, "severity": severity, "name": name})

    @property
    def rule(self) -> Expectation:
        """The rule as plain data."""
        return Expectation(condition=self.condition, severity=self.severity, name=self.name or "")


Bounds = tuple[float | None, float | None]
"""A minimum and a maximum; None leaves an end open."""


def _bounds(value: Any) -> Any:
    if not isinstance(value, tuple | list) or len(value) != 2:  # noqa: PLR2004 - minimum and maximum
        raise ValueError(f"{shown(value)} is not a pair (minimum, maximum); write (None, 0.05) for at most 0.05")
    minimum, maximum = value
    if minimum is None and maximum is None:
        raise ValueError("give a minimum, a maximum, or both: (1, None)")
    for end in (minimum, maximum):
        if end is not None and (isinstance(end, bool) or not isinstance(end, int | float) or not math.isfinite(end)):
            raise ValueError(f"{shown(end)} is not a number")
    if minimum is not None and maximum is not None and minimum > maximum:
        raise ValueError(f"the minimum {minimum} is greater than the maximum {maximum}")
    return tuple(None if end is None else float(end) for end in value)


class Between(_Rule):
    """Bounds for statistics of all values: `Between(mean=(20_000, 60_000), null_share=(None, 0.05), distinct=(2, None))`.

    Each statistic takes a pair (minimum, maximum), with None for an open end: `mean`, `std` (sample standard deviation), `min`,
    `max`, the interpolated percentiles `p1`, `p5`, `p25`, `p50`, `p75`, `p95` and `p99`, `null_share` (0 to 1) and `distinct`
    (number of different values). Numeric features have all of them, computed over finite values; the mean of a BOOLEAN is the
    share of true values. A statistic that cannot be computed is out of bounds. Severity `"error"` fails an apply or a refresh,
    `"warn"` only reports it. Raises DeclarationError if an argument is invalid.
    """

    figures: dict[str, Annotated[Any, BeforeValidator(_bounds)]]

    def __init__(  # noqa: PLR0913 - one parameter per statistic
        self,
        *,
        mean: Bounds | None = None,
        std: Bounds | None = None,
        min: Bounds | None = None,  # noqa: A002 - the familiar name
        max: Bounds | None = None,  # noqa: A002 - the familiar name
        p1: Bounds | None = None,
        p5: Bounds | None = None,
        p25: Bounds | None = None,
        p50: Bounds | None = None,
        p75: Bounds | None = None,
        p95: Bounds | None = None,
        p99: Bounds | None = None,
        null_share: Bounds | None = None,
        distinct: Bounds | None = None,
        severity: Severity = "error",
        name: str | None = None,
    ) -> None:
        values = (mean, std, min, max, p1, p5, p25, p50, p75, p95, p99, null_share, distinct)
        figures = {figure: each for figure, each in zip(FIGURES, values, strict=True) if each is not None}
        Declaration.__init__(self, {"figures": figures, "severity": severity, "name": name})

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not self.figures:
            raise ValueError("it has no bounds; give a statistic, such as mean=(0, 100)")
        return self

    @property
    def rule(self) -> Distribution:
        """The rule as plain data."""
        figures = tuple((name, *bounds) for name, bounds in self.figures.items())
        return Distribution(figures=figures, severity=self.severity, name=self.name or "")


def _shares(value: Any) -> Any:
    """Return a reference distribution as pairs: numbers in ascending order, NULL last. Raises ValueError."""
    if value is None:
        return ()
    if not isinstance(value, Mapping) or not value:
        raise ValueError(f"{shown(value)} is not a mapping of values to their shares, such as {{'DE': 0.6, 'FR': 0.4}}")
    pairs = [(key, share) for key, share in value.items()]
    for key, share in pairs:
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
            raise ValueError(f"the share of {shown(key)}, {shown(share)}, is not between 0 and 1")
    keys = [key for key, _ in pairs if key is not None]
    numbers = [key for key in keys if isinstance(key, int | float) and not isinstance(key, bool) and math.isfinite(key)]
    if len(numbers) not in {0, len(keys)} or not all(isinstance(key, int | str) or key in numbers for key in keys):
        raise ValueError(
            "its keys must be all numbers (upper ends of ranges), or strings or booleans, with None for NULL"
        )
    if sum(share for _, share in pairs) > 1 + 1e-6:
        raise ValueError(f"its shares add up to {sum(share for _, share in pairs):g}, which is more than 1")
    order = sorted(pairs, key=lambda pair: (pair[0] is None, pair[0] if numbers and pair[0] is not None else 0))
    return tuple((key, float(share)) for key, share in order)


class Stable(_Rule):
    """A limit for distribution shift: `Stable(psi=0.2)`, or `Stable(psi=0.2, reference={"DE": 0.6, "FR": 0.4})`.

    The population stability index (PSI) of the values against a reference must be below `psi`. A PSI from 0.1 is a moderate
    shift, from 0.25 a large one. `reference` maps each value to its share, with None for NULL, or the upper end of each range of
    numbers to the share of the range: `{10: 0.2, 100: 0.5}`; the rest up to 1 is the share of all other values. Without a
    reference, an apply compares a rebuilt table with the previous one, a refresh compares new rows with the older ones, and
    `featdsl check` compares nothing. The default severity is `"warn"`. Raises DeclarationError if an argument is invalid.
    """

    psi: Annotated[float, Field(gt=0)]
    reference: Annotated[Any, BeforeValidator(_shares)] = ()

    def __init__(
        self,
        *,
        psi: float,
        reference: Mapping[Any, float] | None = None,
        severity: Severity = "warn",
        name: str | None = None,
    ) -> None:
        Declaration.__init__(self, {"psi": psi, "reference": reference, "severity": severity, "name": name})

    @property
    def rule(self) -> Stability:
        """The rule as plain data."""
        return Stability(psi=self.psi, reference=self.reference, severity=self.severity, name=self.name or "")


class Unique(_Rule):
    """No two entities may have the same combination of values in these columns: `Unique("email", severity="warn")`.

    Rows with a NULL in one of the columns are ignored. With `event_timestamp` among the columns, the combination must be
    unique at each time. Raises DeclarationError if an argument is invalid.
    """

    columns: Annotated[tuple[ColumnName, ...], AfterValidator(_distinct)]

    def __init__(self, *columns: str, severity: Severity = "error", name: str | None = None) -> None:
        Declaration.__init__(self, {"columns": columns, "severity": severity, "name": name})

    @property
    def rule(self) -> Uniqueness:
        """The rule as plain data."""
        return Uniqueness(columns=self.columns, severity=self.severity, name=self.name or "")


class MaxAge(_Rule):
    """How old the newest row may be: `MaxAge("2 days", severity="error")`.

    The default severity is `"warn"`: publishing late rows is better than holding them back. Raises DeclarationError if an
    argument is invalid.
    """

    age: Duration

    def __init__(self, age: str | timedelta, *, severity: Severity = "warn", name: str | None = None) -> None:
        Declaration.__init__(self, {"age": age, "severity": severity, "name": name})

    @property
    def rule(self) -> Freshness:
        """The rule as plain data."""
        return Freshness(seconds=seconds(self.age), severity=self.severity, name=self.name or "")


class Rows(_Rule):
    """How many rows the table may have: `Rows(min=1_000, severity="warn")`. Raises DeclarationError if an argument is invalid."""

    min: Count | None = None
    max: Count | None = None

    def __init__(
        self,
        min: int | None = None,  # noqa: A002 - the familiar name
        max: int | None = None,  # noqa: A002 - the familiar name
        *,
        severity: Severity = "error",
        name: str | None = None,
    ) -> None:
        Declaration.__init__(self, {"min": min, "max": max, "severity": severity, "name": name})

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.min is None and self.max is None:
            raise ValueError("give a minimum, a maximum, or both: (1, None)")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"the minimum {self.min} is greater than the maximum {self.max}")
        return self

    @property
    def rule(self) -> Volume:
        """The rule as plain data."""
        return Volume(least=self.min, most=self.max, severity=self.severity, name=self.name or "")


Expected = str | Expect | Between | Stable
"""A rule of a feature as teams write it."""


def _expectations(value: Any) -> tuple[Expectation | WholeRule, ...]:
    """Return the rules of a feature, from conditions as strings and from rule objects."""
    plain = [Expectation(condition=each) if _is_condition(each) else each for each in _as_list(value)]
    rule_types = (Expect, Between, Stable, Expectation)
    return _sorted_if_set(value, _plain_rules(each if isinstance(each, rule_types) else Expect(each) for each in plain))


def _is_condition(value: Any) -> bool:
    """Return whether a value is a non-empty string. Most conditions are, and an Expect for each would be slow."""
    return isinstance(value, str) and bool(value.strip())


def _uniques(value: Any) -> tuple[Uniqueness, ...]:
    """Return uniqueness rules: one for a list of columns, or one per Unique object."""
    listed = _as_list(value)
    if listed and not any(isinstance(each, Unique) for each in listed):
        listed = [Unique(*(sorted(listed, key=str) if _is_set(value) else listed))]
    return _sorted_if_set(value, _plain_rules(each if isinstance(each, Unique) else Unique(each) for each in listed))


def _max_age(value: Any) -> tuple[Freshness, ...]:
    return () if value is None else _plain_rules([value if isinstance(value, MaxAge) else MaxAge(value)])


def _rows(value: Any) -> tuple[Volume, ...]:
    if value is None:
        return ()
    if isinstance(value, tuple | list) and len(value) == 2:  # noqa: PLR2004 - minimum and maximum
        value = Rows(*value)
    if not isinstance(value, Rows):
        text = f"{shown(value)} is not a pair (minimum, maximum) of row counts; write (1, None) or Rows(min=1)"
        raise ValueError(text)  # noqa: TRY004 - pydantic turns ValueError into a problem
    return _plain_rules([value])


def _as_list(value: Any) -> list[Any]:
    items = listed(value)
    return [*items] if isinstance(items, tuple) else [value]


def _is_set(value: Any) -> bool:
    return isinstance(value, AbstractSet)


def _sorted_if_set(value: Any, rules: tuple[Any, ...]) -> tuple[Any, ...]:
    # A set has no order, and plans must be deterministic.
    return tuple(sorted(rules, key=str)) if _is_set(value) else rules


def _plain_rules(rules: Iterable[Any]) -> tuple[Any, ...]:
    """Return rules as plain data, without invalid ones, whose problems are already reported.

    Raises ValueError if two rules have the same name.
    """
    plain = [each if isinstance(each, Expectation) else each.rule for each in rules if _is_valid(each)]
    names = [rule.name for rule in plain if rule.name]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"two rules have the name {name!r}; rename one of them")
    return tuple(plain)


def _is_valid(rule: Declaration | Expectation) -> bool:
    return isinstance(rule, Expectation) or rule.valid


Expectations = Annotated[tuple[Expectation | WholeRule, ...], PlainValidator(_expectations)]
"""One rule or several."""
Uniques = Annotated[tuple[Uniqueness, ...], PlainValidator(_uniques)]
"""Columns whose combination is unique, or several uniqueness rules."""
Ages = Annotated[tuple[Freshness, ...], PlainValidator(_max_age)]
"""A maximum age, or None."""
Volumes = Annotated[tuple[Volume, ...], PlainValidator(_rows)]
"""A minimum and a maximum number of rows, or None."""
