"""Scalar expressions have the values and types of DuckDB on Spark, raise errors where DuckDB does, or are refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

import duckdb
import pytest

from featdsl.engines.spark import casts
from featdsl.engines.spark.functions import SIGNATURES
from featdsl.engines.spark.translate import Translated, Unproved, expression
from tests.spark.parity.engines import VIEW, compare, on_duckdb, translated_by
from tests.spark.parity.odd_rows import COLUMNS

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

CASES = Path(__file__).parent / "cases"
COMPUTED = ("numbers", "casts", "text", "times", "lists")


def cases(name: str) -> list[str]:
    """Return the expressions of a file, one a line."""
    return [line for line in (CASES / f"{name}.txt").read_text(encoding="utf-8").splitlines() if line]


@pytest.mark.parametrize("name", COMPUTED)
def test_values_and_types_are_those_of_duckdb(
    name: str, odd_duckdb: duckdb.DuckDBPyConnection, odd_spark: SparkSession
) -> None:
    """Every case has the same type and, in every row, the same value on both engines."""
    problems = compare(odd_duckdb, odd_spark, cases(name))
    assert not problems, "\n".join(problems)


def test_every_signature_has_a_case() -> None:
    """No signature is in the table that no case computes."""
    used = {id(each) for name in COMPUTED for sql in cases(name) for each in translated_by(sql)[1]}
    assert [str(each) for each in SIGNATURES if id(each) not in used] == []


def test_every_cast_has_a_case() -> None:
    """No cast is in the table that no case computes."""
    seen: set[tuple[str, ...]] = set()
    explicit = casts.explicit

    def recorded(value: Translated, dtype: str) -> str:
        seen.add(tuple(re.sub(r"^DECIMAL.*", "DECIMAL", each) for each in (value.dtype, dtype)))
        return explicit(value, dtype)

    with patch.object(casts, "explicit", recorded):
        for sql in cases("casts"):
            expression(sql, COLUMNS)
    assert [pair for pair in casts.proved() if pair not in seen and pair[0] != pair[1]] == []


def test_a_row_that_duckdb_refuses_fails_on_spark(
    odd_duckdb: duckdb.DuckDBPyConnection, odd_spark: SparkSession
) -> None:
    """Overflows and values that do not fit a type are errors on both engines."""
    silent = []
    for sql in cases("raising"):
        assert on_duckdb(odd_duckdb, sql).error, f"{sql} raises no error on DuckDB"
        try:
            odd_spark.sql(f"SELECT {expression(sql, COLUMNS).sql} AS value FROM {VIEW}").toArrow()
        except Unproved as refusal:
            silent.append(f"{sql}: {refusal}")
        except Exception:  # noqa: BLE001, S112 - any error of the server
            continue
        else:
            silent.append(sql)
    assert silent == []


@pytest.mark.parametrize("case", cases("refused"))
def test_what_is_not_proved_is_refused(case: str) -> None:
    """The refusal names the function with the types of its arguments."""
    sql, _, reason = case.rpartition(" | ")
    with pytest.raises(Unproved) as refusal:
        expression(sql, COLUMNS)
    assert reason in str(refusal.value)
