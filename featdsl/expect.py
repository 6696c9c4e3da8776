"""Rules for data as teams write them: a plain value, or the object of the same name that says how much they matter."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from datetime import timedelta
from typing import Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, model_validator

from featdsl.declaration import ColumnName, Declaration, Duration, Name, listed
from featdsl.durations import seconds
from featdsl.reasons import shown
from featdsl.rules import (
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


Bounds = tuple[float | None, float | None]
"""The least and the most; None leaves an end open."""


def _bounds(given: Any) -> Any:
    if not isinstance(given, tuple | list) or len(given) != 2:  # noqa: PLR2004 - the least and the most
        raise ValueError(f"{shown(given)} is not a pair of the least and the most; write (None, 0.05) for at most 0.05")
    least, most = given
    if least is None and most is None:
        raise ValueError("give the least, the most, or both: (1, None)")
    for end in (least, most):
        if end is not None and (isinstance(end, bool) or not isinstance(end, int | float) or not math.isfinite(end)):
            raise ValueError(f"{shown(end)} is not a number")
    if least is not None and most is not None and least > most:
        raise ValueError(f"the least, {least}, is more than the most, {most}")
    return tuple(None if end is None else float(end) for end in given)


class Between(_Rule):
    """What all values of a feature come to: `Between(mean=(20_000, 60_000), null_share=(None, 0.05), distinct=(2, None))`.

    Each figure has the least and the most that it may be, None for no end: `mean`, `std` (of a sample), `min`, `max`, the
    percentiles `p1`, `p5`, `p25`, `p50`, `p75`, `p95` and `p99` (interpolated), `null_share` (0 to 1) and `distinct` (how many
    different values). Numbers have all of them, of which only finite ones count; BOOLEAN has a mean, the share that is
    true. A figure that no value gives is outside. An `"error"` stops an apply or a refresh, a `"warn"` is told. Raises
    DeclarationError for what does not fit.
    """

    figures: dict[str, Annotated[Any, BeforeValidator(_bounds)]]

    def __init__(  # noqa: PLR0913 - a figure each
        self,
        *,
        mean: Bounds | None = None,
        std: Bounds | None = None,
        min: Bounds | None = None,  # noqa: A002 - the words that people know
        max: Bounds | None = None,  # noqa: A002 - likewise
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
        given = (mean, std, min, max, p1, p5, p25, p50, p75, p95, p99, null_share, distinct)
        figures = {figure: each for figure, each in zip(FIGURES, given, strict=True) if each is not None}
        Declaration.__init__(self, {"figures": figures, "severity": severity, "name": name})

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not self.figures:
            raise ValueError("it holds nothing to anything; give a figure, such as mean=(0, 100)")
        return self

    @property
    def rule(self) -> Distribution:
        """The rule as plain data."""
        figures = tuple((name, *bounds) for name, bounds in self.figures.items())
        return Distribution(figures=figures, severity=self.severity, name=self.name or "")


def _shares(given: Any) -> Any:
    """Return a reference as pairs, numbers in order and NULL last. Raises ValueError."""
    if given is None:
        return ()
    if not isinstance(given, Mapping) or not given:
        raise ValueError(f"{shown(given)} is not a mapping of values to their shares, such as {{'DE': 0.6, 'FR': 0.4}}")
    pairs = [(key, share) for key, share in given.items()]
    for key, share in pairs:
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
            raise ValueError(f"{shown(share)} is not a share of 0 to 1, for {shown(key)}")
    keys = [key for key, _ in pairs if key is not None]
    numbers = [key for key in keys if isinstance(key, int | float) and not isinstance(key, bool) and math.isfinite(key)]
    if len(numbers) not in {0, len(keys)} or not all(isinstance(key, int | str) or key in numbers for key in keys):
        raise ValueError(
            "its values are numbers, the upper ends of ranges, or texts or truth values, with None for NULL"
        )
    if sum(share for _, share in pairs) > 1 + 1e-6:
        raise ValueError(f"its shares come to {sum(share for _, share in pairs):g}, more than 1")
    order = sorted(pairs, key=lambda pair: (pair[0] is None, pair[0] if numbers and pair[0] is not None else 0))
    return tuple((key, float(share)) for key, share in order)


class Stable(_Rule):
    """How far the values of a feature may move: `Stable(psi=0.2)`, or `Stable(psi=0.2, reference={"DE": 0.6, "FR": 0.4})`.

    The population stability index (PSI) of the values against a reference is below `psi`; from 0.1 on a shift is worth a look,
    from 0.25 on a population is another one. `reference` has the share of each value, None for NULL, or of numbers the
    share up to each end: `{10: 0.2, 100: 0.5}`; what is left of 1 is the share of all other values. Without one, an apply
    that builds a table compares it with the table of before, a refresh that adds rows compares these with the older rows,
    and `featdsl check` has nothing to compare. It warns unless told otherwise. Raises DeclarationError for what does not
    fit.
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


Expected = str | Expect | Between | Stable
"""A rule of a feature as it is written."""


def _expectations(given: Any) -> tuple[Expectation | WholeRule, ...]:
    """Return the rules of a feature: conditions as texts or objects, and what its values come to."""
    plain = [Expectation(condition=each) if _is_condition(each) else each for each in _listed(given)]
    made = (Expect, Between, Stable, Expectation)
    return _in_order(given, _ruled(each if isinstance(each, made) else Expect(each) for each in plain))


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


def _ruled(given: Iterable[Any]) -> tuple[Any, ...]:
    """Return rules as plain data, without those whose mistake is told already. Raises ValueError for a name used twice."""
    rules = [each if isinstance(each, Expectation) else each.rule for each in given if _is_valid(each)]
    names = [rule.name for rule in rules if rule.name]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"two rules are called {name!r}; give one of them another name")
    return tuple(rules)


def _is_valid(given: Declaration | Expectation) -> bool:
    return isinstance(given, Expectation) or given.valid


Expectations = Annotated[tuple[Expectation | WholeRule, ...], PlainValidator(_expectations)]
"""One rule or several."""
Uniques = Annotated[tuple[Uniqueness, ...], PlainValidator(_uniques)]
"""Columns that are unique together, or several such rules."""
Ages = Annotated[tuple[Freshness, ...], PlainValidator(_max_age)]
"""A length of time, or none."""
Volumes = Annotated[tuple[Volume, ...], PlainValidator(_rows)]
"""The least and the most rows, or neither."""
