"""How far the values of a feature move: two columns of the same rows, compared by DuckDB."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from featdsl.definitions import FeatureDefinition
from featdsl.dtypes import family
from featdsl.names import EVENT_TIMESTAMP, literal, quote

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

QUANTILES = (0.05, 0.5, 0.95)
"""The quantiles that are told: each the least value with so large a share of the values at or below it."""
MODERATE, LARGE = 0.1, 0.25
"""From these PSI on a shift is worth a look, or a population is no longer what a model was trained on."""

_DECILES = tuple(tenth / 10 for tenth in range(1, 10))
_CATEGORIES = 20
_SHOWN = 6
_EMPTY = 1e-4  # the share that an empty bin counts as, for the logarithm's sake
_MORE_NULLS = 0.01
_EXAMPLES = 3
_LONGEST = 80
_BILLIONTH = 1e-9
_AT, _PAIR = '"#at"', '"#pair"'
_NUMBERS = frozenset({"integer", "decimal", "real"})


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What one column holds: NULLs, the mean and quantiles of finite numbers, how many values there are of the rest.

    The mean of a BOOLEAN is the share that is true.
    """

    nulls: int
    mean: float | None = None
    quantiles: tuple[float, float, float] | None = None
    distinct: int | None = None


@dataclass(frozen=True, kw_only=True)
class Flag:
    """What a reviewer should look at, and why."""

    code: Literal["large shift", "moderate shift", "more nulls"]
    reason: str


@dataclass(frozen=True, kw_only=True)
class Example:
    """A value that changes, as text: of which keys, at which time, from what to what; None is NULL."""

    keys: tuple[tuple[str, str], ...]
    time: str | None
    before: str | None
    after: str | None


@dataclass(frozen=True, kw_only=True)
class Share:
    """A category, how many rows had it, and how many have it; the value is text, None for all that is not listed."""

    value: str | None
    before: int
    after: int


@dataclass(frozen=True, kw_only=True)
class Shift:
    """How the values of a feature move: `changed` of `rows`, looked at for `entities` of the `of` that there are.

    `shares` are those of the most frequent categories of a text or a BOOLEAN that changes. `psi` is None where there is
    nothing to compare; `note` says what the comparison had to do without.
    """

    result: Literal["shift"] = "shift"
    feature: str
    owner: str
    entities: int
    of: int
    rows: int
    changed: int
    before: Summary
    after: Summary
    psi: float | None
    flags: tuple[Flag, ...]
    examples: tuple[Example, ...]
    shares: tuple[Share, ...] = ()
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class NotCompared:
    """A feature whose definition changes and whose values could not be compared, and why."""

    result: Literal["not compared"] = "not compared"
    feature: str
    owner: str
    why: str


Compared = Annotated[Shift | NotCompared, Field(discriminator="result")]
"""What comparing a feature came to."""


@dataclass(frozen=True, kw_only=True)
class Rows:
    """A relation of the rows to compare: its keys, whether it has times, and how many entities it looks at, of all."""

    relation: str
    keys: tuple[str, ...]
    timed: bool
    entities: int
    of: int


def compare(  # noqa: PLR0913 - a column and its definition for each side
    connection: DuckDBPyConnection,
    rows: Rows,
    columns: tuple[str, str],
    old: FeatureDefinition,
    new: FeatureDefinition,
    *,
    summed: bool = False,
    note: str = "",
) -> Shift:
    """Return how the values of the second column differ from those of the first. NaN equals NaN, and -0 equals 0.

    Floats are compared exactly, unless they were `summed` up in windows: the last bits of these depend on the order of
    adding, and are another time otherwise. There what differs by a billionth, or by less than any digit that counts in
    such a column, is the same.
    """
    summed = summed and family(old.dtype) == family(new.dtype) == "real"
    places = _places(connection, rows.relation, columns) if summed else None
    before = _Side(rows.relation, quote(columns[0]), old.dtype, places)
    after = _Side(rows.relation, quote(columns[1]), new.dtype, places)
    changed = _changed(connection, before, after)
    query = f"SELECT count(*), count(*) FILTER (WHERE {changed}) FROM {rows.relation}"
    total, differing = connection.execute(query).fetchall()[0]
    was, now = _summary(connection, before), _summary(connection, after)
    psi = _psi(connection, before, after, total)
    return Shift(
        feature=new.address,
        owner=new.owner,
        entities=rows.entities,
        of=rows.of,
        rows=total,
        changed=differing,
        before=was,
        after=now,
        psi=psi,
        flags=tuple(_flags(was, now, psi, total)),
        examples=_examples(connection, rows, (before, after), changed),
        shares=_category_shares(connection, before, after) if differing else (),
        note=note,
    )


@dataclass(frozen=True)
class _Side:
    """One of the two columns. Of floats that were summed up, so many decimal `places` count."""

    relation: str
    column: str
    dtype: str
    places: int | None = None

    @property
    def value(self) -> str:
        """The SQL of its value, without what adding in another order would change."""
        return self.column if self.places is None else f"(round({self.column}, {self.places}) + 0.0)"  # never -0

    @property
    def number(self) -> str:
        """The SQL of its value as a DOUBLE, or nothing where values lie on no scale."""
        if self.places is not None:
            return f"coalesce(CAST(TRY_CAST({self.value} AS FLOAT) AS DOUBLE), {self.column})"
        if family(self.dtype) in _NUMBERS:
            return f"CAST({self.column} AS DOUBLE)"
        return f"epoch({self.column})" if family(self.dtype) == "instant" else ""

    @property
    def text(self) -> str:
        """The SQL of its value as text."""
        return f"CAST({self.column} AS VARCHAR)" if self.places is None else f"format('{{:.12g}}', {self.value})"


def _places(connection: DuckDBPyConnection, relation: str, columns: Sequence[str]) -> int:
    """Return how many decimal places of floats count: twelve digits of a number of the usual size in these columns."""
    means = [f"favg(abs({quote(each)})) FILTER (WHERE isfinite({quote(each)}))" for each in columns]
    size = max((each or 0.0 for each in _one(connection, f"SELECT {', '.join(means)} FROM {relation}")), default=0.0)
    return 12 - round(math.log10(size)) if size and math.isfinite(size) else 12


def _changed(connection: DuckDBPyConnection, before: _Side, after: _Side) -> str:
    """Return the condition that a value is another one: in the new type, where the type changes too."""
    kinds = {family(before.dtype), family(after.dtype)}
    if before.places is not None:
        one, other = before.value, after.value
        near = f"abs({one} - {other}) <= {_BILLIONTH} * greatest(abs({one}), abs({other}))"
        same = f"isfinite({one}) AND isfinite({other}) AND {near}"
        return f"({one} IS DISTINCT FROM {other} AND NOT coalesce({same}, false))"
    if len(kinds) == 1 or kinds <= _NUMBERS:
        return f"{before.column} IS DISTINCT FROM {after.column}"
    import duckdb

    try:
        connection.execute(f"SELECT TRY_CAST(NULL::{before.dtype} AS {after.dtype})")
    except duckdb.Error:
        return f"NOT ({before.column} IS NULL AND {after.column} IS NULL)"
    same = f"TRY_CAST({before.column} AS {after.dtype}) IS DISTINCT FROM {after.column}"
    return f"(({before.column} IS NULL) <> ({after.column} IS NULL) OR {same})"


def _summary(connection: DuckDBPyConnection, side: _Side) -> Summary:
    nulls = f"count(*) - count({side.column})"
    if family(side.dtype) in _NUMBERS:
        # favg, because the order in which it adds hardly shows in its result.
        finite = f"FILTER (WHERE isfinite({side.number}))"
        found = f"favg({side.number}) {finite}, quantile_disc({side.number}, {list(QUANTILES)}) {finite}"
        missing, mean, quantiles = _one(connection, f"SELECT {nulls}, {found} FROM {side.relation}")
        low, middle, high = (
            _rounded(each, 7 if side.places is not None else 9) for each in quantiles or (None, None, None)
        )
        told = None if low is None or middle is None or high is None else (low, middle, high)
        return Summary(nulls=missing, mean=_rounded(mean), quantiles=told)
    distinct = f"count(DISTINCT CAST({side.column} AS VARCHAR))"
    mean = f"favg(CAST({side.column} AS DOUBLE))" if side.dtype == "BOOLEAN" else "NULL"
    missing, values, share = _one(connection, f"SELECT {nulls}, {distinct}, {mean} FROM {side.relation}")
    return Summary(nulls=missing, mean=_rounded(share), distinct=values)


def _one(connection: DuckDBPyConnection, query: str) -> tuple[Any, ...]:
    return connection.execute(query).fetchall()[0]


def _rounded(value: float | None, digits: int = 9) -> float | None:
    """Return a number without its last bits, which the order of adding decides."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.{digits}g}") + 0.0  # no -0


def _category_shares(connection: DuckDBPyConnection, before: _Side, after: _Side) -> tuple[Share, ...]:
    """Return how often each of the most frequent categories came before and after, and all others together."""
    if not all(each.dtype == "BOOLEAN" or family(each.dtype) == "text" for each in (before, after)):
        return ()
    sides = [
        f"SELECT CAST({each.column} AS VARCHAR) AS value, {was} AS was, {now} AS now FROM {each.relation}"
        for each, was, now in ((before, 1, 0), (after, 0, 1))
    ]
    counted = (
        f"SELECT value, sum(was) AS was, sum(now) AS now FROM ({' UNION ALL '.join(sides)})"
        " WHERE value IS NOT NULL GROUP BY value"
    )
    found = connection.execute(f"SELECT * FROM ({counted}) ORDER BY greatest(was, now) DESC, value").fetchall()
    shown = [Share(value=_short(value), before=int(was), after=int(now)) for value, was, now in found[:_SHOWN]]
    rest = [int(sum(row[side] for row in found[_SHOWN:])) for side in (1, 2)]
    return (*shown, *([Share(value=None, before=rest[0], after=rest[1])] if any(rest) else []))


# Population stability


def _psi(connection: DuckDBPyConnection, before: _Side, after: _Side, total: int) -> float | None:
    """Return the population stability index of the new values against the old ones.

    The sum over bins of (new share - old share) * ln(new share / old share), after N. Siddiqi, Credit Risk Scorecards
    (Wiley, 2006), who also gives the limits 0.1 and 0.25. Bins are the deciles of the old numbers or times; the
    most frequent of other old values, and the rest. NULL is a bin of its own.
    """
    if not total or bool(before.number) != bool(after.number):
        return None
    bins = _deciles(connection, before) if before.number else _top(connection, before)
    was, now = (_counts(connection, side, bins) for side in (before, after))
    return float(f"{index(was, now):.6g}")


def index(was: Mapping[str, int], now: Mapping[str, int]) -> float:
    """Return the population stability index of counts by bin; no share counts as less than 0.0001."""
    old, new = (
        {name: max(counts.get(name, 0) / sum(counts.values()), _EMPTY) for name in was.keys() | now.keys()}
        for counts in (was, now)
    )
    return math.fsum((new[name] - old[name]) * math.log(new[name] / old[name]) for name in old)


def _deciles(connection: DuckDBPyConnection, side: _Side) -> list[str]:
    """Return the upper ends of the bins of numbers, as SQL; NaN and infinity lie above them all."""
    deciles = f"quantile_disc({side.number}, {list(_DECILES)}) FILTER (WHERE isfinite({side.number}))"
    (found,) = _one(connection, f"SELECT {deciles} FROM {side.relation}")
    return [f"'{each!r}'::DOUBLE" for each in sorted(set(found or ()))]


def _top(connection: DuckDBPyConnection, side: _Side) -> list[str]:
    """Return the most frequent values, as SQL."""
    text = f"CAST({side.column} AS VARCHAR)"
    grouped = f"SELECT {text} AS value FROM {side.relation} WHERE {side.column} IS NOT NULL GROUP BY ALL"
    found = connection.execute(f"{grouped} ORDER BY count(*) DESC, value LIMIT {_CATEGORIES}").fetchall()
    return [literal(value) for (value,) in found]


def _counts(connection: DuckDBPyConnection, side: _Side, bins: Sequence[str]) -> dict[str, int]:
    """Return how many values lie in each bin, by its number; those of no bin are in the last one."""
    value, sign = (side.number, "<=") if side.number else (f"CAST({side.column} AS VARCHAR)", "=")
    cases = [f"WHEN {value} {sign} {end} THEN {number}" for number, end in enumerate(bins)]
    place = f"CASE WHEN {side.column} IS NULL THEN -1 {' '.join(cases)} ELSE {len(bins)} END"
    found = connection.execute(f"SELECT {place} AS bin, count(*) FROM {side.relation} GROUP BY ALL").fetchall()
    return {str(number): count for number, count in found}


def _flags(was: Summary, now: Summary, psi: float | None, total: int) -> Iterator[Flag]:
    if psi is not None and psi >= MODERATE:
        code: Literal["large shift", "moderate shift"] = "large shift" if psi >= LARGE else "moderate shift"
        yield Flag(code=code, reason=f"PSI {psi:.2f} is {LARGE if psi >= LARGE else MODERATE} or more")
    if total and (now.nulls - was.nulls) / total >= _MORE_NULLS:
        yield Flag(code="more nulls", reason=_more_nulls(now.nulls - was.nulls, total))


def _more_nulls(more: int, total: int) -> str:
    return f"{more:,} more {'row' if more == 1 else 'rows'} of {total:,} {'is' if more == 1 else 'are'} NULL"


# Examples


def _examples(
    connection: DuckDBPyConnection, rows: Rows, sides: tuple[_Side, _Side], changed: str
) -> tuple[Example, ...]:
    """Return the newest value that changes of each of the first entities that have one."""
    keys = [quote(key) for key in rows.keys]
    listed = "".join(f"{key}, " for key in keys)
    before, after = (side.text for side in sides)
    pair = f"{{'before': {before}, 'after': {after}}}"
    query = f"SELECT {listed}NULL AS {_AT}, {pair} AS {_PAIR} FROM {rows.relation} WHERE {changed}"
    if rows.timed:
        newest = f"max({EVENT_TIMESTAMP}) AS {_AT}, arg_max({pair}, {EVENT_TIMESTAMP}) AS {_PAIR}"
        grouped = f"GROUP BY {', '.join(keys) or '()'} HAVING count(*) > 0"
        query = f"SELECT {listed}{newest} FROM {rows.relation} WHERE {changed} {grouped}"
    texts = ", ".join(f"CAST({column} AS VARCHAR)" for column in [*keys, _AT])
    order = f"ORDER BY {', '.join(keys)}" if keys else ""
    found = connection.execute(f"SELECT {texts}, {_PAIR} FROM ({query}) {order} LIMIT {_EXAMPLES}").fetchall()
    return tuple(
        Example(
            keys=tuple(zip(rows.keys, map(_short, values), strict=True)),
            time=at,
            before=pair["before"] and _short(pair["before"]),
            after=pair["after"] and _short(pair["after"]),
        )
        for *values, at, pair in found
    )


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
