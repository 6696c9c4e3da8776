"""Compare two definitions of features in a session of DuckDB."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from featdsl.definitions.kinds import FeatureDefinition
from featdsl.definitions.names import SOURCE_SCHEMA, quote
from featdsl.definitions.value_shifts import Shift
from featdsl.engines.comparisons import Pair, RowSelection, SideSource
from featdsl.engines.duckdb import side_by_side, value_shifts
from featdsl.engines.duckdb.value_shifts import ComparedRows
from featdsl.engines.lookups import Versions

if TYPE_CHECKING:
    from featdsl.engines.comparisons import Comparisons
    from featdsl.engines.session import Session

_MEMORY = "memory"
"""The database of a session in memory."""
_ALL = '"#all"'
_COMPARED = '"#compared"'


class DuckDBComparisons:
    """Implements `featdsl.engines.comparisons.Comparisons` over a session in memory. Each side is a database of its own."""

    def __init__(self, session: Session) -> None:
        self._session = session

    @contextmanager
    def side(self, name: str) -> Iterator[None]:
        """Open sources, in the body, for one side only."""
        self._session.execute(f"ATTACH ':memory:' AS {quote(name)}")
        self._session.execute(f"USE {quote(name)}")
        try:
            yield
        finally:
            self._session.execute(f"USE {_MEMORY}")

    def entities(self, source: SideSource) -> str:
        """Return the query of the entities that a source of a side has rows of."""
        return side_by_side.entities(source.group, source.keys_of, source.source, _relation(source))

    def newest(self, source: SideSource, given: Mapping[str, str], upto: str | None) -> str:
        """Return the query of the entities of a source of a side, with the event time of their newest row in `#at`."""
        return side_by_side.newest(source, _relation(source), given, upto)

    def open_rows(self, source: SideSource, kept: str = "") -> None:
        """Let SQL read a source of a side as `source.<name>`: all rows, or those of the entities in the query `kept`."""
        relation = _relation(source)
        rows = (
            side_by_side.rows_of(source.group, source.keys_of, relation, kept) if kept else f"SELECT * FROM {relation}"
        )
        self._session.execute(f"CREATE SCHEMA IF NOT EXISTS {SOURCE_SCHEMA}")
        self._session.execute(f"CREATE OR REPLACE VIEW {SOURCE_SCHEMA}.{quote(source.source.name)} AS {rows}")

    def create_table(self, name: str, query: str) -> None:
        """Compute a query, and let SQL read its rows as `tables.<name>`."""
        self._session.execute("CREATE SCHEMA IF NOT EXISTS tables")
        self._session.execute(f"CREATE TABLE tables.{quote(name)} AS\n{query}")

    def change_rows(self, features: Sequence[FeatureDefinition], versions: Versions) -> str:
        """Return the query of the keys and times at which the values of a derived group may change."""
        return side_by_side.change_rows(features, versions)

    def draw(self, sample: str, keys: Sequence[str], queries: Iterable[str], size: int | None) -> int:
        """Put up to `size` entities of the queries into the table `sample`, and return the number of all."""
        if not keys:
            return 1
        listed = _quoted(keys)
        union = "\nUNION ALL\n".join(dict.fromkeys(queries))
        self._session.execute(f"CREATE OR REPLACE TEMP TABLE {_ALL} AS SELECT DISTINCT {listed} FROM (\n{union}\n)")
        ((entities,),) = self._session.rows(f"SELECT count(*) FROM {_ALL}")
        # Not hash(), which another version of DuckDB may define differently.
        order = f"md5_number_lower(CAST(row({listed}) AS VARCHAR)), {listed}"
        limit = f" ORDER BY {order} LIMIT {size}" if size is not None else ""
        self._session.execute(f"CREATE OR REPLACE TEMP TABLE {quote(sample)} AS SELECT * FROM {_ALL}{limit}")
        self._session.execute(f"DROP TABLE {_ALL}")
        return int(entities)

    def shifts(self, pairs: Sequence[Pair], versions: Versions, selection: RowSelection) -> Iterator[Shift]:
        """Yield how the values of each feature shift."""
        keys = tuple(key.name for key in pairs[0][1].keys)
        spine = f"(\n{_rows(pairs[0], keys, selection)}\n)"
        query = side_by_side.side_by_side(pairs, spine, versions, few=selection.sparse)
        self._session.execute(f"CREATE OR REPLACE TEMP TABLE {_COMPARED} AS\n{query}")
        ((entities,),) = self._session.rows(
            f"SELECT count(*) FROM (SELECT DISTINCT {_quoted(keys) or '1'} FROM {_COMPARED})"
        )
        rows = ComparedRows(
            relation=_COMPARED,
            keys=keys,
            timed=any(each.timed for each in pairs[0]),
            entities=entities,
            of=max(selection.entities, entities),
            note=selection.note,
        )
        for number, pair in enumerate(pairs):
            columns = (f"#{number} before", f"#{number} after")
            is_summed = all(_has_windows(each, versions) for each in pair)
            places = value_shifts.decimal_places(self._session, _COMPARED, columns, pair) if is_summed else None
            yield value_shifts.compare(self._session, rows, columns, pair, places)
        self._session.execute(f"DROP TABLE {_COMPARED}")


def _rows(pair: Pair, keys: Sequence[str], selection: RowSelection) -> str:
    """Return the query of the keys and times at which the features are compared."""
    before, after = pair
    features = [selection.rows_of] if selection.rows_of else [before, after]
    if (before.ttl, before.ends) == (after.ttl, after.ends):
        features = [side_by_side.without_expiry(each) for each in features]  # values expire at the same times
    rows = side_by_side.moments(features)
    if not (keys and selection.sample):
        return rows
    listed = _quoted(keys)
    entity = listed if len(keys) == 1 else f"({listed})"
    return f"SELECT * FROM ({rows}) WHERE {entity} IN (SELECT {listed} FROM {quote(selection.sample)})"


def _has_windows(feature: FeatureDefinition, versions: Versions) -> bool:
    """Return whether a feature, or one that it is derived from, aggregates the rows of a window."""
    pending, known = [feature], {(feature.address, feature.fingerprint)}
    while pending:
        each = pending.pop()
        if each.window is not None:
            return True
        pending += [versions[key] for key in each.upstream if key not in known]
        known.update(each.upstream)
    return False


def _relation(source: SideSource) -> str:
    return f"{quote(source.side)}.{SOURCE_SCHEMA}.{quote(source.source.name)}"


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(quote(name) for name in names)


if TYPE_CHECKING:

    def _check(comparisons: DuckDBComparisons) -> Comparisons:
        return comparisons
