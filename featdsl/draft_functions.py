"""Python functions in the catalogue: their fingerprints, and the SQL that calls them."""

from __future__ import annotations

from importlib.util import find_spec
from types import FunctionType
from typing import Any

from featdsl import extras, fingerprints, functions
from featdsl.callables import line_of
from featdsl.definitions import FunctionDefinition
from featdsl.draft import Draft
from featdsl.errors import Origin
from featdsl.group import GroupDeclaration
from featdsl.names import quote
from featdsl.pythonfeature import PythonFeature

_IN_SQL = (
    "A derived feature is computed at every read, in SQL: write it in SQL, or compute it in a group over a source."
)


def function_of(draft: Draft, address: str, function: FunctionType, where: Origin) -> FunctionDefinition | None:
    """Return what a function does, or tell why it cannot be told apart from another."""
    if find_spec("pyarrow") is None:
        draft.refuse(
            address, "Missing package", f"{address} is a Python function, which needs pyarrow.", where, extras.INSTALL
        )
        return None
    try:
        return functions.describe(function)
    except functions.FunctionProblem as problem:
        what = f"{address}: {problem}"
        draft.refuse(address, "Function cannot be told", what, Origin(*line_of(function)), problem.mend)
        return None


def feature_function(draft: Draft, group: GroupDeclaration, feature: PythonFeature[Any]) -> FunctionDefinition | None:
    """Return the function of a feature, or refuse it."""
    address = f"feature {feature.address}"
    if group.source is None:
        what = f"{address} is a Python function in a derived group."
        draft.refuse(address, "Python in a derived group", what, feature.origin, _IN_SQL)
        return None
    return function_of(draft, address, feature.function, feature.origin)


def call(function: FunctionDefinition, dtype: str) -> str:
    """Return the SQL of a feature that a function computes; its name there tells what it does and gives."""
    digest = fingerprints.of({"function": function.fingerprint, "dtype": dtype})[:16]
    return f"python_{digest}({', '.join(quote(name) for name in function.parameters)})"
