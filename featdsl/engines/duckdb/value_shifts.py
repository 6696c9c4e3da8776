"""Measure how the values of a feature shift, with two columns of the same rows in DuckDB."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from featdsl.definitions import stability
from featdsl.definitions.dtypes import family
from featdsl.definitions.names import EVENT_TIMESTAMP, literal, quote
from featdsl.definitions.value_shifts import LARGE, MODERATE, QUANTILES, Example, Flag, Share, Shift, ValueSummary
from featdsl.engines.comparisons import Pair
from featdsl.engines.session import EngineError

if TYPE_CHECKING:
    from featdsl.engines.session import Session

_DECILES = tuple(tenth / 10 for tenth in range(1, 10))
_CATEGORIES = 20
_SHOWN = 6
_MORE_NULLS = 0.01
"""The rise in the share of NULLs that is flagged."""
_EXAMPLES = 3
_LONGEST = 80
_TOLERANCE = 1e-9
"""The relative difference below which two sums of floats are equal."""
_AT, _PAIR = '"#at"', '"#pair"'
_NUMBERS = frozenset({"integer", "decimal", "real"})


@dataclass(frozen=True, kw_only=True)
class ComparedRows:
    """A relation of the rows to compare, with its keys. It has rows of `entities` out of `of` entities.

    `timed` says that it has event times. `note` names limits of the comparison.
    """

    relation: str
    keys: tuple[str, ...]
    timed: bool
    entities: int
    of: int
    note: str = ""


def compare(
    session: Session, rows: ComparedRows, columns: tuple[str, str], pair: Pair, places: int | None = None
) -> Shift:
    """Return how the values of the second column differ from the first. NaN equals NaN, and -0 equals 0.

    Floats are compared exactly. With `places`, they are equal if they differ by a billionth or less, or only beyond
    that many decimal places.
    """
    old, new = pair
    before = _Column(rows.relation, quote(columns[0]), old.dtype, places)
    after = _Column(rows.relation, quote(columns[1]), new.dtype, places)
    changed = _changed(session, before, after)
    query = f"SELECT count(*), count(*) FILTER (WHERE {changed}) FROM {rows.relation}"
    total, differing = _one(session, query)
    was, now = _summary(session, before), _summary(session, after)
    psi = _psi(session, before, after, total)
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
        examples=_examples(session, rows, (before, after), changed),
        shares=_category_shares(session, before, after) if differing else (),
        note=rows.note,
    )


def decimal_places(session: Session, relation: str, columns: tuple[str, str], pair: Pair) -> int | None:
    """Return the number of significant decimal places of two columns of sums, or None if the columns are not floats.

    The order of adding decides the last digits of a sum of floats, so only twelve digits of a value of average size count.
    """
    if {family(each.dtype) for each in pair} != {"real"}:
        return None
    means = [f"favg(abs({quote(each)})) FILTER (WHERE isfinite({quote(each)}))" for each in columns]
    size = max((each or 0.0 for each in _one(session, f"SELECT {', '.join(means)} FROM {relation}")), default=0.0)
    return 12 - round(math.log10(size)) if size and math.isfinite(size) else 12


@dataclass(frozen=True)
class _Column:
    """One of the two columns. Of sums of floats only `places` decimal places count."""

    relation: str
    column: str
    dtype: str
    places: int | None = None

    @property
    def value(self) -> str:
        """The SQL of its value, without the digits that depend on the order of adding."""
        # Adding 0 turns -0 into 0.
        return self.column if self.places is None else f"(round({self.column}, {self.places}) + 0.0)"

    @property
    def number(self) -> str:
        """The SQL of its value as a DOUBLE; empty if the values are neither numbers nor times."""
        if self.places is not None:
            return f"coalesce(CAST(TRY_CAST({self.value} AS FLOAT) AS DOUBLE), {self.column})"
        if family(self.dtype) in _NUMBERS:
            return f"CAST({self.column} AS DOUBLE)"
        return f"epoch({self.column})" if family(self.dtype) == "instant" else ""

    @property
    def text(self) -> str:
        """The SQL of its value as text."""
        return f"CAST({self.column} AS VARCHAR)" if self.places is None else f"format('{{:.12g}}', {self.value})"


def _changed(session: Session, before: _Column, after: _Column) -> str:
    """Return the condition that two values differ, in the new type if the type changes too."""
    kinds = {family(before.dtype), family(after.dtype)}
    if before.places is not None:
        one, other = before.value, after.value
        near = f"abs({one} - {other}) <= {_TOLERANCE} * greatest(abs({one}), abs({other}))"
        same = f"isfinite({one}) AND isfinite({other}) AND {near}"
        return f"({one} IS DISTINCT FROM {other} AND NOT coalesce({same}, false))"
    if len(kinds) == 1 or kinds <= _NUMBERS:
        return f"{before.column} IS DISTINCT FROM {after.column}"
    try:
        session.rows(f"SELECT TRY_CAST(NULL::{before.dtype} AS {after.dtype})")
    except EngineError:
        return f"NOT ({before.column} IS NULL AND {after.column} IS NULL)"
    same = f"TRY_CAST({before.column} AS {after.dtype}) IS DISTINCT FROM {after.column}"
    return f"(({before.column} IS NULL) <> ({after.column} IS NULL) OR {same})"


def _summary(session: Session, side: _Column) -> ValueSummary:
    """Return the statistics of a column."""
    nulls = f"count(*) - count({side.column})"
    if family(side.dtype) in _NUMBERS:
        # favg compensates rounding, so the order of adding hardly changes its result.
        finite = f"FILTER (WHERE isfinite({side.number}))"
        figures = f"favg({side.number}) {finite}, quantile_disc({side.number}, {list(QUANTILES)}) {finite}"
        missing, mean, quantiles = _one(session, f"SELECT {nulls}, {figures} FROM {side.relation}")
        low, middle, high = (
            _rounded(each, 7 if side.places is not None else 9) for each in quantiles or (None, None, None)
        )
        rounded = None if low is None or middle is None or high is None else (low, middle, high)
        return ValueSummary(nulls=missing, mean=_rounded(mean), quantiles=rounded)
    distinct = f"count(DISTINCT CAST({side.column} AS VARCHAR))"
    mean = f"favg(CAST({side.column} AS DOUBLE))" if side.dtype == "BOOLEAN" else "NULL"
    missing, values, share = _one(session, f"SELECT {nulls}, {distinct}, {mean} FROM {side.relation}")
    return ValueSummary(nulls=missing, mean=_rounded(share), distinct=values)


def _one(session: Session, query: str) -> tuple[Any, ...]:
    return session.rows(query)[0]


def _rounded(value: float | None, digits: int = 9) -> float | None:
    """Return a number without its last bits, which depend on the order of adding. -0 becomes 0."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.{digits}g}") + 0.0


def _category_shares(session: Session, before: _Column, after: _Column) -> tuple[Share, ...]:
    """Return the rows of each of the most frequent categories before and after, and of all others together."""
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
    counts = session.rows(f"SELECT * FROM ({counted}) ORDER BY greatest(was, now) DESC, value")
    shown = [Share(value=_short(value), before=int(was), after=int(now)) for value, was, now in counts[:_SHOWN]]
    rest = [int(sum(row[side] for row in counts[_SHOWN:])) for side in (1, 2)]
    return (*shown, *([Share(value=None, before=rest[0], after=rest[1])] if any(rest) else []))


# Population stability


def _psi(session: Session, before: _Column, after: _Column, total: int) -> float | None:
    """Return the population stability index of the new values against the old ones.

    Bins are the deciles of the old numbers or times, or the most
    frequent of other old values and the rest. NULL is a bin of its own.
    """
    if not total or bool(before.number) != bool(after.number):
        return None
    bins = _deciles(session, before) if before.number else _top(session, before)
    was, now = (_counts(session, side, bins) for side in (before, after))
    return float(f"{stability.index(was, now):.6g}")


def _deciles(session: Session, side: _Column) -> list[str]:
    """Return the upper ends of the bins of numbers, as SQL. NaN and infinity lie above all of them."""
    deciles = f"quantile_disc({side.number}, {list(_DECILES)}) FILTER (WHERE isfinite({side.number}))"
    (ends,) = _one(session, f"SELECT {deciles} FROM {side.relation}")
    return [f"'{each!r}'::DOUBLE" for each in sorted(set(ends or ()))]


def _top(session: Session, side: _Column) -> list[str]:
    """Return the most frequent values, as SQL."""
    text = f"CAST({side.column} AS VARCHAR)"
    grouped = f"SELECT {text} AS value FROM {side.relation} WHERE {side.column} IS NOT NULL GROUP BY ALL"
    values = session.rows(f"{grouped} ORDER BY count(*) DESC, value LIMIT {_CATEGORIES}")
    return [literal(value) for (value,) in values]


def _counts(session: Session, side: _Column, bins: Sequence[str]) -> dict[str, int]:
    """Return the number of values of each bin, by the number of the bin. The last bin has the values of no other."""
    value, sign = (side.number, "<=") if side.number else (f"CAST({side.column} AS VARCHAR)", "=")
    cases = [f"WHEN {value} {sign} {end} THEN {number}" for number, end in enumerate(bins)]
    place = f"CASE WHEN {side.column} IS NULL THEN -1 {' '.join(cases)} ELSE {len(bins)} END"
    counts = session.rows(f"SELECT {place} AS bin, count(*) FROM {side.relation} GROUP BY ALL")
    return {str(number): count for number, count in counts}


def _flags(was: ValueSummary, now: ValueSummary, psi: float | None, total: int) -> Iterator[Flag]:
    if psi is not None and psi >= MODERATE:
        code: Literal["large shift", "moderate shift"] = "large shift" if psi >= LARGE else "moderate shift"
        yield Flag(code=code, reason=f"PSI {psi:.2f} is {LARGE if psi >= LARGE else MODERATE} or more")
    if total and (now.nulls - was.nulls) / total >= _MORE_NULLS:
        yield Flag(code="more nulls", reason=_more_nulls(now.nulls - was.nulls, total))


def _more_nulls(more: int, total: int) -> str:
    return f"{more:,} more {'row' if more == 1 else 'rows'} of {total:,} {'is' if more == 1 else 'are'} NULL"


# Examples


def _examples(
    session: Session, rows: ComparedRows, sides: tuple[_Column, _Column], changed: str
) -> tuple[Example, ...]:
    """Return the newest change of each of the first entities with a change."""
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
    changes = session.rows(f"SELECT {texts}, {_PAIR} FROM ({query}) {order} LIMIT {_EXAMPLES}")
    return tuple(
        Example(
            keys=tuple(zip(rows.keys, map(_short, values), strict=True)),
            time=at,
            before=pair["before"] and _short(pair["before"]),
            after=pair["after"] and _short(pair["after"]),
        )
        for *values, at, pair in changes
    )


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
