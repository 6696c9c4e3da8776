"""How a stored table is computed, kept for as long as it is stored: the step that built it, and the sources of then."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from featdsl.definitions import Column, FunctionDefinition, SourceDefinition
from featdsl.instants import Clock
from featdsl.names import EVENT_TIMESTAMP, SOURCE_SCHEMA, SOURCE_TIMESTAMP, UNTIL, quote
from featdsl.plan import BuildTable

if TYPE_CHECKING:
    from pydantic import TypeAdapter


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The step that builds a table, and the sources that it reads, each after those that it is made of."""

    build: BuildTable
    sources: tuple[SourceDefinition, ...]

    @property
    def source(self) -> SourceDefinition:
        """The source that the table is computed from."""
        return self.sources[-1]

    @property
    def functions(self) -> list[FunctionDefinition]:
        """The Python functions that it calls."""
        return [
            *(use.function for use in self.build.functions),
            *(each.function for each in self.sources if each.function),
        ]

    @property
    def clock(self) -> Clock:
        """How fine the times of the table are."""
        return "TIMESTAMP_NS" if self._dtypes.get(EVENT_TIMESTAMP) == "TIMESTAMP_NS" else "TIMESTAMP"

    @property
    def in_parts(self) -> bool:
        """Whether the rows from a time on can be computed without those before it."""
        return self.build.timed and self.build.sql.count(_from(self.build.source)) == 1

    @property
    def _dtypes(self) -> dict[str, str]:
        return {column.name: column.dtype for column in self.build.columns}

    @property
    def _keys(self) -> list[tuple[str, str]]:
        """The keys of the table, with what they are in the source."""
        pairs = zip(self.build.keys, self.build.source_keys, strict=True)
        return [(quote(key), f"CAST({quote(column)} AS {self._dtypes[key]})") for key, column in pairs]

    @property
    def times(self) -> list[str]:
        """The expressions, over the source, of when a row became true, and when it became known where that is told."""
        return [self.source.instant(name, self.clock) for name in self.source.times]

    @property
    def known(self) -> str:
        """The expression, over the source, of a row's event timestamp."""
        return f"greatest({', '.join(self.times)})" if len(self.times) > 1 else self.times[0]

    def time(self, text: str) -> str:
        """Return a time as SQL, in the table's clock."""
        return f"{self.clock} '{text}'"

    def sql(self, since: str | None = None, upto: str | None = None) -> str:
        """Return the query of the table's rows, or of those from a time on and before another.

        From a time on, what it needs of the rows before then is read from the table itself.
        """
        if since is None and upto is None:
            return self.build.sql
        some = self.build.sql.replace(_from(self.build.source), f"FROM {self._rows(since, upto)}")
        return self._with_totals(some, since) if since is not None and self._totals else some

    def _rows(self, since: str | None, upto: str | None) -> str:
        """Return the relation of the source's rows that count for the table's rows from a time on and before another."""
        source = f"{SOURCE_SCHEMA}.{quote(self.build.source)}"
        bounds = [f"{self.known} >= {self.time(since)}"] if since is not None else []
        bounds += [f"{self.known} < {self.time(upto)}"] if upto is not None else []
        alias = quote(self.build.source)
        if since is None or not {SOURCE_TIMESTAMP, UNTIL} <= self._dtypes.keys():
            return f"(SELECT * FROM {source} WHERE {' AND '.join(bounds)}) AS {alias}"
        # A row counts that becomes known now, unless a later one was known before. One as late does not stand against it:
        # it became known earlier, and the row that became known last wins.
        names = [quote(f"#key {number}") for number in range(len(self._keys))]
        last = "".join(f"{key} AS {name}, " for (key, _), name in zip(self._keys, names, strict=True))
        answers = (
            f'SELECT {last}arg_max({SOURCE_TIMESTAMP}, {EVENT_TIMESTAMP}) AS "#last" FROM tables.{quote(self.build.table)} '
            f"WHERE {EVENT_TIMESTAMP} < {self.time(since)} GROUP BY ALL HAVING count(*) > 0"
        )
        own = [f"{expression} AS {quote(f'#own {number}')}" for number, (_, expression) in enumerate(self._keys)]
        listed = ", ".join(["*", *own, f'{self.times[0]} AS "#time"'])
        hidden = ", ".join([*(quote(f"#own {number}") for number in range(len(own))), '"#time"'])
        same = " AND ".join(f"{quote(f'#own {n}')} = {name}" for n, name in enumerate(names)) or "true"
        outside = f", {', '.join(names)}" if names else ""
        return (
            f'(SELECT * EXCLUDE ({hidden}, "#last"{outside}) '
            f"FROM (SELECT {listed} FROM {source} WHERE {' AND '.join(bounds)}) "
            f'LEFT JOIN ({answers}) ON {same} WHERE "#last" IS NULL OR "#time" >= "#last") AS {alias}'
        )

    @property
    def _totals(self) -> list[Column]:
        """The columns of running totals."""
        return [column for column in self.build.columns if column.name.startswith(("#count", "#sum"))]

    def _with_totals(self, sql: str, since: str) -> str:
        """Return a query of later rows whose running totals go on from those of the rows before."""
        keys = [quote(key) for key in self.build.keys]
        before = [f"arg_max({quote(each.name)}, {EVENT_TIMESTAMP}) AS {quote(each.name)}" for each in self._totals]
        last = (
            f"SELECT {', '.join([*keys, *before])} FROM tables.{quote(self.build.table)} "
            f"WHERE {EVENT_TIMESTAMP} < {self.time(since)} GROUP BY ALL HAVING count(*) > 0"
        )
        listed = [
            f"CAST(coalesce(last.{name} + own.{name}, last.{name}, own.{name}) AS {each.dtype}) AS {name}"
            if each in self._totals
            else f"own.{name}"
            for each in self.build.columns
            for name in [quote(each.name)]
        ]
        same = " AND ".join(f"last.{key} = own.{key}" for key in keys) or "true"
        order = ", ".join(f"own.{key}" for key in [*keys, self._own_time])
        return f"SELECT {', '.join(listed)}\nFROM (\n{sql}\n) AS own\nLEFT JOIN ({last}) AS last ON {same}\nORDER BY {order}"

    @property
    def _own_time(self) -> str:
        return SOURCE_TIMESTAMP if SOURCE_TIMESTAMP in self._dtypes else EVENT_TIMESTAMP

    @property
    def lookback(self) -> int:
        """How many seconds late a row may come."""
        return self.source.lookback or 0


def to_json(recipe: Recipe) -> str:
    """Return a recipe as text."""
    return str(_adapter().dump_json(recipe).decode())


def from_json(text: str) -> Recipe:
    """Return the recipe of a text."""
    found: Recipe = _adapter().validate_json(text)
    return found


@cache
def _adapter() -> TypeAdapter[Any]:
    from pydantic import TypeAdapter

    return TypeAdapter(Recipe)


def _from(source: str) -> str:
    return f"FROM {SOURCE_SCHEMA}.{quote(source)}"


def closure(source: str, known: Mapping[str, SourceDefinition]) -> tuple[SourceDefinition, ...]:
    """Return a source after all that it is made of."""
    found: dict[str, SourceDefinition] = {}

    def add(name: str) -> None:
        for upstream in known[name].inputs:
            add(upstream)
        found.setdefault(name, known[name])

    add(source)
    return tuple(found.values())
