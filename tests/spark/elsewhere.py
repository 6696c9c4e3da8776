"""A store's tables as a session of Spark has them, and what both engines make of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from featdsl.definitions.kinds import FeatureDefinition
from featdsl.definitions.names import UNTIL, literal, quote
from featdsl.definitions.plain_types import plain_type
from featdsl.definitions.sources import Column
from featdsl.engines.duckdb.session import open_session
from featdsl.engines.lookups import Want
from featdsl.engines.spark.derived_tables import derived_table
from featdsl.engines.spark.training import spine_of_view, training_sql
from featdsl.project import settings
from featdsl.stores import open_store

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

Rows = list[tuple[Any, ...]]


class Lent:
    """The tables of a store in a folder, as Parquet files with plain types."""

    def __init__(self, root: Path) -> None:
        project = settings.load(root)
        store = open_store(project)
        self.root, self.snapshot, self.session = root, store.read(), open_session(project)
        store.open_tables(self.session, self.snapshot.tables.values())
        for name, table in self.snapshot.tables.items():
            columns = [column for column in table.columns if column.name != UNTIL]
            query = f"SELECT {listed(columns)} FROM tables.{quote(name)}"
            self.session.execute(f"COPY ({query}) TO {literal(str(self.file(name)))} (FORMAT parquet)")

    def file(self, name: str) -> Path:
        """Return the file of a table."""
        return self.root / f"{name}.parquet"


class Elsewhere:
    """The tables of a store, and what Spark makes of them."""

    def __init__(self, lent: Lent | Path, spark: SparkSession) -> None:
        self._lent = lent if isinstance(lent, Lent) else Lent(lent)
        self.snapshot, self.session, self.root = self._lent.snapshot, self._lent.session, self._lent.root
        self.spark = spark
        self.versions = dict(self.snapshot.versions)

    def rows(self, sql: str) -> Rows:
        """Return the rows of a query of Spark over the stored tables that it names."""
        for name in sorted(set(re.findall(r"`table_(\w+)`", sql))):
            self.spark.read.parquet(str(self._lent.file(name))).createOrReplaceTempView(f"table_{name}")
        columns = [column.to_pylist() for column in self.spark.sql(sql).toArrow().columns]
        return list(zip(*columns, strict=True))

    @cached_property
    def events(self) -> Mapping[str, Sequence[Column]]:
        """The columns of the tables of rows that windows aggregate."""
        windowed = {each.table for each in self.snapshot.versions.values() if each.window}
        return {name: table.columns for name, table in self.snapshot.tables.items() if name in windowed}

    def feature(self, address: str) -> FeatureDefinition:
        """Return a current feature."""
        current = self.snapshot.catalog.features[address]
        return self.versions[address, current.fingerprint]

    def give(self, address: str, sql: str) -> None:
        """Give a feature SQL for Spark."""
        feature = self.feature(address)
        self.versions[address, feature.fingerprint] = replace(feature, variants=(("spark", sql),))

    def training_set(
        self, addresses: Sequence[str], spine: pa.Table, timestamp: str | None, keys: Sequence[str]
    ) -> Rows:
        """Return the values that Spark gives the rows of a spine, in their order."""
        wants = [Want(address, self.feature(address)) for address in addresses]
        request = [name for name in spine.column_names if name not in {timestamp, *keys}]
        names = {"#row": pa.array(range(len(spine)), pa.int64()), **{f"#k {key}": spine[key] for key in keys}}
        names |= {f"#r {name}": spine[name] for name in request}
        names |= {"#time": spine[timestamp]} if timestamp else {}
        file = self.root / "spine.parquet"
        pq.write_table(pa.table(names), file)
        self.spark.read.parquet(str(file)).createOrReplaceTempView("spine")
        rows = spine_of_view("spine", keys, request, timed=bool(timestamp))
        sql = training_sql(wants, rows, self.versions, self.events)
        return [row[1:] for row in sorted(self.rows(sql), key=lambda row: row[0])]

    def derived_rows(self, group: str, since: str | None = None) -> tuple[Rows, Rows]:
        """Return the rows of the stored table of a derived group, and those that Spark gives it."""
        features = [each for each in self.snapshot.catalog.features.values() if each.group == group]
        table = self.snapshot.tables[features[0].table]
        later = f" WHERE event_timestamp >= TIMESTAMP '{since}'" if since else ""
        wanted = self.session.rows(f"SELECT {listed(table.columns)} FROM tables.{quote(table.name)}{later}")
        sql = derived_table(features, self.versions, since, self.events)
        return in_order(wanted), in_order(self.rows(sql))


def in_order(rows: Iterable[tuple[Any, ...]]) -> Rows:
    """Return rows in an order that does not depend on the engine."""
    return sorted(rows, key=repr)


def listed(columns: Iterable[Column]) -> str:
    """Return columns in their plain types."""
    return ", ".join(f"CAST({quote(each.name)} AS {plain_type(each.dtype)}) AS {quote(each.name)}" for each in columns)
