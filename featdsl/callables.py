"""A Python function that a declaration is given: what it must be, and what it asks for."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import FunctionType
from typing import Annotated, Any

from pydantic import AfterValidator, SkipValidation

from featdsl.reasons import shown

_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def parameters(function: Callable[..., Any]) -> tuple[str, ...]:
    """Return the parameters that are given when a function is called: those without a default of their own."""
    listed = inspect.signature(function).parameters.values()
    return tuple(each.name for each in listed if each.default is inspect.Parameter.empty)


def line_of(function: FunctionType) -> tuple[str, int]:
    """Return the file and line where a function is written, beneath its decorators."""
    inner = inspect.unwrap(function)
    code = inner.__code__ if isinstance(inner, FunctionType) else function.__code__
    return code.co_filename, code.co_firstlineno


def _checked(given: Any) -> Any:
    if given is None:
        return None
    if not isinstance(given, FunctionType):
        raise ValueError(f"{shown(given)} is not a function; write a def")  # noqa: TRY004 - pydantic turns ValueError into a problem
    if given.__name__ == "<lambda>":
        raise ValueError("a lambda cannot be told apart from another; write a def")
    if inspect.iscoroutinefunction(given) or inspect.isgeneratorfunction(given) or inspect.isasyncgenfunction(given):
        raise ValueError(f"{given.__name__} is asynchronous or a generator; write a plain def that returns its result")
    for each in inspect.signature(given).parameters.values():
        if each.kind not in _NAMED:
            raise ValueError(f"{given.__name__} has the parameter {each}; name each one, so that it says what it reads")
    return given


Function = Annotated[Any, SkipValidation, AfterValidator(_checked)]
"""A function that is written with def, all of whose parameters have names."""
