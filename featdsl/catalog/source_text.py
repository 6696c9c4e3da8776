"""Find the source of a Python function, and reduce it to a syntax tree without docstrings and annotations."""

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

from featdsl.catalog.literal_values import FunctionProblem

Definition = ast.FunctionDef | ast.AsyncFunctionDef

KEPT = "__featdsl_source__"
"""The module attribute in which the loader keeps the module's source text."""

_IGNORED = frozenset({"ctx", "kind", "type_comment", "type_ignores", "type_params", "decorator_list", "returns"})
_NO_STATE = "Return the result instead: calls come in any order, and a result may depend only on the arguments."
_TO_IMPORT = "Import it at the top of the module, so that the fingerprint includes its code."


def definition(function: types.FunctionType) -> Definition:
    """Return the syntax tree of a function's definition, without decorators, docstrings and annotations.

    Raises FunctionProblem if there is no source: for a lambda, code from exec, or a deleted file.
    """
    code = function.__code__
    if code.co_name == "<lambda>":
        raise FunctionProblem("It is or uses a lambda, which cannot be fingerprinted.", "Write a def.")
    for node in ast.walk(_module(_text(function))):
        if isinstance(node, Definition) and node.name == code.co_name and _first_line(node) == code.co_firstlineno:
            plain = _plain(node)
            _refuse_own_imports(plain)
            return plain
    what = f"The source of {function.__qualname__} was not found in {code.co_filename}."
    raise FunctionProblem(what, "Define it in a file, in a module.")


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
    except SyntaxError:  # the file has changed since
        return ast.Module(body=[], type_ignores=[])


def _first_line(node: Definition) -> int:
    return min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])


def _plain(node: Definition) -> Definition:
    plain = copy.deepcopy(node)
    plain.decorator_list = []
    made: Definition = _Plain().visit(plain)
    return ast.fix_missing_locations(made)


class _Plain(ast.NodeTransformer):
    """Removes docstrings and annotations at every level."""

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
    """Return a definition as code, as `ast.unparse` formats it."""
    try:
        return ast.unparse(node)
    except ValueError:  # before Python 3.12, an f-string that uses every kind of quote
        raise FunctionProblem(f"{node.name} has an f-string that cannot be read.", "Simplify its f-strings.") from None


def _refuse_own_imports(node: Definition) -> None:
    """Raise FunctionProblem if a function imports the project's own code: the fingerprint would miss that code."""
    for each in ast.walk(node):
        if isinstance(each, ast.ImportFrom) and each.level:
            module = f"{'.' * each.level}{each.module or ''}"
            raise FunctionProblem(f"{node.name} imports from {module} inside the function.", _TO_IMPORT)
        names = [alias.name for alias in each.names] if isinstance(each, ast.Import) else []
        names += [each.module or ""] if isinstance(each, ast.ImportFrom) else []
        for name in names:
            if not _is_library_module(name.partition(".")[0]):
                raise FunctionProblem(f"{node.name} imports {name} inside the function.", _TO_IMPORT)


def tree(node: object) -> object:
    """Return a syntax tree as plain data that is the same in every version of Python, without a function's own name."""
    form = _tree(node)
    if isinstance(form, list) and isinstance(node, Definition):
        form[1].pop("name", None)
    return form


def _tree(node: object) -> object:
    if isinstance(node, ast.Constant):
        return ["constant", type(node.value).__name__, repr(node.value)]
    if isinstance(node, ast.JoinedStr):
        node = ast.JoinedStr([each for each in node.values if not _is_empty(each)])  # Python 3.12 adds empty texts
    if isinstance(node, ast.AST):
        ignored = _IGNORED - {"decorator_list"}  # decorators of nested functions are code
        fields = {
            name: value for name, value in ast.iter_fields(node) if name not in ignored and value not in (None, [])
        }
        return [type(node).__name__, {name: _tree(value) for name, value in fields.items()}]
    if isinstance(node, list):
        return [_tree(each) for each in node]
    return node


def _is_empty(part: ast.expr) -> bool:
    return isinstance(part, ast.Constant) and part.value == ""


def names(node: Definition) -> tuple[str, ...]:
    """Return the outer names that a function uses, sorted. Raises FunctionProblem if it assigns one."""
    try:
        outer = symtable.symtable(written(node), "<function>", "exec")
    except SyntaxError as error:  # a nonlocal of an enclosing function
        raise FunctionProblem(f"{node.name} changes a variable outside the function: {error.msg}.", _NO_STATE) from None
    return tuple(sorted({name for table in outer.get_children() for name in _free(table, node.name)}))


def _free(table: symtable.SymbolTable, function: str) -> Iterator[str]:
    for symbol in table.get_symbols():
        if symbol.is_declared_global() and symbol.is_assigned():
            what = f"{function} changes a variable outside the function: global {symbol.get_name()}."
            raise FunctionProblem(what, _NO_STATE)
        if symbol.is_global() and symbol.is_referenced():
            yield symbol.get_name()
    for inner in table.get_children():
        yield from _free(inner, function)


def chains(node: ast.AST, name: str) -> Iterable[tuple[str, ...]]:
    """Return the attribute chains that code reads from a name, sorted: `("text", "clean")` for `name.text.clean(x)`.

    Raises FunctionProblem if the code uses the name itself.
    """
    attributes: set[tuple[str, ...]] = set()
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
                raise FunctionProblem(what, f"Use its members by name: {name}.something.")
            attributes.add(tuple(reversed(chain)))
    return sorted(attributes)


# User code and library code


def is_library(thing: Any) -> bool:
    """Return whether an object comes from Python or an installed library, featdsl included."""
    if isinstance(thing, types.FunctionType):
        return not thing.__code__.co_filename.startswith("<") and _installed(thing.__code__.co_filename)
    if isinstance(thing, types.ModuleType):
        return _is_library_module(thing.__name__, _file_of(thing))
    module = str(getattr(thing, "__module__", None) or type(thing).__module__)
    return _is_library_module(module)


def is_generated(function: types.FunctionType) -> bool:
    """Return whether a function has no source because a decorator, such as dataclass, generated it."""
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
    paths += [*site.getsitepackages(), site.getusersitepackages(), str(Path(__file__).parents[1])]
    return tuple(Path(path) for path in paths if path)
