"""Rules that stored rows must keep, as plain data: of the values of one feature, and of all rows of a group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from featdsl.durations import written

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler
    from pydantic_core import CoreSchema

Severity = Literal["warn", "error"]
"""What comes of broken rules: they are told, or nothing is published and a check fails."""
Kind = Literal["expect", "between", "stable", "unique", "max_age", "rows"]


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """A condition that every stored row of a feature meets; NULL meets all."""

    kind: Literal["expect"] = "expect"
    condition: str
    severity: Severity = "error"
    name: str = ""

    @property
    def text(self) -> str:
        """What is expected."""
        return self.condition

    def __str__(self) -> str:
        return _written(self)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Read a text as a condition: stores and exports held no more than that."""
        from pydantic_core import core_schema

        return core_schema.no_info_before_validator_function(
            lambda given: {"condition": given} if isinstance(given, str) else given, handler(source)
        )


@dataclass(frozen=True, kw_only=True)
class Uniqueness:
    """No two entities have the same values in these columns together, or at one time where that is among them."""

    kind: Literal["unique"] = "unique"
    columns: tuple[str, ...]
    severity: Severity = "error"
    name: str = ""

    @property
    def text(self) -> str:
        """What is unique."""
        return f"unique {', '.join(self.columns)}"

    def __str__(self) -> str:
        return _written(self)


@dataclass(frozen=True, kw_only=True)
class Freshness:
    """The newest event timestamp lies at most so many seconds before the present."""

    kind: Literal["max_age"] = "max_age"
    seconds: int
    severity: Severity = "warn"
    name: str = ""

    @property
    def text(self) -> str:
        """How old the newest row may be."""
        return f"newest row at most {written(self.seconds)} old"

    def __str__(self) -> str:
        return _written(self)


@dataclass(frozen=True, kw_only=True)
class Volume:
    """At least, and at most, so many rows are stored."""

    kind: Literal["rows"] = "rows"
    least: int | None
    most: int | None
    severity: Severity = "error"
    name: str = ""

    @property
    def text(self) -> str:
        """How many rows there may be."""
        if self.least is not None and self.most is not None:
            return f"{self.least:,} to {self.most:,} rows"
        end, number = ("at most", self.most) if self.least is None else ("at least", self.least)
        return f"{end} {number:,} row{'' if number == 1 else 's'}"

    def __str__(self) -> str:
        return _written(self)


FIGURES = ("mean", "std", "min", "max", "p1", "p5", "p25", "p50", "p75", "p95", "p99", "null_share", "distinct")
"""What a distribution can be held to: percentiles, the share of NULL, and how many different values there are."""


@dataclass(frozen=True, kw_only=True)
class Distribution:
    """Figures of all values of a feature, each with the least and the most that it may be."""

    kind: Literal["between"] = "between"
    figures: tuple[tuple[str, float | None, float | None], ...]
    severity: Severity = "error"
    name: str = ""

    @property
    def text(self) -> str:
        """Which figures lie where."""
        return ", ".join(f"{name.replace('_', ' ')} {_range(least, most)}" for name, least, most in self.figures)

    def __str__(self) -> str:
        return _written(self)


@dataclass(frozen=True, kw_only=True)
class Stability:
    """The population stability index of a feature's values is below `psi`.

    They are compared with the shares of a reference, by the upper end of numbers or by the value of others, or where
    there is none with the values of the build before.
    """

    kind: Literal["stable"] = "stable"
    psi: float
    reference: tuple[tuple[bool | int | float | str | None, float], ...] = ()
    severity: Severity = "warn"
    name: str = ""

    @property
    def text(self) -> str:
        """How far the values may move, and against what."""
        return f"PSI below {self.psi:g} against {'the reference' if self.reference else 'the build before'}"

    def __str__(self) -> str:
        return _written(self)


def _range(least: float | None, most: float | None) -> str:
    if least is not None and most is not None:
        return f"{_shown(least)} to {_shown(most)}"
    return f"at most {_shown(most)}" if least is None else f"at least {_shown(least)}"


def _shown(number: float | None) -> str:
    whole = number is not None and number == int(number)
    return f"{number:,.0f}" if whole else f"{number:,.10g}"


WholeRule = Distribution | Stability
"""Rules on all values of a feature together."""
GroupRule = Uniqueness | Freshness | Volume
Rule = Expectation | WholeRule | GroupRule


def _written(rule: Rule) -> str:
    return told(rule.text, rule.name, rule.severity)


def told(text: str, name: str, severity: Severity) -> str:
    """Return a rule by its name, where it has one, and what it says; a warning is marked as one."""
    return f"{f'{name}: ' if name else ''}{text}{' (warn)' if severity == 'warn' else ''}"


def broken_rule(address: str, kind: str, rule: str, broken: int) -> str:
    """Return that a rule is broken, and by how many rows: `user_profile.age: 3 rows break the rule: age >= 0`."""
    if kind in {"max_age", "rows", "between", "stable"}:  # of all rows together
        return f"{address} breaks the rule: {rule}"
    noun = "value" if kind == "unique" else "row"
    return f"{address}: {broken} {f'{noun}s break' if broken > 1 else f'{noun} breaks'} the rule: {rule}"


def example_lines(examples: Sequence[Mapping[str, Any]], broken: int) -> list[str]:
    """Return the rows that are shown, a line each, and how many more there are."""
    shown = [", ".join(f"{name} = {value}" for name, value in row.items()) for row in examples]
    more = [f"and {broken - len(shown)} more"] if broken > len(shown) else []
    return [f"  {line}" for line in [*shown, *more]]
