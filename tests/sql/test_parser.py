"""The parser: canonical text, columns, forbidden SQL and lineage."""

from __future__ import annotations

import re

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featdsl.errors import SqlProblem
from featdsl.sql import column_lineage, expressions, parser
from featdsl.sql.cache import AnalysisCache
from tests.conftest import Workspace


def canonical(text: str) -> str:
    """Return the canonical text of an expression."""
    return parser.canonical(text)


# One text for one meaning


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("income/12", "income / 12"),
        ("income / 12", "income\n  /\t12"),
        ("income / 12", "income / 12 -- by month"),
        ("income / 12", "/* by month */ income / /* months */ 12"),
        ("income / 12", "Income / 12"),
        ("income / 12", '"income" / 12'),
        ("income / 12", "income / 12;"),
        ("coalesce(income, 0)", "COALESCE(income,0)"),
        ("case when a then 1 else 2 end", "CASE WHEN a THEN 1 ELSE 2 END"),
        ("income::int", "CAST(income AS INT)"),
        ("a <> b", "a != b"),
        ("date '2026-01-01'", "DATE '2026-01-01'"),
        ("x in (1, 2)", "x IN (1,2)"),
    ],
)
def test_texts_of_one_meaning_are_one(one: str, other: str) -> None:
    """Formatting, comments, letter case and quotes make no difference."""
    assert canonical(one) == canonical(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("income / 12", "income / 13"),
        ("income / 12", "income // 12"),
        ("income - 1", "income - -1"),
        ("a and b or c", "a and (b or c)"),
        ("name = 'a'", "name = 'A'"),
        ("name = 'a b'", "name = 'a  b'"),
        ("name = '-- a'", "name = '--a'"),
        ("name like 'a'", "name ilike 'a'"),
        ("1.0", "1.00"),
        ("x::int", "x::bigint"),
        ("x::int", "try_cast(x as int)"),
        ("strftime(at, '%Y')", "strftime(at, '%y')"),
        ("items[1]", "items[0]"),
        ("'a\\n'", "e'a\\n'"),
        ("a.b", "a"),
        ("date_trunc('month', at)", "date_trunc('year', at)"),
    ],
)
def test_texts_of_two_meanings_are_two(one: str, other: str) -> None:
    """A difference that can change a value changes the canonical text."""
    assert canonical(one) != canonical(other)


EXPRESSIONS = [
    ["CASE", "WHEN", "age", ">", "18", "THEN", "'Of  Age'", "ELSE", "NULL", "END"],
    ["coalesce", "(", "income", ",", "0.5", ")", "*", "(", "1", "-", "rate", ")"],
    ["status", "IN", "(", "'open'", ",", "'Held'", ")", "AND", "NOT", "closed"],
    ["CAST", "(", "amount", "AS", "DECIMAL", "(", "18", ",", "2", ")", ")", "::", "DOUBLE"],
    ["date_diff", "(", "'day'", ",", "born", ",", "updated_at", ")", "BETWEEN", "0", "AND", "120"],
    ["list_transform", "(", "items", ",", "lambda", "x", ":", "x", "+", "offset_of", ")"],
    ["details", ".", "address", "IS", "NOT", "NULL"],
]
GAPS = st.sampled_from([" ", "  ", "\n", "\t", " \n\t ", " /* a comment */ ", " -- it's a comment\n", " /* ; ' */\n"])
CASES = st.sampled_from([str, str.upper, str.lower])


@given(st.data())
def test_gaps_comments_and_letter_case_never_change_the_text(data: st.DataObject) -> None:
    """For any expression: quoted strings and keys after dots stay, everything else may be written in any way."""
    tokens = data.draw(st.sampled_from(EXPRESSIONS))
    fixed = [token.startswith("'") or before == "." for before, token in zip(["", *tokens], tokens, strict=False)]
    written = "".join(
        data.draw(GAPS) + (token if stays else data.draw(CASES)(token))
        for token, stays in zip(tokens, fixed, strict=True)
    )

    assert canonical(written) == canonical(" ".join(tokens))


@given(st.sampled_from(EXPRESSIONS))
def test_a_canonical_text_is_its_own(tokens: list[str]) -> None:
    """The canonical text of a canonical text is the same text."""
    once = canonical(" ".join(tokens))

    assert canonical(once) == once


# Columns


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("1", ()),
        ("b + A", ("a", "b")),
        ("a.b.c + d", ("a", "d")),
        ('"Mixed Case"', ("mixed case",)),
        ("'a' || b", ("b",)),
        ("coalesce(a, b, a)", ("a", "b")),
        ("list_transform(items, x -> x + y)", ("items", "y")),
        ("list_transform(items, lambda x: x + y)", ("items", "y")),
        ("[x + y for x in items if x > z]", ("items", "y", "z")),
        ("date_diff('year', born, at)", ("at", "born")),
        ("at AT TIME ZONE 'UTC'", ("at",)),
    ],
)
def test_the_columns_of_an_expression_are_known(text: str, columns: tuple[str, ...]) -> None:
    """Columns are in lower case, sorted and unique, without names that the expression binds itself."""
    assert parser.columns(parser.expression(text)) == columns


# Forbidden SQL


@pytest.mark.parametrize(
    ("text", "message", "fix"),
    [
        ("", "The SQL is empty.", "Write an expression as in a SELECT list."),
        ("-- nothing", "The SQL is empty.", "Write an expression as in a SELECT list."),
        ("a; b", "The SQL has several statements.", "Write one, without semicolons."),
        ("a AS b", "AS gives the feature a second name.", "Remove AS: the column has the feature's name."),
        ("*", "The SQL is not an expression.", "Write an expression as in a SELECT list."),
        ("COLUMNS(*)", "A star is more than one value.", ""),
        ("DROP TABLE a", "The SQL is not an expression.", "Write an expression as in a SELECT list."),
        ("COPY a TO 'b'", "The SQL is not an expression.", "Write an expression as in a SELECT list."),
        ("(a", "Syntax error: ) is missing after '(a'.", "Fix the SQL; the dialect is DuckDB's."),
        (
            "SELECT a",
            "The SQL contains a query, but a feature is an expression over the columns of its source.",
            "Move the query to a Source(sql=...).",
        ),
        (
            "a IN (SELECT 1)",
            "The SQL contains a query, but a feature is an expression over the columns of its source.",
            "Move the query to a Source(sql=...).",
        ),
        (
            "sum(a) OVER ()",
            "OVER reads other rows, but a feature is an expression over one row.",
            "Compute it in a Source(sql=...).",
        ),
        (
            "uuid()",
            "uuid() gives another value at each run, so past values cannot be computed.",
            "Use the row's own timestamp, or a variable: {{ var('name') }}.",
        ),
    ],
)
def test_what_is_no_expression_is_refused(text: str, message: str, fix: str) -> None:
    """Each problem has its reason and its fix."""
    with pytest.raises(SqlProblem) as raised:
        parser.expression(text)

    assert (str(raised.value), raised.value.fix) == (message, fix)


@pytest.mark.parametrize("text", ["now()", "current_date", "CURRENT_TIMESTAMP", "today()", "random()", "uuid()"])
def test_what_changes_by_the_run_is_refused(text: str) -> None:
    """The functions are refused in features and in sources."""
    with pytest.raises(SqlProblem, match="gives another value at each run"):
        parser.expression(f"date_diff('day', born, {text})")
    with pytest.raises(SqlProblem, match="gives another value at each run"):
        parser.query(f"SELECT a FROM source.b WHERE a < {text}")


def test_a_sample_needs_a_seed() -> None:
    """Different rows at each run would give different values."""
    with pytest.raises(SqlProblem, match="A sample has different rows at each run"):
        parser.query("FROM source.a USING SAMPLE 10")

    assert parser.source_inputs(parser.query("FROM source.a USING SAMPLE reservoir(10 ROWS) REPEATABLE (7)")) == ("a",)


@pytest.mark.parametrize("text", ["INSERT INTO a VALUES (1)", "DROP TABLE a", "ATTACH 'a'", "a + 1", "COPY a TO 'b'"])
def test_a_source_is_one_query(text: str) -> None:
    """Statements that write are refused."""
    with pytest.raises(SqlProblem, match="The SQL is not a query"):
        parser.query(text)


def test_an_aggregate_is_known_as_one() -> None:
    """An aggregate reads many rows."""
    texts = ["sum(a)", "count(*) FILTER (WHERE a)", "coalesce(max(a), 0)", "greatest(a, b)", "list_sum(a)"]

    assert [parser.is_aggregate(parser.expression(text)) for text in texts] == [True, True, True, False, False]


# What a query reads


@pytest.mark.parametrize(
    ("text", "inputs"),
    [
        ("SELECT 1 AS one", ()),
        ("FROM source.a", ("a",)),
        ('SELECT * FROM source."b" JOIN source.a USING (k)', ("a", "b")),
        ("WITH q AS (SELECT * FROM source.a) SELECT * FROM q", ("a",)),
        ("SELECT * FROM source.a UNION ALL SELECT * FROM source.b", ("a", "b")),
        ("SELECT (SELECT max(x) FROM source.b) AS m FROM source.a", ("a", "b")),
        ("SELECT * FROM range(3), unnest([1, 2])", ()),
    ],
)
def test_the_sources_of_a_query_are_known(text: str, inputs: tuple[str, ...]) -> None:
    """Sources in subqueries count; CTEs and table functions without sources do not."""
    assert parser.source_inputs(parser.query(text)) == inputs


@pytest.mark.parametrize("table", ["a", "main.a", "'a.parquet'", "read_csv('a.csv')", "glob('*')", "q"])
def test_a_query_reads_nothing_past_its_sources(table: str) -> None:
    """No plan would know a table or file that is not declared as a source."""
    with pytest.raises(SqlProblem, match="which is not a source"):
        parser.source_inputs(parser.query(f"SELECT * FROM {table}"))


# Lineage

SCHEMAS = {"a": {"k": "INTEGER", "x": "DOUBLE", "y": "DOUBLE"}, "b": {"k": "INTEGER", "z": "DOUBLE"}}


@pytest.mark.parametrize(
    ("text", "lineage"),
    [
        ("SELECT * EXCLUDE (y) FROM source.a", {"k": ("a.k",), "x": ("a.x",)}),
        ("SELECT k, x + y AS s FROM source.a", {"k": ("a.k",), "s": ("a.x", "a.y")}),
        ("SELECT X AS Big FROM source.a", {"big": ("a.x",)}),
        ("SELECT 1 AS one FROM source.a", {"one": ()}),
        (
            "SELECT a.k, z FROM source.a JOIN source.b USING (k)",
            {"k": ("a.k", "b.k"), "z": ("a.k", "b.k", "b.z")},
        ),
        ("SELECT x FROM source.a WHERE y > 0", {"x": ("a.x", "a.y")}),
        ("SELECT x FROM source.a ORDER BY y", {"x": ("a.x",)}),
        ("SELECT x FROM source.a ORDER BY y LIMIT 1", {"x": ("a.x", "a.y")}),
        ("SELECT k, count(*) AS n FROM source.a WHERE x > 0 GROUP BY ALL", {"k": ("a.k", "a.x"), "n": ("a.k", "a.x")}),
        ("SELECT DISTINCT k, x FROM source.a", {"k": ("a.k", "a.x"), "x": ("a.k", "a.x")}),
        ("SELECT x FROM source.a QUALIFY row_number() OVER (PARTITION BY k) = 1", {"x": ("a.k", "a.x")}),
        (
            "SELECT y, (SELECT max(z) FROM source.b WHERE b.k = a.k) AS m FROM source.a",
            {"y": ("a.y",), "m": ("a.k", "b.k", "b.z")},
        ),
        ("SELECT x FROM source.a EXCEPT SELECT z FROM source.b", {"x": ("a.x", "b.z")}),
        ("SELECT k, x FROM source.a UNION ALL SELECT k, z FROM source.b", {"k": ("a.k", "b.k"), "x": ("a.x", "b.z")}),
        (
            "WITH q AS (SELECT k, sum(x) AS t FROM source.a GROUP BY k) SELECT k, t / 2 AS h FROM q",
            {"k": ("a.k",), "h": ("a.k", "a.x")},
        ),
        ("SELECT max(x) OVER (PARTITION BY k ORDER BY y) AS m FROM source.a", {"m": ("a.k", "a.x", "a.y")}),
    ],
)
def test_each_column_of_a_query_is_traced(text: str, lineage: dict[str, tuple[str, ...]]) -> None:
    """Lineage has the source columns that a column is computed from, and those that select rows."""
    tree = parser.query(text)
    schemas = {name: SCHEMAS[name] for name in parser.source_inputs(tree)}

    assert column_lineage.trace(tree, schemas, lineage) == lineage


def test_what_cannot_be_traced_is_made_of_everything() -> None:
    """If tracing fails, all columns count."""
    tree = parser.query("SELECT COLUMNS('x|y') FROM source.a")

    assert column_lineage.trace(tree, {"a": SCHEMAS["a"]}, ["x", "y"]) == {
        "x": ("a.k", "a.x", "a.y"),
        "y": ("a.k", "a.x", "a.y"),
    }


def test_a_feature_knows_the_stored_columns_that_it_is_made_of(bank: Workspace) -> None:
    """Lineage goes through queries over queries and through derived groups."""
    bank.write(
        {
            "features/risk.py": """
from featdsl import Feature, FeatureGroup, Source
from features.accounts import user

yearly = Source("yearly", sql="SELECT user_id, updated_at, annual_income * 2 AS twice FROM {{ accounts }}")
shown = Source("shown", timestamp="updated_at", sql="SELECT *, twice / 2 AS once FROM {{ yearly }}")


class Wealth(FeatureGroup, entity=user, source=shown):
    once = Feature(float)


class Share(FeatureGroup, entity=user, inputs=[Wealth.once, "user_profile.age"]):
    by_age = Feature(float, sql="once / age")
"""
        }
    )
    bank.apply()

    catalog = bank.store._open().snapshot.catalog

    assert catalog.features["wealth.once"].roots == ("accounts.annual_income",)
    assert catalog.features["share.by_age"].roots == (
        "accounts.annual_income", "accounts.birth_date", "accounts.updated_at",
    )  # fmt: skip


STATEMENTS = [
    "CASE WHEN a > 1 THEN coalesce(b, 'it''s') ELSE CAST(c AS DECIMAL(10, 2)) END",
    'list_transform(xs, x -> x + 1)[1] /* a comment */ || "two words"',
    "sum(amount) FILTER (WHERE status = 'paid') / nullif(count(*), 0)",
    "EXTRACT(year FROM at) BETWEEN 2020 AND $$2021$$::INT AND a IN (1, 2) AND NOT b IS NULL",
    "WITH t AS (SELECT a, {'b': 1} AS s FROM source.rows) SELECT a, s.b FROM t WHERE a LIKE 'x%' ORDER BY a",
]
RAW = re.compile(r"sqlglot|Expect(ing|ed)|Required keyword|Invalid expression|token|Line \d|Col\b|class|\x1b|Error")


@pytest.mark.parametrize("text", STATEMENTS)
def test_sql_that_is_cut_off_is_refused_in_plain_words(text: str) -> None:
    """Wherever the SQL is cut, messages have featdsl's own words, never those of the parser."""
    messages = []
    for at in range(len(text)):
        for rest in ("", ")", "'", " +", ", ,", " ->"):
            for read in (parser.read, parser.query, lambda each: expressions.windowed(each, AnalysisCache())):
                try:
                    read(text[:at] + rest)
                except SqlProblem as problem:
                    messages.append(f"{problem} {problem.fix}")
    assert [each for each in messages if RAW.search(each)] == []
    assert any("is missing after" in each for each in messages)
    assert any("has no end" in each for each in messages)
    assert any("does not belong" in each for each in messages)


# Functions that depend on the run


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("date_part('year', age(birth::TIMESTAMP))", "age() with one argument"),
        ("current_setting('TimeZone')", "current_setting()"),
        ("getvariable('day')", "getvariable()"),
        ("ts > ago('1 day')", "ago()"),
        ("nextval('s')", "nextval()"),
        ("localtimestamp", "localtimestamp"),
        ("system.main.now()", "now()"),
        ("list_transform(l, lambda x: x + random())", "random()"),
        ("max(ts - current_localtimestamp())", "current_localtimestamp()"),
    ],
)
def test_what_duckdb_lists_as_unstable_is_refused_by_name(text: str, name: str) -> None:
    """Also functions that DuckDB's list lacks and macros that call one, in queries and in expressions."""
    for read in (lambda: parser.read(text), lambda: parser.query(f"SELECT {text} AS v FROM source.rows")):
        with pytest.raises(SqlProblem, match="gives another value at each run") as raised:
            read()
        assert str(raised.value).startswith(f"{name} gives")


@pytest.mark.parametrize("name", ["now", "age", "random", "today", "user", "version", "stats"])
def test_a_column_may_be_called_like_an_unstable_function(name: str) -> None:
    """A column with the name of an unstable function is not a call."""
    assert parser.read(f"{name} + 1")[1] == (name,)
    assert parser.read(f"age(ts, {name})")[1] == tuple(sorted([name, "ts"]))


def test_every_function_that_duckdb_lists_as_unstable_is_refused() -> None:
    """Except error(), which returns no value, and what depends on the zone of the session, which is UTC."""
    zoned = "len(parameter_types) > 0 AND parameter_types::VARCHAR || return_type SIMILAR TO '.*(TIMESTAMPTZ|WITH TIME ZONE).*'"
    unstable = f"stability IN ('VOLATILE', 'CONSISTENT_WITHIN_QUERY') AND function_name <> 'error' AND NOT ({zoned})"
    for (name,) in duckdb.sql(f"SELECT DISTINCT function_name FROM duckdb_functions() WHERE {unstable}").fetchall():
        with pytest.raises(SqlProblem, match="another value at each run"):
            parser.read(f"{name}()")


@pytest.mark.parametrize(
    "text",
    [
        "date_sub('year', a, b)",
        "date_trunc('day', a)",
        "year(a)",
        "strftime(a, '%Y')",
        "timezone('Europe/Berlin', a)",
        "a - b",
    ],
)
def test_a_function_of_times_is_accepted_whatever_their_zone(text: str) -> None:
    """DuckDB 2.0.1 lists those over times with a zone with those that depend on the session; a session is in UTC."""
    assert "a" in parser.read(text)[1]


@pytest.mark.parametrize("table", ["duckdb_settings()", "duckdb_tables()", "pg_timezone_names()"])
def test_a_query_reads_no_rows_of_the_session(table: str) -> None:
    """Another session has other rows."""
    with pytest.raises(SqlProblem, match="rows that depend on the session"):
        parser.query(f"SELECT * FROM {table}")
