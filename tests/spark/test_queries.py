"""Queries of sources over other sources on Spark: equal to DuckDB's in values and types, or refused with the name of what is not proved."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from featdsl.definitions.plain_types import plain_type
from featdsl.engines.spark import queries
from featdsl.engines.spark.translate import Unproved
from tests.spark.both import Table, columns, computed, differences, expected, lend, reference

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas:FutureWarning")

TABLES: dict[str, Table] = {
    "events": (
        columns(id="INTEGER", n="BIGINT", v="VARCHAR", d="DOUBLE", m="DECIMAL(10,2)", t="TIMESTAMP", keep="BOOLEAN"),
        [
            (1, 1, "a", 1.5, Decimal("1.10"), "2020-01-01", True),
            (1, 2, None, float("nan"), Decimal("2.25"), "2020-01-02 10:00:00.000001", False),
            (2, 3, "é", -0.0, None, "2020-01-01", None),
            (2, 4, "Z", 0.0, Decimal("-99999999.99"), None, True),
            (2, 5, "z", None, Decimal("0.00"), "1969-12-31 23:59:59.999999", True),
            (None, 6, "", float("inf"), Decimal("0.01"), "2020-01-05", False),
            (3, 7, "a", float("-inf"), Decimal("7.00"), "2020-01-01", True),
            (3, 8, "𝄞", -1.0, Decimal("7.00"), "2020-01-03", True),
            (4, None, "\uffff", 2.0, Decimal("5.00"), "2020-01-03", True),
        ],
    ),
    "people": (
        columns(id="INTEGER", name="VARCHAR", t="TIMESTAMP"),
        [
            (1, "Ann", "2019-01-01"),
            (2, "Bob", None),
            (2, "Bea", "2020-01-01"),
            (5, "Cy", "2020-02-01"),
            (None, "Nil", "2020-01-01"),
        ],
    ),
    "Odd Name": (columns(**{"A b": "INTEGER", "select": "VARCHAR"}), [(1, "x"), (None, "it's \\ `odd`")]),
    "typed": (
        columns(z="TIMESTAMP WITH TIME ZONE", g="UUID", e="ENUM('b', 'a')", u="UINTEGER", s="TINYINT", day="DATE"),
        [
            ("2020-01-01 00:00:00+02", "ffffffff-0000-0000-0000-000000000000", "a", 2**32 - 1, -128, "2020-01-01"),
            ("2020-01-01 00:00:00+00", "00000000-0000-0000-0000-00000000000F", "b", 0, 127, "1969-12-31"),
            ("2019-12-31 22:00:00+00", "FFFFFFFF-0000-0000-0000-000000000000", "a", 1, 0, None),
            (None, None, None, None, None, None),
        ],
    ),
    "nothing": (columns(id="INTEGER", v="VARCHAR"), []),
}
QUERIES = [
    "SELECT * FROM source.events",
    "FROM source.events",
    "SELECT n, v AS label FROM source.events",
    "SELECT * EXCLUDE (m, t) FROM source.events",
    "SELECT * REPLACE (v AS id) FROM source.events",
    "SELECT e.*, p.name FROM source.events e JOIN source.people p ON e.id = p.id",
    "SELECT * FROM source.events JOIN source.people USING (id)",
    "SELECT id, name, n FROM source.events LEFT JOIN source.people USING (id)",
    "SELECT id, name, n FROM source.events RIGHT JOIN source.people USING (id)",
    "SELECT e.id, p.id AS other, name, n FROM source.events e FULL JOIN source.people p ON e.id = p.id",
    "SELECT e.n, p.name FROM source.events e, source.people p",
    "SELECT e.n, p.name FROM source.events e CROSS JOIN source.people p",
    "SELECT * FROM source.events SEMI JOIN source.people USING (id)",
    "SELECT * FROM source.events ANTI JOIN source.people USING (id)",
    "SELECT n FROM source.events WHERE id IN (SELECT id FROM source.people)",
    "SELECT n FROM source.events WHERE id NOT IN (SELECT id FROM source.people)",
    "SELECT n FROM source.events WHERE id NOT IN (SELECT id FROM source.people WHERE id IS NOT NULL) AND keep",
    "SELECT n FROM source.events WHERE id IN (SELECT id FROM source.people) AND v IN (SELECT v FROM source.events WHERE keep)",
    "SELECT n FROM source.events WHERE keep",
    'SELECT "A b" AS x, "select" FROM source."Odd Name"',
    "WITH kept AS (SELECT * FROM source.events WHERE keep) SELECT k.n, p.name FROM kept k JOIN source.people p USING (id)",
    "WITH a AS (SELECT id FROM source.events), b AS (SELECT id FROM a WHERE id IS NOT NULL) SELECT * FROM b UNION ALL SELECT * FROM a",
    "SELECT s.id, s.c FROM (SELECT id, count(*) AS c FROM source.events GROUP BY id) AS s",
    "SELECT id, count(*) AS rows, sum(n) AS total, max(v) AS last FROM source.events GROUP BY ALL",
    "SELECT v AS label, count(*) FROM source.events GROUP BY label",
    "SELECT id, keep, min(d), max(d) FROM source.events GROUP BY 1, 2",
    "SELECT id FROM source.events GROUP BY id HAVING bool_and(keep)",
    "SELECT d, count(*) AS c FROM source.events GROUP BY d",
    "SELECT count(*) AS c, sum(n) FILTER (WHERE keep) AS s, avg(m) AS a FROM source.events",
    "SELECT count(*) AS c, sum(id) AS s FROM source.nothing",
    "SELECT v, count(*) AS c FROM source.nothing GROUP BY v",
    "SELECT list(v ORDER BY n) AS l, string_agg(v, '|' ORDER BY n DESC) AS s FROM source.events",
    "SELECT DISTINCT id FROM source.events",
    "SELECT DISTINCT d FROM source.events",
    "SELECT id FROM source.events UNION SELECT id FROM source.people",
    "SELECT id, v FROM source.events UNION ALL SELECT id, name FROM source.people",
    "SELECT n, v FROM source.events UNION ALL BY NAME SELECT name AS v, t FROM source.people",
    "SELECT id, n FROM source.events UNION ALL SELECT n, id FROM source.events",
    "SELECT * FROM (VALUES (1, 'a'), (2, NULL)) AS t(x, y)",
    "SELECT e.n, w.y FROM source.events e JOIN (VALUES (1, 'a'), (2, NULL)) AS w(x, y) ON e.id = w.x",
    "SELECT * FROM source.events ORDER BY t",
    "SELECT CAST(NULL AS DATE) AS nothing, 1 AS one, 'it''s \\ x' AS text, TRUE AS flag, 0.25 AS part FROM source.people",
    "SELECT DISTINCT ON (id) id, n, v FROM source.events ORDER BY id, n DESC",
    "SELECT * FROM (PIVOT source.events ON keep IN (TRUE, FALSE) USING count(*) GROUP BY id)",
    "SELECT g, e, u, s, day FROM source.typed",
    "SELECT e, count(*) AS c, count(DISTINCT z) AS zs, min(g) AS low, max(g) AS high FROM source.typed GROUP BY e",
    "SELECT count(z) AS c, max(day) AS d FROM source.typed GROUP BY z",
    "SELECT g, row_number() OVER (ORDER BY g DESC, u) AS r, rank() OVER (ORDER BY z) AS k FROM source.typed",
    "SELECT a.u, b.s FROM source.typed a JOIN source.typed b ON a.z = b.z AND a.g = b.g",
    "SELECT list(g ORDER BY z DESC, u) AS l, max(u) AS m FROM source.typed",
    "SELECT n, (SELECT max(t) FROM source.people) AS x FROM source.events e",
    "SELECT * FROM source.events, LATERAL (SELECT events.n) AS l",
]
WINDOWS = [
    "row_number() OVER (PARTITION BY id ORDER BY n)",
    "row_number() OVER (ORDER BY d DESC, n)",
    "row_number() OVER (ORDER BY v, n DESC)",
    "row_number() OVER (ORDER BY t DESC NULLS FIRST, n NULLS FIRST)",
    "rank() OVER (ORDER BY t)",
    "rank() OVER (PARTITION BY keep ORDER BY d)",
    "dense_rank() OVER (ORDER BY m DESC)",
    "percent_rank() OVER (ORDER BY id)",
    "cume_dist() OVER (ORDER BY d)",
    "lag(v) OVER (PARTITION BY id ORDER BY n)",
    "lag(v, 2) OVER (ORDER BY n)",
    "lag(v, 1, 'none') OVER (PARTITION BY d ORDER BY n)",
    "lead(d) OVER (PARTITION BY id ORDER BY n DESC)",
    "first_value(v) OVER (PARTITION BY id ORDER BY n)",
    "last_value(v) OVER (PARTITION BY id ORDER BY n ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)",
    "last_value(v IGNORE NULLS) OVER (PARTITION BY id ORDER BY n)",
    "count(*) OVER ()",
    "count(v) OVER (PARTITION BY id)",
    "sum(n) OVER (PARTITION BY id ORDER BY n)",
    "sum(n) OVER (ORDER BY t)",
    "sum(m) OVER (ORDER BY t, n ROWS BETWEEN 2 PRECEDING AND CURRENT ROW)",
    "sum(n) FILTER (WHERE keep) OVER (ORDER BY t)",
    "count(*) OVER (ORDER BY n ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING)",
    "min(v) OVER (ORDER BY n ROWS BETWEEN 3 PRECEDING AND 1 PRECEDING)",
    "max(n) OVER (PARTITION BY id ORDER BY n DESC ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING)",
    "max(d) OVER (PARTITION BY id)",
    "min(d) OVER (PARTITION BY id ORDER BY n)",
    "bool_or(keep) OVER (PARTITION BY id ORDER BY n)",
    "avg(n) OVER (PARTITION BY id ORDER BY n ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)",
    "bit_or(id) OVER (ORDER BY t)",
]
QUALIFIED = [
    "SELECT * FROM source.events QUALIFY row_number() OVER (PARTITION BY id ORDER BY n DESC) = 1",
    "SELECT id, n, rank() OVER (ORDER BY t) AS r FROM source.events QUALIFY r <= 3",
    "SELECT id, sum(n) AS s, rank() OVER (ORDER BY sum(n)) AS r FROM source.events GROUP BY id",
]
COMPUTED = [
    "SELECT n + 1 AS m, upper(v) AS u, CASE WHEN keep THEN 'yes' ELSE v END AS c, coalesce(v, 'none') AS o FROM source.events",
    "SELECT * FROM source.events WHERE n > 2 AND v <> 'a' OR keep IS NULL",
    "SELECT * FROM source.events WHERE n BETWEEN 2 AND 5 AND id IN (1, 2)",
    "SELECT id, sum(n) / count(*) AS mean, sum(m) AS s FROM source.events GROUP BY id HAVING count(*) > 1",
    "SELECT e.n, p.name FROM source.events e JOIN source.people p ON e.id = p.id AND e.t >= p.t",
    "SELECT e.n, p.name FROM source.events e LEFT JOIN source.people p ON e.id = p.id AND p.name <> 'Bob'",
    "SELECT e.n, p.name FROM source.events e JOIN source.people p ON e.id < p.id OR e.id IS NULL",
    "SELECT n FROM source.events e WHERE EXISTS (SELECT 1 FROM source.people p WHERE p.id = e.id)",
    "SELECT n FROM source.events e WHERE NOT EXISTS (SELECT 1 FROM source.people p WHERE p.id = e.id)",
    "SELECT n, (SELECT max(p.t) FROM source.people p WHERE p.id = e.id) AS x FROM source.events e",
    "SELECT id % 2 AS odd, count(*) AS c FROM source.events GROUP BY odd",
    "SELECT n, sum(n * 2) OVER (PARTITION BY id % 2 ORDER BY t) AS s FROM source.events",
    "SELECT max(c) AS most FROM (SELECT count(*) AS c FROM source.events GROUP BY id)",
    "SELECT n, t - INTERVAL 1 DAY AS earlier, CAST(t AS DATE) AS day FROM source.events",
    "SELECT id, count(*) FILTER (WHERE n > 2 AND v IS NOT NULL) AS c FROM source.events GROUP BY id",
]
REFUSED = {
    "SELECT * FROM source.events e ASOF JOIN source.people p ON e.id = p.id AND e.t >= p.t": "ASOF JOIN",
    "SELECT unnest([1, 2]) FROM source.events": "unnest()",
    "SELECT * FROM source.events LIMIT 3": "LIMIT",
    "SELECT * FROM source.events ORDER BY n LIMIT 3": "LIMIT",
    "SELECT * FROM source.events USING SAMPLE reservoir(2 ROWS) REPEATABLE (1)": "a sample",
    "UNPIVOT (SELECT id, n FROM source.events) ON n INTO NAME k VALUE x": "unnest()",
    "SELECT id FROM source.events EXCEPT SELECT id FROM source.people": "EXCEPT",
    "SELECT id FROM source.events INTERSECT ALL SELECT id FROM source.people": "INTERSECT",
    "SELECT id IN (SELECT id FROM source.people) AS x FROM source.events": "IN (SELECT",
    "SELECT * FROM source.events POSITIONAL JOIN source.people": "POSITIONAL JOIN",
    "SELECT * FROM range(3)": "table function",
    "WITH RECURSIVE r AS (SELECT 1 AS x UNION ALL SELECT x FROM r) SELECT * FROM r": "RECURSIVE",
    "SELECT id, keep, count(*) FROM source.events GROUP BY ROLLUP (id, keep)": "GROUPING SETS",
    "SELECT row_number() OVER () FROM source.events": "row_number() OVER without ORDER BY",
    "SELECT sum(d) OVER (ORDER BY n ROWS 2 PRECEDING) FROM source.events": "sum(DOUBLE)",
    "SELECT sum(n) OVER (ORDER BY n RANGE BETWEEN 1 PRECEDING AND CURRENT ROW) FROM source.events": "frame",
    "SELECT sum(n) OVER (ORDER BY n GROUPS 1 PRECEDING) FROM source.events": "frame",
    "SELECT sum(n) OVER (ORDER BY n ROWS UNBOUNDED PRECEDING EXCLUDE CURRENT ROW) FROM source.events": "EXCLUDE",
    "SELECT count(DISTINCT n) OVER (PARTITION BY id) FROM source.events": "DISTINCT",
    "SELECT ntile(2) OVER (ORDER BY n) FROM source.events": "ntile",
    "SELECT nth_value(v, 2) OVER (ORDER BY n) FROM source.events": "nth_value",
    "SELECT DISTINCT ON (id) id, n FROM source.events": "DISTINCT ON without ORDER BY",
    "SELECT first(v) FROM source.events GROUP BY id": "first() without ORDER BY",
    "SELECT e.n FROM source.events e JOIN source.events o ON e.d = o.d": "a join on DOUBLE",
    "SELECT NULL AS x FROM source.events": "NULL",
    "SELECT n, (SELECT count(*) FROM source.people p WHERE p.id = e.id) AS x FROM source.events e": "correlated",
    "SELECT max(e) FROM source.typed": "max(ENUM('b', 'a'))",
    "SELECT a.u FROM source.typed a JOIN source.typed b ON a.e < b.e": "a join on ENUM",
    "SELECT rank() OVER (ORDER BY e) FROM source.typed": "the order of ENUM",
    "SELECT rowid FROM source.events": "",
    "SELECT random() AS r FROM source.events": "",
    "SELECT TIME '10:00' AS x FROM source.events": "",
    "SELECT nothing_such(n) FROM source.events": "",
}


def _problems(spark: SparkSession, texts: list[str], *, rounded: bool = False) -> list[str]:
    session = reference(TABLES)
    lend(session, spark, TABLES)
    relations = {name: listed for name, (listed, _) in TABLES.items()}
    found = []
    for text in texts:
        types, wanted = expected(session, text)
        query, returned = queries.query(text, relations)
        plain, given = computed(session, spark, query)
        if [each.dtype for each in returned] != types or plain != [
            str(plain_type(each)).replace('"NULL"', "INTEGER") for each in types
        ]:
            found.append(f"{text}: {types} on DuckDB, {plain} on Spark")
        found += [f"{text}: {each}" for each in differences(types, wanted, given, rounded=rounded)]
    return found


@pytest.mark.parametrize("part", range(3))
def test_queries_return_the_rows_of_duckdb(spark: SparkSession, part: int) -> None:
    """Rows have no order, but values and types are the same."""
    assert _problems(spark, QUERIES[part::3]) == []


def test_functions_over_windows_are_those_of_duckdb(spark: SparkSession) -> None:
    """NULLs, NaN and -0.0 are in DuckDB's order."""
    half = len(WINDOWS) // 2
    texts = [
        f"SELECT n, {', '.join(f'{each} AS w{i}' for i, each in enumerate(part))} FROM source.events"
        for part in (WINDOWS[:half], WINDOWS[half:])
    ]
    assert _problems(spark, texts, rounded=True) == []


def test_queries_with_conditions_return_the_rows_of_duckdb(spark: SparkSession) -> None:
    """Conditions, computed columns, and subqueries that DuckDB turns into joins."""
    assert _problems(spark, [*QUALIFIED, *COMPUTED], rounded=True) == []


@pytest.mark.parametrize(("query", "construct"), REFUSED.items())
def test_other_queries_are_refused(query: str, construct: str) -> None:
    """The refusal names the construct."""
    with pytest.raises(Unproved) as refusal:
        queries.query(query, {name: listed for name, (listed, _) in TABLES.items()})
    assert construct in str(refusal.value)


def test_rows_of_equal_order_are_an_error(spark: SparkSession) -> None:
    """DuckDB would number them in any order."""
    session = reference(TABLES)
    lend(session, spark, TABLES)
    relations = {name: listed for name, (listed, _) in TABLES.items()}
    for text in (
        "SELECT row_number() OVER (ORDER BY t) FROM source.events",
        "SELECT lag(v) OVER (PARTITION BY keep ORDER BY m) FROM source.events",
        "SELECT first_value(v) OVER (ORDER BY d) FROM source.events",
        "SELECT sum(n) OVER (ORDER BY id ROWS UNBOUNDED PRECEDING) FROM source.events",
        "SELECT DISTINCT ON (id) id, n FROM source.events ORDER BY id, keep",
    ):
        query, _ = queries.query(text, relations)
        with pytest.raises(Exception, match="over rows of equal order"):
            spark.sql(query).toArrow()
