"""The name under which modules that `featdsl pull` wrote import their runtime."""

from featdsl.declarations.pulled import entity, feature, feature_set, role

__all__ = ["entity", "feature", "feature_set", "role"]
