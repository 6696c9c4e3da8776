"""Analyze the SQL of features and sources, with cached results: each text is parsed once, not by every plan."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import wraps
from typing import ParamSpec, TypeVar

from featdsl.definitions import fingerprints
from featdsl.definitions.kinds import AS_OF
from featdsl.definitions.names import AS_OF_TIMESTAMP
from featdsl.definitions.windows import Aggregate
from featdsl.errors import SqlProblem
from featdsl.sql.cache import AnalysisCache


@dataclass(frozen=True)
class Expression:
    """An expression: its canonical text, the sorted columns that it reads, its aggregates, and the formula over them."""

    canonical: str
    columns: tuple[str, ...]
    aggregates: tuple[Aggregate, ...] = ()
    formula: str = ""


@dataclass(frozen=True)
class Query:
    """A query: its canonical text, and the sorted sources that it reads."""

    canonical: str
    inputs: tuple[str, ...]


P = ParamSpec("P")
T = TypeVar("T")


def _refuses_deep_nesting(read: Callable[P, T]) -> Callable[P, T]:
    """Make a function raise SqlProblem if the SQL is nested too deeply for the parser."""

    @wraps(read)
    def checked(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return read(*args, **kwargs)
        except RecursionError:
            raise SqlProblem("The SQL is nested too deeply.", "Move parts of it into separate features.") from None

    return checked


@_refuses_deep_nesting
def expression(text: str, cache: AnalysisCache) -> Expression:
    """Return the analysis of an expression over one row. Raises SqlProblem."""
    cached = cache.recall("expression", text)
    if cached is not None:
        return Expression(cached[0], tuple(cached[1]))
    from featdsl.sql import parser

    read = Expression(*parser.read(text))
    cache.keep("expression", text, [read.canonical, read.columns])
    return read


@_refuses_deep_nesting
def windowed(text: str, cache: AnalysisCache) -> Expression:
    """Return the analysis of an expression over the rows of a window. Raises SqlProblem."""
    cached = cache.recall("windowed", text)
    if cached is not None:
        return Expression(cached[0], tuple(cached[1]), tuple(Aggregate(**each) for each in cached[2]), cached[3])
    from featdsl.sql import aggregates as sql_aggregates

    row = expression(text, cache)
    aggregates, formula = sql_aggregates.split(text)
    columns = [column for column in row.columns if column != AS_OF_TIMESTAMP or AS_OF not in formula]
    read = Expression(row.canonical, tuple(columns), aggregates, formula)
    cache.keep(
        "windowed", text, [read.canonical, read.columns, [asdict(each) for each in read.aggregates], read.formula]
    )
    return read


@_refuses_deep_nesting
def over(text: str, names: Mapping[str, str], cache: AnalysisCache) -> str:
    """Return the canonical text of an expression with its columns renamed. Raises SqlProblem."""
    template: str | None = cache.recall("over", text)
    if template is None:
        from featdsl.sql import parser

        template = parser.over(text, {column: f"#{column}#" for column in expression(text, cache).columns})
        cache.keep("over", text, template)
    for column, name in names.items():
        template = template.replace(f'"#{column}#"', f'"{name}"')
    return template


@_refuses_deep_nesting
def query(text: str, cache: AnalysisCache) -> Query:
    """Return the analysis of a query over sources. Raises SqlProblem."""
    cached = cache.recall("query", text)
    if cached is not None:
        return Query(cached[0], tuple(cached[1]))
    from featdsl.sql import parser

    tree = parser.query(text)
    read = Query(inputs=parser.source_inputs(tree), canonical=parser.canonical_query(text))
    cache.keep("query", text, [read.canonical, read.inputs])
    return read


@_refuses_deep_nesting
def renamed(text: str, old: str, new: str) -> str:
    """Return an expression with the column `old` renamed to `new`."""
    from featdsl.sql import parser

    return parser.renamed(text, old, new)


@_refuses_deep_nesting
def lineage(
    text: str, schemas: Mapping[str, Mapping[str, str]], outputs: Sequence[str], cache: AnalysisCache
) -> dict[str, tuple[str, ...]]:
    """Return the column lineage of a query, like `column_lineage.trace`."""
    key = fingerprints.of({"sql": text, "schemas": schemas, "outputs": outputs})
    traced = cache.recall("lineage", key)
    if traced is None:
        from featdsl.sql import column_lineage, parser

        traced = column_lineage.trace(parser.query(text), schemas, outputs)
        cache.keep("lineage", key, traced)
    return {column: tuple(leaves) for column, leaves in traced.items()}
