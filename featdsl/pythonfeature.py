"""Features that a Python function computes, over pyarrow arrays."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from types import FunctionType
from typing import Any, ClassVar, Generic, Never, TypeVar, overload

from featdsl.callables import Function, parameters
from featdsl.declaration import Declaration, place
from featdsl.deprecated import Deprecated
from featdsl.errors import DeclarationError, Origin, Problem
from featdsl.expect import Expected
from featdsl.feature import Feature
from featdsl.names import did_you_mean

T = TypeVar("T")
_OPTIONS = ("description", "expect", "tags", "name", "protect", "deprecated", "renamed_from")


class PythonFeature(Feature[T], Generic[T]):
    """A feature whose values come from a function; made by `python_feature`."""

    __hash__ = Declaration.__hash__  # pyright thinks that a subclass of a pydantic model has none

    title: ClassVar[str] = "python_feature"

    function: Function

    def __init__(self, dtype: type[T] | str, function: Any, **options: Any) -> None:
        described = options["description"] or inspect.getdoc(function) or ""
        given = {"dtype": dtype, "function": function, **options, "description": described}
        if isinstance(function, FunctionType) and not parameters(function):
            what = f"{function.__name__}() has no parameter, so it reads no column."
            where = Origin(function.__code__.co_filename, function.__code__.co_firstlineno)
            mend = "Name the columns of the group's source that it reads as its parameters."
            raise DeclarationError(Problem("Invalid declaration", what, where, mend))
        Declaration.__init__(self, given)


@overload
def python_feature(
    dtype: type[T],
    *,
    description: str = ...,
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
    expect: Expected | Collection[Expected] = (),
    tags: str | Collection[str] = (),
    name: str | None = None,
    protect: bool = False,
    deprecated: Deprecated | None = None,
    renamed_from: str | None = None,
    **unknown: Never,
) -> Callable[[Callable[..., Any]], Feature[Any]]:
    """Make a function a feature of the group in whose body it stands; the options are those of Feature.

        @python_feature(float, expect="sentiment BETWEEN -1 AND 1")
        def sentiment(text: pa.Array) -> pa.Array:
            '''How content the author is.'''
            ...

    Its parameters are columns of the group's source, each given as a pyarrow Array; those with a default are not. It
    returns an Array or ChunkedArray of as many values, of the declared type or one that widens to it. Rows come in
    batches that mean nothing: a value must follow from its own row alone. A missing value comes as null. The docstring
    is the description where none is given. Raises DeclarationError for what is no such function.
    """
    for option in unknown:
        what = f"python_feature has no option {option!r}."
        mend = "A function sees one row at a time: what aggregates is a Feature with sql= and a window."
        raise DeclarationError(Problem("Unknown option", what, place(), did_you_mean(option, _OPTIONS) or mend))
    if isinstance(dtype, FunctionType):
        where = Origin(dtype.__code__.co_filename, dtype.__code__.co_firstlineno)
        what = f"@python_feature stands before {dtype.__name__} without the type of its values."
        raise DeclarationError(Problem("Missing option", what, where, "Say it: @python_feature(float)"))

    def made(function: Callable[..., Any]) -> Feature[Any]:
        plain = function.__func__ if isinstance(function, staticmethod) else function
        return PythonFeature(
            dtype, plain, description=description, expect=expect, tags=tags, name=name, protect=protect,
            deprecated=deprecated, renamed_from=renamed_from,
        )  # fmt: skip

    return made
