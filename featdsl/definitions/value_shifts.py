"""Distribution shifts of feature values, as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

QUANTILES = (0.05, 0.5, 0.95)
"""The reported quantiles: each is the smallest value with at least this share of values at or below it."""
MODERATE, LARGE = 0.1, 0.25
"""PSI thresholds: from MODERATE a shift deserves a look, from LARGE the population is not the one that a model trained on."""


@dataclass(frozen=True, kw_only=True)
class ValueSummary:
    """Statistics of one column: the number of NULLs, mean and quantiles of finite numbers, the number of distinct other values.

    The mean of a BOOLEAN is the share of true values.
    """

    nulls: int
    mean: float | None = None
    quantiles: tuple[float, float, float] | None = None
    distinct: int | None = None


@dataclass(frozen=True, kw_only=True)
class Flag:
    """A reason for a reviewer to look at a shift."""

    code: Literal["large shift", "moderate shift", "more nulls"]
    reason: str


@dataclass(frozen=True, kw_only=True)
class Example:
    """A value that changes: its keys, its time, and the value before and after, as text; None is NULL."""

    keys: tuple[tuple[str, str], ...]
    time: str | None
    before: str | None
    after: str | None


@dataclass(frozen=True, kw_only=True)
class Share:
    """A category and its number of rows before and after. The value is text; None stands for all other categories."""

    value: str | None
    before: int
    after: int


@dataclass(frozen=True, kw_only=True)
class Shift:
    """How the values of a feature shift: `changed` of `rows` differ, compared for `entities` of `of` entities.

    `shares` has the most frequent categories of a text or BOOLEAN feature. `psi` is None if there is nothing to compare; `note`
    names limits of the comparison.
    """

    result: Literal["shift"] = "shift"
    feature: str
    owner: str
    entities: int
    of: int
    rows: int
    changed: int
    before: ValueSummary
    after: ValueSummary
    psi: float | None
    flags: tuple[Flag, ...]
    examples: tuple[Example, ...]
    shares: tuple[Share, ...] = ()
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class NotCompared:
    """A feature whose definition changes, and why its values could not be compared."""

    result: Literal["not compared"] = "not compared"
    feature: str
    owner: str
    why: str


Compared = Annotated[Shift | NotCompared, Field(discriminator="result")]
"""The result of comparing the values of a feature."""
