"""The SQL of derived tables: values at every change of an input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from featdsl.definitions import timestamps
from featdsl.definitions.kinds import FeatureDefinition, Moments
from featdsl.definitions.names import EVENT_TIMESTAMP, VALID_TO, quote
from featdsl.definitions.table_spec import RowSpec, TableSpec
from featdsl.engines.duckdb import timestamps as sql_timestamps
from featdsl.engines.duckdb.lookups import compile_sql, sliding
from featdsl.engines.duckdb.tables import order_clause, over_clause
from featdsl.engines.duckdb.views import spine_of_rows
from featdsl.engines.lookups import Read, Roles, Versions, Want, reads


def derived_table(features: Sequence[FeatureDefinition], versions: Versions, since: str | None = None) -> str:
    """Return the query of a derived group: its values at every change of one of its inputs.

    A group with rows at its own changes has none for changes of another entity's inputs. Rows start at `since`, a time as
    text.
    """
    table = TableSpec.of(features)
    changes = changing_rows(features, versions, table.moments)
    if since:
        changes = f"(SELECT * FROM {changes} WHERE {EVENT_TIMESTAMP} >= {sql_timestamps.at(since, table.clock)})"
    spine = spine_of_rows(changes, table)
    wants = [Want(feature.column, feature) for feature in features]
    computed = compile_sql(wants, spine, versions, sliding(wants, versions))
    return "\n".join([f"SELECT *\nFROM (\n{computed}\n)", *order_clause(table)])


def changing_rows(features: Sequence[FeatureDefinition], versions: Versions, moments: Moments = "every change") -> str:
    """Return the relation of keys and times at which a derived group's values may change.

    Inputs with all of the group's keys identify its entities. An input with fewer keys, such as one value for everyone, adds
    its times to each entity. An input that is looked up by the value of a feature adds its times to the entities that have
    that value then.
    """
    rows = RowSpec.of(features)
    tables: dict[tuple[str, Roles], Read] = {}
    for feature in features:
        for read in reads(feature, versions):
            tables.setdefault((versions[read.feature, read.fingerprint].table, read.roles), read)
    listed = [tables[key] for key in sorted(tables, key=str)]
    if moments == "own changes":
        listed = [read for read in listed if read.identifies(rows.key_names)]
    own = _own_changes(rows, [read for read in listed if not any(read.by)], versions)
    by_value = [_joined(rows, own, read, versions) for read in listed if any(read.by)]
    parts = [*own.changes, *(part for part in by_value if part)]
    return "(\n" + "\nUNION\n".join(parts or [own.entities]) + "\n)"


@dataclass(frozen=True)
class _Own:
    """The query of a group's entities, and the queries of the changes of inputs that are looked up by its own keys."""

    entities: str
    changes: tuple[str, ...] = ()


def _own_changes(rows: RowSpec, listed: Sequence[Read], versions: Versions) -> _Own:
    """Return the entities and changes of inputs that are looked up by the group's own keys.

    Inputs with all of the keys identify the entities; the times of the others hold for each entity.
    """
    keys = rows.key_names
    whole = [read for read in listed if read.identifies(keys)]
    tables = {read: f"tables.{quote(versions[read.feature, read.fingerprint].table)}" for read in whole}
    entities = "\nUNION\n".join(f"SELECT DISTINCT {_renamed(read) or '1'} FROM {tables[read]}" for read in whole)
    changes = []
    for read in whole:
        upstream = versions[read.feature, read.fingerprint]
        if upstream.timed:
            listing = ", ".join([*([_renamed(read)] if keys else []), EVENT_TIMESTAMP])
            changes.append(f"SELECT {listing} FROM {change_times(upstream, rows.clock)}")
    fewer = [_joined(rows, _Own(entities), read, versions) for read in listed if read not in tables]
    return _Own(entities, (*changes, *(part for part in fewer if part)))


def _renamed(read: Read) -> str:
    """Return the keys of a stored table under their names in a group, in the order of these names."""
    pairs = sorted((str(own), key) for key, own in read.roles)
    return ", ".join(quote(key) if key == own else f"{quote(key)} AS {quote(own)}" for own, key in pairs)


def _joined(rows: RowSpec, own: _Own, read: Read, versions: Versions) -> str:
    """Return the query of a group's entities with the times of changes of an input; "" for an input without times."""
    upstream = versions[read.feature, read.fingerprint]
    if not upstream.timed:
        return ""
    values = {giver: f"#key {number}" for number, giver in enumerate(dict.fromkeys(read.by))}
    on = []
    for key, (name, target) in zip(upstream.keys, read.roles, strict=True):
        value = f"holds.{quote(values[target] if isinstance(target, Read) else target)}"
        other = isinstance(target, Read) and versions[target.feature, target.fingerprint].dtype != key.dtype
        on.append(f"{f'TRY_CAST({value} AS {key.dtype})' if other else value} = times.{quote(name)}")
    wants = [Want(column, versions[giver.feature, giver.fingerprint]) for giver, column in values.items()]
    holds = _held(rows, own, wants, versions) if wants else f"(\n{own.entities}\n)"
    if any(want.feature.timed for want in wants):
        on += [f"times.{EVENT_TIMESTAMP} >= holds.{EVENT_TIMESTAMP}"]
        on += [f'(holds."#until" IS NULL OR times.{EVENT_TIMESTAMP} < holds."#until")']
    listed = ", ".join([*(f"holds.{quote(key)}" for key in rows.key_names), f"times.{EVENT_TIMESTAMP}"])
    times = f"{change_times(upstream, rows.clock)} AS times"
    return f"SELECT {listed} FROM {holds} AS holds JOIN {times} ON {' AND '.join(on) or 'true'}"


def _held(rows: RowSpec, own: _Own, wants: Sequence[Want], versions: Versions) -> str:
    """Return the relation of the values that features had for each entity, from a time until `#until`."""
    timed = any(want.feature.timed for want in wants)
    changes = "\nUNION\n".join(own.changes) if timed else own.entities
    spine = spine_of_rows(f"(\n{changes}\n)", RowSpec(rows.keys, timed, rows.clock))
    held = f"(\n{compile_sql(wants, spine, versions, sliding(wants, versions))}\n)"
    if not timed:
        return held
    each = over_clause([quote(key) for key in rows.key_names], [EVENT_TIMESTAMP])
    return f'(SELECT *, lead({EVENT_TIMESTAMP}) OVER ({each}) AS "#until" FROM {held})'


def change_times(feature: FeatureDefinition, clock: timestamps.Clock) -> str:
    """Return the relation of a stored table's keys and times, including the times when values expire."""
    table = TableSpec.of([feature])
    relation = f"tables.{quote(table.name)}"
    if feature.ttl is None and not table.ends and table.clock == clock and table.rows != "events":
        return relation
    names = "".join(f"{quote(key)}, " for key in table.key_names)
    times = [EVENT_TIMESTAMP]
    if feature.ttl is not None:
        expiry = sql_timestamps.after(table.times[-1].name, feature.ttl, table.clock)
        # A row may become known only after it has expired: then it is never the latest.
        times.append(f"greatest({EVENT_TIMESTAMP}, {expiry})" if table.late else expiry)
    if table.ends:
        end = f"coalesce({VALID_TO}, {EVENT_TIMESTAMP})"
        times.append(f"greatest({EVENT_TIMESTAMP}, {end})" if table.late else end)
    listed = times if table.clock == clock else [sql_timestamps.widened(time) for time in times]
    selects = [f"{names}{time}{'' if time == EVENT_TIMESTAMP else f' AS {EVENT_TIMESTAMP}'}" for time in listed]
    distinct = "DISTINCT " if len(selects) == 1 else ""
    return f"({' UNION '.join(f'SELECT {distinct}{select} FROM {relation}' for select in selects)})"
