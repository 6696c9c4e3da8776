"""Data quality rules as plain data: rules on the values of a feature, and rules on all rows of a group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from featdsl.definitions.dtypes import family
from featdsl.definitions.durations import written

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler
    from pydantic_core import CoreSchema

Severity = Literal["warn", "error"]
"""What a broken rule does: `warn` reports it, `error` also fails the apply or the check and publishes nothing."""
Kind = Literal["expect", "between", "stable", "unique", "max_age", "rows"]


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """A condition that every stored row of a feature must meet; NULL passes."""

    kind: Literal["expect"] = "expect"
    condition: str
    severity: Severity = "error"
    name: str = ""

    @property
    def text(self) -> str:
        """The condition."""
        return self.condition

    def __str__(self) -> str:
        return _written(self)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Read a plain string as a condition, as older stores and exports have it."""
        from pydantic_core import core_schema

        return core_schema.no_info_before_validator_function(
            lambda value: {"condition": value} if isinstance(value, str) else value, handler(source)
        )


@dataclass(frozen=True, kw_only=True)
class Uniqueness:
    """No two entities have the same combination of values in these columns, at all times unless a time is among them."""

    kind: Literal["unique"] = "unique"
    columns: tuple[str, ...]
    severity: Severity = "error"
    name: str = ""

    @property
    def text(self) -> str:
        """The rule in words."""
        return f"unique {', '.join(self.columns)}"

    def __str__(self) -> str:
        return _written(self)


@dataclass(frozen=True, kw_only=True)
class Freshness:
    """The newest event timestamp is at most `seconds` old."""

    kind: Literal["max_age"] = "max_age"
    seconds: int
    severity: Severity = "warn"
    name: str = ""

    @property
    def text(self) -> str:
        """The rule in words."""
        return f"newest row at most {written(self.seconds)} old"

    def __str__(self) -> str:
        return _written(self)


@dataclass(frozen=True, kw_only=True)
class Volume:
    """The number of stored rows is between `least` and `most`; None leaves an end open."""

    kind: Literal["rows"] = "rows"
    least: int | None
    most: int | None
    severity: Severity = "error"
    name: str = ""

    @property
    def text(self) -> str:
        """The rule in words."""
        if self.least is not None and self.most is not None:
            return f"{self.least:,} to {self.most:,} rows"
        end, number = ("at most", self.most) if self.least is None else ("at least", self.least)
        return f"{end} {number:,} row{'' if number == 1 else 's'}"

    def __str__(self) -> str:
        return _written(self)


FIGURES = ("mean", "std", "min", "max", "p1", "p5", "p25", "p50", "p75", "p95", "p99", "null_share", "distinct")
"""The statistics of a distribution that a rule can bound."""


@dataclass(frozen=True, kw_only=True)
class Distribution:
    """Bounds for statistics of all values of a feature: (statistic, minimum, maximum)."""

    kind: Literal["between"] = "between"
    figures: tuple[tuple[str, float | None, float | None], ...]
    severity: Severity = "error"
    name: str = ""

    @property
    def text(self) -> str:
        """The rule in words."""
        return ", ".join(f"{name.replace('_', ' ')} {_range(least, most)}" for name, least, most in self.figures)

    def __str__(self) -> str:
        return _written(self)


@dataclass(frozen=True, kw_only=True)
class Stability:
    """The population stability index of a feature's values is below `psi`.

    The values are compared with the shares of `reference`, by the upper end of each range of numbers or by value, or without a
    reference with the values of the previous build.
    """

    kind: Literal["stable"] = "stable"
    psi: float
    reference: tuple[tuple[bool | int | float | str | None, float], ...] = ()
    severity: Severity = "warn"
    name: str = ""

    @property
    def text(self) -> str:
        """The rule in words."""
        return f"PSI below {self.psi:g} against {'the reference' if self.reference else 'the build before'}"

    def __str__(self) -> str:
        return _written(self)


def _range(least: float | None, most: float | None) -> str:
    if least is not None and most is not None:
        return f"{_shown(least)} to {_shown(most)}"
    return f"at most {_shown(most)}" if least is None else f"at least {_shown(least)}"


def _shown(number: float | None) -> str:
    is_integer = number is not None and number == int(number)
    return f"{number:,.0f}" if is_integer else f"{number:,.10g}"


WholeRule = Distribution | Stability
"""Rules on all values of a feature together."""
GroupRule = Uniqueness | Freshness | Volume
Rule = Expectation | WholeRule | GroupRule


def _written(rule: Rule) -> str:
    return rule_text(rule.text, rule.name, rule.severity)


def rule_text(text: str, name: str, severity: Severity) -> str:
    """Return a rule as text: its name if it has one, the rule, and `(warn)` if it only warns."""
    return f"{f'{name}: ' if name else ''}{text}{' (warn)' if severity == 'warn' else ''}"


def broken_rule(address: str, kind: str, rule: str, broken: int) -> str:
    """Return a message about a broken rule: `user_profile.age: 3 rows break the rule: age >= 0`."""
    if kind in {"max_age", "rows", "between", "stable"}:  # rules on all rows together
        return f"{address} breaks the rule: {rule}"
    noun = "value" if kind == "unique" else "row"
    return f"{address}: {broken} {f'{noun}s break' if broken > 1 else f'{noun} breaks'} the rule: {rule}"


def example_lines(examples: Sequence[Mapping[str, Any]], broken: int) -> list[str]:
    """Return one line per example row, and a line with the number of rows that are not shown."""
    shown = [", ".join(f"{name} = {value}" for name, value in row.items()) for row in examples]
    more = [f"and {broken - len(shown)} more"] if broken > len(shown) else []
    return [f"  {line}" for line in [*shown, *more]]


_NUMBERS = frozenset({"integer", "decimal", "real"})


def is_number(dtype: str) -> bool:
    """Return whether a type is numeric."""
    return family(dtype) in _NUMBERS


def unfit(rule: Distribution | Stability, dtype: str) -> Sequence[str]:
    """Return the statistics of a rule that are not defined for a type."""
    if isinstance(rule, Stability) or is_number(dtype):
        return ()
    known = {"null_share", "distinct"} | ({"mean"} if dtype == "BOOLEAN" else set())
    return [name for name, _, _ in rule.figures if name not in known]
