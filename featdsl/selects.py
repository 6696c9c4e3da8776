"""The SQL of a plan: tables of groups, checks on them, and views over them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from featdsl.definitions import Column, FeatureDefinition, GroupDefinition, Member, SourceDefinition
from featdsl.names import EVENT_TIMESTAMP, SOURCE_SCHEMA, quote
from featdsl.pointintime import Spine, Versions, Want, cast, compile_sql, tables_of

NOW = "now() AT TIME ZONE 'UTC'"


def identity(features: Sequence[FeatureDefinition]) -> list[str]:
    """Return the columns that tell the rows of a group's table apart."""
    return [key.name for key in features[0].keys] + ([EVENT_TIMESTAMP] if features[0].timed else [])


def columns(features: Sequence[FeatureDefinition]) -> tuple[Column, ...]:
    """Return the columns of a group's table."""
    time = [Column(name=EVENT_TIMESTAMP, dtype="TIMESTAMP")] if features[0].timed else []
    return (*features[0].keys, *time, *(Column(name=each.name, dtype=each.dtype) for each in features))


def base_table(group: GroupDefinition, features: Sequence[FeatureDefinition], source: SourceDefinition) -> str:
    """Return the query of a group over a source: rows without a key or a time belong to nobody."""
    renamed = dict(group.keys)
    keys = {key: quote(renamed.get(key.name, key.name)) for key in features[0].keys}
    listed = [f"CAST({column} AS {key.dtype}) AS {quote(key.name)}" for key, column in keys.items()]
    present = list(keys.values())
    if source.timestamp:
        listed.append(f"CAST({quote(source.timestamp)} AS TIMESTAMP) AS {EVENT_TIMESTAMP}")
        present.append(quote(source.timestamp))
    listed += [f"{cast(feature)} AS {quote(feature.name)}" for feature in features]
    parts = ["SELECT", ",\n".join(f"  {item}" for item in listed), f"FROM {SOURCE_SCHEMA}.{quote(source.name)}"]
    if present:
        parts.append(f"WHERE {' AND '.join(f'{column} IS NOT NULL' for column in present)}")
    if source.tie_break:
        # rank() keeps rows that tie even so: which of them counts is the data's error to mend, not ours to choose.
        by, last = ", ".join(present), quote(source.tie_break)
        parts.append(f"QUALIFY rank() OVER (PARTITION BY {by} ORDER BY {last} DESC NULLS LAST) = 1")
    return "\n".join([*parts, *_sorted(features)])


def derived_table(features: Sequence[FeatureDefinition], versions: Versions) -> str:
    """Return the query of a derived group: its values at every time at which one of its inputs changes."""
    keys = [key.name for key in features[0].keys]
    time = EVENT_TIMESTAMP if features[0].timed else None
    spine = Spine(
        sql=_changes(features, versions),
        columns=identity(features),
        keys={key: quote(key) for key in keys},
        time=time,
    )
    values = compile_sql([Want(feature.name, feature) for feature in features], spine, versions)
    return "\n".join([f"SELECT *\nFROM (\n{values}\n)", *_sorted(features)])


def _changes(features: Sequence[FeatureDefinition], versions: Versions) -> str:
    """Return the rows (keys, time) at which a derived group's values may change.

    Inputs with all of its keys tell which entities there are; inputs with fewer, such as one value for everyone,
    add their times to each of those.
    """
    tables: dict[str, FeatureDefinition] = {}
    for feature in features:
        for item in feature.inputs:
            upstream = versions[item.feature, item.fingerprint]
            tables.setdefault(upstream.table, upstream)
    keys, timed = features[0].keys, features[0].timed
    whole = {table: f for table, f in tables.items() if len(f.keys) == len(keys)}
    names = ", ".join(quote(key.name) for key in keys)
    entities = "\nUNION\n".join(f"SELECT DISTINCT {names or '1'} FROM tables.{quote(table)}" for table in sorted(whole))
    if not timed:
        return f"(\n{entities}\n)"
    at = f"{names}{', ' if names else ''}{EVENT_TIMESTAMP}"
    parts = [f"SELECT {at} FROM {_times(f)}" for _, f in sorted(whole.items()) if f.timed]
    for table, feature in sorted(tables.items()):
        if table not in whole and feature.timed:
            shared = ", ".join(quote(key.name) for key in feature.keys)
            join = f"JOIN {_times(feature)} USING ({shared})" if shared else f"CROSS JOIN {_times(feature)}"
            parts.append(f"SELECT {at} FROM (\n{entities}\n) {join}")
    return "(\n" + "\nUNION\n".join(parts) + "\n)"


def _times(feature: FeatureDefinition) -> str:
    """Return the relation of a stored table's keys and times; where values expire, those times count as well."""
    table = f"tables.{quote(feature.table)}"
    if feature.ttl is None:
        return table
    names = "".join(f"{quote(key.name)}, " for key in feature.keys)
    expiry = f"{EVENT_TIMESTAMP} + to_seconds({feature.ttl})"
    known = f"SELECT {names}{EVENT_TIMESTAMP} FROM {table}"
    return f"({known} UNION SELECT {names}{expiry} AS {EVENT_TIMESTAMP} FROM {table})"


def tables_read(features: Sequence[FeatureDefinition], versions: Versions) -> tuple[str, ...]:
    """Return the stored tables that a derived group's query reads, sorted."""
    inputs = [versions[item.feature, item.fingerprint] for feature in features for item in feature.inputs]
    return tuple(sorted({each.table for each in inputs} | tables_of(features, versions)))


def _sorted(features: Sequence[FeatureDefinition]) -> list[str]:
    by = identity(features)
    return [f"ORDER BY {', '.join(quote(column) for column in by)}"] if by else []


def duplicates(table: str, by: Sequence[str]) -> str:
    """Return the query for rows that share an identity, the worst first."""
    names = ", ".join(quote(column) for column in by)
    listed = f"{names}, " if names else ""
    grouped = f" GROUP BY {names}" if names else ""
    return f"SELECT {listed}count(*) AS rows FROM tables.{quote(table)}{grouped} HAVING count(*) > 1"


def violations(table: str, features: Sequence[FeatureDefinition], condition: str, feature: str) -> str:
    """Return the query for the rows that break a condition; NULL breaks none."""
    shown = ", ".join(quote(column) for column in [*identity(features), feature])
    return f"SELECT {shown} FROM tables.{quote(table)} WHERE NOT (\n{condition}\n)"


def group_view(table: str, features: Sequence[FeatureDefinition]) -> str:
    """Return the view of a group: every stored row."""
    return f"SELECT {', '.join(quote(column.name) for column in columns(features))} FROM tables.{quote(table)}"


def set_view(members: Iterable[Member], versions: Versions) -> str:
    """Return the view of a set version: the values of now, one row for each entity.

    A set over several entities has rows for each of them; the columns of the others are NULL there.
    """
    by_keys: dict[tuple[str, ...], list[Want]] = {}
    for member in members:
        want = Want(member.column, versions[member.feature, member.fingerprint], member.keys)
        by_keys.setdefault(tuple(column for _, column in want.roles), []).append(want)
    parts = [_now(keys, wants, versions) for keys, wants in sorted(by_keys.items())]
    return "\nUNION ALL BY NAME\n".join(f"SELECT * FROM (\n{part}\n)" for part in parts)


def _now(keys: Sequence[str], wants: Sequence[Want], versions: Versions) -> str:
    entities = "\nUNION\n".join(sorted({_entities(want) for want in wants})) if keys else "SELECT 1"
    spine = Spine(
        sql=f"(\n{entities}\n)",
        columns=keys,
        keys={key: quote(key) for key in keys},
        time=NOW if any(want.feature.timed for want in wants) else None,
    )
    return compile_sql(wants, spine, versions)


def _entities(want: Want) -> str:
    listed = ", ".join(f"{quote(key)} AS {quote(column)}" for key, column in want.roles)
    return f"SELECT DISTINCT {listed} FROM tables.{quote(want.feature.table)}"
