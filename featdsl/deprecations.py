"""Warn model code, at its own line, that it reads what is deprecated."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

from featdsl.declaration import place
from featdsl.definitions import Deprecation
from featdsl.errors import DeprecatedWarning
from featdsl.selection import Selection
from featdsl.snapshot import Snapshot

_told: set[str] = set()
"""What this process was warned of already."""


def warn(snapshot: Snapshot, selection: Selection) -> None:
    """Issue a DeprecatedWarning for the set and the features that are read, and for old names, once a process each."""
    said = {name: f"{name} is deprecated {deprecation}" for name, deprecation in _deprecated(snapshot, selection)}
    said |= {old: f"{old} is called {new} now; the old name goes some day" for old, new in selection.former}
    for name in said.keys() - _told:
        _told.add(name)
        where = place()
        warnings.warn_explicit(said[name], DeprecatedWarning, where.file, where.line)


def _deprecated(snapshot: Snapshot, selection: Selection) -> Iterator[tuple[str, Deprecation]]:
    catalog = snapshot.catalog
    feature_set = catalog.sets.get(selection.name)
    if feature_set is not None and feature_set.deprecated is not None:
        yield feature_set.address, feature_set.deprecated
    for want in selection.wants:
        current = catalog.features.get(want.feature.address, want.feature)
        deprecation = catalog.deprecation_of(current)
        if deprecation is not None:
            yield current.address, deprecation
