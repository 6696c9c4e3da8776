"""Hash what a Python function does: its own code, and every value, function and class that it uses.

Comments, formatting, docstrings, annotations, decorators, names of files and places in them are no part of it. What
comes from Python or an installed library counts by its qualified name, everything else by what it is.
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

from featdsl import literals, sourcecode
from featdsl.callables import parameters
from featdsl.declaration import Declaration
from featdsl.definitions import FunctionDefinition
from featdsl.fingerprints import of
from featdsl.literals import FunctionProblem, Told

__all__ = ["FunctionProblem", "describe"]

_CONTAINERS = (tuple, list, dict, set, frozenset)
_METACLASSES = (type, abc.ABCMeta, EnumMeta, type(typing.Protocol))
_MADE_BY_PYTHON = frozenset({"_abc_impl", "_is_protocol", "_is_runtime_protocol", "_field_defaults"})


def describe(function: types.FunctionType) -> FunctionDefinition:
    """Return a function's names, parameters, fingerprint and the text of all that counts.

    Raises FunctionProblem for one whose source is not to be found, or that uses what has no lasting form.
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
    """Return the parts of a text, those of several lines with empty lines around them."""
    text = sections[0]
    for before, section in pairwise(sections):
        text += "\n\n" if "\n" in before or "\n" in section else "\n"
        text += section
    return text


@dataclass
class _Walk:
    """A way through all that a function uses, each thing once and in the order of the code."""

    sections: list[str] = field(default_factory=list)
    _met: dict[int, tuple[int, object]] = field(default_factory=dict)
    _told: set[tuple[str, int]] = field(default_factory=set)
    _around: list[int] = field(default_factory=list)

    def function(self, function: types.FunctionType, name: str) -> object:
        """Return the form of a function of user code."""
        if (again := self._again(function)) is not None:
            return again
        node = sourcecode.definition(function)
        listed = inspect.signature(function, follow_wrapped=False).parameters.values()
        section = len(self.sections)
        self.sections.append(sourcecode.written(node))
        given = [(each.name, each.default) for each in listed if each.default is not inspect.Parameter.empty]
        defaults = [[key, self.value(each, f"{name}({key}=)")] for key, each in given]
        form = ["function", sourcecode.tree(node), defaults]
        # A default that is written out stands in the code already; only one that is computed needs a line of its own.
        lines = [
            Told(key, each, told).line
            for (key, each), (_, told) in zip(given, defaults, strict=True)
            if key not in _written(node)
        ]
        self.sections[section] += "".join(f"\n# {line}" for line in lines)
        return [*form, [[used, self._used(function, node, used, name)] for used in sourcecode.names(node)]]

    def value(self, value: object, name: str) -> object:  # noqa: PLR0911 - one line a kind
        """Return the form of a value that code uses, whatever it is."""
        if type(value) in _CONTAINERS:
            return self._container(value, name)
        match value:
            case Declaration():
                what = f"{name} is the {value.kind} {value.address}, which is no value."
                raise FunctionProblem(what, "What a function reads is given to its parameters: name it as one of them.")
            case types.FunctionType():
                return self._function_or_name(value, name)
            case types.ModuleType():
                if sourcecode.is_library(value):
                    return ["library", value.__name__]
                raise FunctionProblem(f"{name} is a module of this project, which is no value.", "Name what it holds.")
            case type():
                return ["library", _qualified(value)] if sourcecode.is_library(value) else self._class(value, name)
            case staticmethod() | classmethod():
                return [type(value).__name__, self.value(value.__func__, name)]
            case property():
                return ["property", [self.value(each, name) for each in (value.fget, value.fset) if each]]
            case types.MethodType():
                return ["method", self.value(value.__func__, name), self.value(value.__self__, name)]
        return literals.form(value, name, self.value)

    def _container(self, value: Any, name: str) -> object:
        if id(value) in self._around:
            raise FunctionProblem(f"{name} holds itself.", "Give the function values that end.")
        self._around.append(id(value))
        if isinstance(value, set | frozenset):
            # Its own order is another one in each process, so each of its values is first told by itself.
            ordered = sorted(value, key=lambda each: json.dumps(_Walk().value(each, name)))
            form: object = [type(value).__name__, [self.value(each, name) for each in ordered]]
        else:
            form = literals.form(value, name, self.value)
        self._around.pop()
        return form

    def _function_or_name(self, function: types.FunctionType, name: str) -> object:
        if not sourcecode.is_library(function):
            return self.function(function, name)
        # A decorator of a library gives its own function, around that of the user.
        inner = getattr(function, "__wrapped__", None)
        wrapped = [self.value(inner, name)] if inner is not None and not sourcecode.is_library(inner) else []
        return ["library", _qualified(function) if not wrapped else _place(function), *wrapped]

    def _class(self, made: type, name: str) -> object:
        """Return the form of a class of user code: its bases, its fields, and what its body defines."""
        if (again := self._again(made)) is not None:
            return again
        if type(made) not in _METACLASSES or hasattr(made, "__attrs_attrs__"):
            what = f"{name} is a class that a library makes, whose fields cannot be told."
            raise FunctionProblem(what, "Make it a dataclass or a plain class.")
        bases = [self.value(base, f"{name}'s base") for base in made.__bases__ if base is not object]
        form: list[object] = ["class", bases]
        if issubclass(made, Enum):
            form.append([[each.name, self.value(each.value, f"{name}.{each.name}")] for each in made])
        if is_dataclass(made):
            form += [repr(getattr(made, "__dataclass_params__", "")), self._fields(made, name)]
        if issubclass(made, tuple) and hasattr(made, "_fields"):
            form.append([list(made._fields), self.value(getattr(made, "_field_defaults", {}), name)])
        return [*form, [[key, self.value(each, f"{name}.{key}")] for key, each in _body(made)]]

    def _fields(self, made: Any, name: str) -> object:
        return [
            [
                each.name,
                each.init,
                *(self.value(v, f"{name}.{each.name}") for v in (each.default, each.default_factory)),
            ]
            for each in dataclass_fields(made)
        ]

    def _again(self, thing: object) -> object:
        """Return how to refer to something met before; what is new is met now."""
        if id(thing) in self._met:
            return ["again", self._met[id(thing)][0]]
        self._met[id(thing)] = (len(self._met), thing)
        return None

    def _used(self, function: types.FunctionType, node: ast.AST, used: str, name: str) -> object:
        """Return the form of what a name in a function's code stands for."""
        value = _look_up(function, used, name)
        if value is _BUILTIN:
            return "builtin"
        if isinstance(value, types.ModuleType) and not sourcecode.is_library(value):
            return self._attributes(value, node, used)
        return self._shown(value, used, f"{function.__module__}.{used}")

    def _shown(self, value: object, used: str, name: str) -> object:
        """Return the form of a value, and tell of it once, unless it is a function, which tells of itself."""
        form = self.value(value, name)
        is_own = isinstance(value, types.FunctionType) and not sourcecode.is_library(value)
        if not is_own and (used, id(value)) not in self._told:
            self._told.add((used, id(value)))
            self.sections.append(Told(used, value, form).line)
        return form

    def _attributes(self, module: types.ModuleType, node: ast.AST, used: str) -> object:
        """Return the forms of what code takes from a module of the project: `helpers.clean(text)` uses `clean`."""
        forms: list[object] = []
        for chain in sourcecode.chains(node, used):
            value: object = module
            taken: list[str] = []
            for attribute in chain:
                if not isinstance(value, types.ModuleType) or sourcecode.is_library(value):
                    break
                taken.append(attribute)
                if not hasattr(value, attribute):
                    raise FunctionProblem(
                        f"{used}.{'.'.join(taken)} does not exist.", f"Define it in {module.__name__}."
                    )
                value = getattr(value, attribute)
            whole = ".".join([used, *taken])
            forms.append([taken, self._shown(value, whole, whole)])
        return forms


_BUILTIN = object()


def _look_up(function: types.FunctionType, used: str, name: str) -> object:
    """Return what a name means inside a function. Raises FunctionProblem when it means nothing."""
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
        f"{name} uses {used!r}, which nothing defines.", f"Define or import it in {function.__module__}."
    )


def _written(node: sourcecode.Definition) -> set[str]:
    """Return the parameters whose defaults stand in the code."""
    positional = [*node.args.posonlyargs, *node.args.args][::-1]
    pairs = [
        *zip(positional, node.args.defaults[::-1], strict=False),
        *zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True),
    ]
    return {argument.arg for argument, default in pairs if isinstance(default, ast.Constant)}


def _body(made: type) -> Iterator[tuple[str, object]]:
    """Yield what the body of a class defines, without what Python and its decorators add."""
    for key, value in vars(made).items():
        inner = getattr(value, "__func__", value)
        if isinstance(inner, types.FunctionType):
            if not sourcecode.is_library(inner) and not sourcecode.is_generated(inner):
                yield key, value
        elif isinstance(value, types.MemberDescriptorType | types.GetSetDescriptorType) or _is_added(made, key):
            continue
        else:
            yield key, value


def _is_added(made: type, key: str) -> bool:
    if key.startswith("__") or key in _MADE_BY_PYTHON:
        return True
    if issubclass(made, Enum):  # its members are told by themselves
        return True
    return key in getattr(made, "__dataclass_fields__", {}) or key in getattr(made, "_fields", ())


def _qualified(thing: Any) -> str:
    return f"{thing.__module__}.{thing.__qualname__}"


def _place(function: types.FunctionType) -> str:
    """Return what made a decorated function, whose own names are those of what it wraps."""
    return f"{function.__globals__.get('__name__', '')}.{function.__code__.co_qualname}"
