"""Check the Python functions that declarations take, and read their parameters."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import FunctionType
from typing import Annotated, Any

from pydantic import AfterValidator, SkipValidation

from featdsl.definitions.validation_errors import shown

_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def parameters(function: Callable[..., Any]) -> tuple[str, ...]:
    """Return the parameters without a default: the arguments of each call."""
    listed = inspect.signature(function).parameters.values()
    return tuple(each.name for each in listed if each.default is inspect.Parameter.empty)


def line_of(function: FunctionType) -> tuple[str, int]:
    """Return the file and line of a function, without its decorators."""
    inner = inspect.unwrap(function)
    code = inner.__code__ if isinstance(inner, FunctionType) else function.__code__
    return code.co_filename, code.co_firstlineno


def _checked(value: Any) -> Any:
    if value is None:
        return None
    if not isinstance(value, FunctionType):
        raise ValueError(f"{shown(value)} is not a function; write a def")  # noqa: TRY004 - pydantic turns ValueError into a problem
    if value.__name__ == "<lambda>":
        raise ValueError("a lambda has no name to identify it by; write a def")
    if inspect.iscoroutinefunction(value) or inspect.isgeneratorfunction(value) or inspect.isasyncgenfunction(value):
        raise ValueError(f"{value.__name__} is asynchronous or a generator; write a plain def that returns its result")
    for each in inspect.signature(value).parameters.values():
        if each.kind not in _NAMED:
            raise ValueError(f"{value.__name__} has the parameter {each}; name each input as a parameter of its own")
    return value


Function = Annotated[Any, SkipValidation, AfterValidator(_checked)]
"""A function written with def, whose parameters can all be passed by name."""
