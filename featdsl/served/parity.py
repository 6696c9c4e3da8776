"""Compare logged values with what a training set gives at the times of the reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from featdsl.definitions.names import quote
from featdsl.definitions.snapshot import Snapshot
from featdsl.definitions.timestamps import in_order
from featdsl.engines import lookups
from featdsl.engines.lookups import ROW, Spine, Want
from featdsl.engines.reading import Reader
from featdsl.engines.session import Session
from featdsl.errors import Problem, RequestError
from featdsl.query.parity import same
from featdsl.query.selection import Selection
from featdsl.served import reading
from featdsl.served.layout import Layout

_SAMPLE = "served_sample"
_TIME = "#time"
_STATE = "#state"


@dataclass(frozen=True, kw_only=True)
class ServedDifference:
    """A logged value that differs from the training value of one entity at the time of the read, in UTC.

    `late` says that stored rows of up to that time were written after the read: rows that arrived late may be the reason.
    """

    feature: str
    keys: Mapping[str, Any]
    at: datetime
    served: Any
    trained: Any
    late: bool


@dataclass(frozen=True, kw_only=True)
class ServedParity:
    """The number of logged values that were compared, and those that differ.

    `skipped` are features whose logged definition the registry no longer has.
    """

    values: int
    differences: tuple[ServedDifference, ...]
    skipped: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Log:
    """The log files of one layout, with the features that can still be computed."""

    folder: Path
    layout: Layout
    selection: Selection


def compare(
    snapshot: Snapshot, reader_of: Callable[[set[str]], Reader], session: Session, folder: Path, *, sample: int
) -> ServedParity:
    """Compare up to `sample` rows of each set version or list of features that was logged.

    `reader_of` opens stored tables. Raises RequestError if nothing was logged.
    """
    found = reading.folders(folder)
    if not found:
        what = f"There are no files of the serving log in {folder}."
        raise RequestError(Problem("Nothing was logged", what, fix=reading.TURN_ON))
    values = 0
    differences: list[ServedDifference] = []
    skipped: set[str] = set()
    for each in found:
        layout = reading.layout_of(session, each)
        wants = {column: logged.want(column, snapshot) for column, logged in layout.features.items()}
        skipped.update(layout.features[column].feature for column, want in wants.items() if want is None)
        selection = Selection(tuple(want for want in wants.values() if want is not None), layout.name)
        if not selection.wants:
            continue
        log = _Log(each, layout, selection)
        reader = reader_of(_tables(selection.wants, snapshot))
        rows = _sampled(reader.session, log, sample)
        values += len(rows) * len(selection.columns)
        differences += _differences(log, rows, _trained(reader, selection), snapshot)
    return ServedParity(values=values, differences=tuple(differences), skipped=tuple(sorted(skipped)))


def _tables(wants: tuple[Want, ...], snapshot: Snapshot) -> set[str]:
    features = [want.feature for want in wants]
    return lookups.tables_of(features, snapshot.versions) | {each.table for each in features if each.table}


def _sampled(session: Session, log: _Log, sample: int) -> list[dict[str, Any]]:
    """Copy logged rows into a temporary table, and return them with the values under the names of their columns."""
    layout = log.layout
    columns = [
        f"timezone('UTC', {quote(layout.time)}) AS {quote(_TIME)}",
        f"struct_extract({quote(layout.origin)}, 'state') AS {quote(_STATE)}",
        *reading.from_inputs(layout),
        *reading.from_values(layout),
    ]
    chosen = f"SELECT * FROM {reading.relation(log.folder)} USING SAMPLE reservoir({sample} ROWS)"
    session.execute(
        f'CREATE OR REPLACE TEMP TABLE {_SAMPLE} AS SELECT row_number() OVER () AS "{ROW}", {", ".join(columns)} '
        f"FROM ({chosen})"
    )
    dtypes = {_TIME: "TIMESTAMP", _STATE: "BIGINT", **layout.keys, **log.selection.dtypes}
    return session.python_rows(f'SELECT {", ".join(map(quote, dtypes))} FROM {_SAMPLE} ORDER BY "{ROW}"', dtypes)


def _trained(reader: Reader, selection: Selection) -> list[dict[str, Any]]:
    """Return the values of a training set whose spine is the sample."""
    spine = Spine(
        sql=_SAMPLE,
        columns=(),
        keys={name: quote(name) for name in selection.keys},
        time=quote(_TIME) if selection.timed else None,
        numbered=True,
        ordered=True,
        request={name: quote(name) for name in selection.request},
    )
    return reader.session.python_rows(reader.training_query(selection.wants, spine).sql, selection.dtypes)


def _differences(
    log: _Log, rows: list[dict[str, Any]], trained: list[dict[str, Any]], snapshot: Snapshot
) -> Iterator[ServedDifference]:
    for row, values in zip(rows, trained, strict=True):
        for want in log.selection.wants:
            if not same(row[want.column], values[want.column]):
                yield ServedDifference(
                    feature=f"{log.layout.name or want.feature.address}: {want.column}",
                    keys={name: row[name] for name in log.layout.keys},
                    at=row[_TIME],
                    served=row[want.column],
                    trained=values[want.column],
                    late=_is_late(want, row, snapshot),
                )


def _is_late(want: Want, row: Mapping[str, Any], snapshot: Snapshot) -> bool:
    """Return whether rows with times up to the time of a read were written after it."""
    for name in _tables((want,), snapshot):
        is_written, since = snapshot.tables[name].changed_since(row[_STATE])
        if is_written and (since is None or in_order(since) <= in_order(str(row[_TIME]))):
            return True
    return False
