"""Add Python functions to the catalogue: their fingerprints, and the SQL that calls them."""

from __future__ import annotations

from importlib.util import find_spec
from types import FunctionType
from typing import Any

from featdsl.catalog import function_hash
from featdsl.catalog.builder import CatalogBuilder
from featdsl.declarations.feature_group import GroupDeclaration
from featdsl.declarations.functions import line_of
from featdsl.declarations.python_feature import PythonFeature
from featdsl.definitions import fingerprints
from featdsl.definitions.names import quote
from featdsl.definitions.sources import FunctionDefinition
from featdsl.errors import Origin
from featdsl.project import extras

_IN_SQL = "A derived feature is computed in SQL at every read. Write it in SQL, or move it to a group over a source."


def function_of(
    builder: CatalogBuilder, address: str, function: FunctionType, where: Origin
) -> FunctionDefinition | None:
    """Return a function's definition; None, with a problem in the builder, if it cannot be fingerprinted."""
    if find_spec("pyarrow") is None:
        what = f"{address} is a Python function and needs pyarrow."
        builder.refuse(address, "Missing package", what, where, extras.INSTALL)
        return None
    try:
        return function_hash.describe(function)
    except function_hash.FunctionProblem as problem:
        what = f"{address}: {problem}"
        builder.refuse(address, "Function cannot be fingerprinted", what, Origin(*line_of(function)), problem.fix)
        return None


def feature_function(
    builder: CatalogBuilder, group: GroupDeclaration, feature: PythonFeature[Any]
) -> FunctionDefinition | None:
    """Return the function of a feature; None, with a problem in the builder, if it is not allowed."""
    address = f"feature {feature.address}"
    if group.source is None:
        what = f"{address} is a Python function in a derived group."
        builder.refuse(address, "Python in a derived group", what, feature.origin, _IN_SQL)
        return None
    return function_of(builder, address, feature.function, feature.origin)


def call(function: FunctionDefinition, dtype: str) -> str:
    """Return the SQL call of a feature's function. Its SQL name is a digest of its fingerprint and result type."""
    digest = fingerprints.of({"function": function.fingerprint, "dtype": dtype})[:16]
    return f"python_{digest}({', '.join(quote(name) for name in function.parameters)})"
