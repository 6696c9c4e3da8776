"""The source of functions: found where it was read from, and as a tree in which only meaning is left."""

from __future__ import annotations

import ast
import copy
import linecache
import site
import symtable
import sys
import sysconfig
import types
from collections.abc import Iterable, Iterator
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from featdsl.literals import FunctionProblem

Definition = ast.FunctionDef | ast.AsyncFunctionDef

KEPT = "__featdsl_source__"
"""The name under which a module that was imported afresh keeps the text that it was compiled from."""

_UNMEANT = frozenset({"ctx", "kind", "type_comment", "type_ignores", "type_params", "decorator_list", "returns"})
_NO_STATE = "Let it return what it finds: calls come in any order, and a result must follow from what it is given."
_TO_IMPORT = "Import it at the top of the module, so that what it does is part of the fingerprint."


def definition(function: types.FunctionType) -> Definition:
    """Return the tree of a function's definition, without decorators, docstrings and annotations.

    Raises FunctionProblem when there is none: a lambda, code made by exec, a file that is gone.
    """
    code = function.__code__
    if code.co_name == "<lambda>":
        raise FunctionProblem("It is, or uses, a lambda, whose source cannot be told.", "Write a def.")
    for node in ast.walk(_module(_text(function))):
        if isinstance(node, Definition) and node.name == code.co_name and _first_line(node) == code.co_firstlineno:
            plain = _plain(node)
            _refuse_own_imports(plain)
            return plain
    what = f"The source of {function.__qualname__} is not to be found in {code.co_filename}."
    raise FunctionProblem(what, "Write it in a module of its own, in a file.")


def _text(function: types.FunctionType) -> str:
    kept = function.__globals__.get(KEPT)
    if isinstance(kept, str) and function.__globals__.get("__file__") == function.__code__.co_filename:
        return kept
    linecache.checkcache(function.__code__.co_filename)
    return "".join(linecache.getlines(function.__code__.co_filename, function.__globals__))


@lru_cache(maxsize=256)
def _module(text: str) -> ast.Module:
    try:
        return ast.parse(text)
    except SyntaxError:  # the file is another one by now
        return ast.Module(body=[], type_ignores=[])


def _first_line(node: Definition) -> int:
    return min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])


def _plain(node: Definition) -> Definition:
    plain = copy.deepcopy(node)
    plain.decorator_list = []
    made: Definition = _Plain().visit(plain)
    return ast.fix_missing_locations(made)


class _Plain(ast.NodeTransformer):
    """Takes out docstrings and annotations, everywhere."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        return self._definition(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        return self._definition(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        self.generic_visit(node)
        node.body = _without_docstring(node.body)
        return node

    def _definition(self, node: Definition) -> ast.AST:
        self.generic_visit(node)
        node.returns = None
        node.body = _without_docstring(node.body)
        return node

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        self.generic_visit(node)
        if node.value is not None and node.simple:
            return ast.Assign(targets=[node.target], value=node.value)
        node.annotation = ast.Constant(None)
        return node


def _without_docstring(body: list[ast.stmt]) -> list[ast.stmt]:
    match body:
        case [ast.Expr(value=ast.Constant(value=str())), *rest]:
            return rest or [ast.Pass()]
    return body


def written(node: Definition) -> str:
    """Return a definition as code, in the one way that Python writes it."""
    try:
        return ast.unparse(node)
    except ValueError:  # before Python 3.12, of an f-string with every kind of quote
        raise FunctionProblem(f"{node.name} has a text that cannot be told.", "Simplify its f-strings.") from None


def _refuse_own_imports(node: Definition) -> None:
    """Refuse an import of the project's own code inside a function: it happens only when the function runs."""
    for each in ast.walk(node):
        if isinstance(each, ast.ImportFrom) and each.level:
            raise FunctionProblem(f"{node.name} imports from {'.' * each.level}{each.module or ''} inside.", _TO_IMPORT)
        names = [alias.name for alias in each.names] if isinstance(each, ast.Import) else []
        names += [each.module or ""] if isinstance(each, ast.ImportFrom) else []
        for name in names:
            if not _is_library_module(name.partition(".")[0]):
                raise FunctionProblem(f"{node.name} imports {name} inside.", _TO_IMPORT)


def tree(node: object) -> object:
    """Return a syntax tree as plain data that is the same in every version of Python; the outermost name is left out."""
    form = _tree(node)
    if isinstance(form, list) and isinstance(node, Definition):
        form[1].pop("name", None)
    return form


def _tree(node: object) -> object:
    if isinstance(node, ast.Constant):
        return ["constant", type(node.value).__name__, repr(node.value)]
    if isinstance(node, ast.AST):
        unmeant = _UNMEANT - {"decorator_list"}  # inside, a decorator is code
        fields = {
            name: value for name, value in ast.iter_fields(node) if name not in unmeant and value not in (None, [])
        }
        return [type(node).__name__, {name: _tree(value) for name, value in fields.items()}]
    if isinstance(node, list):
        return [_tree(each) for each in node]
    return node


def names(node: Definition) -> tuple[str, ...]:
    """Return the names that a function uses from outside of it, sorted. Raises FunctionProblem when it changes one."""
    try:
        outer = symtable.symtable(written(node), "<function>", "exec")
    except SyntaxError as error:  # a nonlocal of what is around it
        raise FunctionProblem(f"{node.name} changes what is outside of it: {error.msg}.", _NO_STATE) from None
    return tuple(sorted({name for table in outer.get_children() for name in _free(table, node.name)}))


def _free(table: symtable.SymbolTable, function: str) -> Iterator[str]:
    for symbol in table.get_symbols():
        if symbol.is_declared_global() and symbol.is_assigned():
            what = f"{function} changes what is outside of it: global {symbol.get_name()}."
            raise FunctionProblem(what, _NO_STATE)
        if symbol.is_global() and symbol.is_referenced():
            yield symbol.get_name()
    for inner in table.get_children():
        yield from _free(inner, function)


def chains(node: ast.AST, name: str) -> Iterable[tuple[str, ...]]:
    """Return what code takes from a name: `("text", "clean")` of `name.text.clean(x)`, sorted.

    Raises FunctionProblem when it uses the name itself.
    """
    found: set[tuple[str, ...]] = set()
    inner: set[int] = set()
    for each in ast.walk(node):
        chain: list[str] = []
        part: ast.AST = each
        while isinstance(part, ast.Attribute):
            chain.append(part.attr)
            inner.add(id(part.value))
            part = part.value
        if isinstance(part, ast.Name) and part.id == name and (chain or id(part) not in inner):
            if not chain:
                what = f"It uses the module {name} as a value."
                raise FunctionProblem(what, f"Name what it uses of it: {name}.something.")
            found.add(tuple(reversed(chain)))
    return sorted(found)


# What is user code


def is_library(thing: Any) -> bool:
    """Return whether something comes with Python or with an installed library, featdsl itself included."""
    if isinstance(thing, types.FunctionType):
        return not thing.__code__.co_filename.startswith("<") and _installed(thing.__code__.co_filename)
    if isinstance(thing, types.ModuleType):
        return _is_library_module(thing.__name__, _file_of(thing))
    module = str(getattr(thing, "__module__", None) or type(thing).__module__)
    return _is_library_module(module)


def is_generated(function: types.FunctionType) -> bool:
    """Return whether a function was never written, but made by a decorator such as dataclass."""
    file = function.__code__.co_filename
    return file.startswith("<") and not linecache.getlines(file, function.__globals__)


def _is_library_module(name: str, file: str | None = None) -> bool:
    top = name.partition(".")[0]
    if top in sys.stdlib_module_names or top in {"builtins", "featdsl"}:
        return True
    if file is None:
        file = _file_of(sys.modules[name]) if name in sys.modules else _file_of_spec(top)
    return bool(file) and _installed(str(file))


def _file_of(module: types.ModuleType) -> str | None:
    return getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", ())), None)


def _file_of_spec(name: str) -> str | None:
    try:
        spec = find_spec(name)
    except (ImportError, ValueError):
        return None
    return (spec.origin or next(iter(spec.submodule_search_locations or ()), None)) if spec else None


@lru_cache(maxsize=10_000)
def _installed(file: str) -> bool:
    path = Path(file)
    if {"site-packages", "dist-packages"} & set(path.parts) or file.startswith("<frozen"):
        return True
    return any(path.is_relative_to(folder) for folder in _library_folders())


@lru_cache(maxsize=1)
def _library_folders() -> tuple[Path, ...]:
    paths = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    paths += [*site.getsitepackages(), site.getusersitepackages(), str(Path(__file__).parent)]
    return tuple(Path(path) for path in paths if path)
