"""Feature-as-code with plan and apply: declare, review, share, train on and serve ML features."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from featdsl.entity import Entity
from featdsl.errors import (
    AmbiguousFeatureError,
    DataError,
    DeclarationError,
    FeatdslError,
    FeatureNotFoundError,
    RequestError,
    StoreError,
)
from featdsl.feature import Feature, FeatureAlias
from featdsl.featureset import FeatureSet, Model
from featdsl.group import FeatureGroup
from featdsl.source import Source

if TYPE_CHECKING:
    from featdsl.featurestore import FeatureStore

__version__ = "0.1.0"

__all__ = [
    "AmbiguousFeatureError",
    "DataError",
    "DeclarationError",
    "Entity",
    "FeatdslError",
    "Feature",
    "FeatureAlias",
    "FeatureGroup",
    "FeatureNotFoundError",
    "FeatureSet",
    "FeatureStore",
    "Model",
    "RequestError",
    "Source",
    "StoreError",
]


def __getattr__(name: str) -> Any:
    # Declaring features needs no engine: DuckDB loads when the store is first asked for.
    if name == "FeatureStore":
        from featdsl.featurestore import FeatureStore

        return FeatureStore
    raise AttributeError(f"module 'featdsl' has no attribute {name!r}")
