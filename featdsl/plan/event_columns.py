"""The columns of tables of source rows, whose types an engine needs that computes windows over them elsewhere."""

from __future__ import annotations

from featdsl.definitions.catalog import Catalog
from featdsl.definitions.dialects import STORE
from featdsl.definitions.snapshot import Snapshot
from featdsl.engines import Compilers, StoredColumns


def event_columns(snapshot: Snapshot, target: Catalog, compilers: Compilers) -> StoredColumns:
    """Return the columns of the stored tables and of the tables to build, if a group of the target is computed elsewhere."""
    if all(group.engine == STORE for group in target.groups.values()):
        return {}
    found = {name: table.columns for name, table in snapshot.tables.items()}
    for name, group in target.groups.items():
        if group.source is None:
            continue
        source = target.sources[group.source]
        for table, features in target.tables_of(name).items():
            if features[0].window and table not in found:
                found[table] = compilers.store.events_table(group, features, source).columns
    return found
