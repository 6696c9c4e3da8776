"""Warn model code, at its own line, that it reads deprecated features."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

from featdsl.declarations.declaration import place
from featdsl.definitions.kinds import Deprecation
from featdsl.definitions.snapshot import Snapshot
from featdsl.errors import DeprecatedWarning
from featdsl.query.selection import Selection

_warned: set[str] = set()
"""The names that this process was warned of."""


def warn(snapshot: Snapshot, selection: Selection) -> None:
    """Issue a DeprecatedWarning for each deprecated set and feature and for each former name, once per process."""
    messages = {name: f"{name} is deprecated {deprecation}" for name, deprecation in _deprecated(snapshot, selection)}
    messages |= {old: f"{old} is called {new} now; the old name will be removed" for old, new in selection.former}
    for name in messages.keys() - _warned:
        _warned.add(name)
        where = place()
        warnings.warn_explicit(messages[name], DeprecatedWarning, where.file, where.line)


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
