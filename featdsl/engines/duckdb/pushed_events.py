"""Pushed events in DuckDB: each is a JSON list of the texts of its values, which DuckDB casts back without loss."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from featdsl.definitions.dtypes import creatable
from featdsl.definitions.names import EVENT_NUMBER, escaped, literal, quote
from featdsl.definitions.sources import Column, SourceDefinition
from featdsl.engines.duckdb import source_times
from featdsl.engines.duckdb.errors import translated
from featdsl.engines.pushed_events import EncodedEvent, EventTexts

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from featdsl.engines.pushed_events import PushedEvents

_INEXACT = ("HUGEINT", "INTERVAL", "TIME WITH TIME ZONE")
"""Types whose values Parquet does not hold: files have their texts."""


class DuckDBPushedEvents:
    """Implements `featdsl.engines.pushed_events.PushedEvents` over a connection."""

    def __init__(self, connection: DuckDBPyConnection) -> None:
        self._connection = connection

    def encode(self, source: SourceDefinition, rows: Sequence[Mapping[str, Any]]) -> list[EncodedEvent]:
        """Return rows of a source as texts that hold every value, in order."""
        columns = source.event_columns
        given = [f"unnest(${number}::{each.dtype}[]) AS {quote(each.name)}" for number, each in enumerate(columns, 1)]
        text = f"CAST(to_json([{', '.join(f'CAST({quote(each.name)} AS VARCHAR)' for each in columns)}]) AS VARCHAR)"
        identity = f"CAST({quote(source.event_id)} AS VARCHAR)" if source.event_id else text
        time = source_times.of_source(source, source.timestamp or "", "TIMESTAMP")
        # An infinite time has no epoch: it is the last moment of a BIGINT, far in the future.
        epoch = f"CASE WHEN isfinite({time}) THEN epoch_us({time}) WHEN {time} IS NOT NULL THEN {2**63 - 1} END"
        query = f"SELECT sha256({identity}), {text}, {epoch} FROM (SELECT {', '.join(given)})"
        with translated():
            found = self._connection.execute(query, [[row[each.name] for row in rows] for each in columns]).fetchall()
        return [
            EncodedEvent(None if digest is None else bytes.fromhex(digest[:32]), text, time)
            for digest, text, time in found
        ]

    def write(self, events: EventTexts, files: Sequence[str], path: Path, order: str) -> None:
        """Write events, and those in files of the same columns, as a Parquet file in order of a column."""
        # Events from before the source had this column have no order.
        is_known = order.lower() in {each.name.lower() for each in events.columns}
        earlier = f" UNION ALL BY NAME {_in_files(files)}" if files else ""
        query = f"FROM ({_decoded(events)}{earlier})" + (f" ORDER BY {quote(order)}" if is_known else "")
        with translated():
            self._connection.execute(f"COPY ({query}) TO {literal(str(path))} (FORMAT parquet)", _parameters(events))

    def select(self, source: SourceDefinition, paths: Sequence[str], events: Sequence[EventTexts], schema: str) -> str:
        """Return the SQL of the rows in files and in texts, in the columns of a source."""
        nothing = ", ".join(f"CAST(NULL AS {_kept(each.dtype)}) AS {quote(each.name)}" for each in source.columns)
        parts = [f"SELECT {nothing} WHERE false"]
        if paths:
            parts.append(_in_files(paths))
        for number, each in enumerate(events):
            table = f"{schema}.{quote(f'#{source.name} {number}')}"
            with translated():
                self._connection.execute(f"CREATE OR REPLACE TABLE {table} AS {_decoded(each)}", _parameters(each))
            parts.append(f"SELECT * FROM {table}")
        columns = (
            f"CAST({quote(each.name)} AS {creatable(each.dtype)}) AS {quote(each.name)}" for each in source.columns
        )
        union = "\nUNION ALL BY NAME\n".join(parts)
        return f"SELECT {', '.join(columns)} FROM (\n{union}\n)"


def _decoded(events: EventTexts) -> str:
    """Return the query of the rows of event texts in the types that files hold; `_parameters` has its parameters."""
    texts = """SELECT from_json(unnest($1::VARCHAR[]), '["VARCHAR"]') AS texts, unnest($2::BIGINT[]) AS number"""
    return f"SELECT {', '.join(_columns(events.columns))}, number AS {EVENT_NUMBER} FROM ({texts})"


def _in_files(paths: Sequence[str]) -> str:
    listed = ", ".join(literal(escaped(path)) for path in paths)
    return f"SELECT * FROM read_parquet([{listed}], union_by_name = true)"


def _parameters(events: EventTexts) -> list[list[Any]]:
    return [list(events.texts), list(events.numbers)]


def _columns(columns: Iterable[Column]) -> list[str]:
    return [
        f"CAST(texts[{number}] AS {_kept(each.dtype)}) AS {quote(each.name)}" for number, each in enumerate(columns, 1)
    ]


def _kept(dtype: str) -> str:
    """Return the type in which files hold values of a type."""
    return "VARCHAR" if any(each in dtype for each in _INEXACT) else dtype


if TYPE_CHECKING:

    def _check(events: DuckDBPushedEvents) -> PushedEvents:
        return events
