"""SQL files become sources and groups, which plan at once and have the values of the queries."""

from __future__ import annotations

import tempfile
import textwrap
from pathlib import Path

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featdsl.catalog import loader
from featdsl.definitions.names import quote
from featdsl.project.settings import load as settings_of
from featdsl.sql import templates
from tests.budgets import examples
from tests.conftest import Workspace
from tests.importers.generated import AWKWARD
from tests.importers.test_writing import formatted

ORDERS = """
    SELECT * FROM (VALUES
        (1, 7, 10.5, TIMESTAMP '2026-01-01 10:00:00', 'paid'), (2, 7, 20.0, TIMESTAMP '2026-01-05 12:00:00', 'paid'),
        (3, 8, 5.25, TIMESTAMP '2026-01-05 13:00:00', 'open')
    ) AS t(order_id, customer_id, amount, ordered_at, status)
"""


@pytest.fixture
def queries(tmp_path: Path) -> Workspace:
    """A folder with data, in which queries are written to `queries`."""
    return Workspace(tmp_path).parquet("data/orders.parquet", ORDERS)


def imported(workspace: Workspace, *options: str) -> str:
    """Import the queries into `out`, check that the project plans and is formatted, and return the report."""
    done = workspace.run("import", "sql", "queries", "--into", "out", *options)
    assert done.returncode == 0, done.stderr
    planned = workspace.run("-C", "out", "plan")
    assert planned.returncode == 0, planned.stderr
    assert formatted(workspace.root / "out").returncode == 0
    return done.stdout


def test_a_query_with_a_header(queries: Workspace) -> None:
    """The header names key, timestamp, entity and team; its other lines describe the group; files become sources."""
    queries.write({
        "queries/big_orders.sql": """\
            -- key: order_id
            -- timestamp: ordered_at
            -- entity: purchase
            -- team: checkout
            -- Orders of some size.
            SELECT order_id, amount, amount > 15 AS is_big, ordered_at
            FROM read_parquet('data/orders.parquet') AS o;  -- all of them
        """
    })  # fmt: skip
    report = imported(queries)
    assert "Please check" not in report
    assert (queries.root / "out/features/checkout/big_orders.py").read_text() == textwrap.dedent('''\
        """Features of big orders, imported from the SQL files of queries."""

        from featdsl import Entity, Feature, FeatureGroup, Source

        purchase = Entity("purchase", keys={"order_id": "INTEGER"})

        orders = Source("orders", path="../data/orders.parquet")

        big_orders = Source(
            "big_orders",
            sql="""
                SELECT order_id, amount, amount > 15 AS is_big, ordered_at
                FROM {{ orders }} AS o
            """,
            timestamp="ordered_at",
        )


        class BigOrders(FeatureGroup, entity=purchase, source=big_orders):
            """Orders of some size."""

            amount = Feature("DECIMAL(4,2)")
            is_big = Feature(bool)
        ''')


def test_values_are_those_of_the_query(queries: Workspace) -> None:
    """After an apply, training sets have the rows of the query as they were at the time."""
    queries.write({
        "queries/spend.sql": """
            SELECT customer_id, ordered_at, sum(amount) OVER w AS "Spend so far", count(*) OVER w AS orders
            FROM 'data/orders.parquet' WINDOW w AS (PARTITION BY customer_id ORDER BY ordered_at)
        """
    })  # fmt: skip
    report = imported(queries)
    assert "Its key is customer_id, the only column that ends in _id." in report
    assert "spend.spend_so_far: The column is named 'Spend so far'." in report
    out = Workspace(queries.root / "out")
    out.apply()
    spine = "SELECT i AS customer_id, TIMESTAMP '2026-01-05 12:30:00' AS at FROM unnest([7, 8]) AS t(i)"
    found = out.store.training_set(["spend.spend_so_far", "spend.orders"], spine, timestamp="at").arrow().to_pylist()
    read = {
        each["customer_id"]: (each["spend_so_far"] and float(each["spend_so_far"]), each["orders"]) for each in found
    }
    assert read == {7: (30.5, 2), 8: (None, None)}


def test_queries_read_each_other_and_tables(queries: Workspace) -> None:
    """A table of the name of another query is that query; other tables are those of the DuckDB file."""
    with duckdb.connect(str(queries.root / "shop.duckdb")) as connection:
        connection.execute("CREATE TABLE customers AS SELECT 7 AS customer_id, 'DE' AS country")
    queries.write({
        "queries/a_report.sql": """
            -- key: customer_id
            WITH c AS (SELECT * FROM customers)
            SELECT p.customer_id, p.ordered_at, c.country FROM paid p JOIN c USING (customer_id)
        """,
        "queries/paid.sql": "-- key: nothing\nSELECT * FROM 'data/orders.parquet' WHERE status = 'paid'",
    })  # fmt: skip
    report = imported(queries, "--database", "shop.duckdb")
    assert "Its key nothing is no column of the query." in report
    text = (queries.root / "out/features/queries/a_report.py").read_text()
    assert "FROM paid" not in text
    assert "FROM {{ paid }} p JOIN c USING" in text
    assert 'table="main.customers", database="../shop.duckdb"' in " ".join(text.split()).replace(", )", ")")
    Workspace(queries.root / "out").apply()


def test_other_dialects_are_translated(queries: Workspace) -> None:
    """A query in another dialect is written in DuckDB's."""
    queries.write({
        "queries/ages.sql": "-- key: order_id\nSELECT order_id, ordered_at, NVL(amount, 0) AS big FROM orders_table"
    })  # fmt: skip
    with duckdb.connect(str(queries.root / "shop.duckdb")) as connection:
        connection.execute(f"CREATE TABLE orders_table AS {ORDERS}")
    imported(queries, "--dialect", "snowflake", "--database", "shop.duckdb")
    assert "COALESCE(amount, 0) AS big" in (queries.root / "out/features/queries/ages.py").read_text()


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        (
            "SELECT order_id, customer_id, ordered_at FROM 'data/orders.parquet'",
            "The key may be order_id or customer_id",
        ),
        ("SELECT amount, ordered_at FROM 'data/orders.parquet'", "Nothing says what its key is"),
        ("SELECT order_id, amount FROM 'data/orders.parquet'", "Nothing says what its timestamp is"),
        (
            "SELECT order_id, ordered_at, ordered_at AS paid_at FROM 'data/orders.parquet'",
            "The timestamp may be ordered_at or paid_at",
        ),
        ("-- timestamp: amount\nSELECT order_id, amount FROM 'data/orders.parquet'", "neither a date nor a timestamp"),
        ("SELECT order_id, ordered_at FROM 'data/nothing.parquet'", "there is no such file"),
        ("SELECT order_id, ordered_at FROM payments", "say in which DuckDB file it is: --database FILE"),
        ("SELECT order_id, ordered_at, nonsense FROM 'data/orders.parquet'", "DuckDB does not understand it"),
        ("SELECT order_id, ordered_at, random() r FROM 'data/orders.parquet'", "gives another value at each run"),
        ("SELECT order_id, ordered_at FROM read_text('data/orders.parquet')", "which no source does"),
        ("SELECT order_id, ordered_at FROM read_parquet('data/' || 'orders.parquet')", "whose path is an expression"),
        ("SELECT order_id, ordered_at FROM 'data/orders.parquet'", "It has no columns beside its key and its time"),
    ],
)
def test_what_is_left_out_has_a_reason(queries: Workspace, query: str, reason: str) -> None:
    """Keys and times are never guessed among several, and what cannot be read is told."""
    queries.write({
        "queries/q.sql": query,
        "queries/good.sql": "-- key: order_id\nSELECT order_id, ordered_at, amount FROM 'data/orders.parquet'",
    })  # fmt: skip
    report = imported(queries)
    assert "Left out: 1" in report
    assert reason in report
    assert f"query q  queries/q.sql:{query.count('-- ') + 1}" in report


@pytest.mark.parametrize(
    ("text", "message", "line"),
    [
        ("-- key: a\n\nSELECT a,\n  b c d\nFROM t", "does not belong after", 4),
        ("SELECT 1; SELECT 2", "It has several statements", 1),
        ("\n-- x\nDROP TABLE t", "It is no SELECT", 3),
        ("SELECT * FROM {{ ref('orders') }}", "featdsl import dbt", 1),
        ("SELECT 'open", "has no end", 1),
        ("-- only a comment", "It is no SELECT", 1),
    ],
)
def test_what_is_no_query_is_refused_with_its_line(queries: Workspace, text: str, message: str, line: int) -> None:
    """A file that does not parse stops the import before anything is written."""
    queries.write({"queries/bad.sql": text})
    done = queries.run("import", "sql", "queries", "--into", "out")
    assert done.returncode == 1
    assert message in done.stderr
    assert f"queries/bad.sql:{line}" in done.stderr
    assert not (queries.root / "out").exists()


def test_options_say_what_the_files_do_not(queries: Workspace) -> None:
    """Keys, timestamps and static rows can be given on the command line, for files that nobody may edit."""
    queries.write({
        "queries/one.sql": "SELECT order_id, customer_id, ordered_at FROM 'data/orders.parquet'",
        "queries/two.sql": "SELECT order_id, amount FROM 'data/orders.parquet'",
    })  # fmt: skip
    report = imported(
        queries, "--key", "one=order_id", "--timestamp", "one=ordered_at", "--static", "two", "--team", "shop"
    )  # fmt: skip
    assert "Left out" not in report
    assert "timestamp" not in (queries.root / "out/features/shop/two.py").read_text()
    unknown = queries.run("import", "sql", "queries", "--into", "other", "--key", "oen=order_id")
    assert 'Did you mean "one"?' in unknown.stderr


def test_the_start_of_a_period_is_told(queries: Workspace) -> None:
    """What sums up a day is not known at its start, so the report asks to check such a timestamp."""
    queries.write({
        "queries/daily.sql": """
            SELECT customer_id, date_trunc('day', ordered_at) AS day_at, sum(amount) AS spend
            FROM 'data/orders.parquet' GROUP BY 1, 2
        """
    })  # fmt: skip
    report = imported(queries)
    assert "Its key is customer_id, the only column that it groups by." in report
    assert "Its timestamp day_at is the start of a period." in report


ANY = st.characters(exclude_characters="\0\r", exclude_categories=["Cs"])  # line ends of a file are read as \n
COLUMNS = st.text(ANY, min_size=1).filter(str.strip) | st.sampled_from(AWKWARD)


@pytest.mark.property
@given(columns=st.lists(COLUMNS, min_size=1, max_size=4, unique_by=str.lower), text=st.text(ANY, max_size=30))
@settings(max_examples=examples(8, 60))
def test_any_column_names_and_texts_plan(columns: list[str], text: str) -> None:
    """Whatever columns are called, and whatever stands in texts of the SQL: the import plans, and the text is the same."""
    value = "'" + text.replace("'", "''") + "'"
    selected = ", ".join(f"{value} AS {quote(each)}" for each in columns)
    query = f"-- key: __key\n-- timestamp: __at\nSELECT 1 AS __key, TIMESTAMP '2026-01-01' AS __at, {selected}"
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder)).write({"queries/q.sql": query})
        report = imported(workspace)
        assert "Left out" not in report
        loaded = loader.load(settings_of(workspace.root / "out"))
        features = [each for each in loaded.declarations if each.kind == "feature"]
        assert len(features) == len(columns)
        (source,) = [each for each in loaded.declarations if each.kind == "source"]
        assert value in templates.render(str(source.sql), variables={}, sources={})


def test_the_report_as_json(queries: Workspace) -> None:
    """Machines read the same report."""
    queries.write({"queries/one.sql": "-- key: order_id\nSELECT order_id, ordered_at, amount FROM 'data/*.parquet'"})
    done = queries.run("import", "sql", "queries", "--into", "out", "--format", "json")
    assert '"features": [\n      "one.amount"\n    ]' in done.stdout
    assert '"left_out": []' in done.stdout
