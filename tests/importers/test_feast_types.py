"""Types of Feast, of Arrow and of PostgreSQL become DuckDB types."""

from __future__ import annotations

import pytest

from featdsl.importers import feast_types


@pytest.mark.parametrize(
    ("feast", "duckdb"),
    [
        ("Float32", "FLOAT"),
        ("Int64", "BIGINT"),
        ("UnixTimestamp", "TIMESTAMP"),
        ("Array(Float32)", "FLOAT[]"),
        ("Array(Array(String))", "VARCHAR[][]"),
        ("Set(Int32)", "INTEGER[]"),
        (
            "Struct({name: String, order: Int64, tags: Array(String)})",
            'STRUCT(name VARCHAR, "order" BIGINT, tags VARCHAR[])',
        ),
        ("Map", "MAP(VARCHAR, VARCHAR)"),
    ],
)
def test_types_of_feast(feast: str, duckdb: str) -> None:
    """As Feast prints them."""
    assert feast_types.of_feast(feast) == duckdb


@pytest.mark.parametrize(
    ("stored", "duckdb"),
    [
        ("double", "DOUBLE"),
        ("timestamp[ns]", "TIMESTAMP_NS"),
        ("timestamp[us, tz=UTC]", "TIMESTAMP WITH TIME ZONE"),
        ("decimal128(18, 2)", "DECIMAL(18,2)"),
        ("list<element: double>", "DOUBLE[]"),
        ("large_list<item: list<item: int32>>", "INTEGER[][]"),
        ("fixed_size_list<item: float>[384]", "FLOAT[]"),
        (
            "struct<name: string, at: struct<x: double, y: double>>",
            "STRUCT(name VARCHAR, at STRUCT(x DOUBLE, y DOUBLE))",
        ),
        ("map<string, int64>", "MAP(VARCHAR, BIGINT)"),
        ("map<string, list<item: string> ('tags')>", "MAP(VARCHAR, VARCHAR[])"),
        ("dictionary<values=string, indices=int32, ordered=0>", "VARCHAR"),
        ("double precision", "DOUBLE"),
        ("timestamp with time zone", "TIMESTAMP WITH TIME ZONE"),
        ("bigint[]", "BIGINT[]"),
        ("numeric", ""),
        ("duration[ns]", ""),
    ],
)
def test_types_of_columns(stored: str, duckdb: str) -> None:
    """As Arrow and Feast print them; a type that is unknown here is left to the declaration."""
    assert feast_types.of_column(stored) == duckdb


@pytest.mark.parametrize(
    ("declared", "stored", "chosen"),
    [
        ("Float32", "float", "FLOAT"),
        ("Float64", "float", "DOUBLE"),
        ("Int64", "int32", "BIGINT"),
        ("Int32", "int64", "INTEGER"),
        ("Float32", "double", "DOUBLE"),
        ("Float32", "int64", "BIGINT"),
        ("Float64", "int64", "DOUBLE"),
        ("UnixTimestamp", "timestamp[us, tz=UTC]", "TIMESTAMP"),
        ("UnixTimestamp", "timestamp[ns]", "TIMESTAMP_NS"),
        ("Json", "string", "VARCHAR"),
        ("Map", "struct<a: string>", "STRUCT(a VARCHAR)"),
        ("Map", "", "MAP(VARCHAR, VARCHAR)"),
        ("", "int32", "INTEGER"),
    ],
)
def test_a_declared_type_yields_to_a_column_that_it_cannot_hold(declared: str, stored: str, chosen: str) -> None:
    """Feast does not convert what it reads, so the stored values are those of its training sets."""
    assert feast_types.chosen(declared, stored) == chosen
