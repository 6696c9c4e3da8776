"""Find the files and tables that a query reads, and where its text names them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import sqlglot
from sqlglot import TokenType, exp

_READERS = {
    "read_parquet": "parquet", "parquet_scan": "parquet", "read_csv": "csv", "read_csv_auto": "csv", "read_json": "json",
    "read_json_auto": "json", "read_ndjson": "json", "read_ndjson_auto": "json", "delta_scan": "delta", "iceberg_scan": "iceberg",
}  # fmt: skip
_FILE = re.compile(r"[^\s]*[/\\*][^\s]*|.+\.(parquet|csv|tsv|json|jsonl|ndjson)(\.gz)?", re.IGNORECASE)
_OTHER_READERS = re.compile(r"(read_|parquet_|glob|sniff_|query|scan_|sqlite_|postgres_|.*_scan$)", re.IGNORECASE)


class UnreadableTableError(ValueError):
    """A table of a query that cannot be a source."""


@dataclass(frozen=True)
class TablePlace:
    """A table of a query: either files with the options of their reader, or a table by its name; and its span in the text."""

    start: int
    end: int
    paths: tuple[str, ...] = ()
    file_format: str = ""
    options: Mapping[str, object] = field(default_factory=dict)
    table: tuple[str, ...] = ()
    """The parts of a table's name."""


def find(text: str, tree: exp.Query) -> list[TablePlace]:
    """Return the tables that a query reads, in order of its text. Raises UnreadableTableError."""
    return sorted(_places(text, tree), key=lambda each: each.start)


def replaced(text: str, found: Sequence[TablePlace], names: Sequence[str]) -> str:
    """Return the text of a query with other names of its tables, which are in order of the text."""
    for place, name in reversed([*zip(found, names, strict=True)]):
        text = f"{text[: place.start]}{name}{text[place.end :]}"
    return text


def _places(text: str, tree: exp.Query) -> Iterator[TablePlace]:
    tokens = sqlglot.tokenize(text, read="duckdb")
    ctes = {cte.alias.lower() for cte in tree.find_all(exp.CTE)}
    for table in tree.find_all(exp.Table):
        if isinstance(table.this, exp.Func):
            place = _of_call(text, table.this, tokens)
            if place is not None:
                yield place
        elif isinstance(table.this, exp.Identifier) and (table.db or table.name.lower() not in ctes):
            yield _of_name(table)


def _of_name(table: exp.Table) -> TablePlace:
    parts = [each for each in (table.args.get("catalog"), table.args.get("db"), table.this) if each is not None]
    start, end = int(parts[0].meta["start"]), int(parts[-1].meta["end"]) + 1
    if len(parts) == 1 and table.this.quoted and _FILE.fullmatch(table.name):
        return TablePlace(start, end, paths=(table.name,))
    return TablePlace(start, end, table=tuple(each.name for each in parts))


def _of_call(text: str, call: exp.Func, tokens: list[sqlglot.Token]) -> TablePlace | None:
    """Return the place of a function that reads files; None for one that reads nothing, such as range."""
    start = int(call.meta["start"])
    name = text[start : int(call.meta["end"]) + 1].lower()
    if name not in _READERS:
        if _OTHER_READERS.match(name):
            raise UnreadableTableError(f"It reads rows with {name}(), which no source does.")
        return None
    arguments = _arguments(call)
    paths = [path for each in arguments if not isinstance(each, exp.EQ | exp.PropertyEQ) for path in _texts(each)]
    options = dict(_option(each, name) for each in arguments if isinstance(each, exp.EQ | exp.PropertyEQ))
    if not paths:
        raise UnreadableTableError(f"The path in {name}() is no text.")
    return TablePlace(start, _end(start, tokens), tuple(paths), _READERS[name], options)


def _arguments(call: exp.Func) -> list[exp.Expr]:
    first = [call.this] if isinstance(call.this, exp.Expr) else []
    return [*first, *call.expressions]


def _texts(argument: exp.Expr) -> Iterator[str]:
    parts = argument.expressions if isinstance(argument, exp.Array) else [argument]
    for each in parts:
        if not (isinstance(each, exp.Literal) and each.is_string):
            raise UnreadableTableError("It reads files whose path is an expression.")
        yield each.name


def _option(argument: exp.Expr, name: str) -> tuple[str, object]:
    return argument.this.name, _value(argument.expression, name)


def _value(node: exp.Expr, name: str) -> object:
    """Return the value of an option of a reader."""
    match node:
        case exp.Boolean():
            return bool(node.this)
        case exp.Literal():
            return node.name if node.is_string else float(node.name) if "." in node.name else int(node.name)
        case exp.Array():
            return [_value(each, name) for each in node.expressions]
        case exp.Struct():
            return {each.this.name: _value(each.expression, name) for each in node.expressions}
        case _:
            raise UnreadableTableError(f"An option of {name}() is an expression.")


def _end(start: int, tokens: list[sqlglot.Token]) -> int:
    """Return where the call ends that starts at a position."""
    depth = 0
    for token in tokens:
        if token.start < start:
            continue
        depth += (token.token_type == TokenType.L_PAREN) - (token.token_type == TokenType.R_PAREN)
        if depth == 0 and token.token_type == TokenType.R_PAREN:
            return int(token.end) + 1
    raise UnreadableTableError("A call in it has no end.")
