"""Expressions and queries of one meaning have the same values, and respellings have one meaning: DuckDB computes the values."""

from __future__ import annotations

import random
from functools import cache

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featdsl.sql import meaning, relations, syntax_tree
from featdsl.sql.meaning import NameScope, Relation

TYPES = {
    "a": "BIGINT", "b": "BIGINT", "x": "DOUBLE", "y": "DOUBLE", "s": "VARCHAR", "t": "VARCHAR", "p": "BOOLEAN", "q": "BOOLEAN",
    "l": "BIGINT[]", "m": "BIGINT[]",
}  # fmt: skip
ROWS = """
    CREATE SCHEMA source;
    CREATE TABLE source.rows AS
    SELECT (i * 7) % 5 - 2 AS a, i % 3 AS b, (i * 13) % 11 / 4.0::DOUBLE AS x, nullif(i % 4, 1) * 0.1::DOUBLE AS y,
           ['A', 'a', 'b'][1 + i % 3] AS s, ['b', NULL, 'A'][1 + (i // 3) % 3] AS t, i % 2 = 0 AS p, nullif(i % 3, 0) = 1 AS q,
           [i % 2, 1] AS l, [2, i % 3] AS m
    FROM range(36) r(i);
"""
ARITHMETIC, COMPARISONS = ("+", "*", "-"), ("=", "<>", "<", ">", "<=", ">=", "IS DISTINCT FROM")


def _stored(prefix: str = "") -> Relation:
    return relations.stored({"rows": 1}, {f"{prefix}{name}": dtype for name, dtype in TYPES.items()}, {})


def digest(sql: str) -> str:
    """Return the hash of an expression's meaning over the rows."""
    return meaning.digest(meaning.of_tree(syntax_tree.tree(syntax_tree.whole(sql)), NameScope({"rows": _stored()})))


@cache
def connection() -> duckdb.DuckDBPyConnection:
    """Return a session with the rows."""
    session = duckdb.connect(config={"threads": 1})
    session.execute(ROWS)
    return session


def computed(sql: str) -> list[object]:
    """Return the value of an expression for each row, as text."""
    found = connection().execute(f"SELECT ({sql})::VARCHAR FROM source.rows ORDER BY rowid").fetchall()
    return [value for (value,) in found]


class Writer:
    """Writes a random expression; one with another `spelling` seed may have operands in another order, and other spaces."""

    def __init__(self, shape: int, spelling: int | None) -> None:
        self._shape = random.Random(shape)  # noqa: S311 - no secrets
        self._spelling = random.Random(spelling) if spelling is not None else None  # noqa: S311

    def number(self, depth: int) -> str:
        """Return an expression of a number."""
        if depth == 0:
            return self._shape.choice(("a", "b", "x", "y", "1", "2.5"))
        kind = self._shape.randrange(5)
        if kind == 0:
            condition, one, other = self.condition(depth - 1), self.number(depth - 1), self.number(depth - 1)
            return f"CASE WHEN {condition} THEN {one} ELSE {other} END"
        if kind == 1:
            return f"coalesce({self.number(depth - 1)}, {self.number(depth - 1)})"
        operator = self._shape.choice(ARITHMETIC)
        return self._operated(operator, self.number(depth - 1), self.number(depth - 1), swaps=operator in "+*")

    def condition(self, depth: int) -> str:
        """Return an expression of a condition."""
        if depth == 0:
            return self._shape.choice(("p", "q"))
        kind = self._shape.randrange(6)
        if kind < 2:
            return self._operated(("AND", "OR")[kind], self.condition(depth - 1), self.condition(depth - 1), swaps=True)
        if kind == 2:
            return f"NOT ({self.condition(depth - 1)})"
        if kind == 3:
            return self._operated(self._shape.choice(COMPARISONS[:2]), self.text(), self.text(), swaps=True)
        operator = self._shape.choice(COMPARISONS)
        return self._compared(operator, self.number(depth - 1), self.number(depth - 1))

    def text(self) -> str:
        """Return an expression of a text."""
        return self._shape.choice(("s", "t", "'A'", "'a'", "upper(s)"))

    def items(self, depth: int) -> str:
        """Return an expression of a list."""
        if depth == 0:
            return self._shape.choice(("l", "m", "[1]", "[a, b]"))
        return f"({self.items(depth - 1)} + {self.items(depth - 1)})"

    def _compared(self, operator: str, one: str, other: str) -> str:
        mirrored = {"<": ">", ">": "<", "<=": ">=", ">=": "<="}
        if self._spelling is not None and self._spelling.random() < 0.5:
            return f"({other} {mirrored.get(operator, operator)} {one})"
        return f"({one} {operator} {other})"

    def _operated(self, operator: str, one: str, other: str, *, swaps: bool) -> str:
        space = " "
        if self._spelling is not None:
            space = self._spelling.choice((" ", "  ", "\n", " /* 1 */ "))
            if swaps and self._spelling.random() < 0.5:
                one, other = other, one
        return f"({one}{space}{operator}{space}{other})"


@given(shape=st.integers(0, 10**9), spelling=st.integers(0, 10**9), kind=st.sampled_from(["number", "condition"]))
def test_respelled_expressions_have_one_meaning(shape: int, spelling: int, kind: str) -> None:
    """Operands of +, *, AND, OR and comparisons may change places; values stay equal."""
    one, other = (getattr(Writer(shape, seed), kind)(3) for seed in (None, spelling))
    assert digest(one) == digest(other), (one, other)
    assert computed(one) == computed(other)


@given(
    st.lists(
        st.tuples(st.integers(0, 400), st.integers(0, 1), st.sampled_from(["number", "condition", "items"])),
        min_size=20,
        max_size=60,
    )
)
def test_expressions_of_one_meaning_have_the_same_values(drawn: list[tuple[int, int, str]]) -> None:
    """Of small random expressions, also over lists, those with one meaning never differ in a value."""
    seen: dict[str, tuple[str, list[object]]] = {}
    for shape, depth, kind in drawn:
        sql = getattr(Writer(shape, shape), kind)(depth)
        known, values = seen.setdefault(digest(sql), (sql, computed(sql)))
        assert values == computed(sql), (known, sql)


QUERIES = [
    "SELECT a, x AS v FROM source.rows",
    "SELECT r.a, r.x AS v FROM source.rows AS r",
    "SELECT b AS a, x AS v FROM source.rows",
    "SELECT a, y AS v FROM source.rows",
    "SELECT a, x AS v FROM source.rows WHERE p",
    "SELECT a, x AS v FROM source.rows WHERE p AND b > 0",
    "SELECT a, x AS v FROM (SELECT * FROM source.rows WHERE 0 < b) WHERE p",
    "WITH w AS (SELECT a, p, x AS v FROM source.rows WHERE b > 0) SELECT a, v FROM w WHERE p",
    "SELECT a, x AS v FROM source.rows WHERE p OR b > 0",
    "SELECT DISTINCT a, x AS v FROM source.rows",
    "SELECT a, sum(x) AS v FROM source.rows GROUP BY a",
    "SELECT a, sum(x) AS v FROM source.rows GROUP BY 1",
    "SELECT a, sum(x) AS v FROM source.rows GROUP BY a, b",
    "SELECT a, sum(x) AS v FROM source.rows GROUP BY a HAVING count(*) > 5",
    "SELECT a, sum(x) AS v FROM source.rows WHERE p GROUP BY a",
    "SELECT a, sum(y) AS x, sum(x) AS v FROM source.rows GROUP BY a HAVING x > 0.9",
    "SELECT a, sum(b) AS x, sum(x) AS v FROM source.rows GROUP BY a HAVING x > 0.9",
    "SELECT lower(s) AS s, a, sum(x) AS v FROM source.rows GROUP BY s, a",
    "SELECT lower(s) AS k, a, sum(x) AS v FROM source.rows GROUP BY k, a",
    "SELECT sum(a) AS a, sum(x) AS v FROM source.rows",
    "SELECT a, sum(x) OVER (PARTITION BY a ORDER BY b, x, y, s) AS v FROM source.rows WHERE p",
    "SELECT a, v FROM (SELECT a, p, sum(x) OVER (PARTITION BY a ORDER BY b, x, y, s) AS v FROM source.rows) WHERE p",
    "SELECT a, x + 1 AS v FROM source.rows",
    "SELECT a, v + 1 AS v FROM (SELECT a, x AS v FROM source.rows)",
    "SELECT a, 1 + x AS v FROM source.rows",
    "SELECT * EXCLUDE (x, y) REPLACE (a + 1 AS a), x AS v FROM source.rows",
    "SELECT a, x AS v FROM source.rows ORDER BY x",
    "SELECT a, x AS v FROM source.rows ORDER BY x, a LIMIT 5",
    "SELECT a, unnest([x, y]) AS v FROM source.rows",
    "SELECT a, x AS v FROM source.rows UNION ALL SELECT a, y FROM source.rows",
    "SELECT l.a, r.x AS v FROM source.rows l JOIN source.rows r ON l.a = r.b",
    "SELECT l.a, r.x AS v FROM source.rows l LEFT JOIN source.rows r ON l.a = r.b",
    "SELECT l.a, r.x AS v FROM source.rows AS l INNER JOIN source.rows AS r ON r.b = l.a",
    "SELECT r.a, r.x AS v FROM source.rows l JOIN source.rows r ON l.a = r.b",
    "SELECT a, x AS v FROM source.rows WHERE a IN (SELECT b FROM source.rows)",
    "SELECT a, x AS b, b AS v FROM source.rows",
]


def _meaning_of(query: str) -> str:
    relation = relations.query(query, {"rows": _stored()}, {"a": "BIGINT", "v": "DOUBLE"})
    return meaning.digest([relation.identity, relation.columns["a"].tree, relation.columns["v"].tree])


def _rows_of(query: str) -> list[tuple[object, ...]]:
    return connection().execute(f"SELECT a, round(v, 6)::DOUBLE FROM ({query}) ORDER BY ALL").fetchall()


def test_queries_of_one_meaning_have_the_same_rows() -> None:
    """Each pair of queries that differs in a row differs in its meaning; those written to be the same are."""
    meanings, rows = [_meaning_of(each) for each in QUERIES], [_rows_of(each) for each in QUERIES]
    same = {
        (at, later)
        for at, one in enumerate(meanings)
        for later, other in enumerate(meanings)
        if at < later and one == other
    }
    assert [(QUERIES[one], QUERIES[other]) for one, other in same if rows[one] != rows[other]] == []
    assert same == {(0, 1), (0, 26), (1, 26), (5, 6), (5, 7), (6, 7), (10, 11), (22, 23), (22, 24), (23, 24), (30, 32)}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a + b", "b + a"),
        ("a + b + 1", "1 + (b + a)"),
        ("l + m", "l  +  m"),
        ("list_filter(l, lambda e: e > a)", "list_filter(l,  LAMBDA e : a < e)"),
        ("rows.a", '"A"'),
        ("a BETWEEN 1 AND 2", "a between 1 and 2"),
        ("a::DOUBLE", "CAST(a AS float8)"),
        ("s NOT LIKE 'A%'", "NOT (s LIKE 'A%')"),
        ("date_part('YEAR', TIMESTAMP '2025-01-01')", "date_part('year', TIMESTAMP '2025-01-01')"),
    ],
)
def test_spellings_of_one_expression_have_one_meaning(one: str, other: str) -> None:
    """Each pair is read alike."""
    assert digest(one) == digest(other)
    assert computed(one) == computed(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a + b + 1", "a + (b + 1)"),
        ("l + m", "m + l"),
        ("[a] + [b]", "[b] + [a]"),
        ("string_split(s, 'x') + string_split(t, 'x')", "string_split(t, 'x') + string_split(s, 'x')"),
        ("(CASE WHEN p THEN l END) + m", "m + (CASE WHEN p THEN l END)"),
        ("s || t", "t || s"),
        ("a - b", "b - a"),
        ("a < b", "a <= b"),
        ("'A'", "'a'"),
        ("1", "1.0"),
        ("a // 2", "a / 2"),
        ("sum(a)", "sum(DISTINCT a)"),
        ("list_filter(l, lambda e: e > a)", "list_filter(l, lambda e: e > b)"),
    ],
)
def test_other_expressions_have_another_meaning(one: str, other: str) -> None:
    """Additions of floats are not associative, and `+` of lists joins them."""
    assert digest(one) != digest(other)


@pytest.mark.parametrize("depth", [20, 150, 400, 900])
def test_a_query_that_is_nested_deeply_equals_itself_alone(depth: int) -> None:
    """Whatever the depth, nothing fails; what is too deep for a tree is compared as text."""
    sql = f"SELECT a{' + (x' * depth}{')' * depth} AS v, a FROM source.rows"
    one, other = (
        relations.query(each, {"rows": _stored()}, {"v": "DOUBLE"}) for each in (sql, sql.replace("+ (x)", "+ (y)"))
    )
    assert meaning.digest([one.identity, one.columns["v"].tree]) != meaning.digest(
        [other.identity, other.columns["v"].tree]
    )
    again = relations.query(sql, {"rows": _stored()}, {"v": "DOUBLE"})
    assert (again.identity, again.columns["v"]) == (one.identity, one.columns["v"])
