"""Read texts out of a syntax tree: the alternatives that an expression may have, with names of values in capitals."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import TypeVar

MOST = 6
"""Alternatives of one text; more are left out."""
_DEPTH = 4
T = TypeVar("T")
_UNKNOWN = "…"
_ABOUT_ITS_ARGUMENT = {"shown", "quote", "repr_name", "str", "join", "sorted", "list", "first", "next", "repr", "len"}
"""Functions whose result is named after what they are given."""
_SAME_TEXT = {"strip", "rstrip", "lstrip", "capitalize", "format"}
_INLINE = (ast.IfExp, ast.BoolOp, ast.Name, ast.Subscript)
_FEW = 3
"""So many alternatives of a part of a text are spelled out."""
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Code:
    """The modules of a package: their syntax trees, constants and functions by name."""

    modules: Mapping[Path, ast.Module]
    constants: Mapping[Path, Mapping[str, ast.expr]]
    functions: Mapping[Path, Mapping[str, Function]]
    imports: Mapping[Path, frozenset[str]]
    """The names that each module imports."""

    @classmethod
    def read(cls, package: Path) -> Code:
        """Parse every module of a package."""
        files = sorted(file for file in package.rglob("*.py") if "template" not in file.parts)
        modules = {file: ast.parse(file.read_text(encoding="utf-8")) for file in files}
        return cls(
            modules,
            {file: dict(_constants(tree)) for file, tree in modules.items()},
            {file: {each.name: each for each in functions(tree)} for file, tree in modules.items()},
            {file: frozenset(_imported(tree)) for file, tree in modules.items()},
        )

    def constant(self, file: Path, name: str) -> ast.expr | None:
        """Return the value of a constant: of this module, or else of the only one that has it, if it is imported."""
        own, _, name = name.rpartition(".")
        if name in self.constants[file] and not own:
            return self.constants[file][name]
        return _own_or_only(self.constants, file, name) if (own or name) in self.imports[file] else None

    def function(self, file: Path, name: str) -> Function | None:
        """Return a function: of this module, or else of the only one that has it."""
        return _own_or_only(self.functions, file, name)


def _own_or_only(by_file: Mapping[Path, Mapping[str, T]], file: Path, name: str) -> T | None:
    if name in by_file[file]:
        return by_file[file][name]
    having = [each[name] for each in by_file.values() if name in each]
    return having[0] if len(having) == 1 else None


def functions(tree: ast.AST) -> Iterator[Function]:
    """Yield every function and method of a tree."""
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def _imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from (each.asname or each.name for each in node.names)


def _constants(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            yield node.targets[0].id, node.value
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
            yield node.target.id, node.value


@dataclass(frozen=True)
class Scope:
    """Where an expression stands: its module, its function, and the line above which assignments count."""

    code: Code
    file: Path
    function: Function | None
    line: int
    depth: int = 0
    given: Mapping[str, ast.expr] = field(default_factory=dict)

    def texts(self, node: ast.expr | None) -> list[str]:
        """Return the texts that an expression may have, without repetition."""
        return list(dict.fromkeys(self._texts(node)))[:MOST] if node else []

    def _texts(self, node: ast.expr) -> Iterable[str]:  # noqa: PLR0911 - one for each kind of expression
        match node:
            case ast.Constant():
                return [str(node.value)] if isinstance(node.value, str) else []
            case ast.JoinedStr():
                return ("".join(parts) for parts in product(*(self._part(part) for part in node.values)))
            case ast.BinOp(op=ast.Add()):
                return ("".join(parts) for parts in product(self.texts(node.left), self.texts(node.right)))
            case ast.IfExp():
                return [*self.texts(node.body), *self.texts(node.orelse)]
            case ast.BoolOp():
                return [text for value in node.values for text in self.texts(value)]
            case ast.Name():
                return self._named(node.id)
            case ast.Attribute():
                constant = self.code.constant(self.file, ast.unparse(node)) if node.attr.isupper() else None
                return self.texts(constant) if constant else [_placeholder(node)]
            case ast.Subscript(value=ast.Name(id=name)):
                table = self.code.constant(self.file, name)
                values = table.values if isinstance(table, ast.Dict) else []
                return [text for value in values for text in self.texts(value)] or [_placeholder(node)]
            case ast.Call():
                return self._called(node)
            case _:
                return [_placeholder(node)]

    def _part(self, part: ast.expr) -> list[str]:
        """Return the texts of a part of an f-string: short ones as they are, others by their name."""
        if isinstance(part, ast.Constant):
            return [str(part.value)]
        value = part.value if isinstance(part, ast.FormattedValue) else part
        found = self.texts(value) if isinstance(value, _INLINE) or _last(value).isupper() else []
        if "" in found:
            return [""]
        if len(found) == 1 and found[0] != found[0].upper():
            return found
        return found if 1 < len(found) <= _FEW and all(not text.isupper() for text in found) else [_placeholder(value)]

    def _named(self, name: str) -> list[str]:
        if name in self.given:
            return self.texts(self.given[name])
        values = [*self._assigned(name)]
        if values:
            return [text for value in values for text in replace(self, line=value.lineno - 1).texts(value)]
        if choices := self._choices(name):
            return choices
        constant = self.code.constant(self.file, name)
        return self.texts(constant) if constant else [name.strip("_").upper()]

    def _choices(self, name: str) -> list[str]:
        """Return the values of a parameter that its annotation lists."""
        given = self.function.args if self.function else ast.arguments([], [], None, [], [], None, [])
        parameters = (*given.args, *given.kwonlyargs)
        annotation = next((each.annotation for each in parameters if each.arg == name), None)
        if isinstance(annotation, ast.Name):
            annotation = self.code.constant(self.file, annotation.id)
        if isinstance(annotation, ast.Subscript) and _last(annotation.value) == "Literal":
            listed = annotation.slice.elts if isinstance(annotation.slice, ast.Tuple) else [annotation.slice]
            return [str(each.value) for each in listed if isinstance(each, ast.Constant)]
        return []

    def _assigned(self, name: str) -> Iterator[ast.expr]:
        """Yield the values that a name of the function may have at the line, nearest first, up to one that surely counts."""
        blocks = [*_blocks(self.function, self.line)] if self.function else []
        for block in reversed(blocks):
            for statement in reversed([each for each in block if each.lineno <= self.line]):
                inside = (statement.end_lineno or 0) >= self.line and hasattr(statement, "body")
                yield from (values := [*_values(statement, name, self.line, walk=not inside)])
                if values and (not hasattr(statement, "body") or getattr(statement, "orelse", None)):
                    return

    def _called(self, node: ast.Call) -> list[str]:
        match node:
            case ast.Call(
                func=ast.Attribute(value=ast.Constant(value=str(between)), attr="join"), args=[ast.List(elts=items)]
            ):
                return [between.join(parts) for parts in product(*map(self._part, items))]
        name = _last(node.func)
        if name == "did_you_mean":
            return ['Did you mean "NAME"?']
        if name in _SAME_TEXT and isinstance(node.func, ast.Attribute):
            return self.texts(node.func.value)
        function = self.code.function(self.file, name)
        if function is None or self.depth >= _DEPTH or not returns_text(function):
            return [_placeholder(node)]
        inside = replace(self, function=function, line=function.end_lineno or 0, depth=self.depth + 1, given={})
        inside = replace(inside, file=self._file_of(function))
        return [text for value in _returned(function) for text in inside.texts(value)]

    def _file_of(self, function: Function) -> Path:
        return next(file for file, known in self.code.functions.items() if known.get(function.name) is function)


def _blocks(function: Function, line: int) -> Iterator[list[ast.stmt]]:
    """Yield the blocks of statements around a line, the outermost first."""
    for node in ast.walk(function):
        for name in ("body", "orelse", "finalbody"):
            block = getattr(node, name, None)
            if isinstance(block, list) and block and block[0].lineno <= line <= (block[-1].end_lineno or 0):
                yield block


def _values(statement: ast.stmt, name: str, line: int, *, walk: bool) -> Iterator[ast.expr]:
    """Yield what a statement assigns to a name before a line; of a statement around the line only its condition counts."""
    nodes = ast.walk(statement) if walk else ast.walk(getattr(statement, "test", ast.Pass()))
    for node in nodes:
        match node:
            case ast.Assign(targets=[ast.Name(id=found)], value=value) if found == name and node.lineno <= line:
                yield value
            case ast.Assign(targets=[ast.Tuple(elts=names)], value=ast.Tuple(elts=values)) if node.lineno <= line:
                yield from (each for key, each in zip(names, values, strict=False) if _last(key) == name)
            case ast.NamedExpr(target=ast.Name(id=found), value=value) if found == name:
                yield value


def returns_text(function: Function) -> bool:
    """Return whether a function is annotated to return a str."""
    return isinstance(function.returns, ast.Name) and function.returns.id == "str"


def _returned(function: Function) -> Iterator[ast.expr]:
    return (node.value for node in ast.walk(function) if isinstance(node, ast.Return) and node.value)


def _last(node: ast.AST) -> str:
    """Return the last name of an expression such as `a.b.c`."""
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _placeholder(node: ast.expr) -> str:  # noqa: PLR0911 - one for each kind of expression
    """Return what stands for a value in a text: its name in capitals."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name.strip("_").upper()
        case ast.Subscript(value=value) | ast.Starred(value=value) | ast.FormattedValue(value=value):
            return _placeholder(value)
        case ast.Call(func=function, args=[first, *_]) if _last(function) in _ABOUT_ITS_ARGUMENT:
            return _placeholder(first)
        case ast.Call(func=ast.Attribute(value=value, attr=_), args=[]):
            return _placeholder(value)
        case ast.Call(func=function) if _last(function):
            return _last(function).strip("_").upper()
        case ast.GeneratorExp(elt=item) | ast.ListComp(elt=item):
            return _placeholder(item)
        case ast.JoinedStr(values=values):
            return "".join(str(part.value) if isinstance(part, ast.Constant) else _placeholder(part) for part in values)
        case ast.Constant(value=str(text)):
            return text
        case _:
            return _UNKNOWN
