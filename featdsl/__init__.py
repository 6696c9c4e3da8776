"""Feature-as-code with plan and apply: declare, review, share, train on and serve ML features."""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False  # typing takes as long to import as all else that comes before Ctrl-C is seen to
if TYPE_CHECKING:
    from typing import Any

    from featdsl.declarations.deprecation import Deprecated
    from featdsl.declarations.entity import Entity
    from featdsl.declarations.expectations import Between, Expect, MaxAge, Rows, Stable, Unique
    from featdsl.declarations.feature import Feature, FeatureAlias
    from featdsl.declarations.feature_group import FeatureGroup
    from featdsl.declarations.feature_set import FeatureSet, Model
    from featdsl.declarations.python_feature import python_feature
    from featdsl.declarations.request import Request
    from featdsl.declarations.source import Source
    from featdsl.errors import (
        AmbiguousFeatureError,
        DataError,
        DeclarationError,
        DeprecatedWarning,
        ExtensionError,
        FeatdslError,
        FeatureNotFoundError,
        OnlineStoreError,
        PolicyError,
        RequestError,
        StoreError,
        UnreachableError,
    )
    from featdsl.featurestore import FeatureStore

    __version__: str  # of the installed package: pyproject.toml has the number, and nothing else does

__all__ = [
    "AmbiguousFeatureError",
    "Between",
    "DataError",
    "DeclarationError",
    "Deprecated",
    "DeprecatedWarning",
    "Entity",
    "Expect",
    "ExtensionError",
    "FeatdslError",
    "Feature",
    "FeatureAlias",
    "FeatureGroup",
    "FeatureNotFoundError",
    "FeatureSet",
    "FeatureStore",
    "MaxAge",
    "Model",
    "OnlineStoreError",
    "PolicyError",
    "Request",
    "RequestError",
    "Rows",
    "Source",
    "Stable",
    "StoreError",
    "Unique",
    "UnreachableError",
    "python_feature",
]

_MODULES = {
    "Deprecated": "declarations.deprecation",
    "Entity": "declarations.entity",
    "Between": "declarations.expectations",
    "Stable": "declarations.expectations",
    "Expect": "declarations.expectations",
    "Feature": "declarations.feature",
    "FeatureAlias": "declarations.feature",
    "FeatureGroup": "declarations.feature_group",
    "FeatureSet": "declarations.feature_set",
    "FeatureStore": "featurestore",
    "MaxAge": "declarations.expectations",
    "Model": "declarations.feature_set",
    "Request": "declarations.request",
    "Rows": "declarations.expectations",
    "Source": "declarations.source",
    "Unique": "declarations.expectations",
    "python_feature": "declarations.python_feature",
}


def __getattr__(name: str) -> Any:
    # Names load when they are first asked for: `featdsl --help` needs no pydantic, declaring needs no DuckDB.
    if name == "__version__":
        return import_module("importlib.metadata").version("featdsl")
    if name not in __all__:
        raise AttributeError(f"module 'featdsl' has no attribute {name!r}")
    return getattr(import_module(f"featdsl.{_MODULES.get(name, 'errors')}"), name)


def __dir__() -> list[str]:
    return __all__
