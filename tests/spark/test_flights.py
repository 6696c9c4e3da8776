"""The flights of this repository on Spark: equal tables, training sets and served values."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.conftest import Workspace
from tests.spark.projects import engines_of, shortened, twins

DIGITS = 12 if "FEATDSL_SPARK_URL" in os.environ else None
"""The wind chill raises a speed to a power, whose last bits are other ones on Apache Spark."""
ROOT = Path(__file__).parents[2]
SPINE = """
    SELECT carrier, origin, dest, tailnum, origin AS airport, time_hour AS at, flight
    FROM read_parquet('{root}/data/flights.parquet') WHERE flight % 211 = 0
"""


@pytest.mark.slow
def test_the_flights_are_equal(tmp_path: Path, spark_url: str) -> None:
    """Eight tables over 336,776 flights, sets with roles and time zones: DuckDB and Spark agree on every value."""
    folder = tmp_path / "flights"
    folder.mkdir()
    for name in ("features", "data"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    text = (ROOT / "featproject.toml").read_text(encoding="utf-8")
    (folder / "featproject.toml").write_text(text.replace('url = "embedded"', ""), encoding="utf-8")
    both = twins(Workspace(folder), tmp_path / "spark", spark_url)
    both.run("apply", "--yes")
    assert "duckdb" not in engines_of(both.spark).values()
    both.compare(digits=DIGITS)
    sets = list(both.duckdb.store.catalogue_document().sets)
    assert sets
    for each in sets:
        keys, needs = each.definition["keys"], each.definition["request"]
        if needs:
            continue
        spine = SPINE.format(root=folder)
        ours, theirs = (store.training_set(each.address, spine, timestamp="at").arrow() for store in both.stores)
        assert ours.schema == theirs.schema
        assert _values(ours.to_pylist()) == _values(theirs.to_pylist()), each.address
        rows = [dict(zip(keys, row, strict=True)) for row in _entities(ours, keys)]
        served = [_values(store.get_features(each.address, rows=rows)) for store in both.stores]
        assert served[0] == served[1], each.address


def _values(rows: list[dict[str, object]]) -> list[tuple[object, ...]]:
    return [shortened(row.values(), DIGITS) for row in rows]


def _entities(table: object, keys: dict[str, str]) -> list[tuple[object, ...]]:
    """Return some of the entities of a training set."""
    columns = [getattr(table, "column")(key).to_pylist() for key in keys]  # noqa: B009 - pyarrow has no types
    return sorted({row for row in zip(*columns, strict=True) if None not in row})[:40]
