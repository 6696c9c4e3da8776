"""What translating an expression takes and returns: the columns in scope, and a value of Spark with its DuckDB type."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from featdsl.definitions.dtypes import parse
from featdsl.definitions.plain_types import plain_type
from featdsl.definitions.sources import Column
from featdsl.engines import UnprovedError
from featdsl.engines.spark.sql_text import quote

NULL = '"NULL"'
"""The type of NULL, as DuckDB writes it."""


class Unproved(UnprovedError):
    """SQL that is not known to have the same values on Spark. Its text is a clause: `strptime(VARCHAR, VARCHAR) is not proved on Spark`."""


@dataclass(frozen=True)
class Translated:
    """An expression in Spark's SQL with the DuckDB type of its values, which are in the plain type of that type.

    `constant` is the text of a literal. A literal without a cast takes the type of what it is combined with.
    """

    sql: str
    dtype: str
    constant: str | None = None


Handler = Callable[[Any, "Scope"], Translated]
"""Translates a node of one class of sqlglot in a scope. Raises Unproved."""


@dataclass(frozen=True)
class ColumnScope:
    """The columns that an expression may read, by the parts of their names in lower case: `("a",)`, or `("t", "a")`.

    `handlers` translate the classes of nodes that they name, before all others: aggregates, or columns of another kind.
    """

    columns: Mapping[tuple[str, ...], Translated]
    handlers: Mapping[type, Handler] = field(default_factory=dict)

    @classmethod
    def of(cls, columns: Sequence[Column], handlers: Mapping[type, Handler] | None = None) -> ColumnScope:
        """Return the scope of columns that are referred to by their name alone."""
        named: dict[tuple[str, ...], Translated] = {
            (column.name.lower(),): Translated(quote(column.name), column.dtype) for column in columns
        }
        return cls(named, handlers or {})

    def column(self, parts: Sequence[str]) -> Translated:
        """Return a column, or the field of a struct in it, by its written name: `a`, `a.field`, `t.a.field`. Raises Unproved."""
        names = tuple(part.lower() for part in parts)
        for length in range(len(names), 0, -1):
            value = self.columns.get(names[:length])
            if value is not None:
                if plain_type(value.dtype) is None:
                    raise unproved(f"a column of type {value.dtype}")
                for name in parts[length:]:
                    value = struct_field(value, name)
                return value
        raise Unproved(f"the column {'.'.join(parts)} is unknown")


Scope = ColumnScope
"""The short name of a scope."""


def struct_field(value: Translated, name: str) -> Translated:
    """Return a field of a struct; names match in any letter case. Raises Unproved."""
    shape = parse(value.dtype)
    if shape.name == "STRUCT":
        for written, each in shape.of:
            plain = written[1:-1].replace('""', '"') if written.startswith('"') else written
            if plain.lower() == name.lower():
                return Translated(f"{value.sql}.{quote(plain)}", str(each))
    raise unproved(f"the field {name} of {value.dtype}")


def unproved(what: str) -> Unproved:
    """Return the refusal of one thing: a function with the types of its arguments, an operator, a cast, a type."""
    return Unproved(f"{what} is not proved on Spark")
