"""Twenty pairs of features that compute the same values, and twenty that only look alike.

Each case has two groups over a file of its own, `data/CASE.parquet`, so that cases do not meet. `CASE` in the code stands for its
name. The groups are `CASE_one` of team one and `CASE_two` of team two.
"""

from __future__ import annotations

from dataclasses import dataclass

ROWS = """
    SELECT i AS user_id, i % 3 AS other_id, TIMESTAMP '2025-01-01' + to_hours(i::INTEGER) AS paid_at,
           TIMESTAMP '2026-01-02' + to_hours(i::INTEGER) AS known_at, i AS seq, -i AS rank, i * 1.5::DOUBLE AS amount,
           i * 0.1::DOUBLE AS tax, i::INTEGER AS quantity, 'A' AS kind, i % 2 = 0 AS is_open, [i, 1] AS ones, [2, i] AS others
    FROM range(10) t(i)
"""
"""The rows of the file of each case."""

HEAD = '''"""A team of the cases."""

import pyarrow.compute as pc

from featdsl import Entity, Feature, FeatureGroup, Source, python_feature
'''


@dataclass(frozen=True)
class Case:
    """Two groups, as the code of two teams."""

    name: str
    one: str
    two: str


def _source(side: str, options: str = "") -> str:
    return f'CASE_rows_{side} = Source("CASE_rows_{side}", path="data/CASE.parquet", timestamp="paid_at"{options})\n'


def _query(side: str, sql: str, options: str = 'timestamp="paid_at"') -> str:
    return f'CASE_rows_{side} = Source("CASE_rows_{side}", sql="""{sql}""", {options})\n'


def _group(side: str, feature: str, options: str = "", entity: str = "user") -> str:
    return (
        f"class Group_CASE_{side}(FeatureGroup, name='CASE_{side}', entity={entity}, source=CASE_rows_{side}{options}):\n"
        f"    {feature}\n"
    )


def _pair(name: str, one: str, two: str) -> Case:
    """Return a case of two features over one source each, which reads the same file."""
    return Case(name, _source("one") + _group("one", one), _source("two") + _group("two", two))


def _queries(name: str, one: str, two: str, first: str, second: str) -> Case:
    """Return a case of two features over a query each, which reads a source of the same file."""
    base = "CASE_stored_{0} = Source('CASE_stored_{0}', path='data/CASE.parquet')\n"
    return Case(
        name,
        base.format("one") + _query("one", one) + _group("one", first),
        base.format("two") + _query("two", two) + _group("two", second),
    )


_JOINED = """
CASE_left_{0} = Source('CASE_left_{0}', path='data/CASE.parquet')
CASE_right_{0} = Source('CASE_right_{0}', path='data/rates.parquet')
"""
_DERIVED = """
class Group_CASE_base_{0}(FeatureGroup, name='CASE_base_{0}', entity=user, source=CASE_rows_{0}):
    {1} = Feature(float, sql="amount")
    {2} = Feature(float, sql="tax")


class Group_CASE_{0}(FeatureGroup, name='CASE_{0}', entity=user, inputs=[Group_CASE_base_{0}.{1}, Group_CASE_base_{0}.{2}]):
    {3}
"""
_PYTHON = """
class Group_CASE_{0}(FeatureGroup, name='CASE_{0}', entity=user, source=CASE_rows_{0}):
    @python_feature(float)
    def {1}(amount, tax):
        return pc.add(amount, pc.multiply(tax, {2}))
"""

SAME = (
    _pair("names", 'a = Feature(float, sql="amount", description="One.", tags="x")', 'b = Feature(float, sql="amount")'),
    _pair(
        "spelling",
        'a = Feature(float, sql="coalesce(amount, 0) - tax")',
        'b = Feature(float, sql="COALESCE( Amount , 0)  /* 30 days */ - \\"tax\\" -- net")',
    ),
    _pair("sum", 'a = Feature(float, sql="amount + tax * quantity")', 'b = Feature(float, sql="quantity * tax + amount")'),
    _pair(
        "logic",
        'a = Feature(bool, sql="amount > tax AND (is_open OR kind = \'A\') AND quantity <> 3")',
        'b = Feature(bool, sql="3 != quantity AND tax < amount AND (\'A\' = kind OR is_open)")',
    ),
    _pair(
        "list",
        'a = Feature(bool, sql="kind IN (\'A\', \'B\') AND quantity NOT IN (1, 2)")',
        'b = Feature(bool, sql="NOT (quantity IN (2, 1)) AND kind IN (\'B\', \'A\')")',
    ),
    _pair(
        "cast", 'a = Feature(int, sql="CAST(amount AS BIGINT)")', 'b = Feature(int, sql="amount::int8")'
    ),
    _pair(
        "window",
        'a = Feature(float, sql="avg(amount) FILTER (WHERE is_open AND tax > 0)", window="24 hours")',
        'b = Feature(float, sql="AVG(amount) FILTER (WHERE 0 < tax AND is_open)", window="1 day")',
    ),
    _pair(
        "every",
        'a = Feature(float, sql="sum(amount + tax) / count(*)", window="7 days", every="1 day", delay="60 minutes")',
        'b = Feature(float, sql="sum(tax + amount) / count(*)", window="1 week", every="24 hours", delay="1 hour")',
    ),
    Case(
        "entity",
        _source("one") + _group("one", 'a = Feature(float, sql="amount")'),
        "CASE_buyer = Entity('CASE_buyer', keys={'buyer_id': int})\n"
        + _source("two")
        + _group("two", 'b = Feature(float, sql="amount")', ', keys={"buyer_id": "user_id"}', "CASE_buyer"),
    ),
    Case(
        "projection",
        _source("one", ', tie_break="seq"') + _group("one", 'a = Feature(float, sql="sum(amount)", window="3 days")'),
        "CASE_stored = Source('CASE_stored', path='data/CASE.parquet')\n"
        + _query(
            "two",
            "SELECT t.user_id AS user_id, t.paid_at AS booked_at, t.seq AS number, t.amount AS paid FROM {{ CASE_stored }} AS t",
            'timestamp="booked_at", tie_break="number"',
        )
        + _group("two", 'b = Feature(float, sql="sum(paid)", window="3 days")'),
    ),
    Case(
        "computed",
        _source("one") + _group("one", 'a = Feature(float, sql="amount / 12 + tax")'),
        "CASE_stored = Source('CASE_stored', path='data/CASE.parquet')\n"
        + _query("two", "SELECT user_id, paid_at, tax, amount / 12 AS monthly FROM {{ CASE_stored }}")
        + _group("two", 'b = Feature(float, sql="tax + monthly")'),
    ),
    _queries(
        "filter",
        "SELECT user_id, paid_at, amount FROM {{ CASE_stored_one }} WHERE is_open AND amount > 1",
        "SELECT x.user_id, x.paid_at, x.amount AS paid FROM {{ CASE_stored_two }} x WHERE 1 < x.amount AND x.is_open ORDER BY x.paid_at",
        'a = Feature(float, sql="amount")',
        'b = Feature(float, sql="paid")',
    ),
    _queries(
        "steps",
        "SELECT user_id, paid_at, amount FROM {{ CASE_stored_one }} WHERE is_open AND kind = 'A'",
        "WITH opened AS (SELECT * FROM {{ CASE_stored_two }} WHERE is_open)\n"
        "SELECT user_id, paid_at, amount AS paid FROM (SELECT * EXCLUDE (tax) FROM opened) AS o WHERE 'A' = o.kind",
        'a = Feature(float, sql="amount")',
        'b = Feature(float, sql="paid")',
    ),
    _queries(
        "grouped",
        "SELECT user_id, max(paid_at) AS paid_at, sum(amount) AS total FROM {{ CASE_stored_one }} GROUP BY user_id",
        "SELECT s.user_id, sum(s.amount) AS paid, max(s.paid_at) AS paid_at FROM {{ CASE_stored_two }} s GROUP BY 1",
        'a = Feature(float, sql="total")',
        'b = Feature(float, sql="paid")',
    ),
    _queries(
        "running",
        "SELECT user_id, paid_at, sum(amount) OVER (PARTITION BY user_id ORDER BY paid_at) AS so_far FROM {{ CASE_stored_one }}",
        "SELECT p.user_id, p.paid_at, sum(p.amount) OVER (partition by p.user_id order by p.paid_at) AS total FROM {{ CASE_stored_two }} p",
        'a = Feature(float, sql="so_far")',
        'b = Feature(float, sql="total")',
    ),
    Case(
        "joined",
        _JOINED.format("one")
        + _query("one", "SELECT a.user_id, a.paid_at, a.amount * b.rate AS usd FROM {{ CASE_left_one }} a JOIN {{ CASE_right_one }} b USING (kind)")
        + _group("one", 'a = Feature(float, sql="usd")'),
        _JOINED.format("two")
        + _query("two", "SELECT user_id, paid_at, amount * rate AS dollars FROM {{ CASE_left_two }} AS rows INNER JOIN {{ CASE_right_two }} USING (kind)")
        + _group("two", 'b = Feature(float, sql="dollars")'),
    ),
    _queries(
        "opaque",
        "SELECT user_id, paid_at, amount FROM {{ CASE_stored_one }} UNION ALL SELECT other_id, known_at, tax FROM {{ CASE_stored_one }}",
        "select user_id, paid_at, amount from {{ CASE_stored_two }}\nunion all -- both\nselect other_id, known_at, tax from {{ CASE_stored_two }}",
        'a = Feature(float, sql="amount")',
        'b = Feature(float, sql="Amount")',
    ),
    Case(
        "derived",
        _source("one") + _DERIVED.format("one", "gross", "rate", 'a = Feature(float, sql="gross + rate")'),
        _source("two") + _DERIVED.format("two", "total", "share", 'b = Feature(float, sql="share + total")'),
    ),
    Case(
        "python",
        _source("one") + _PYTHON.format("one", "net", "2"),
        _source("two") + _PYTHON.format("two", "net", "2"),
    ),
    Case(
        "known_late",
        _source("one", ', available_at="known_at"') + _group("one", 'a = Feature(float, sql="tax")', ', ttl="7 days"'),
        _source("two", ', available_at="known_at"') + _group("two", 'b = Feature(float, sql="tax")', ', ttl="168 hours"'),
    ),
)  # fmt: skip

DIFFERENT = (
    _pair("other_window", 'a = Feature(float, sql="avg(amount)", window="7 days")', 'b = Feature(float, sql="avg(amount)", window="8 days")'),
    _pair(
        "other_every",
        'a = Feature(float, sql="avg(amount)", window="7 days", every="1 day")',
        'b = Feature(float, sql="avg(amount)", window="7 days", every="1 hour")',
    ),
    _pair(
        "other_end",
        'a = Feature(float, sql="avg(amount)", window="7 days", closed="left")',
        'b = Feature(float, sql="avg(amount)", window="7 days", closed="both")',
    ),
    _pair(
        "other_delay",
        'a = Feature(float, sql="avg(amount)", window="7 days", delay="1 hour")',
        'b = Feature(float, sql="avg(amount)", window="7 days", offset="1 hour")',
    ),
    _pair("other_aggregate", 'a = Feature(float, sql="avg(amount)", window="7 days")', 'b = Feature(float, sql="sum(amount)", window="7 days")'),
    _pair(
        "other_filter",
        'a = Feature(float, sql="sum(amount) FILTER (WHERE is_open)", window="7 days")',
        'b = Feature(float, sql="sum(amount) FILTER (WHERE NOT is_open)", window="7 days")',
    ),
    _pair(
        "other_distinct",
        'a = Feature(int, sql="count(DISTINCT kind)", window="7 days")',
        'b = Feature(int, sql="count(kind)", window="7 days")',
    ),
    _pair("other_constant", 'a = Feature(float, sql="amount / 12")', 'b = Feature(float, sql="amount / 12.0")'),
    _pair("other_text", 'a = Feature(bool, sql="kind = \'A\'")', 'b = Feature(bool, sql="kind = \'a\'")'),
    _pair("other_order", 'a = Feature(float, sql="amount - tax")', 'b = Feature(float, sql="tax - amount")'),
    _pair("other_grouping", 'a = Feature(float, sql="(amount + tax) + 0.1")', 'b = Feature(float, sql="amount + (tax + 0.1)")'),
    _pair("other_lists", 'a = Feature("BIGINT[]", sql="ones + others")', 'b = Feature("BIGINT[]", sql="others + ones")'),
    _pair("other_type", 'a = Feature(float, sql="quantity")', 'b = Feature(int, sql="quantity")'),
    Case(
        "other_ttl",
        _source("one") + _group("one", 'a = Feature(float, sql="amount")', ', ttl="7 days"'),
        _source("two") + _group("two", 'b = Feature(float, sql="amount")', ', ttl="30 days"'),
    ),
    Case(
        "other_key",
        _source("one") + _group("one", 'a = Feature(float, sql="sum(amount)", window="7 days")'),
        _source("two") + _group("two", 'b = Feature(float, sql="sum(amount)", window="7 days")', ', keys={"user_id": "other_id"}'),
    ),
    Case(
        "other_time",
        _source("one") + _group("one", 'a = Feature(float, sql="amount")'),
        _source("two").replace('timestamp="paid_at"', 'timestamp="known_at"') + _group("two", 'b = Feature(float, sql="amount")'),
    ),
    Case(
        "other_knowledge",
        _source("one") + _group("one", 'a = Feature(float, sql="amount")'),
        _source("two", ', available_at="known_at"') + _group("two", 'b = Feature(float, sql="amount")'),
    ),
    _queries(
        "other_rows",
        "SELECT user_id, paid_at, sum(amount) OVER (PARTITION BY other_id ORDER BY paid_at) AS total FROM {{ CASE_stored_one }} WHERE is_open",
        "SELECT * FROM (SELECT user_id, paid_at, is_open, sum(amount) OVER (PARTITION BY other_id ORDER BY paid_at) AS total\n"
        "               FROM {{ CASE_stored_two }}) WHERE is_open",
        'a = Feature(float, sql="total")',
        'b = Feature(float, sql="total")',
    ),
    _queries(
        "other_column",
        "SELECT user_id, paid_at, amount, tax FROM {{ CASE_stored_one }}",
        "SELECT user_id, paid_at, tax AS amount, amount AS tax FROM {{ CASE_stored_two }}",
        'a = Feature(float, sql="amount * 2 - tax")',
        'b = Feature(float, sql="amount * 2 - tax")',
    ),
    Case(
        "other_code",
        _source("one") + _PYTHON.format("one", "net", "2"),
        _source("two") + _PYTHON.format("two", "net", "3"),
    ),
)  # fmt: skip
