"""SQL that is written once for each engine: `sql={"duckdb": "...", "spark": "..."}`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from featdsl.definitions.dialects import STORE

SqlTexts = Mapping[Literal["duckdb", "spark"], str]
"""One text for each dialect. That of DuckDB is required: it says what the values are."""


def split(sql: Any) -> dict[str, Any]:
    """Return the fields `sql` and `variants` of a declaration: the text in DuckDB's dialect, and those in others."""
    if not isinstance(sql, Mapping):
        return {"sql": sql, "variants": {}}
    texts = dict(sql)
    return {"sql": texts.pop(STORE, None), "variants": texts or {STORE: ""}}


def _others(variants: dict[str, str]) -> dict[str, str]:
    if STORE in variants:
        raise ValueError('it has one text only; write sql="..." without the name of an engine')
    return variants


Variants = Annotated[
    dict[Literal["duckdb", "spark"], str], AfterValidator(_others), Field(default_factory=dict, alias="variants")
]
"""The texts in other dialects than DuckDB's."""


def required(sql: str | None, variants: Mapping[Any, str]) -> None:
    """Raise ValueError for texts without the one in DuckDB's dialect."""
    if variants and sql is None:
        raise ValueError(
            f'sql= has no text for "{STORE}"; the values of a feature are those of its DuckDB SQL, and other engines must equal it'
        )
