"""Read the function of an on-demand view: which expression over its inputs each feature is."""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field

from featdsl.importers.feast_objects import FeastOnDemandView


class NotPlainError(Exception):
    """A statement or an expression that has no counterpart in SQL, with its line in the function's text."""

    def __init__(self, reason: str, node: ast.AST) -> None:
        super().__init__(reason)
        self.line = getattr(node, "lineno", 0)


class InputColumn(ast.expr):
    """An input of the function, such as `inputs["age"]`."""

    _fields = ("name",)

    def __init__(self, name: str = "", place: ast.AST | None = None) -> None:
        super().__init__()
        self.name = name
        if place is not None:
            ast.copy_location(self, place)


def outputs(view: FeastOnDemandView) -> dict[str, ast.expr]:
    """Return the expression of each feature, over input columns and constants only. Raises NotPlainError."""
    try:
        function = ast.parse(textwrap.dedent(view.code)).body[0]
    except (SyntaxError, IndexError):
        raise NotPlainError("the text of its function is unknown", ast.Pass()) from None
    if not isinstance(function, ast.FunctionDef) or len(function.args.args) != 1:
        raise NotPlainError("its function is not a def with one parameter", function)
    return _Body(function.args.args[0].arg).outputs(function)


@dataclass
class _Body:
    """Follows the statements of a function from top to bottom."""

    parameter: str
    values: dict[str, ast.expr] = field(default_factory=dict)
    """The local variables that stand for a value."""
    tables: dict[str, dict[str, ast.expr]] = field(default_factory=dict)
    """The local variables that stand for a frame or a dict, with its columns."""

    def outputs(self, function: ast.FunctionDef) -> dict[str, ast.expr]:
        for statement in function.body:
            if isinstance(statement, ast.Return):
                return self._table(statement.value, statement)
            self._follow(statement)
        raise NotPlainError("its function returns nothing", function)

    def _follow(self, statement: ast.stmt) -> None:
        match statement:
            case ast.Expr(value=ast.Constant()):  # a docstring
                return
            case ast.Assign(targets=[target], value=value) | ast.AnnAssign(target=target, value=ast.expr() as value):
                self._assign(target, value)
            case _:
                raise NotPlainError(f"its function has {_shown(statement)}, and not only assignments", statement)

    def _assign(self, target: ast.expr, value: ast.expr) -> None:
        match target:
            case ast.Name(id=name):
                columns = self._columns(value)
                if columns is None:
                    self.values[name] = self._resolved(value)
                else:
                    self.tables[name] = columns
            case ast.Subscript(value=ast.Name(id=name), slice=ast.Constant(value=str() as column)) if (
                name in self.tables
            ):
                self.tables[name][column] = self._resolved(value)
            case _:
                raise NotPlainError(f"its function assigns to {ast.unparse(target)}", target)

    def _table(self, value: ast.expr | None, place: ast.AST) -> dict[str, ast.expr]:
        """Return the columns of what the function returns."""
        columns = self._columns(value) if value is not None else None
        if columns is None:
            raise NotPlainError("its function returns neither a frame nor a dict that it has made", place)
        return columns

    def _columns(self, value: ast.expr) -> dict[str, ast.expr] | None:
        """Return the columns of a new or a known frame or dict; None for anything else."""
        match value:
            case ast.Name(id=name) if name in self.tables:
                return self.tables[name]
            case (
                ast.Call(func=ast.Attribute(attr="DataFrame"), args=[], keywords=[])
                | ast.Call(func=ast.Name(id="dict"), args=[], keywords=[])
            ):
                return {}
            case ast.Call(func=ast.Attribute(attr="DataFrame"), args=[ast.Dict() as inside], keywords=[]):
                return self._columns(inside)
            case ast.Dict(keys=keys, values=values) if all(_text(key) is not None for key in keys):
                return {str(_text(key)): self._resolved(each) for key, each in zip(keys, values, strict=True)}
            case _:
                return None

    def _resolved(self, value: ast.expr) -> ast.expr:
        """Return an expression with its variables replaced by what they stand for."""
        if isinstance(value, ast.ListComp):
            return self._each(value)
        return _Resolver(self, self.values).visit(value)  # type: ignore[no-any-return]

    def _each(self, value: ast.ListComp) -> ast.expr:
        """Return the expression for one row of a list comprehension over columns: `[a + b for a, b in zip(...)]`."""
        match value.generators:
            case [ast.comprehension(target=ast.Name(id=name), iter=column, ifs=[])]:
                names, columns = [name], [column]
            case [
                ast.comprehension(
                    target=ast.Tuple(elts=targets), iter=ast.Call(func=ast.Name(id="zip"), args=columns), ifs=[]
                )
            ]:
                names = [each.id for each in targets if isinstance(each, ast.Name)]
            case _:
                names, columns = [], [value]
        if len(names) != len(columns):
            raise NotPlainError("its list comprehension does more than to go through columns", value)
        rows = {name: self._resolved(column) for name, column in zip(names, columns, strict=True)}
        return _Resolver(self, {**self.values, **rows}).visit(value.elt)  # type: ignore[no-any-return]


class _Resolver(ast.NodeTransformer):
    """Replaces inputs by input columns, and local variables by their values."""

    def __init__(self, body: _Body, values: Mapping[str, ast.expr]) -> None:
        self._body, self._values = body, values

    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        name = node.value.id if isinstance(node.value, ast.Name) else ""
        column = _text(node.slice)
        if column is not None and name in self._body.tables and column in self._body.tables[name]:
            return self._body.tables[name][column]
        if column is not None and name == self._body.parameter:
            return InputColumn(column, node)
        raise NotPlainError(f"{ast.unparse(node)} is not an input", node)

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        if isinstance(node.value, ast.Name) and node.value.id == self._body.parameter:
            return InputColumn(node.attr, node)
        if isinstance(node.value, ast.Name) and node.value.id not in self._values:
            return node  # a function of a module, such as np.where
        self.generic_visit(node)
        return node

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return self._values.get(node.id, node)


def _text(node: ast.expr | None) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def _shown(statement: ast.stmt) -> str:
    """Return what kind of statement it is, as Python writes it."""
    first = ast.unparse(statement).partition("\n")[0]
    return f"`{first}`"
