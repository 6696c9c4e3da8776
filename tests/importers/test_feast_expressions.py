"""Expressions of on-demand views have the same values in SQL as in pandas and Python."""

from __future__ import annotations

import textwrap
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from featdsl.importers.feast_expressions import ExpressionTranslator
from featdsl.importers.feast_functions import NotPlainError, outputs
from featdsl.importers.feast_objects import FeastOnDemandView

ROWS = pa.table({
    "a": pa.array([1, -7, 0, 9_007_199_254_740_991, 33], pa.int64()),
    "b": pa.array([3, 2, 0, 10, -4], pa.int64()),
    "n": pa.array([1, None, 5, None, 2], pa.int64()),
    "x": pa.array([0.1, -2.5, 0.0, 1e300, None], pa.float64()),
    "y": pa.array([0.7, 0.0, 0.0, 3.3, 2.2], pa.float64()),
    "f": pa.array([0.1, 0.3, None, 16_777_216.0, -5.5], pa.float32()),
    "t": pa.array([True, False, None, True, False], pa.bool_()),
    "s": pa.array(["new", "old", None, "", "it's"], pa.string()),
    "order": pa.array([1.0, 2.0, 3.0, 4.0, 5.0], pa.float64()),
})  # fmt: skip
TYPES = {
    "a": "BIGINT", "b": "BIGINT", "n": "BIGINT", "x": "DOUBLE", "y": "DOUBLE", "f": "FLOAT", "t": "BOOLEAN", "s": "VARCHAR",
    "order": "DOUBLE",
}  # fmt: skip
COLUMNS = {name: (name, dtype) for name, dtype in TYPES.items()}
IN_PANDAS = [
    ("i['a'] + i['b']", "a + b"),
    ("i['b'] - (i['x'] - i['y'])", "b - (x - y)"),
    ("(i['b'] - i['x']) - i['y']", "b - x - y"),
    ("i['a'] / i['b']", "a / b"),
    ("i['x'] / i['y']", "x / y"),
    ("i['b'] * 0.1", "b * 0.1e0"),
    ("i['n'] * 0.1 + 0.2", "n * 0.1e0 + 0.2e0"),
    ("i['x'] * 0.1", "x * 0.1e0"),
    ("i['f'] + i['a']", "CAST(f AS DOUBLE) + a"),
    ("i['f'] * i['x']", "CAST(f AS DOUBLE) * x"),
    ("i['f'] * 0.1", "f * 0.1"),
    ("i['f'] / 3", "f / 3"),
    ("i['f'] * i['f'] - 1", "f * f - 1"),
    ("2 * (i['b'] + 1) / -3", "2 * (b + 1) / -3"),
    ("-i['x'] * -(i['y'] + 1)", "-x * -(y + 1)"),
    ("i['x'] > 0.05", "coalesce(x > 0.05e0, false)"),
    ("i['f'] > 0.1", "coalesce(f > 0.1, false)"),
    ("i['f'] >= i['y']", "coalesce(CAST(f AS DOUBLE) >= y, false)"),
    ("i['n'] != 5", "coalesce(n <> 5, true)"),
    ("i['s'] == 'new'", "coalesce(s = 'new', false)"),
    ("(i['x'] > 0) & ~(i['s'] == \"it's\")", "coalesce(x > 0, false) AND NOT coalesce(s = 'it''s', false)"),
    ("(i['x'] > 0) | (i['y'] > 0) & (i['b'] > 0)",
     "coalesce(x > 0, false) OR (coalesce(y > 0, false) AND coalesce(b > 0, false))"),
    ("np.where(i['x'] > 0, i['b'], i['y'])", "CASE WHEN coalesce(x > 0, false) THEN b ELSE y END"),
    ("np.where(i['x'] > 0, 1, 0.5)", "CASE WHEN coalesce(x > 0, false) THEN 1 ELSE 0.5e0 END"),
    ("np.where(i['x'] > 0.5, i['y'] * 0.1, i['n'].fillna(40))",
     "CASE WHEN coalesce(x > 0.5e0, false) THEN y * 0.1e0 ELSE coalesce(n, 40) END"),
    ("i['n'].fillna(0)", "coalesce(n, 0)"),
    ("i['x'].fillna(0.5) * 2", "coalesce(x, 0.5) * 2"),
    ("i['s'].fillna('none') + '!'", "coalesce(s, 'none') || '!'"),
    ("abs(i['x']) + i['b'].abs()", "abs(x) + abs(b)"),
    ("i['f'].astype('float64') * 0.1", "CAST(f AS DOUBLE) * 0.1e0"),
    ("i['b'].astype(float) / 7", "CAST(b AS DOUBLE) / 7"),
    ("i.order * 2", '"order" * 2'),
]  # fmt: skip
IN_PYTHON = [
    ("a + b for a, b in zip(i['a'], i['b'])", "a + b"),
    ("f * 0.1 for f in i['f']", "CAST(f AS DOUBLE) * 0.1e0"),
    ("(y + 1) / 3 for y in i['y']", "(y + 1) / 3"),
    ("y if b > 0 else -1 for y, b in zip(i['y'], i['b'])", "CASE WHEN b > 0 THEN y ELSE -1 END"),
    ("b > 2 and not y == 0 for b, y in zip(i['b'], i['y'])", "b > 2 AND NOT y = 0"),
    ("float(b) * 0.1 for b in i['b']", "CAST(b AS DOUBLE) * 0.1e0"),
]
NOT_PLAIN = [
    ("i['x'].rank()", "`x.rank()` is not translated: write it as features with sql="),
    ("i['x'] % 2", "`x % 2` is not translated: write it as features with sql="),
    ("i['a'] // 2", "`a // 2` is not translated: write it as features with sql="),
    ("np.log(i['x'])", "`np.log(x)` is not translated: write it as features with sql="),
    ("i['x'] + LIMIT", "`LIMIT` is not translated: write it as features with sql="),
    ("i['missing'] + 1", "its input missing is not carried over"),
    ("i['s'] + i['x']", "`s + x` is not translated: write it as features with sql="),
    ("i[['x', 'y']].sum(axis=1)", "i[['x', 'y']] is not an input"),
    ("other(i)", "`other(i)` is not translated: write it as features with sql="),
    ("i['x'].fillna(i['y'])", "`x.fillna(y)` is not translated: write it as features with sql="),
    ("i['n'].fillna(0.5)", "`n.fillna(0.5)` is not translated: write it as features with sql="),
]


def view(body: str, mode: str = "pandas") -> FeastOnDemandView:
    """Return an on-demand view of a function with a body."""
    return FeastOnDemandView(
        name="v",
        kind="OnDemandFeatureView",
        mode=mode,
        code=f"@decorator()\ndef v(i):\n{textwrap.indent(body, '    ')}\n",
    )


def translated(body: str, mode: str = "pandas") -> str:
    """Return the SQL of the feature `out`."""
    return ExpressionTranslator(COLUMNS, pandas=mode == "pandas").sql(outputs(view(body, mode))["out"]).text


def computed(sql: str) -> list[Any]:
    """Return the values of an expression in DuckDB."""
    rows = ROWS  # noqa: F841 - the query names it
    return [value for (value,) in duckdb.connect().execute(f"SELECT {sql} FROM rows").fetchall()]


def same(ours: list[Any], theirs: list[Any]) -> bool:
    """Return whether values are equal to the last bit; NaN, which pandas has for NULL, is None."""
    return [_known(each) for each in ours] == [_known(each) for each in theirs]


def _known(value: Any) -> Any:
    return None if value is None or value != value else value  # noqa: PLR0124 - NaN equals nothing


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(("python", "sql"), IN_PANDAS)
def test_an_expression_over_columns_has_the_values_of_pandas(python: str, sql: str) -> None:
    """With NULLs, 32 bits, literals that are no decimals, and divisions by zero."""
    frame = pd.DataFrame({"out": eval(python, {"i": ROWS.to_pandas(), "np": np})})  # noqa: S307 - the table above

    assert translated(f"df = pd.DataFrame()\ndf['out'] = {python}\nreturn df") == sql
    assert same(computed(sql), pa.Table.from_pandas(frame).column("out").to_pylist())


@pytest.mark.parametrize(("python", "sql"), IN_PYTHON)
def test_a_comprehension_has_the_values_of_python(python: str, sql: str) -> None:
    """Python's floats have 64 bits, and it has no numbers that are unknown."""
    known = ROWS.filter(pa.compute.is_valid(ROWS["f"])).to_pydict()
    values = eval(f"[{python}]", {"i": known})  # noqa: S307 - the table above
    ours = [each for each, f in zip(computed(sql), ROWS["f"].to_pylist(), strict=True) if f is not None]

    assert translated(f"return {{'out': [{python}]}}", "python") == sql
    assert same(ours, values)


@pytest.mark.parametrize(("python", "reason"), NOT_PLAIN)
def test_another_expression_is_refused_with_its_text(python: str, reason: str) -> None:
    """Nothing is translated that could mean something else."""
    with pytest.raises(NotPlainError) as error:
        translated(f"df = pd.DataFrame()\ndf['out'] = {python}\nreturn df")

    assert (str(error.value), error.value.line) == (reason, 4)


@pytest.mark.parametrize(
    "body",
    [
        "df = pd.DataFrame()\ndf['out'] = i['a'] + i['b']\nreturn df",
        "'''What it is.'''\nboth: pd.Series = i['a'] + i['b']\ndf = pd.DataFrame({'out': both})\nreturn df",
        "return pd.DataFrame({'out': i['a'] + i['b']})",
        "df = {}\ndf['first'] = i['a']\ndf['out'] = df['first'] + i['b']\nreturn df",
        "return {'out': i['a'] + i['b']}",
    ],
)
def test_functions_may_be_written_in_several_ways(body: str) -> None:
    """A frame that is filled, a dict, and variables between."""
    assert translated(body) == "a + b"


@pytest.mark.parametrize(
    ("body", "reason", "line"),
    [
        ("for x in i['a']:\n    pass\nreturn {}", "its function has `for x in i['a']:`, and not only assignments", 3),
        (
            "df = pd.DataFrame()\nif len(i):\n    df['out'] = 1\nreturn df",
            "its function has `if len(i):`, and not only assignments",
            4,
        ),
        ("df = i.copy()\ndf['out'] = df['a']\nreturn df", "its function assigns to df['out']", 4),
        ("x = 1", "its function returns nothing", 2),
        ("return i['a'] + 1", "its function returns neither a frame nor a dict that it has made", 3),
        ("return {'out': [a for a in i['a'] if a]}", "its list comprehension does more than to go through columns", 3),
    ],
)
def test_another_function_is_refused_with_its_line(body: str, reason: str, line: int) -> None:
    """The first statement that is more than an assignment is named."""
    with pytest.raises(NotPlainError) as error:
        translated(body)

    assert reason in str(error.value)
    assert error.value.line == line
