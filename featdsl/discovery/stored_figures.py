"""Figures of stored values: those that the last run has kept, or those that the table gives now."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from featdsl.definitions.dtypes import family
from featdsl.definitions.kinds import FeatureDefinition
from featdsl.definitions.names import EVENT_TIMESTAMP, quote
from featdsl.definitions.snapshot import Snapshot
from featdsl.definitions.statistics import QUANTILE_LEVELS, ColumnStatistics, TableStatistics
from featdsl.definitions.table_spec import TableSpec
from featdsl.engines.reading import Reader
from featdsl.engines.session import Session

Opening = Callable[[set[str]], Reader]
"""Open stored tables and return a reader of their values."""

_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
"""The quantiles that are shown as samples of numbers and times."""
_FEW = 10
"""With at most this many distinct values, samples are the most frequent ones, also of numbers."""
_MEASURED = 10_000
"""The maximum number of event times for which the values of a window are computed."""
_LONGEST = 80
"""A kept text as long as this may have been cut."""
_NUMBERS: Mapping[str, Callable[[str], Any]] = {"integer": int, "decimal": Decimal, "real": float}


@dataclass(frozen=True)
class StoredFigures:
    """Figures of the tables of a state: from the statistics of runs where these tell the same as the table, else from the table.

    A table is opened in any case, so that one that is lost or damaged is told.
    """

    snapshot: Snapshot
    opening: Opening
    statistics: Callable[[Iterable[str]], Mapping[str, Sequence[TableStatistics]]]

    def of_feature(self, feature: FeatureDefinition) -> dict[str, Any]:
        """Return the newest event time, the share of NULLs and sample values of a feature with a table."""
        reader = self.opening({feature.table})
        run = self._newest_run(feature.table)
        column = run.columns.get(feature.name) if run else None
        if run is None or column is None or column.fingerprint != feature.fingerprint or column.problem:
            return _now(feature, reader)
        samples = _kept_samples(column)
        if samples is None:
            samples = _typical(reader.session, _sampled(feature, reader), feature.dtype)
        return {**self._newest_of([feature], reader), "null_share": column.null_share, "samples": samples}

    def newest(self, features: Sequence[FeatureDefinition]) -> dict[str, Any]:
        """Return the newest event time of the table that these features are in."""
        return self._newest_of(features, self.opening({features[0].table}))

    def _newest_of(self, features: Sequence[FeatureDefinition], reader: Reader) -> dict[str, Any]:
        table = TableSpec.of(features)
        if not table.timed:
            return {"newest": None}
        run = self._newest_run(table.name)
        kept = _time(run.newest) if run and run.newest else None
        return {"newest": kept} if kept else _newest(table, reader.session)

    def _newest_run(self, table: str) -> TableStatistics | None:
        """Return the statistics of the run that last wrote a table, if that run has measured it."""
        written = self.snapshot.tables[table].written
        runs = self.statistics([table]).get(table, ())
        return runs[0] if runs and written and runs[0].serial == written[-1].serial else None


def _time(text: str) -> datetime | None:
    """Return a time; None if Python has no such time."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def _kept_samples(column: ColumnStatistics) -> list[Any] | None:
    """Return the sample values that statistics tell as the table would, else None."""
    convert = _NUMBERS.get(family(column.dtype), str)
    if family(column.dtype) in _NUMBERS:
        if column.top and len(column.top) <= _FEW:
            frequent = sorted((-each.rows, convert(each.value)) for each in column.top)
            return [value for _, value in frequent[: len(_QUANTILES)]]
        if column.quantiles:
            return [convert(column.quantiles[QUANTILE_LEVELS.index(level)]) for level in _QUANTILES]
        return None
    texts = [each.value for each in column.top[: len(_QUANTILES)]]
    if family(column.dtype) == "text" and texts and max(map(len, texts)) < _LONGEST:
        return texts
    return None


def _now(feature: FeatureDefinition, reader: Reader) -> dict[str, Any]:
    column = quote(feature.name)
    values = reader.values(feature, most=_MEASURED)
    ((rows, nulls),) = reader.session.rows(f"SELECT count(*), count(*) - count({column}) FROM {values}")
    return {
        **_newest(TableSpec.of([feature]), reader.session),
        "null_share": nulls / rows if rows else None,
        "samples": _typical(reader.session, _sampled(feature, reader), feature.dtype),
    }


def _sampled(feature: FeatureDefinition, reader: Reader) -> str:
    return f"SELECT {quote(feature.name)} AS value FROM {reader.values(feature, most=_MEASURED)} LIMIT {_MEASURED}"


def _newest(table: TableSpec, session: Session) -> dict[str, Any]:
    if not table.timed:
        return {"newest": None}
    query = f"SELECT max({EVENT_TIMESTAMP}) FROM tables.{quote(table.name)}"
    ((newest,),) = session.rows(query)
    return {"newest": newest}


def _typical(session: Session, query: str, dtype: str) -> list[Any]:
    """Return sample values: quantiles of numbers and times with many distinct values, else the most frequent values."""
    present = "value IS NOT NULL" + (" AND isfinite(value)" if family(dtype) == "real" else "")
    rows = f"(SELECT value FROM ({query}) WHERE {present})"
    ((distinct,),) = session.rows(f"SELECT count(DISTINCT value) FROM {rows}")
    if distinct > _FEW and family(dtype) in {"integer", "decimal", "real", "instant"}:
        ((quantiles,),) = session.rows(f"SELECT quantile_disc(value, {list(_QUANTILES)}) FROM {rows}")
        return list(quantiles)
    frequent = f"SELECT value FROM {rows} GROUP BY value ORDER BY count(*) DESC, value LIMIT {len(_QUANTILES)}"
    return [value for (value,) in session.rows(frequent)]
