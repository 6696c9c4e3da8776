"""What the SQL of features and sources says, as plain data that a memory keeps: a text is parsed once, not at each plan."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import wraps
from typing import ParamSpec, TypeVar

from featdsl import fingerprints
from featdsl.definitions import AS_OF, Aggregate
from featdsl.errors import SqlProblem
from featdsl.memory import Memory
from featdsl.names import AS_OF_TIMESTAMP


@dataclass(frozen=True)
class Expression:
    """An expression: its one text, the columns that it reads, sorted, and its aggregates with the formula over them."""

    canonical: str
    columns: tuple[str, ...]
    aggregates: tuple[Aggregate, ...] = ()
    formula: str = ""


@dataclass(frozen=True)
class Query:
    """A query: its one text, and the sources that it reads, sorted."""

    canonical: str
    inputs: tuple[str, ...]


P = ParamSpec("P")
T = TypeVar("T")


def _of_bounded_depth(read: Callable[P, T]) -> Callable[P, T]:
    """Have what reads a text raise SqlProblem where the text nests deeper than a parser can follow."""

    @wraps(read)
    def checked(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return read(*args, **kwargs)
        except RecursionError:
            raise SqlProblem(
                "It nests too deeply to be read.", "Take parts of it into features of their own."
            ) from None

    return checked


@_of_bounded_depth
def expression(text: str, memory: Memory) -> Expression:
    """Return what an expression over one row says. Raises SqlProblem."""
    found = memory.recall("expression", text)
    if found is not None:
        return Expression(found[0], tuple(found[1]))
    from featdsl import sql

    read = Expression(*sql.read(text))
    memory.keep("expression", text, [read.canonical, read.columns])
    return read


@_of_bounded_depth
def windowed(text: str, memory: Memory) -> Expression:
    """Return what an expression over the rows of a window says. Raises SqlProblem."""
    found = memory.recall("windowed", text)
    if found is not None:
        return Expression(found[0], tuple(found[1]), tuple(Aggregate(**each) for each in found[2]), found[3])
    from featdsl import aggregates

    row = expression(text, memory)
    found, formula = aggregates.split(text)
    columns = [column for column in row.columns if column != AS_OF_TIMESTAMP or AS_OF not in formula]
    read = Expression(row.canonical, tuple(columns), found, formula)
    memory.keep(
        "windowed", text, [read.canonical, read.columns, [asdict(each) for each in read.aggregates], read.formula]
    )
    return read


@_of_bounded_depth
def over(text: str, names: Mapping[str, str], memory: Memory) -> str:
    """Return the one text of an expression in which the columns that it reads stand by other names."""
    found: str | None = memory.recall("over", text)
    if found is None:
        from featdsl import sql

        found = sql.over(text, {column: f"#{column}#" for column in expression(text, memory).columns})
        memory.keep("over", text, found)
    for column, name in names.items():
        found = found.replace(f'"#{column}#"', f'"{name}"')
    return found


@_of_bounded_depth
def query(text: str, memory: Memory) -> Query:
    """Return what a query over sources says. Raises SqlProblem."""
    found = memory.recall("query", text)
    if found is not None:
        return Query(found[0], tuple(found[1]))
    from featdsl import sql

    tree = sql.query(text)
    read = Query(inputs=sql.source_inputs(tree), canonical=sql.canonical_query(text))
    memory.keep("query", text, [read.canonical, read.inputs])
    return read


@_of_bounded_depth
def renamed(text: str, old: str, new: str) -> str:
    """Return a text in which the column `old` is called `new`."""
    from featdsl import sql

    return sql.renamed(text, old, new)


@_of_bounded_depth
def lineage(
    text: str, schemas: Mapping[str, Mapping[str, str]], outputs: Sequence[str], memory: Memory
) -> dict[str, tuple[str, ...]]:
    """Return for each output column of a query the columns of its sources that decide it, as `tracing.trace` does."""
    key = fingerprints.of({"sql": text, "schemas": schemas, "outputs": outputs})
    found = memory.recall("lineage", key)
    if found is None:
        from featdsl import sql, tracing

        found = tracing.trace(sql.query(text), schemas, outputs)
        memory.keep("lineage", key, found)
    return {column: tuple(leaves) for column, leaves in found.items()}
