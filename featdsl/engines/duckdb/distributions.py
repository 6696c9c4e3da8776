"""The SQL of checks on all values of a feature: figures between bounds, and the stability of a distribution."""

from __future__ import annotations

from featdsl.definitions.names import literal, quote
from featdsl.definitions.quality_rules import Distribution, Stability, is_number

_EMPTY = "1e-4"
"""The share of an empty bin, whose logarithm would be infinite."""
_CATEGORIES = 20
_DECILES = tuple(tenth / 10 for tenth in range(1, 10))


def outside(rule: Distribution, column: str, dtype: str, values: str) -> str:
    """Return the query of the figures of a column that are outside their bounds, or NULL for lack of values."""
    figures = ", ".join(f"{_figure(name, quote(column), dtype)} AS {quote(name)}" for name, _, _ in rule.figures)
    tests = []
    for name, least, most in rule.figures:
        ends = [f"{quote(name)} < {least!r}::DOUBLE"] * (least is not None)
        ends += [f"{quote(name)} > {most!r}::DOUBLE"] * (most is not None)
        tests.append(
            f"SELECT {literal(name)} AS figure, {quote(name)} AS value FROM figures"
            f" WHERE {' OR '.join([f'{quote(name)} IS NULL', *ends])}"
        )
    return f"WITH figures AS (SELECT {figures} FROM {values})\n" + "\nUNION ALL ".join(tests)


def _figure(name: str, column: str, dtype: str) -> str:
    """Return the SQL of a figure as a DOUBLE, over the finite values of a number."""
    if name == "null_share":
        return f"(count(*) - count({column})) / nullif(count(*), 0)"
    if name == "distinct":
        return f"CAST(count(DISTINCT {column}) AS DOUBLE)"
    number = f"CAST({column} AS DOUBLE)"
    finite = f"FILTER (WHERE isfinite({number}))" if is_number(dtype) else ""
    if name.startswith("p"):
        return f"quantile_cont({number}, {int(name[1:]) / 100!r}) {finite}"
    function = {"mean": "avg", "std": "stddev_samp"}.get(name, name)
    return f"{function}({number}) {finite}"


def moved(rule: Stability, column: str, dtype: str, values: str, before: str = "") -> str:
    """Return the query of the population stability index of a column, empty if it is smaller than the rule's.

    The baseline is the rule's reference, or the values of the same column in `before`.
    """
    bins = (
        _declared_bins(rule, quote(column), dtype) if rule.reference else _computed_bins(quote(column), dtype, before)
    )
    was, now = (f"greatest(coalesce(was, 0), {_EMPTY})", f"greatest(coalesce(now, 0), {_EMPTY})")
    return (
        f"WITH {bins[0]}, new AS (SELECT {bins[1]} AS bin, count(*) AS n FROM {values}{bins[2]} GROUP BY ALL),\n"
        "shares AS (SELECT bin, n / sum(n) OVER () AS now FROM new),\n"
        f"index AS (SELECT sum(({now} - {was}) * ln({now} / {was})) AS psi FROM old FULL JOIN shares USING (bin))\n"
        f"SELECT psi FROM index WHERE psi IS NULL OR psi >= {rule.psi!r}::DOUBLE"
    )


def _declared_bins(rule: Stability, column: str, dtype: str) -> tuple[str, str, str]:
    """Return the SQL of a reference's shares as a table `old`, of a value's bin, and of the joins that the bin needs."""
    ends = [(key, share) for key, share in rule.reference if key is not None]
    null = next((share for key, share in rule.reference if key is None), 0.0)
    rest = max(0.0, 1 - null - sum(share for _, share in ends))
    if is_number(dtype):
        tests = [f"WHEN CAST({column} AS DOUBLE) <= {literal(str(key))}::DOUBLE" for key, _ in ends]
    else:
        tests = [f"WHEN CAST({column} AS VARCHAR) = {literal(_text(key))}" for key, _ in ends]
    cases = " ".join(f"{test} THEN {number}" for number, test in enumerate(tests))
    bin_ = f"CASE WHEN {column} IS NULL THEN -1 {cases} ELSE {len(ends)} END"
    shares = [(-1, null), *((number, share) for number, (_, share) in enumerate(ends)), (len(ends), rest)]
    listed = ", ".join(f"({number}, {share!r}::DOUBLE)" for number, share in shares)
    return f"old AS (SELECT * FROM (VALUES {listed}) old(bin, was))", bin_, ""


def _text(key: object) -> str:
    return str(key).lower() if isinstance(key, bool) else str(key)


def _computed_bins(column: str, dtype: str, before: str) -> tuple[str, str, str]:
    """Return the same for the values in `before`: bins are the deciles of numbers, or the most frequent other values."""
    if is_number(dtype):
        number = f"CAST({column} AS DOUBLE)"
        deciles = f"quantile_disc({number}, {list(_DECILES)}) FILTER (WHERE isfinite({number})) AS ends"
        head = f"bins AS (SELECT {deciles} FROM {before})"
        above = " + ".join(f"coalesce(CAST({number} > ends[{at}] AS INTEGER), 0)" for at in range(1, 10))
        bin_, beside = f"CASE WHEN {column} IS NULL THEN -1 ELSE {above} END", " CROSS JOIN bins"
    else:
        text = f"CAST({column} AS VARCHAR)"
        counted = f"SELECT {text} AS name, count(*) AS n FROM {before} WHERE {column} IS NOT NULL GROUP BY ALL"
        head = f"bins AS (SELECT name, row_number() OVER (ORDER BY n DESC, name) AS place FROM ({counted}))"
        head += f",\ntop AS (SELECT * FROM bins WHERE place <= {_CATEGORIES})"
        rest = f"coalesce(place, {_CATEGORIES + 1})"
        bin_, beside = f"CASE WHEN {column} IS NULL THEN -1 ELSE {rest} END", f" LEFT JOIN top ON {text} = top.name"
    old = f"counts AS (SELECT {bin_} AS bin, count(*) AS n FROM {before}{beside} GROUP BY ALL)"
    return f"{head},\n{old},\nold AS (SELECT bin, n / sum(n) OVER () AS was FROM counts)", bin_, beside
