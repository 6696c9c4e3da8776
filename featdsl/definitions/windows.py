"""Windows of features, and the aggregates over them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from featdsl.definitions.durations import Length

Merge = Literal["count", "sum", "avg", "min", "max", "bool_and", "bool_or", "bit_and", "bit_or", "bit_xor"]
"""Aggregates whose result over all rows follows from their results over parts of the rows."""


@dataclass(frozen=True, kw_only=True)
class Window:
    """The rows that an aggregate reads for a time t.

    The window ends at t, or at the last multiple of `every` at or before t, minus `delay` and `offset`. It starts `length`
    before its end; None means that it has no start. With `last_n`, only the last rows of the window count.
    """

    length: Length | None
    closed: Literal["left", "right", "both", "neither"] = "left"
    delay: Length | None = None
    offset: Length | None = None
    last_n: int | None = None
    every: Length | None = None

    @property
    def shifts(self) -> tuple[Length, ...]:
        """How long before t the window ends."""
        return tuple(shift for shift in (self.delay, self.offset) if shift)

    def __str__(self) -> str:
        later = "".join(["t", *(f" − {shift}" for shift in self.shifts)])
        left = "[" if self.closed in {"left", "both"} and self.length else "("
        right = "]" if self.closed in {"right", "both"} else ")"
        rows = f"last {self.last_n} of " if self.last_n else ""
        grid = f", t every {self.every}" if self.every else ""
        return f"{rows}{left}{f'{later} − {self.length}' if self.length else '−∞'}, {later}{right}{grid}"


ORDER = '"#order"'


@dataclass(frozen=True, kw_only=True)
class Aggregate:
    """One aggregate of a windowed feature: `call` over the rows that meet `where`; `empty` is the result over no rows.

    If the result depends on the order of the rows, `call` has the placeholder ORDER. `merges` names the aggregate of
    `argument`, of type `dtype`, if results over parts of the rows can be merged; `total` is then the canonical text of what it
    counts or sums. `slides` says whether OVER can compute it.
    """

    call: str
    where: str = ""
    empty: str = ""
    merges: Merge | None = None
    argument: str = ""
    total: str = ""
    slides: bool = True
    dtype: str = ""
