"""String types of definitions that are validated when read from a registry, an export or a plan.

Declarations are validated in code, but these files can be edited, and names end up in paths, SQL and generated code.
Pydantic is imported only when something is read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

from featdsl.definitions.dtypes import is_type
from featdsl.definitions.names import is_column, is_name, is_source_column

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler
    from pydantic_core import CoreSchema


class _Checked:
    """Marks a string type with a check, which raises ValueError."""

    def __init__(self, check: Callable[[str], object]) -> None:
        self._check = check

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        from pydantic_core import core_schema

        return core_schema.no_info_after_validator_function(self._checked, handler(source))

    def _checked(self, text: str) -> str:
        self._check(text)
        return text


def _name(text: str) -> None:
    if not is_name(text):
        raise ValueError(f"{text!r} is not a name")


def _former(text: str) -> None:
    if text:
        _name(text)


def _address(text: str) -> None:
    if not all(map(is_name, text.split("."))):
        raise ValueError(f"{text!r} is not a feature address")


def _set_version(text: str) -> None:
    name, _, version = text.partition("@")
    if not (is_name(name) and version.isdecimal()):
        raise ValueError(f"{text!r} is not a set version")


def _column(text: str) -> None:
    if not is_column(text):
        raise ValueError(f"{text!r} is not a column name")


def _any_column(text: str) -> None:
    if not is_source_column(text):
        raise ValueError(f"{text!r} is not a column name")


def _type(text: str) -> None:
    if not is_type(text):
        raise ValueError(f"{text!r} is not a type")


Name = Annotated[str, _Checked(_name)]
"""The name of an entity, source, group, feature, set, model or project."""
Former = Annotated[str, _Checked(_former)]
"""A name, or `""`."""
Address = Annotated[str, _Checked(_address)]
"""A feature's address: `user_profile.age`."""
SetVersion = Annotated[str, _Checked(_set_version)]
"""A version of a set: `credit_risk@1`."""
Column = Annotated[str, _Checked(_column)]
"""A column that featdsl names: a key of an entity, an input, a member of a set."""
AnyColumn = Annotated[str, _Checked(_any_column)]
"""A source column, which may contain any character except NUL."""
DType = Annotated[str, _Checked(_type)]
"""A DuckDB type."""
