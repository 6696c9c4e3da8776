"""Fingerprint a Python function by its code and by every value, function and class that it uses.

Comments, formatting, docstrings, annotations, decorators and file positions do not count. Objects from Python or an
installed library count by qualified name, all others by content.
"""

from __future__ import annotations

import abc
import ast
import inspect
import json
import types
import typing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, is_dataclass
from dataclasses import fields as dataclass_fields
from enum import Enum, EnumMeta
from itertools import pairwise
from typing import Any

from featdsl.catalog import literal_values, source_text
from featdsl.catalog.literal_values import FunctionProblem, UsedValue
from featdsl.declarations.declaration import Declaration
from featdsl.declarations.functions import parameters
from featdsl.definitions.fingerprints import of
from featdsl.definitions.sources import FunctionDefinition

__all__ = ["FunctionProblem", "describe"]

_CONTAINERS = (tuple, list, dict, set, frozenset)
_METACLASSES = (type, abc.ABCMeta, EnumMeta, type(typing.Protocol))
_MADE_BY_PYTHON = frozenset({"_abc_impl", "_is_protocol", "_is_runtime_protocol", "_field_defaults"})


def describe(function: types.FunctionType) -> FunctionDefinition:
    """Return a function's names, parameters, fingerprint, and the text of the code and values in it.

    Raises FunctionProblem if the source is not found or a value cannot be serialized.
    """
    walk = _Walk()
    form = walk.function(function, function.__qualname__)
    return FunctionDefinition(
        module=function.__module__ or "",
        qualname=function.__qualname__,
        parameters=parameters(function),
        fingerprint=of({"function": form}),
        text=_text(walk.sections),
    )


def _text(sections: Sequence[str]) -> str:
    """Return the sections as one text, with empty lines around multi-line ones."""
    text = sections[0]
    for before, section in pairwise(sections):
        text += "\n\n" if "\n" in before or "\n" in section else "\n"
        text += section
    return text


@dataclass
class _Walk:
    """Walks everything that a function uses, each object once and in the order of the code."""

    sections: list[str] = field(default_factory=list)
    _seen: dict[int, tuple[int, object]] = field(default_factory=dict)
    _listed: set[tuple[str, int]] = field(default_factory=set)
    _enclosing: list[int] = field(default_factory=list)

    def function(self, function: types.FunctionType, name: str) -> object:
        """Return the form of a function of user code."""
        if (again := self._again(function)) is not None:
            return again
        node = source_text.definition(function)
        listed = inspect.signature(function, follow_wrapped=False).parameters.values()
        section = len(self.sections)
        self.sections.append(source_text.written(node))
        values = [(each.name, each.default) for each in listed if each.default is not inspect.Parameter.empty]
        defaults = [[key, self.value(each, f"{name}({key}=)")] for key, each in values]
        form = ["function", source_text.tree(node), defaults]
        # The code shows literal defaults; only computed ones need a line of their own.
        lines = [
            UsedValue(key, each, default_form).line
            for (key, each), (_, default_form) in zip(values, defaults, strict=True)
            if key not in _written(node)
        ]
        self.sections[section] += "".join(f"\n# {line}" for line in lines)
        return [*form, [[used, self._used(function, node, used, name)] for used in source_text.names(node)]]

    def value(self, value: object, name: str) -> object:  # noqa: PLR0911 - one line a kind
        """Return the form of any value that code uses."""
        if type(value) in _CONTAINERS:
            return self._container(value, name)
        match value:
            case Declaration():
                what = f"{name} is the {value.kind} {value.address}, which is not a value."
                raise FunctionProblem(what, "A function gets its inputs as parameters: add a parameter of that name.")
            case types.FunctionType():
                return self._function_or_name(value, name)
            case types.ModuleType():
                if source_text.is_library(value):
                    return ["library", value.__name__]
                what = f"{name} is a module of this project, which is not a value."
                raise FunctionProblem(what, "Use its members by name.")
            case type():
                return ["library", _qualified(value)] if source_text.is_library(value) else self._class(value, name)
            case staticmethod() | classmethod():
                return [type(value).__name__, self.value(value.__func__, name)]
            case property():
                return ["property", [self.value(each, name) for each in (value.fget, value.fset) if each]]
            case types.MethodType():
                return ["method", self.value(value.__func__, name), self.value(value.__self__, name)]
        return literal_values.form(value, name, self.value)

    def _container(self, value: Any, name: str) -> object:
        if id(value) in self._enclosing:
            raise FunctionProblem(f"{name} contains itself.", "Use values without cycles.")
        self._enclosing.append(id(value))
        if isinstance(value, set | frozenset):
            # The order of a set differs between processes, so its values are sorted by their forms.
            ordered = sorted(value, key=lambda each: json.dumps(_Walk().value(each, name)))
            form: object = [type(value).__name__, [self.value(each, name) for each in ordered]]
        else:
            form = literal_values.form(value, name, self.value)
        self._enclosing.pop()
        return form

    def _function_or_name(self, function: types.FunctionType, name: str) -> object:
        if not source_text.is_library(function):
            return self.function(function, name)
        # A library's decorator returns its own function, which wraps the user's.
        inner = getattr(function, "__wrapped__", None)
        wrapped = [self.value(inner, name)] if inner is not None and not source_text.is_library(inner) else []
        return ["library", _qualified(function) if not wrapped else _place(function), *wrapped]

    def _class(self, made: type, name: str) -> object:
        """Return the form of a class of user code: its bases, its fields, and the members of its body."""
        if (again := self._again(made)) is not None:
            return again
        if type(made) not in _METACLASSES or hasattr(made, "__attrs_attrs__"):
            what = f"{name} is a class that a library generates, whose fields cannot be fingerprinted."
            raise FunctionProblem(what, "Make it a dataclass or a plain class.")
        bases = [self.value(base, f"{name}'s base") for base in made.__bases__ if base is not object]
        form: list[object] = ["class", bases]
        if issubclass(made, Enum):
            form.append([[each.name, self.value(each.value, f"{name}.{each.name}")] for each in made])
        if is_dataclass(made):
            form += [_dataclass_options(made), self._fields(made, name)]
        if issubclass(made, tuple) and hasattr(made, "_fields"):
            form.append([list(made._fields), self.value(getattr(made, "_field_defaults", {}), name)])
        return [*form, [[key, self.value(each, f"{name}.{key}")] for key, each in _body(made)]]

    def _fields(self, made: Any, name: str) -> object:
        return [
            [
                each.name,
                each.init,
                *(self.value(v, f"{name}.{each.name}") for v in (each.default, each.default_factory)),
                *(["kw_only"] if each.kw_only else []),
            ]
            for each in dataclass_fields(made)
        ]

    def _again(self, thing: object) -> object:
        """Return a reference to an object that was seen before; mark a new one as seen and return None."""
        if id(thing) in self._seen:
            return ["again", self._seen[id(thing)][0]]
        self._seen[id(thing)] = (len(self._seen), thing)
        return None

    def _used(self, function: types.FunctionType, node: ast.AST, used: str, name: str) -> object:
        """Return the form of the object that a name in a function's code refers to."""
        value = _look_up(function, used, name)
        if value is _BUILTIN:
            return "builtin"
        if isinstance(value, types.ModuleType) and not source_text.is_library(value):
            return self._attributes(value, node, used)
        return self._shown(value, used, f"{function.__module__}.{used}")

    def _shown(self, value: object, used: str, name: str) -> object:
        """Return the form of a value, and list it once in the text; the project's functions are listed by their code."""
        form = self.value(value, name)
        is_own = isinstance(value, types.FunctionType) and not source_text.is_library(value)
        if not is_own and (used, id(value)) not in self._listed:
            self._listed.add((used, id(value)))
            self.sections.append(UsedValue(used, value, form).line)
        return form

    def _attributes(self, module: types.ModuleType, node: ast.AST, used: str) -> object:
        """Return the forms of the members that code uses of a project's module: `clean` for `helpers.clean(text)`."""
        forms: list[object] = []
        for chain in source_text.chains(node, used):
            value: object = module
            path: list[str] = []
            for attribute in chain:
                if not isinstance(value, types.ModuleType) or source_text.is_library(value):
                    break
                path.append(attribute)
                if not hasattr(value, attribute):
                    raise FunctionProblem(
                        f"{used}.{'.'.join(path)} does not exist.", f"Define it in {module.__name__}."
                    )
                value = getattr(value, attribute)
            name = ".".join([used, *path])
            forms.append([path, self._shown(value, name, name)])
        return forms


_BUILTIN = object()
_DATACLASS_OPTIONS = ("init", "repr", "eq", "order", "unsafe_hash", "frozen")
"""The options of a dataclass that every version of Python keeps; newer ones keep more, which change no value."""


def _dataclass_options(made: type) -> str:
    options = getattr(made, "__dataclass_params__", None)
    shown = ",".join(f"{name}={getattr(options, name)!r}" for name in _DATACLASS_OPTIONS)
    return f"_DataclassParams({shown})"


def _look_up(function: types.FunctionType, used: str, name: str) -> object:
    """Return the object that a name refers to inside a function. Raises FunctionProblem if it is undefined."""
    if used in function.__code__.co_freevars:
        try:
            return (function.__closure__ or ())[function.__code__.co_freevars.index(used)].cell_contents
        except ValueError:
            raise FunctionProblem(f"{name} uses {used!r}, which has no value yet.") from None
    if used in function.__globals__:
        return function.__globals__[used]
    known = function.__globals__.get("__builtins__", {})
    if used in (known if isinstance(known, dict) else vars(known)):
        return _BUILTIN
    raise FunctionProblem(
        f"{name} uses {used!r}, which is undefined.", f"Define or import it in {function.__module__}."
    )


def _written(node: source_text.Definition) -> set[str]:
    """Return the parameters whose defaults stand in the code."""
    positional = [*node.args.posonlyargs, *node.args.args][::-1]
    pairs = [
        *zip(positional, node.args.defaults[::-1], strict=False),
        *zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True),
    ]
    return {argument.arg for argument, default in pairs if isinstance(default, ast.Constant)}


def _body(made: type) -> Iterator[tuple[str, object]]:
    """Yield the members of a class body, without those that Python and decorators add."""
    for key, value in vars(made).items():
        inner = getattr(value, "__func__", value)
        if isinstance(inner, types.FunctionType):
            if not source_text.is_library(inner) and not source_text.is_generated(inner):
                yield key, value
        elif isinstance(value, types.MemberDescriptorType | types.GetSetDescriptorType) or _is_added(made, key):
            continue
        else:
            yield key, value


def _is_added(made: type, key: str) -> bool:
    if key.startswith("__") or key in _MADE_BY_PYTHON:
        return True
    if issubclass(made, Enum):  # its members are part of the class's form already
        return True
    return key in getattr(made, "__dataclass_fields__", {}) or key in getattr(made, "_fields", ())


def _qualified(thing: Any) -> str:
    return f"{thing.__module__}.{thing.__qualname__}"


def _place(function: types.FunctionType) -> str:
    """Return the decorator that made a function; the function's own names are those of the one it wraps."""
    return f"{function.__globals__.get('__name__', '')}.{function.__code__.co_qualname}"
