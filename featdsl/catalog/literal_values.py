"""Serialize the values that Python functions use, the same in every process: as data to hash, and as text to read."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import logging
import re
import sys
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from functools import partial
from pathlib import PurePath
from typing import Any
from uuid import UUID

_LONG = 100
_SECRET = re.compile(r"(?i)(^|_)(token|secret|passw(or)?d|password|api_?key|credentials?)($|_)")
_SIMPLE = (type(None), bool, int, float, complex, str, bytes, type(Ellipsis))
_WRITTEN = (Decimal, Fraction, dt.date, dt.datetime, dt.time, dt.timedelta, dt.timezone, UUID, range, slice)

Inner = Callable[[object, str], object]
"""Returns the serialized form of a nested value, given the value and its name."""


class FunctionProblem(ValueError):
    """A function that cannot be fingerprinted; `fix` says what to do."""

    def __init__(self, what: str, fix: str = "") -> None:
        super().__init__(what)
        self.fix = fix


def form(value: Any, name: str, inner: Inner) -> object:
    """Return a value as JSON-like data. Raises FunctionProblem, with the value's name, if it cannot be serialized."""
    kind = type(value)
    if kind in _SIMPLE or kind in _WRITTEN:
        return [kind.__name__, repr(value)]
    if kind in {tuple, list}:
        return [kind.__name__, [inner(each, f"{name}[{i}]") for i, each in enumerate(value)]]
    if kind in {dict, types.MappingProxyType}:
        return [kind.__name__, [[inner(key, name), inner(each, f"{name}[{key!r}]")] for key, each in value.items()]]
    if isinstance(value, Enum):
        return ["enum", inner(kind, kind.__name__), value.name]
    if is_dataclass(value) or (isinstance(value, tuple) and hasattr(value, "_fields")):
        listed = [each.name for each in fields(value)] if is_dataclass(value) else list(value._fields)
        return [
            "made",
            inner(kind, kind.__name__),
            [[key, inner(getattr(value, key), f"{name}.{key}")] for key in listed],
        ]
    serialized = _of_python(value, name, inner) or _of_libraries(value, name, inner)
    if serialized is None:
        what = f"{name} is {_a(kind)}, which cannot be fingerprinted."
        fix = "Create it inside the function, or use plain values: numbers, texts, lists, dicts, dataclasses."
        raise FunctionProblem(what, fix)
    return serialized


def _of_python(value: Any, name: str, inner: Inner) -> object:  # noqa: C901, PLR0911 - one line a kind
    """Return the form of a less common standard library value; None for others."""
    match value:
        case re.Pattern():
            return ["pattern", repr(value.pattern), value.flags]
        case PurePath():
            return ["path", value.as_posix()]
        case logging.Logger():
            return ["logger"]
        case partial():
            return ["partial", inner(value.func, name), inner(list(value.args), name), inner(value.keywords, name)]
        case types.BuiltinFunctionType() if isinstance(value.__self__, types.ModuleType | type(None)):
            return ["library", f"{value.__module__}.{value.__qualname__}"]
        case types.BuiltinFunctionType():
            return ["method", inner(value.__self__, name), value.__name__]
        case types.GenericAlias() | types.UnionType() | typing.TypeVar():
            return ["type", repr(value)]
        case types.MethodDescriptorType() | types.WrapperDescriptorType():
            return ["library", value.__qualname__]
    if type(value).__module__ == "typing":
        return ["type", repr(value)]
    if type(value).__module__ == "zoneinfo":
        return ["zone", str(value)]
    if type(value).__module__ == "dataclasses":  # the marker of a missing default
        return [type(value).__name__]
    return None


def _of_libraries(value: Any, name: str, inner: Inner) -> object:  # noqa: PLR0911 - one line a kind
    """Return the form of a value of numpy or pyarrow, or of a library's function or decorator; None for others."""
    numpy, arrow = sys.modules.get("numpy"), sys.modules.get("pyarrow")
    if numpy is not None and isinstance(value, numpy.ndarray | numpy.generic):
        has_objects = value.dtype.hasobject
        content = inner(value.tolist(), name) if has_objects else hashlib.sha256(value.tobytes()).hexdigest()
        return ["numpy", value.dtype.str, list(value.shape), content]
    if numpy is not None and isinstance(value, numpy.dtype):
        return ["numpy type", value.str]
    if arrow is not None and isinstance(value, arrow.Array | arrow.ChunkedArray):
        return ["arrow", str(value.type), inner(value.to_pylist(), name)]
    if arrow is not None and isinstance(value, arrow.Scalar):
        return ["arrow", str(value.type), inner(value.as_py(), name)]
    if arrow is not None and isinstance(value, arrow.Table | arrow.RecordBatch):
        return ["arrow", str(value.schema), inner(value.to_pydict(), name)]
    if arrow is not None and isinstance(value, arrow.DataType | arrow.Field | arrow.Schema):
        return ["arrow type", str(value)]
    if callable(value) and hasattr(value, "__wrapped__"):  # such as functools.cache
        return ["wrapped", f"{type(value).__module__}.{type(value).__qualname__}", inner(value.__wrapped__, name)]
    if numpy is not None and isinstance(value, numpy.ufunc):
        return ["library", f"numpy.{value.__name__}"]
    if type(value).__name__ in {"cython_function_or_method", "fused_cython_function"}:
        return ["library", f"{value.__module__}.{value.__qualname__}"]
    return None


def _a(kind: type) -> str:
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return f"an {name}" if name[:1].lower() in "aeiou" else f"a {name}"


@dataclass(frozen=True)
class UsedValue:
    """A value that code uses, to be shown as one line: `RATE = 3`."""

    name: str
    value: object
    form: object

    @property
    def line(self) -> str:
        """The value as a line of code; long values and possible secrets are replaced by a hash."""
        digest = hashlib.sha256(json.dumps(self.form).encode()).hexdigest()[:8]
        if _SECRET.search(self.name):
            return f"{self.name} = <hidden {digest}>"
        text = shown(self.value)
        if len(text) > _LONG:
            return f"{self.name} = {text[:_LONG]}… <{digest}>"
        return f"{self.name} = {text} <{digest}>" if "<" in text else f"{self.name} = {text}"


def shown(value: Any) -> str:  # noqa: C901, PLR0911 - one line a kind
    """Return a value as Python code, the same under every hash seed."""
    kind = type(value)
    if kind in _SIMPLE or kind in _WRITTEN:
        return repr(value)
    if kind is list:
        return f"[{', '.join(map(shown, value))}]"
    if kind is tuple:
        return f"({', '.join(map(shown, value))}{',' if len(value) == 1 else ''})"
    if kind in {set, frozenset}:
        inside = f"{{{', '.join(sorted(map(shown, value)))}}}" if value else ""
        return inside if kind is set and value else f"{kind.__name__}({inside})"
    if kind is dict:
        return f"{{{', '.join(f'{shown(key)}: {_within(key, each)}' for key, each in value.items())}}}"
    if isinstance(value, Enum):
        return f"{kind.__qualname__}.{value.name}"
    if isinstance(value, re.Pattern):
        return f"re.compile({value.pattern!r})"
    if isinstance(value, PurePath):
        return f"Path({value.as_posix()!r})"
    if is_dataclass(value) and not isinstance(value, type):
        inside = ", ".join(f"{each.name}={_within(each.name, getattr(value, each.name))}" for each in fields(value))
        return f"{kind.__qualname__}({inside})"
    if isinstance(value, types.ModuleType):
        return value.__name__
    if isinstance(value, type) and value.__module__ not in sys.stdlib_module_names:
        return f"<class {value.__qualname__}>"
    named = getattr(value, "__qualname__", None)
    return f"{value.__module__}.{named}" if named and getattr(value, "__module__", None) else f"<{kind.__qualname__}>"


def _within(name: object, value: object) -> str:
    """Return a nested value as Python code, hidden if its name suggests a secret."""
    return "<hidden>" if isinstance(name, str) and _SECRET.search(name) else shown(value)
