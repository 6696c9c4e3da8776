"""Signatures: the argument types for which a function of DuckDB is proved on Spark, its result type, and its SQL there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from featdsl.definitions.dtypes import parse
from featdsl.engines.spark import casts, number_types
from featdsl.engines.spark.literals import INTERVAL
from featdsl.engines.spark.scopes import NULL, Translated, unproved

CONSTANT = "literal"
"""Marks an argument that must be a literal: `VARCHAR literal`."""


@dataclass(frozen=True)
class Signature:
    """One function of DuckDB with argument types.

    An argument type is a DuckDB type, `DECIMAL` for each of them, `T[]` for each list, or a type with `literal` behind it. `gives`
    is the result type, or computes it from the arguments. `spark` is a template in which `{0}` is the first argument, or
    computes the SQL from the arguments. `accepts` refuses some values of literals. Values may differ in the last `ulps` units.
    """

    name: str
    takes: tuple[str, ...]
    gives: str | Callable[[Sequence[Translated]], str]
    spark: str | Callable[..., str]
    accepts: Callable[..., bool] | None = None
    ulps: int = 0

    def __str__(self) -> str:
        result = self.gives if isinstance(self.gives, str) else "of its arguments"
        return f"{self.name}({', '.join(self.takes)}) -> {result}"

    def apply(self, arguments: Sequence[Translated]) -> Translated:
        """Return the value for arguments that have the types of the signature."""
        dtype = self.gives if isinstance(self.gives, str) else self.gives(arguments)
        if isinstance(self.spark, str):
            return Translated(self.spark.format(*(each.sql for each in arguments)), dtype)
        return Translated(self.spark(*arguments), dtype)


class Table:
    """Signatures by name, from which a call chooses the one with the fewest casts."""

    def __init__(self, signatures: Iterable[Signature]) -> None:
        self.by_name: dict[str, list[Signature]] = {}
        for each in signatures:
            self.by_name.setdefault(each.name, []).append(each)

    def call(self, name: str, arguments: Sequence[Translated]) -> Translated:
        """Return the value of a call. Raises Unproved."""
        found: list[tuple[int, Signature]] = []
        for signature in self.by_name.get(name, ()):
            cost = _cost(signature, arguments)
            if cost is not None:
                found.append((cost, signature))
        least = min((cost for cost, _ in found), default=0)
        best = [signature for cost, signature in found if cost == least]
        if len(best) != 1:
            raise unproved(call_text(name, arguments))
        signature = best[0]
        converted = [_converted(value, wanted) for value, wanted in zip(arguments, signature.takes, strict=True)]
        if signature.accepts is not None and not signature.accepts(*converted):
            raise unproved(call_text(name, arguments, literals=True))
        return signature.apply(converted)


def call_text(name: str, arguments: Sequence[Translated], *, literals: bool = False) -> str:
    """Return a call as a refusal names it: with types, or with `literals` as they are written."""

    def shown(value: Translated) -> str:
        if value.constant is not None and literals:
            return repr(value.constant) if value.dtype == "VARCHAR" else value.constant
        return "NULL" if value.dtype == NULL else value.dtype

    texts = [shown(each) for each in arguments]
    if name.isidentifier() or len(texts) > 2:  # noqa: PLR2004 - operators have one side or two
        return f"{name}({', '.join(texts)})"
    return f"{texts[0]} {name} {texts[1]}" if len(texts) > 1 else f"{name} {texts[0]}"


def _cost(signature: Signature, arguments: Sequence[Translated]) -> int | None:
    """Return how many implicit casts a call needs, the far ones counted more; None if the signature does not fit."""
    if len(signature.takes) != len(arguments):
        return None
    costs = [_argument_cost(signature, value, wanted) for value, wanted in zip(arguments, signature.takes, strict=True)]
    known = [cost for cost in costs if cost is not None]
    return sum(known) if len(known) == len(costs) else None


_WITHOUT_CASTS = frozenset({"%", "//", "round", "floor", "ceil", "sign"})
"""Functions of DOUBLE that DuckDB also has for decimals and HUGEINT, with other results."""


def _argument_cost(signature: Signature, value: Translated, wanted: str) -> int | None:
    dtype = wanted.removesuffix(f" {CONSTANT}")
    if dtype != wanted and value.constant is None:
        return None
    if wanted == INTERVAL and value.constant is not None:
        return None  # a literal is written as one
    if matches(value.dtype, dtype):
        return 0
    if dtype == "DOUBLE" and signature.name in _WITHOUT_CASTS and value.dtype not in number_types.BITS:
        return None
    return number_types.distance(value, dtype)


def matches(dtype: str, wanted: str) -> bool:
    """Return whether a type is one that a signature names."""
    shape = parse(dtype)
    if wanted == "DECIMAL":
        return shape.name == "DECIMAL"
    if wanted == "T[]":
        return shape.name == "LIST"
    return dtype == wanted


def _converted(value: Translated, wanted: str) -> Translated:
    dtype = wanted.removesuffix(f" {CONSTANT}")
    if matches(value.dtype, dtype):
        return value
    return Translated(casts.implicit(value, dtype), dtype, value.constant)
