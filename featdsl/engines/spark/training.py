"""Spark's SQL of training sets: the rows of a spine with the values of features at their times."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from featdsl.definitions.sources import Column
from featdsl.engines.lookups import ROW, Spine, Versions, Want
from featdsl.engines.spark.expressions import key_column
from featdsl.engines.spark.lookups import compile_sql
from featdsl.engines.spark.sql_text import quote


def training_sql(
    wants: Sequence[Want],
    spine: Spine,
    versions: Versions,
    events: Mapping[str, Sequence[Column]] = {},
    *,
    has_asof_join: bool = False,
) -> str:
    """Return the query of a spine's columns and a column for each want, in its plain type. Raises Unproved.

    An ordered spine has a column `#row`, and its rows come back in that order.
    """
    return compile_sql(wants, spine, versions, events, has_asof_join=has_asof_join)


def spine_of_view(view: str, keys: Iterable[str], request: Iterable[str] = (), *, timed: bool) -> Spine:
    """Return the spine of a relation that another engine has written: each row's number, and what its values depend on.

    The relation has the columns `#row`, `#k <key>` for each key, `#time` if it is `timed`, and `#r <column>` for each
    column of request-time data, in plain types. Only numbers come back: whoever has written the rows joins by them.
    """
    return Spine(
        sql=view,
        columns=(ROW,),
        keys={key: key_column(key) for key in keys},
        time=quote("#time") if timed else None,
        numbered=True,
        request={column: quote(f"#r {column}") for column in request},
    )
