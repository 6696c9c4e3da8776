"""Features that a Python function computes, over pyarrow arrays."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from types import FunctionType
from typing import Any, ClassVar, Generic, Never, TypeVar, overload

from featdsl.declarations.declaration import Declaration, place
from featdsl.declarations.deprecation import Deprecated
from featdsl.declarations.expectations import Expected
from featdsl.declarations.feature import Feature
from featdsl.declarations.functions import Function, parameters
from featdsl.definitions.names import did_you_mean
from featdsl.errors import DeclarationError, Origin, Problem

T = TypeVar("T")
_OPTIONS = ("description", "unit", "expect", "tags", "name", "protect", "deprecated", "renamed_from")


class PythonFeature(Feature[T], Generic[T]):
    """A feature that a Python function computes; made by `python_feature`."""

    __hash__ = Declaration.__hash__  # pyright thinks that a subclass of a pydantic model has none

    title: ClassVar[str] = "python_feature"

    function: Function

    def __init__(self, dtype: type[T] | str, function: Any, **options: Any) -> None:
        described = options["description"] or inspect.getdoc(function) or ""
        values = {"dtype": dtype, "function": function, **options, "description": described}
        if isinstance(function, FunctionType) and not parameters(function):
            what = f"{function.__name__}() has no parameters, so it reads no columns."
            where = Origin(function.__code__.co_filename, function.__code__.co_firstlineno)
            fix = "Name its parameters after the source columns that it reads."
            raise DeclarationError(Problem("Invalid declaration", what, where, fix))
        Declaration.__init__(self, values)


@overload
def python_feature(
    dtype: type[T],
    *,
    description: str = ...,
    unit: str = ...,
    expect: Expected | Collection[Expected] = ...,
    tags: str | Collection[str] = ...,
    name: str | None = ...,
    protect: bool = ...,
    deprecated: Deprecated | None = ...,
    renamed_from: str | None = ...,
) -> Callable[[Callable[..., Any]], Feature[T]]: ...


@overload
def python_feature(
    dtype: str,
    *,
    description: str = ...,
    unit: str = ...,
    expect: Expected | Collection[Expected] = ...,
    tags: str | Collection[str] = ...,
    name: str | None = ...,
    protect: bool = ...,
    deprecated: Deprecated | None = ...,
    renamed_from: str | None = ...,
) -> Callable[[Callable[..., Any]], Feature[Any]]: ...


def python_feature(  # noqa: PLR0913 - the options of Feature
    dtype: Any,
    *,
    description: str = "",
    unit: str = "",
    expect: Expected | Collection[Expected] = (),
    tags: str | Collection[str] = (),
    name: str | None = None,
    protect: bool = False,
    deprecated: Deprecated | None = None,
    renamed_from: str | None = None,
    **unknown: Never,
) -> Callable[[Callable[..., Any]], Feature[Any]]:
    """Turn a function in the body of a group into a feature of that group. The options are those of Feature.

        @python_feature(float, expect="sentiment BETWEEN -1 AND 1")
        def sentiment(text: pa.Array) -> pa.Array:
            '''How content the author is.'''
            ...

    Each parameter without a default is a column of the group's source, passed as a pyarrow Array with null for missing
    values. The function returns an Array or ChunkedArray of the same length, of the declared type or one that widens to it.
    It is called on batches of rows of any size, so each value may depend on its own row only. The docstring is the default
    description. Raises DeclarationError if the function or an option is invalid.
    """
    for option in unknown:
        what = f"python_feature has no option {option!r}."
        fix = "A Python feature computes row by row. To aggregate rows, use a Feature with sql= and a window."
        raise DeclarationError(Problem("Unknown option", what, place(), did_you_mean(option, _OPTIONS) or fix))
    if isinstance(dtype, FunctionType):
        where = Origin(dtype.__code__.co_filename, dtype.__code__.co_firstlineno)
        what = f"@python_feature on {dtype.__name__} does not say the type of its values."
        raise DeclarationError(Problem("Missing option", what, where, "Add it: @python_feature(float)"))

    def decorate(function: Callable[..., Any]) -> Feature[Any]:
        plain = function.__func__ if isinstance(function, staticmethod) else function
        return PythonFeature(
            dtype, plain, description=description, unit=unit, expect=expect, tags=tags, name=name, protect=protect,
            deprecated=deprecated, renamed_from=renamed_from,
        )  # fmt: skip

    return decorate
