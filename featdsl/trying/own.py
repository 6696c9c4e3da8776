"""Find the caller's own declarations: those of a notebook's cell or of a test, which no module of the project has."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from featdsl.catalog.loader import Loaded
from featdsl.declarations.declaration import Declaration, living
from featdsl.declarations.feature import Feature, FeatureAlias
from featdsl.declarations.feature_group import FeatureGroup, GroupDeclaration
from featdsl.declarations.feature_set import FeatureSet
from featdsl.declarations.functions import parameters
from featdsl.declarations.source import Source

CELLS = "__main__"
"""The module of a notebook's cells and of a script."""


def own_declarations(requested: Any, package: str, loaded: Loaded) -> tuple[Declaration, ...]:
    """Return the requested declarations outside of the features package, with all that they use outside of it.

    A text names a declaration of the package, or else one of a cell: those of a cell that were replaced may still live.
    """
    found = _Found(package, frozenset((each.kind, each.address) for each in loaded.declarations))
    one = isinstance(requested, str | type | Declaration) or not isinstance(requested, Iterable)
    for each in [requested] if one else requested:
        found.add(each, CELLS)
    return tuple(found.declarations.values())


@dataclass
class _Found:
    """The declarations outside of a package that were found so far."""

    package: str
    taken: frozenset[tuple[str, str]]
    declarations: dict[int, Declaration] = field(default_factory=dict)

    def add(self, item: Any, module: str) -> None:
        """Add what an object or a name in a module stands for."""
        match item:
            case str():
                for kind, name in (("group", item.partition(".")[0]), ("set", item)):
                    self.add(self._living(module, kind, name), module)
            case type() if issubclass(item, FeatureGroup):
                self.add(item.declaration, module)
            case FeatureAlias():
                for each in (item.feature, *item.keys.values()):
                    self.add(each, module) if isinstance(each, Declaration) else None
            case Feature():
                self.add(item.group, module) if item.joined else None
            case Declaration():
                if item.module.partition(".")[0] != self.package and id(item) not in self.declarations:
                    self.declarations[id(item)] = item
                    self._add_used(item)

    def _add_used(self, item: Declaration) -> None:
        used: list[Any] = []
        match item:
            case GroupDeclaration():
                used = [item.entity, item.source, *item.references]
            case FeatureSet():
                used = list(item.features)
            case Source():
                words = re.findall(r"\w+", item.sql or "")
                words += parameters(item.function) if item.function is not None else ()
                used = [self._living(item.module, "source", word) for word in words]
        for each in used:
            self.add(each, item.module)

    def _living(self, module: str, kind: str, name: str) -> Declaration | None:
        """Return the declaration that a text in a module names; None if the package declares it, or nobody does."""
        return None if (kind, name) in self.taken else living(module, kind, name)
