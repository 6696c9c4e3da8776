"""Functions of lists. An index counts from 1, or from -1 at the end; one past the end is NULL."""

from __future__ import annotations

from collections.abc import Sequence

from featdsl.definitions.dtypes import parse
from featdsl.engines.spark.scopes import Translated
from featdsl.engines.spark.signatures import CONSTANT, Signature


def item_type(dtype: str) -> str:
    """Return the type of the items of a list."""
    return str(parse(dtype).of[0][1])


def _item(values: Sequence[Translated]) -> str:
    return item_type(values[0].dtype)


def _extracted(items: Translated, index: Translated) -> str:
    number = int(index.constant or 0)
    if number == 0:
        return f"get({items.sql}, -1)"
    return f"get({items.sql}, {number - 1})" if number > 0 else f"try_element_at({items.sql}, {number})"


def _contains(dtype: str) -> Signature:
    found = "CASE WHEN {0} IS NOT NULL AND {1} IS NOT NULL THEN coalesce(array_contains({0}, {1}), FALSE) END"
    return Signature("list_contains", (f"{dtype}[]", dtype), "BOOLEAN", found)


LISTS = (
    Signature("length", ("T[]",), "BIGINT", "CAST(size({0}) AS BIGINT)"),
    Signature("list_extract", ("T[]", f"BIGINT {CONSTANT}"), _item, _extracted),
    *map(_contains, ("INTEGER", "BIGINT", "VARCHAR", "DATE", "TIMESTAMP", "BOOLEAN")),
)
