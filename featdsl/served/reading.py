"""Read the serving log: the values that were served, to train on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from featdsl.definitions.names import escaped, literal, quote
from featdsl.definitions.parquet_types import from_stored
from featdsl.definitions.snapshot import Snapshot
from featdsl.engines.session import Session
from featdsl.errors import DataError, Problem, RequestError
from featdsl.query import lockfile
from featdsl.query.computed_rows import ComputedRows
from featdsl.query.selection import Selection
from featdsl.served.layout import METADATA, Layout

_FILES = "*.parquet"
TURN_ON = "Log reads: write sample = 0.01 below [serving.log] in featproject.toml."


class LoggedRows(ComputedRows):
    """The logged reads of features, a row for each row of keys: the time, keys, request-time data, values as served, origin."""

    def __init__(
        self,
        session: Session,
        sql: str,
        layout: Layout,
        selection: Selection,
        snapshot: Snapshot,
    ) -> None:
        super().__init__(session, sql, layout.dtypes)
        self._selection = selection
        self._snapshot = snapshot

    @property
    def lock(self) -> dict[str, Any]:
        """The lock to keep beside a model that is trained on these rows: they were served with the definitions in it."""
        return lockfile.made(self._selection, self._snapshot)

    def __repr__(self) -> str:
        return f"<LoggedRows {self._selection.name or ', '.join(self._selection.columns)}>"


def logged(session: Session, folder: Path, selection: Selection, snapshot: Snapshot) -> LoggedRows:
    """Return the rows that were logged for features at their present definitions. Raises RequestError if there are none."""
    layout = Layout.of(selection)
    path = folder / layout.folder
    if not any(path.glob(_FILES)):
        raise _nothing(folder / layout.family, selection.name or ", ".join(selection.columns))
    columns = [quote(layout.time), *from_inputs(layout), *from_values(layout), quote(layout.origin)]
    sql = f"SELECT {', '.join(columns)} FROM {relation(path)}"
    return LoggedRows(session, sql, layout, selection, snapshot)


def from_inputs(layout: Layout) -> Iterator[str]:
    """Yield the SQL of the keys and the request-time data in their own types, with their names."""
    for name, dtype in {**layout.keys, **layout.request}.items():
        yield f"CAST({from_stored(dtype, quote(name))} AS {dtype}) AS {quote(name)}"


def from_values(layout: Layout) -> Iterator[str]:
    """Yield the SQL of the served values in their own types, with their names."""
    for column, each in layout.features.items():
        value = f"struct_extract({quote(layout.values)}, {literal(column)})"
        yield f"CAST({from_stored(each.dtype, value)} AS {each.dtype}) AS {quote(column)}"


def relation(folder: Path) -> str:
    """Return the relation of all files in the folder of a layout."""
    return f"read_parquet({literal(f'{escaped(str(folder))}/{_FILES}')}, hive_partitioning = false)"


def folders(folder: Path) -> list[Path]:
    """Return the folders with log files below the folder of an environment, in order."""
    return sorted({each.parent for each in folder.glob(f"*/*/{_FILES}")})


def layout_of(session: Session, folder: Path) -> Layout:
    """Return the layout of the files in a folder. Raises DataError if a file has none."""
    file = min(folder.glob(_FILES))
    path = literal(escaped(str(file)))
    found = session.rows(f"SELECT decode(value) FROM parquet_kv_metadata({path}) WHERE key = '{METADATA}'")
    try:
        return Layout.from_json(found[0][0])
    except (IndexError, ValueError, KeyError, TypeError, AttributeError):
        what = f"{file} is no file of the serving log."
        raise DataError(Problem("Serving log cannot be read", what, fix="Move the file out of the folder.")) from None


def _nothing(family: Path, name: str) -> RequestError:
    if any(family.glob(f"*/{_FILES}")):
        what = f"Reads of {name} were logged only with former definitions."
        return RequestError(Problem("Nothing was logged", what, fix=f"Read the files by path: {family}"))
    return RequestError(Problem("Nothing was logged", f"The serving log has no reads of {name}.", fix=TURN_ON))
