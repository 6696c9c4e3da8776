"""Translate an expression over pandas columns or Python numbers to SQL with the same values."""

from __future__ import annotations

import ast
import copy
from collections.abc import Mapping
from dataclasses import dataclass

from featdsl.definitions.dtypes import family
from featdsl.definitions.names import literal
from featdsl.importers.feast_functions import InputColumn, NotPlainError
from featdsl.importers.feast_names import bare

_ARITHMETIC: Mapping[type[ast.operator], tuple[str, int]] = {
    ast.Add: ("+", 4), ast.Sub: ("-", 4), ast.Mult: ("*", 5), ast.Div: ("/", 5),
}  # fmt: skip
_COMPARISONS: Mapping[type[ast.cmpop], str] = {
    ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "=", ast.NotEq: "<>",
}  # fmt: skip
_AND, _NOT, _COMPARE, _MINUS, _ATOM = 1, 2, 3, 6, 7
_FLOATS = {"float", "float64", "double", "Float64"}
_EXACT_DIGITS = 15


@dataclass(frozen=True)
class PlainSql:
    """An expression in SQL, how tightly it binds, and what its values are.

    `kind` is `integer`, `float32`, `float64`, `text` or `boolean`; `number` is a literal integer and `fraction` a literal
    float, which take the type of the other side.
    """

    text: str
    kind: str
    binds: int = _ATOM

    def within(self, binds: int) -> str:
        """Return the text for a place that binds this tightly."""
        return self.text if self.binds >= binds else f"({self.text})"

    @property
    def dtype(self) -> str:
        """The DuckDB type of its values."""
        return {
            "integer": "BIGINT", "number": "BIGINT", "float32": "FLOAT", "float64": "DOUBLE", "fraction": "DOUBLE",
            "text": "VARCHAR", "boolean": "BOOLEAN",
        }[self.kind]  # fmt: skip


@dataclass(frozen=True)
class ExpressionTranslator:
    """Translates expressions over columns of known types.

    `columns` has the SQL name and the DuckDB type of each input. `pandas` says whether they are columns of pandas, where an unknown
    number is NaN and compares as false, or values of Python, whose floats have 64 bits.
    """

    columns: Mapping[str, tuple[str, str]]
    pandas: bool

    def sql(self, node: ast.AST) -> PlainSql:  # noqa: PLR0911 - a return for each kind of expression
        """Return an expression in SQL. Raises NotPlainError."""
        match node:
            case InputColumn():
                return self._column(node)
            case ast.Constant():
                return _constant(node)
            case ast.BinOp(op=op) if type(op) in _ARITHMETIC:
                return self._arithmetic(node)
            case ast.UnaryOp(op=ast.USub()):
                return self._negative(node)
            case ast.Compare(ops=[op], comparators=[right]) if type(op) in _COMPARISONS:
                return self._comparison(node, _COMPARISONS[type(op)], right)
            case ast.BoolOp() | ast.BinOp(op=ast.BitAnd() | ast.BitOr()) | ast.UnaryOp(op=ast.Not() | ast.Invert()):
                return self._logic(node)
            case ast.IfExp() if not self.pandas:
                return self._choice(node, node.test, node.body, node.orelse)
            case ast.Call():
                return self._call(node)
        raise _no_counterpart(node)

    def _column(self, node: InputColumn) -> PlainSql:
        if node.name not in self.columns:
            raise NotPlainError(f"its input {node.name} is not carried over", node)
        name, dtype = self.columns[node.name]
        text = bare(name)
        kind = {
            "BIGINT": "integer",
            "INTEGER": "integer",
            "DOUBLE": "float64",
            "FLOAT": "float32",
            "BOOLEAN": "boolean",
        }.get(dtype)
        if kind == "float32" and not self.pandas:
            return PlainSql(f"CAST({text} AS DOUBLE)", "float64")
        kind = kind or ("text" if family(dtype) == "text" else None)
        if kind is None:
            raise NotPlainError(f"its input {node.name} is {dtype}, which is not translated", node)
        return PlainSql(text, kind)

    def _arithmetic(self, node: ast.BinOp) -> PlainSql:
        left, right = self.sql(node.left), self.sql(node.right)
        operator, binds = _ARITHMETIC[type(node.op)]
        kinds = {left.kind, right.kind}
        if kinds == {"text"} and operator == "+":
            return PlainSql(f"{left.within(binds)} || {right.within(binds + 1)}", "text", binds)
        if kinds & {"text", "boolean"} or kinds <= {"number", "fraction"}:
            raise _no_counterpart(node)
        kind = _result(kinds, divides=operator == "/")
        left, right = _as(left, kind), _as(right, kind)
        return PlainSql(f"{left.within(binds)} {operator} {right.within(binds + 1)}", kind, binds)

    def _negative(self, node: ast.UnaryOp) -> PlainSql:
        inner = self.sql(node.operand)
        if inner.kind in {"text", "boolean"}:
            raise _no_counterpart(node)
        return PlainSql(f"-{inner.within(_ATOM)}", inner.kind, _MINUS)

    def _comparison(self, node: ast.Compare, operator: str, other: ast.expr) -> PlainSql:
        left, right = self.sql(node.left), self.sql(other)
        kinds = {left.kind, right.kind}
        numbers = not kinds & {"text", "boolean"}
        if not numbers and len(kinds) > 1:
            raise _no_counterpart(node)
        if numbers:
            kind = _result(kinds, divides=False)
            left, right = _as(left, kind), _as(right, kind)
        text = f"{left.within(_COMPARE + 1)} {operator} {right.within(_COMPARE + 1)}"
        if not self.pandas:
            return PlainSql(text, "boolean", _COMPARE)
        return PlainSql(f"coalesce({text}, {'true' if operator == '<>' else 'false'})", "boolean")

    def _logic(self, node: ast.AST) -> PlainSql:
        match node:
            case ast.UnaryOp(operand=operand):
                parts, word = [self.sql(operand)], "NOT"
            case ast.BoolOp(op=op, values=values):
                parts, word = [self.sql(each) for each in values], "AND" if isinstance(op, ast.And) else "OR"
            case ast.BinOp(left=left, op=op, right=right):
                parts, word = [self.sql(left), self.sql(right)], "AND" if isinstance(op, ast.BitAnd) else "OR"
            case _:
                raise _no_counterpart(node)
        if any(each.kind != "boolean" for each in parts):
            raise _no_counterpart(node)
        if word == "NOT":
            return PlainSql(f"NOT {parts[0].within(_NOT)}", "boolean", _NOT)
        return PlainSql(f" {word} ".join(each.within(_NOT) for each in parts), "boolean", _AND)

    def _choice(self, node: ast.AST, test: ast.expr, then: ast.expr, other: ast.expr) -> PlainSql:
        condition, yes, no = self.sql(test), self.sql(then), self.sql(other)
        kinds = {yes.kind, no.kind}
        if condition.kind != "boolean" or (kinds & {"text", "boolean"} and len(kinds) > 1):
            raise _no_counterpart(node)
        kind = kinds.pop() if len(kinds) == 1 else _result(kinds, divides=False)
        kind = {"number": "integer", "fraction": "float64"}.get(kind, kind)
        yes, no = _as(yes, kind), _as(no, kind)
        return PlainSql(f"CASE WHEN {condition.text} THEN {yes.text} ELSE {no.text} END", kind)

    def _call(self, node: ast.Call) -> PlainSql:
        match node:
            case ast.Call(
                func=ast.Attribute(attr="where", value=ast.Name()), args=[test, then, other], keywords=[]
            ) if self.pandas:
                return self._choice(node, test, then, other)
            case ast.Call(
                func=ast.Attribute(attr="fillna", value=inner), args=[ast.Constant() as value], keywords=[]
            ) if self.pandas:
                return self._filled(node, self.sql(inner), _constant(value))
            case (
                ast.Call(func=ast.Name(id="abs"), args=[inner], keywords=[])
                | ast.Call(func=ast.Attribute(attr="abs", value=inner), args=[], keywords=[])
            ) if (found := self.sql(inner)).kind not in {"text", "boolean"}:
                return PlainSql(f"abs({found.text})", found.kind)
            case ast.Call(func=ast.Attribute(attr="astype", value=inner), args=[dtype], keywords=[]) if _is_float(
                dtype
            ):
                return self._as_float(node, self.sql(inner))
            case ast.Call(func=ast.Name(id="float"), args=[inner], keywords=[]) if not self.pandas:
                return self._as_float(node, self.sql(inner))
        raise _no_counterpart(node)

    def _filled(self, node: ast.AST, inner: PlainSql, value: PlainSql) -> PlainSql:
        fits = {"number": {"integer", "float32", "float64"}, "fraction": {"float32", "float64"}}.get(
            value.kind, {value.kind}
        )
        if inner.kind not in fits:
            raise _no_counterpart(node)
        return PlainSql(f"coalesce({inner.text}, {value.text})", inner.kind)

    def _as_float(self, node: ast.AST, inner: PlainSql) -> PlainSql:
        if inner.kind in {"text", "boolean"}:
            raise _no_counterpart(node)
        return inner if inner.kind == "float64" else PlainSql(f"CAST({inner.text} AS DOUBLE)", "float64")


def _result(kinds: set[str], *, divides: bool) -> str:
    """Return the kind of a result as NumPy has it: a literal takes the kind of the other side, and 32 bits give 32 bits."""
    if kinds <= {"float32", "number", "fraction"} and "float32" in kinds:
        return "float32"
    if kinds & {"float32", "float64", "fraction"} or divides:
        return "float64"
    return "integer"


def _as(value: PlainSql, kind: str) -> PlainSql:
    """Return a value as an operand for a result of a kind, where DuckDB would choose another type."""
    if kind == "float64" and value.kind == "float32":
        return PlainSql(f"CAST({value.text} AS DOUBLE)", kind)
    if kind == "float64" and value.kind == "fraction" and "e" not in value.text:
        return PlainSql(f"{value.text}e0", kind, value.binds)  # DuckDB reads 0.1 as a decimal
    return value


def _constant(node: ast.Constant) -> PlainSql:
    match node.value:
        case bool():
            return PlainSql(str(node.value).lower(), "boolean")
        case int():
            return PlainSql(str(node.value), "number")
        case float() if node.value == node.value and abs(node.value) != float("inf"):
            return PlainSql(repr(node.value), "fraction")
        case str():
            return PlainSql(literal(node.value), "text")
    raise _no_counterpart(node)


def _is_float(node: ast.expr) -> bool:
    name = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
    return (str(node.value) if isinstance(node, ast.Constant) else name) in _FLOATS


def _no_counterpart(node: ast.AST) -> NotPlainError:
    return NotPlainError(f"`{_unparsed(node)}` is not translated: write it as features with sql=", node)


def _unparsed(node: ast.AST) -> str:
    """Return an expression as Python, with its inputs by their names."""
    return ast.unparse(ast.fix_missing_locations(_ByName().visit(copy.deepcopy(node))))


class _ByName(ast.NodeTransformer):
    def visit_InputColumn(self, node: InputColumn) -> ast.expr:
        return ast.Name(node.name)
