"""The two sides of a plan, and the compilers of its SQL."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from featdsl.definitions.catalog import Catalog
from featdsl.definitions.snapshot import Snapshot
from featdsl.engines import Compiler, Compilers, StoredColumns
from featdsl.engines.lookups import Versions


@dataclass(frozen=True)
class Sides:
    """The applied definitions and the target of a plan.

    The registry is here twice: as `written`, and as `snapshot` under the names that the target gives to its definitions.
    `written_own` and `before` are the definitions in them that the plan may change, `others` the rest of the registry.
    """

    written: Snapshot
    written_own: Catalog
    snapshot: Snapshot
    before: Catalog
    target: Catalog
    others: Catalog

    @cached_property
    def after(self) -> Catalog:
        """All definitions in the registry after the plan."""
        return self.others.updated(self.target)


@dataclass(frozen=True)
class Queries:
    """The compilers of a plan, every feature version that its SQL may read, and the columns of the tables that windows read."""

    compilers: Compilers
    versions: Versions
    tables: StoredColumns = field(default_factory=dict)

    @property
    def compiler(self) -> Compiler:
        """The compiler of views and checks, which run where the store is."""
        return self.compilers.store
