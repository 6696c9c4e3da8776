"""The SQL of a plan: tables of groups, checks on them, and views over them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from featdsl import datafaults, instants
from featdsl.definitions import Column, FeatureDefinition, GroupDefinition, Member, Moments, SourceDefinition
from featdsl.names import EVENT_TIMESTAMP, SOURCE_SCHEMA, SOURCE_TIMESTAMP, UNTIL, VALID_TO, literal, quote
from featdsl.pointintime import Read, Roles, Spine, Versions, Want, Ways, cast, compile_sql, reads, sliding, tables_of
from featdsl.snapshot import StoredTable
from featdsl.windows.family import Call, call_of, stored
from featdsl.windows.totals import columns_of, count_column

_KNOWN, _PLACE = '"#known"', '"#place"'
"""Columns of a query under names that no source has."""
_NO_COLUMNS = 'SELECT 0 AS "#nothing"'
"""The one row of what has neither an entity nor times."""


def identity(features: Sequence[FeatureDefinition]) -> list[str]:
    """Return the columns that tell the rows of a group's table apart."""
    return [key.name for key in features[0].keys] + ([EVENT_TIMESTAMP] if features[0].timed else [])


def columns(features: Sequence[FeatureDefinition]) -> tuple[Column, ...]:
    """Return the columns of a group's values: those that its table stores, where it has no windows."""
    windowed = any(feature.window for feature in features)
    times = features[0].times[:1] if windowed else features[0].bounds
    return (*features[0].keys, *times, *(Column(name=each.name, dtype=each.dtype) for each in features))


def stored_columns(features: Sequence[FeatureDefinition], *, until: bool) -> tuple[Column, ...]:
    """Return the columns of the table of a group's values, with the one of a group over a source or without."""
    hidden = [Column(name=UNTIL, dtype=features[0].clock)] if until and features[0].timed else []
    return (*columns([replace(each, name=each.column) for each in features]), *hidden)


def event_columns(features: Sequence[FeatureDefinition], source: SourceDefinition) -> tuple[Column, ...]:
    """Return the columns of the table of rows that windows look at."""
    data = [Column(name=stored(column), dtype=source.dtype(column)) for column in _read_columns(features)]
    totals = [Column(name=name, dtype=_total_type(name, call)) for name, call in _totals(features).items()]
    return (*features[0].keys, *features[0].times, *data, *totals)


def _read_columns(features: Sequence[FeatureDefinition]) -> list[str]:
    """Return the columns of the source that windows read, or that tell which of two rows comes later."""
    return sorted({column for feature in features for column in [*feature.reads, *feature.order]})


def _totals(features: Sequence[FeatureDefinition]) -> dict[str, Call | None]:
    """Return the columns of running totals that windows over these rows can use, and what each is a total of."""
    found: dict[str, Call | None] = {}
    if features[0].late:
        return found
    if features[0].clock == "TIMESTAMP":
        calls = [call_of(feature, each) for feature in features for each in feature.aggregates]
        found |= {name: call for call in calls for name in columns_of(call) or ()}
    return {**dict(sorted(found.items())), count_column(""): None}


def _total_type(name: str, call: Call | None) -> str:
    if call is None or name == count_column(call.total):
        return "BIGINT"
    return f"DECIMAL(38,{call.dtype.rpartition(',')[2]}" if call.dtype.startswith("DECIMAL") else "HUGEINT"


def events_table(group: GroupDefinition, features: Sequence[FeatureDefinition], source: SourceDefinition) -> str:
    """Return the query of the rows that windows look at: every one with a key and a time, in order of these.

    Each has the running totals of its entity up to its time, where rows are known at once.
    """
    times = [source.instant(name, features[0].clock) for name in source.times]
    told = [f"greatest({', '.join(times)})", times[0]] if source.available_at else times
    sources = dict(zip(_key_columns(group, features[0]), features[0].keys, strict=True))
    listed = [f"CAST({column} AS {key.dtype}) AS {quote(key.name)}" for column, key in sources.items()]
    listed += [f"{time} AS {column.name}" for time, column in zip(told, features[0].times, strict=True)]
    listed += [f"{quote(column)} AS {quote(stored(column))}" for column in _read_columns(features)]
    totals = _totals(features)
    listed += [f"{_counted(call)} AS {quote(f'#{name}')}" for name, call in totals.items() if call]
    present = " AND ".join(f"{column} IS NOT NULL" for column in [*sources, *map(quote, source.times)])
    rows = f"SELECT\n{_lines(listed)}\nFROM {SOURCE_SCHEMA}.{quote(source.name)}\nWHERE {present}"
    order = [quote(key.name) for key in features[0].keys] + [features[0].times[-1].name]
    if totals:
        columns = [quote(column.name) for column in event_columns(features, source)][: -len(totals)]
        running = [f"{_running(name, call)} OVER so_far AS {quote(name)}" for name, call in totals.items()]
        window = f"WINDOW so_far AS ({_window(order[:-1], order[-1:])})"
        rows = f"SELECT\n{_lines([*columns, *running])}\nFROM (\n{rows}\n)\n{window}"
    return f"{rows}\nORDER BY {', '.join(order)}"


def _counted(call: Call) -> str:
    """Return what is counted or summed of a row: nothing where the row does not meet the condition."""
    argument = f"(\n{call.argument}\n)" if call.argument else "1"
    return f"CASE WHEN (\n{call.where}\n) THEN {argument} END" if call.where else argument


def _running(name: str, call: Call | None) -> str:
    if call is None:
        return "count(*)"
    counted = quote(f"#{name}")
    return f"count({counted})" if name == count_column(call.total) else f"sum({counted})"


def _key_columns(group: GroupDefinition, feature: FeatureDefinition) -> list[str]:
    return [quote(column) for column in source_keys(group, feature)]


def source_keys(group: GroupDefinition, feature: FeatureDefinition) -> tuple[str, ...]:
    """Return the column of the source that each key of a feature is."""
    renamed = dict(group.keys)
    return tuple(renamed.get(key.name, key.name) for key in feature.keys)


def _lines(listed: Iterable[str]) -> str:
    return ",\n".join(f"  {item}" for item in listed)


def base_table(group: GroupDefinition, features: Sequence[FeatureDefinition], source: SourceDefinition) -> str:
    """Return the query of a group over a source: rows without a key or a time belong to nobody.

    Of a source with `available_at=` it has the rows that were ever the latest, from the time that they were known.
    """
    keys = _key_columns(group, features[0])
    pairs = zip(keys, features[0].keys, strict=True)
    listed = [f"CAST({column} AS {key.dtype}) AS {quote(key.name)}" for column, key in pairs]
    clock = features[0].clock
    times = [source.instant(name, clock) for name in source.times]
    told = [*([_KNOWN] if source.available_at else []), *times]
    listed += [f"{time} AS {column.name}" for time, column in zip(told, features[0].times, strict=False)]
    listed += [f"{_end(source, keys, clock)} AS {VALID_TO}"] if source.valid_to else []
    listed += [f"{cast(feature.sql, feature.dtype)} AS {quote(feature.column)}" for feature in features]
    rows = "\n".join(["SELECT", _lines(listed), *_answers(source, keys, times)])
    if source.timestamp:
        order = _window([quote(key.name) for key in features[0].keys], [EVENT_TIMESTAMP])
        until = f"coalesce(lead({EVENT_TIMESTAMP}) OVER ({order}), {features[0].clock} 'infinity')"
        kept = _unless_next(_compared(features), order)
        rows = f"SELECT *, {until} AS {quote(UNTIL)}\nFROM (\n{rows}\n)\nQUALIFY {kept}"
    else:
        by = ", ".join([*(quote(key.name) for key in features[0].keys), *_compared(features)])
        rows = f"SELECT DISTINCT ON ({by}) *\nFROM (\n{rows}\n)"
    return "\n".join([rows, *_sorted(features)])


def _end(source: SourceDefinition, keys: Sequence[str], clock: instants.Clock) -> str:
    """Return when a row ends, NULL where it does not; one that ends before its timestamp raises a fault."""
    column, begin = source.valid_to or "", source.timestamp or ""
    end, since = source.instant(column, clock), source.instant(begin, clock)
    told = [(literal(f", {key[1:-1]} = "), key) for key in keys]
    of = "".join(f" || {text} || CAST({key} AS VARCHAR)" for text, key in told)
    named = f"({quote(column)} || {literal(f', before its {begin} ')} || {quote(begin)}{of})"
    early = datafaults.raising(
        "Row ends before it begins",
        f"{column} is",
        named,
        "",
        "Correct the data, or leave such rows out in a Source(sql=...).",
    )
    return f"CASE WHEN {end} < {since} THEN {early} ELSE nullif({end}, {clock} 'infinity') END"


def _compared(features: Sequence[FeatureDefinition]) -> list[str]:
    """Return the columns in which rows of one entity and time are compared: equal in all, they are one row."""
    values = [
        # Equal to DuckDB are also a month and 30 days, and one instant in two zones.
        f"CAST({quote(each.column)} AS VARCHAR)"
        if any(name in each.dtype for name in ("INTERVAL", "TIME WITH TIME ZONE"))
        else quote(each.column)
        for each in features
    ]
    return [*(column.name for column in features[0].bounds if column.name != EVENT_TIMESTAMP), *values]


def _unless_next(columns: Iterable[str], order: str) -> str:
    """Return the condition that a row is not the same as the next one: of rows that are the same the last is kept."""
    values = f"row({', '.join(columns)})"
    return (
        f"lead({EVENT_TIMESTAMP}) OVER ({order}) IS DISTINCT FROM {EVENT_TIMESTAMP}\n"
        f"  OR lead({values}) OVER ({order}) IS DISTINCT FROM {values}"
    )


def _answers(source: SourceDefinition, keys: Sequence[str], times: Sequence[str]) -> list[str]:
    """Return what stands after SELECT: the rows of a source that are the answer at some time.

    rank() keeps rows that tie to the end: where they differ, which of them counts is the data's error to mend, not ours to choose.
    """
    present = [*keys, *(quote(name) for name in source.times)]
    relation = f"{SOURCE_SCHEMA}.{quote(source.name)}"
    conditions = [f"{column} IS NOT NULL" for column in present]
    if source.valid_to and not source.available_at:
        # What ends when it begins never holds: exports of histories have it where a row was replaced at once.
        clock = source.clock
        conditions.append(f"{source.instant(source.valid_to, clock)} IS DISTINCT FROM {times[0]}")
    where = [f"WHERE {' AND '.join(conditions)}"] if conditions else []
    rows, told = [f"FROM {relation}", *where], present
    if source.timezone and (source.available_at or source.tie_break):
        # Local times are not in the order of their instants: one that never comes counts on from before the gap.
        told = [*keys, *(quote(f"#at {number}") for number in range(len(times)))]
        instants_of = ", ".join(f"{time} AS {at}" for time, at in zip(times, told[len(keys) :], strict=True))
        inside = "\n".join(f"  {line}" for line in [f"SELECT *, {instants_of}", *rows])
        rows, times = [f"FROM (\n{inside}\n) AS {quote(source.name)}"], told[len(keys) :]
    if source.available_at:
        # A row is the answer from when it is known, unless one of a greater place is known by then.
        known = f"greatest({', '.join(times)}) AS {_KNOWN}"
        last = [f"{quote(column)} NULLS FIRST" for column in source.tie_breaks]
        place = f"rank() OVER ({_window(keys, [*told[len(keys) :], *last])}) AS {_PLACE}"
        inside = "\n".join(f"  {line}" for line in [f"SELECT *, {known}, {place}", *rows])
        kept = f"QUALIFY {_PLACE} = max({_PLACE}) OVER ({_window(keys, [_KNOWN])})"
        return [f"FROM (\n{inside}\n) AS {quote(source.name)}", kept]
    if source.tie_break:
        last = [f"{quote(column)} DESC NULLS LAST" for column in source.tie_breaks]
        return [*rows, f"QUALIFY rank() OVER ({_window(told, last)}) = 1"]
    return rows


def _window(by: Sequence[str], order: Sequence[str]) -> str:
    partition = f"PARTITION BY {', '.join(by)} " if by else ""
    return f"{partition}ORDER BY {', '.join(order)}"


def derived_table(features: Sequence[FeatureDefinition], versions: Versions, since: str = "") -> str:
    """Return the query of a derived group: its values at every time at which one of its inputs changes.

    A group whose rows are at its own changes has none for those of inputs of another entity. `since` is the SQL of a time before which none is wanted.
    """
    changes = _changes(features, versions, features[0].moments)
    changes = f"(SELECT * FROM {changes} WHERE {EVENT_TIMESTAMP} >= {since})" if since else changes
    spine = _own_times(changes, features)
    wants = [Want(feature.column, feature) for feature in features]
    computed = compile_sql(wants, spine, versions, sliding(wants, versions))
    return "\n".join([f"SELECT *\nFROM (\n{computed}\n)", *_sorted(features)])


def _changes(features: Sequence[FeatureDefinition], versions: Versions, moments: Moments = "every change") -> str:
    """Return the rows (keys, time) at which a derived group's values may change.

    Inputs with all of its keys tell which entities there are; inputs with fewer, such as one value for everyone,
    add their times to each of those. What is looked up by the value of a feature adds its times to those who have that
    value then.
    """
    tables: dict[tuple[str, Roles], Read] = {}
    for feature in features:
        for read in reads(feature, versions):
            tables.setdefault((versions[read.feature, read.fingerprint].table, read.roles), read)
    listed = [tables[key] for key in sorted(tables, key=str)]
    if moments == "own changes":
        keys = [key.name for key in features[0].keys]
        listed = [read for read in listed if read.tells(keys)]
    own = _own_changes(features[0], [read for read in listed if not any(read.by)], versions)
    found = [_joined(features[0], own, read, versions) for read in listed if any(read.by)]
    parts = [*own.changes, *(part for part in found if part)]
    return "(\n" + "\nUNION\n".join(parts or [own.entities]) + "\n)"


def most_rows(
    features: Sequence[FeatureDefinition], versions: Versions, tables: Mapping[str, StoredTable]
) -> int | None:
    """Return how many rows the table of a derived group over other entities has at most, about.

    None where it has rows at its own changes alone, or an input is not stored yet. Each row of an input of its own entity gives one; each of another input gives one to every entity that looks it up.
    """
    if features[0].moments == "own changes" or _of_its_own(features, versions):
        return None
    keys = [key.name for key in features[0].keys]
    inputs: dict[tuple[str, bool], StoredTable] = {}
    for each in features:
        for read in reads(each, versions):
            upstream = versions[read.feature, read.fingerprint]
            if upstream.table not in tables:
                return None
            if upstream.timed:
                inputs[upstream.table, read.tells(keys) and not any(read.by)] = tables[upstream.table]
    own = [table for (_, is_own), table in inputs.items() if is_own]
    entities = max((_entities_of(table) for table in own), default=0)
    others = [table for (_, is_own), table in inputs.items() if not is_own]
    each_entity = sum(table.rows / max(_entities_of(table), 1) for table in others)
    return sum(table.rows for table in own) + round(entities * each_entity)


def _entities_of(table: StoredTable) -> float:
    return table.rows / max((table.entity_rows or (1, 1))[0], 1)


@dataclass(frozen=True)
class _Own:
    """The queries of the entities of a group, and of when what is looked up by their own keys changes."""

    entities: str
    changes: tuple[str, ...] = ()


def _own_changes(feature: FeatureDefinition, listed: Sequence[Read], versions: Versions) -> _Own:
    """Return what the own keys of a group tell: inputs with all of them give entities, others times to each of those."""
    keys = [key.name for key in feature.keys]
    whole = [read for read in listed if read.tells(keys)]
    tables = {read: f"tables.{quote(versions[read.feature, read.fingerprint].table)}" for read in whole}
    entities = "\nUNION\n".join(f"SELECT DISTINCT {_renamed(read) or '1'} FROM {tables[read]}" for read in whole)
    changes = []
    for read in whole:
        upstream = versions[read.feature, read.fingerprint]
        if upstream.timed:
            listing = ", ".join([*([_renamed(read)] if keys else []), EVENT_TIMESTAMP])
            changes.append(f"SELECT {listing} FROM {_times(upstream, feature.clock)}")
    fewer = [_joined(feature, _Own(entities), read, versions) for read in listed if read not in tables]
    return _Own(entities, (*changes, *(part for part in fewer if part)))


def _renamed(read: Read) -> str:
    """Return the keys of a stored table under the names that a group has for them, in the order of those."""
    pairs = sorted((str(own), key) for key, own in read.roles)
    return ", ".join(quote(key) if key == own else f"{quote(key)} AS {quote(own)}" for own, key in pairs)


def _joined(feature: FeatureDefinition, own: _Own, read: Read, versions: Versions) -> str:
    """Return the query of the entities of a group with the times at which what they look up changes, if it ever does."""
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
    holds = _held(feature, own, wants, versions) if wants else f"(\n{own.entities}\n)"
    if any(want.feature.timed for want in wants):
        on += [f"times.{EVENT_TIMESTAMP} >= holds.{EVENT_TIMESTAMP}"]
        on += [f'(holds."#until" IS NULL OR times.{EVENT_TIMESTAMP} < holds."#until")']
    listed = ", ".join([*(f"holds.{quote(key.name)}" for key in feature.keys), f"times.{EVENT_TIMESTAMP}"])
    times = f"{_times(upstream, feature.clock)} AS times"
    return f"SELECT {listed} FROM {holds} AS holds JOIN {times} ON {' AND '.join(on) or 'true'}"


def _held(feature: FeatureDefinition, own: _Own, wants: Sequence[Want], versions: Versions) -> str:
    """Return the relation of the values that features had for each entity, from when and `#until` when."""
    timed = any(want.feature.timed for want in wants)
    rows = "\nUNION\n".join(own.changes) if timed else own.entities
    spine = _own_times(f"(\n{rows}\n)", [replace(feature, timed=timed)])
    held = f"(\n{compile_sql(wants, spine, versions, sliding(wants, versions))}\n)"
    if not timed:
        return held
    each = _window([quote(key.name) for key in feature.keys], [EVENT_TIMESTAMP])
    return f'(SELECT *, lead({EVENT_TIMESTAMP}) OVER ({each}) AS "#until" FROM {held})'


def _times(feature: FeatureDefinition, clock: instants.Clock) -> str:
    """Return the relation of a stored table's keys and times; where values expire, those times count as well."""
    table = f"tables.{quote(feature.table)}"
    if feature.ttl is None and not feature.ends and feature.clock == clock and feature.window is None:
        return table
    names = "".join(f"{quote(key.name)}, " for key in feature.keys)
    times = [EVENT_TIMESTAMP]
    if feature.ttl is not None:
        expiry = instants.after(feature.times[-1].name, feature.ttl, feature.clock)
        # A row may be known only when it has expired already: then it is the answer for no time at all.
        times.append(f"greatest({EVENT_TIMESTAMP}, {expiry})" if feature.late else expiry)
    if feature.ends:
        end = f"coalesce({VALID_TO}, {EVENT_TIMESTAMP})"
        times.append(f"greatest({EVENT_TIMESTAMP}, {end})" if feature.late else end)
    listed = times if feature.clock == clock else [instants.widened(time) for time in times]
    selects = [f"{names}{time}{'' if time == EVENT_TIMESTAMP else f' AS {EVENT_TIMESTAMP}'}" for time in listed]
    distinct = "DISTINCT " if len(selects) == 1 else ""
    return f"({' UNION '.join(f'SELECT {distinct}{select} FROM {table}' for select in selects)})"


def only_times_of_its_own(features: Sequence[FeatureDefinition], versions: Versions) -> bool:
    """Return whether rows of a derived group depend on no rows of later times: not even on which entities there are."""
    return features[0].moments == "own changes" or _of_its_own(features, versions)


def _of_its_own(features: Sequence[FeatureDefinition], versions: Versions) -> bool:
    """Return whether all that a derived group reads is of its own entity, under its own keys."""
    keys = [key.name for key in features[0].keys]
    return all(read.tells(keys) and not any(read.by) for each in features for read in reads(each, versions))


def moments_of(features: Sequence[FeatureDefinition], versions: Versions) -> Moments:
    """Return at which times a derived group has rows, unless it is to have them at every change.

    Those of its own entity's inputs alone, where there are others too: each of these would add a row for each entity.
    """
    keys = [key.name for key in features[0].keys]
    timed = {
        read.tells(keys) and not any(read.by)
        for each in features
        for read in reads(each, versions)
        if versions[read.feature, read.fingerprint].timed
    }
    return "own changes" if keys and timed == {True, False} else "every change"


def tables_read(features: Sequence[FeatureDefinition], versions: Versions) -> tuple[str, ...]:
    """Return the stored tables that a derived group's query reads, sorted."""
    inputs = {versions[key].table for feature in features for key in feature.upstream}
    return tuple(sorted(inputs | tables_of(features, versions)))


def _sorted(features: Sequence[FeatureDefinition]) -> list[str]:
    by = identity(features)
    return [f"ORDER BY {', '.join(quote(column) for column in by)}"] if by else []


def duplicates(features: Sequence[FeatureDefinition], *, until: bool, since: str = "") -> str:
    """Return the query for rows that share an identity, in the table of a group's values.

    `until` says whether it is of a source, `since` is the SQL of a time before which none is looked at.
    """
    by = [*identity(features), *([SOURCE_TIMESTAMP] if features[0].late else [])]
    names = ", ".join(quote(column) for column in by)
    listed, grouped = (f"{names}, ", f" GROUP BY {names}") if names else ("", "")
    number, conditions = "count(*)", [f"{EVENT_TIMESTAMP} >= {since}"] if since else []
    if until and features[0].timed and not features[0].late:
        # All but the last of those at one time hold until that time itself: no need to group ten million others.
        conditions.append(f"{quote(UNTIL)} = {EVENT_TIMESTAMP}")
        number += f" + CAST({EVENT_TIMESTAMP} < {features[0].clock} 'infinity' AS INTEGER)"
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    return f"SELECT {listed}{number} AS rows FROM tables.{quote(features[0].table)}{where}{grouped} HAVING rows > 1"


def violations(
    features: Sequence[FeatureDefinition], versions: Versions, condition: str, feature: str, since: str = ""
) -> str:
    """Return the query for the rows of a group's values that break a condition; NULL breaks none.

    `since` is the SQL of a time before which none is looked at.
    """
    shown = ", ".join(quote(column) for column in [*identity(features), feature])
    later = f"{EVENT_TIMESTAMP} >= {since} AND " if since else ""
    return f"SELECT {shown} FROM {values(features, versions, since=since)} WHERE {later}NOT (\n{condition}\n)"


def group_view(features: Sequence[FeatureDefinition], versions: Versions) -> str:
    """Return the view of a group: its values at every time for which it has a row, those of renamed features twice."""
    listed = [quote(column.name) for column in columns(features)]
    listed += [f"{quote(name)} AS {quote(old)}" for old, name in _former(features).items()]
    return f"SELECT {', '.join(listed)} FROM {values(features, versions)}"


def now_view(features: Sequence[FeatureDefinition], versions: Versions) -> str:
    """Return the view of the values that a group has now, one row for each entity, those of renamed features twice."""
    wants = [Want(feature.name, feature) for feature in features]
    former = [f"{quote(name)} AS {quote(old)}" for old, name in _former(features).items()]
    now = _now([key.name for key in features[0].keys], wants, versions)
    return f"SELECT {', '.join(['*', *former])} FROM (\n{now}\n)" if former and now else now


def _former(features: Sequence[FeatureDefinition]) -> dict[str, str]:
    """Return the present name for each former name of features, where no other has that now."""
    names = {each.name for each in features}
    return {each.renamed_from: each.name for each in features if each.renamed_from and each.renamed_from not in names}


def values(
    features: Sequence[FeatureDefinition], versions: Versions, *, most: int | None = None, since: str = ""
) -> str:
    """Return the relation of a group's values: what is stored, or with windows what is computed at the stored times.

    `most` limits the times at which values are computed, `since` is the SQL of one before which none need be.
    """
    windowed = [feature for feature in features if feature.window]
    if not windowed:
        table = f"tables.{quote(features[0].table)}"
        if all(each.column == each.name for each in features):
            return table
        around = [quote(column.name) for column in (*features[0].keys, *features[0].bounds)]
        named = [f"{quote(each.column)} AS {quote(each.name)}" for each in features]
        return f"(SELECT {', '.join([*around, *named])} FROM {table})"
    at = ", ".join(quote(column) for column in identity(features))
    tables = sorted({feature.table for feature in features})
    later = f" WHERE {EVENT_TIMESTAMP} >= {since}" if since else ""
    times = " UNION ".join(f"SELECT {at} FROM tables.{quote(table)}{later}" for table in tables)
    times = times if len(tables) > 1 else times.replace("SELECT", "SELECT DISTINCT", 1)
    spine = _own_times(f"({times}{f' LIMIT {most}' if most else ''})", features)
    wants = [Want(feature.name, feature) for feature in features]
    return f"(\n{compile_sql(wants, spine, versions, sliding(wants, versions))}\n)"


def _own_times(sql: str, features: Sequence[FeatureDefinition]) -> Spine:
    """Return the spine of stored keys and times, in the clock of the features."""
    time, fine = EVENT_TIMESTAMP if features[0].timed else None, features[0].clock == "TIMESTAMP_NS"
    return Spine(
        sql=sql,
        columns=identity(features),
        keys={key.name: quote(key.name) for key in features[0].keys},
        time=instants.floored(time) if time and fine else time,
        time_ns=time if fine else None,
    )


def set_view(members: Iterable[Member], versions: Versions) -> str:
    """Return the view of a set version: the values of now, one row for each entity.

    A set over several entities has rows for each of them; the columns of the others are NULL there. What has no
    entity stands in every row. Nothing is returned where no stored row tells which entities there are.
    """
    by_keys: dict[tuple[str, ...], list[Want]] = {}
    for member in members:
        want = Want(member.column, versions[member.feature, member.fingerprint], member.keys)
        by_keys.setdefault(tuple(column for _, column in want.roles), []).append(want)
    everywhere = by_keys.pop((), []) if len(by_keys) > 1 else []
    parts = [_now(keys, [*wants, *everywhere], versions) for keys, wants in sorted(by_keys.items())]
    return "\nUNION ALL BY NAME\n".join(f"SELECT * FROM (\n{part}\n)" for part in parts if part)


def _now(keys: Sequence[str], wants: Sequence[Want], versions: Versions) -> str:
    """Return the query of the values of now, or nothing where no stored row tells which entities there are."""
    entities = "\nUNION\n".join(sorted({each for want in wants if want.roles for each in stored_keys(want, versions)}))
    if keys and not entities:
        return ""
    entities = entities or _NO_COLUMNS
    spine = Spine(
        sql=f"(\n{entities}\n)",
        columns=keys,
        keys={key: quote(key) for key in keys},
        time=instants.NOW if any(want.feature.timed for want in wants) else None,
    )
    return compile_sql(wants, spine, versions)


def stored_keys(want: Want, versions: Versions) -> list[str]:
    """Return queries that together give the entities that a feature has values for, in the columns of a spine.

    Of a feature without stored values the inputs of its own entity tell; there may be none.
    """
    feature = want.feature
    if not feature.is_rowless:
        listed = ", ".join(f"{quote(key)} AS {quote(column)}" for key, column in want.roles)
        return [f"SELECT DISTINCT {listed} FROM tables.{quote(feature.table)}"]
    columns, keys = dict(want.roles), [key.name for key in feature.keys]
    found = []
    for read in reads(feature, versions):
        if read.tells(keys) and not any(read.by):
            renamed = tuple((key, columns[str(own)]) for key, own in read.roles)
            found += stored_keys(Want("", versions[read.feature, read.fingerprint], renamed), versions)
    return found


# Two definitions of a feature side by side


def changes(features: Sequence[FeatureDefinition], versions: Versions) -> str:
    """Return the query of the keys and times at which the values of a derived group may change."""
    by = identity(features)
    return f"SELECT {_quoted(by)} FROM {_changes(features, versions, features[0].moments)}" if by else _NO_COLUMNS


def moments(features: Sequence[FeatureDefinition], *, expiring: bool) -> str:
    """Return the query of the keys and times, each once, at which features of one entity have stored rows.

    Where values are `expiring` at other times in one of them than in another, these times count as well.
    """
    timed, clock = any(each.timed for each in features), instants.clock_of(each.clock for each in features)
    keys = [key.name for key in features[0].keys]
    if not keys and not timed:
        return _NO_COLUMNS
    parts = [
        f"SELECT {_quoted([*keys, EVENT_TIMESTAMP])} FROM "
        f"{_times(each if expiring else replace(each, ttl=None, ends=False), clock)}"
        if timed
        else f"SELECT {_quoted(keys)} FROM tables.{quote(each.table)}"
        for each in features
        if each.timed == timed
    ]
    union = "\nUNION ALL\n".join(dict.fromkeys(parts))
    return f"SELECT DISTINCT * FROM (\n{union}\n)"


def side_by_side(
    pairs: Sequence[tuple[FeatureDefinition, FeatureDefinition]], spine: str, versions: Versions, *, few: bool
) -> str:
    """Return the query that gives each row of a spine the values of two features of each pair, in `#0 before`, `#0 after`.

    `few` says that the spine has few of the entities that are stored.
    """
    both = [feature for pair in pairs for feature in pair]
    timed, clock = any(each.timed for each in both), instants.clock_of(each.clock for each in both)
    rows = replace(_own_times(spine, [replace(both[0], timed=timed, clock=clock)]), few=few)
    wants = [
        Want(f"#{number} {side}", feature)
        for number, pair in enumerate(pairs)
        for side, feature in zip(("before", "after"), pair, strict=True)
    ]
    return compile_sql(wants, rows, versions, Ways() if few else sliding(wants, versions))


def entities(group: GroupDefinition, feature: FeatureDefinition, source: SourceDefinition, relation: str) -> str:
    """Return the query of the entities that a feature has values for, of a source whose rows are in `relation`."""
    listed = [
        f"CAST({column} AS {key.dtype}) AS {quote(key.name)}"
        for column, key in zip(_key_columns(group, feature), feature.keys, strict=True)
    ]
    present = [f"{column} IS NOT NULL" for column in [*_key_columns(group, feature), *map(quote, source.times)]]
    return f"SELECT {', '.join(listed)} FROM {relation} WHERE {' AND '.join(present)}"


def rows_of(group: GroupDefinition, feature: FeatureDefinition, relation: str, kept: str) -> str:
    """Return the query of a source's rows, in `relation`, that belong to the entities of the query `kept`."""
    columns = zip(_key_columns(group, feature), feature.keys, strict=True)
    given = [f"CAST({column} AS {key.dtype})" for column, key in columns]
    key = given[0] if len(given) == 1 else f"({', '.join(given)})"
    return f"SELECT * FROM {relation} WHERE {key} IN ({kept})"


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(quote(name) for name in names)
