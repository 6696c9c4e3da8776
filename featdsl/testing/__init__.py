"""Unit tests of features: give rows for their sources, say the entity and the time, and assert the values.

    def test_a_late_departure_counts(featdsl_project):
        given = featdsl_project.given(departures=[{"carrier": "UA", "dep_delay": 20, "departed_at": "2026-01-01 10:00"}])
        assert given.value(CarrierDelays.late_share_24h, at="2026-01-02 09:00", carrier="UA") == 1.0

pytest has the fixture `featdsl_project`; elsewhere, `featdsl.testing.project()` returns the same object.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from featdsl.testing.projects import FeatureProject, Given, project, table

__all__ = ["FeatureProject", "Given", "project", "table"]


def __getattr__(name: str) -> Any:
    # pytest loads the plugin of this package in every run, also of people who test no features.
    if name not in __all__:
        raise AttributeError(f"module 'featdsl.testing' has no attribute {name!r}")
    return getattr(import_module("featdsl.testing.projects"), name)


def __dir__() -> list[str]:
    return __all__
