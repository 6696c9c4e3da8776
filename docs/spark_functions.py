"""Write the list of functions that are proved on Spark, from the table that translates them.

Run in the repository: python docs/spark_functions.py docs/spark_functions.md
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from featdsl.engines.spark import aggregates, casts, window_functions
from featdsl.engines.spark.functions import proved
from featdsl.engines.spark.signatures import Signature

_HEAD = """# Functions on Spark

A group with `engine="spark"` is computed by Spark, and its values are equal to those of DuckDB. So featdsl translates only what its tests
compare on both engines, over rows with NULL, NaN, infinities, -0.0, large numbers, Unicode, leap days and times long ago; `featdsl plan`
refuses the rest by name. This list is written by `docs/spark_functions.py` from the table that translates.

`literal` marks an argument that must be a literal. `DECIMAL` is any decimal type, `T[]` is any list. Other numbers are converted as DuckDB
converts them: an INTEGER that is given to `sqrt(DOUBLE)` is proved, too. "Last digits" marks functions whose results may differ in the last
two binary digits, because each engine computes them in its own way.

Beside these: `CASE`, `if`, `coalesce`, `ifnull`, `nullif`, `greatest`, `least`, `AND`, `OR`, `NOT`, `IN`, `BETWEEN`, `IS NULL`, `IS TRUE`,
`IS FALSE`, `concat`, `concat_ws`, lists as `[a, b]` and `list_value`, indexes such as `a[1]` and `a[-1]`, and fields of a STRUCT as `a.b`.

## Functions and operators

| name | arguments | last digits |
|---|---|---|
"""

_AGGREGATES = """## Aggregates

With `FILTER (WHERE ...)`. `count`, `sum`, `avg`, `min`, `max`, `bool_and`, `bool_or`, `list` and `string_agg` also with DISTINCT. A result
that depends on the order of rows needs ORDER BY within the call; in a window of features, rows have the order of their times. If rows of
equal order could give several results, Spark raises an error. Sums, averages and variances of DOUBLE, and averages of other numbers, may
differ in their last digits: each engine adds up in an order of its own. `ANY` is every type; DECIMAL has up to 28 digits in sums.

| name | types of the argument |
|---|---|
"""
_WINDOWS = """## Functions with OVER

In a `Source(sql=...)`, with PARTITION BY, ORDER BY, FILTER, and a frame of ROWS, or of RANGE between CURRENT ROW and UNBOUNDED. A result
that depends on the order of rows with equal keys, such as `row_number()`, is an error on Spark if there are such rows.

| name | types of the argument |
|---|---|
"""


def page() -> str:
    """Return the page in Markdown."""
    lines = [_row(name, signatures) for name, signatures in proved()]
    targets = [
        f"| {one} | {', '.join(other for _, other in group)} |"
        for one, group in groupby(casts.proved(), lambda pair: pair[0])
    ]
    return (
        f"{_HEAD}{chr(10).join(lines)}\n\n## Casts\n\n| from | to |\n|---|---|\n{chr(10).join(targets)}\n\n"
        "A text literal is also cast to DATE and TIMESTAMP: `'2024-02-29'`, `'2024-02-29 10:30:00'`. `TRY_CAST` is proved from integers and\n"
        "decimals to integers and decimals.\n\n"
        f"{_AGGREGATES}{_calls(aggregates.proved())}\n\n{_WINDOWS}{_calls(window_functions.proved())}\n"
    )


def _calls(listed: Sequence[tuple[str, Sequence[str]]]) -> str:
    """Return rows of names with the types of their arguments."""
    return "\n".join(f"| `{name}` | {'; '.join(each for each in types if each)} |" for name, types in listed)


def _row(name: str, signatures: Sequence[Signature]) -> str:
    taken = "; ".join(dict.fromkeys(", ".join(each.takes) for each in signatures))
    shown = name.replace("|", "\\|")
    return f"| `{shown}` | {taken} | {'yes' if any(each.ulps for each in signatures) else ''} |"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page(), encoding="utf-8")
