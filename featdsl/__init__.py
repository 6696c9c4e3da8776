"""Feature-as-code with plan and apply: declare, review, share, train on and serve ML features."""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False  # typing takes as long to import as all else that comes before Ctrl-C is seen to
if TYPE_CHECKING:
    from typing import Any

    from featdsl.deprecated import Deprecated
    from featdsl.entity import Entity
    from featdsl.errors import (
        AmbiguousFeatureError,
        DataError,
        DeclarationError,
        DeprecatedWarning,
        ExtensionError,
        FeatdslError,
        FeatureNotFoundError,
        PolicyError,
        RequestError,
        StoreError,
        UnreachableError,
    )
    from featdsl.expect import Between, Expect, MaxAge, Rows, Stable, Unique
    from featdsl.feature import Feature, FeatureAlias
    from featdsl.featureset import FeatureSet, Model
    from featdsl.featurestore import FeatureStore
    from featdsl.group import FeatureGroup
    from featdsl.pythonfeature import python_feature
    from featdsl.request import Request
    from featdsl.source import Source

__version__ = "0.1.0"

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
    "Deprecated": "deprecated",
    "Entity": "entity",
    "Between": "expect",
    "Stable": "expect",
    "Expect": "expect",
    "Feature": "feature",
    "FeatureAlias": "feature",
    "FeatureGroup": "group",
    "FeatureSet": "featureset",
    "FeatureStore": "featurestore",
    "MaxAge": "expect",
    "Model": "featureset",
    "Request": "request",
    "Rows": "expect",
    "Source": "source",
    "Unique": "expect",
    "python_feature": "pythonfeature",
}


def __getattr__(name: str) -> Any:
    # Names load when they are first asked for: `featdsl --help` needs no pydantic, declaring needs no DuckDB.
    if name not in __all__:
        raise AttributeError(f"module 'featdsl' has no attribute {name!r}")
    return getattr(import_module(f"featdsl.{_MODULES.get(name, 'errors')}"), name)


def __dir__() -> list[str]:
    return __all__
