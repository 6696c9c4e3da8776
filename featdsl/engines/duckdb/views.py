"""The SQL of views: values at the stored times, and latest values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from featdsl.definitions.kinds import FeatureDefinition, Member
from featdsl.definitions.names import EVENT_TIMESTAMP, quote
from featdsl.definitions.table_spec import RowSpec, TableSpec
from featdsl.engines.duckdb import timestamps as sql_timestamps
from featdsl.engines.duckdb.lookups import compile_sql, sliding
from featdsl.engines.lookups import Spine, Versions, Want, reads
from featdsl.engines.table_layout import columns

ONE_ROW = 'SELECT 0 AS "#nothing"'
"""The only row of values without entities and times."""


def group_view(features: Sequence[FeatureDefinition], versions: Versions) -> str:
    """Return the view of a group: its values at every stored time. Renamed features also have their former names."""
    listed = [quote(column.name) for column in columns(features)]
    listed += [f"{quote(name)} AS {quote(old)}" for old, name in _former(features).items()]
    return f"SELECT {', '.join(listed)} FROM {values(features, versions)}"


def latest_view(features: Sequence[FeatureDefinition], versions: Versions) -> str:
    """Return the view of a group's latest values, one row for each entity. Renamed features also have their former names."""
    # Not `RowSpec.of`: features that depend on the time of the read may have times where stored ones have none.
    wants = [Want(feature.name, feature) for feature in features]
    former = [f"{quote(name)} AS {quote(old)}" for old, name in _former(features).items()]
    latest = _latest([key.name for key in features[0].keys], wants, versions)
    return f"SELECT {', '.join(['*', *former])} FROM (\n{latest}\n)" if former and latest else latest


def _former(features: Sequence[FeatureDefinition]) -> dict[str, str]:
    """Return the current name for each former name that no other feature has now."""
    names = {each.name for each in features}
    return {each.renamed_from: each.name for each in features if each.renamed_from and each.renamed_from not in names}


def values(
    features: Sequence[FeatureDefinition],
    versions: Versions,
    *,
    most: int | None = None,
    since: str | None = None,
    part: int = 1,
) -> str:
    """Return the relation of a group's values: the stored values, or with windows the values at the stored times.

    `most` limits the number of computed rows; `since` is their earliest time, as text. Of the times, one in `part` counts.
    """
    if not any(feature.window for feature in features):
        return _stored_values(features)
    rows = RowSpec.of(features)
    at = ", ".join(quote(column) for column in rows.identity)
    tables = sorted({feature.table for feature in features})
    conditions = [f"{EVENT_TIMESTAMP} >= {sql_timestamps.at(since, rows.clock)}"] if since else []
    conditions += [one_of(rows.identity, part)] if part > 1 else []
    later = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    times = " UNION ".join(f"SELECT {at} FROM tables.{quote(table)}{later}" for table in tables)
    times = times if len(tables) > 1 else times.replace("SELECT", "SELECT DISTINCT", 1)
    spine = spine_of_rows(f"({times}{f' LIMIT {most}' if most else ''})", rows)
    wants = [Want(feature.name, feature) for feature in features]
    return f"(\n{compile_sql(wants, spine, versions, sliding(wants, versions))}\n)"


def one_of(columns: Sequence[str], part: int) -> str:
    """Return the condition that holds for about one in `part` rows, and always for the same ones: it goes by these columns."""
    return f"hash({', '.join(map(quote, columns))}) % {part} = 0"


def _stored_values(features: Sequence[FeatureDefinition]) -> str:
    """Return the relation of stored values, under the current names of the features."""
    table = TableSpec.of(features)
    relation = f"tables.{quote(table.name)}"
    if all(each.column == each.name for each in features):
        return relation
    around = [quote(column.name) for column in table.around]
    named = [f"{quote(each.column)} AS {quote(each.name)}" for each in features]
    return f"(SELECT {', '.join([*around, *named])} FROM {relation})"


def spine_of_rows(sql: str, rows: RowSpec) -> Spine:
    """Return the spine of stored keys and times."""
    time, fine = EVENT_TIMESTAMP if rows.timed else None, rows.clock == "TIMESTAMP_NS"
    return Spine(
        sql=sql,
        columns=rows.identity,
        keys={key: quote(key) for key in rows.key_names},
        time=sql_timestamps.floored(time) if time and fine else time,
        time_ns=time if fine else None,
    )


def set_view(members: Iterable[Member], versions: Versions) -> str:
    """Return the view of a set version: the latest values, one row for each entity.

    A set over several entities has rows for each; in them, the columns of other entities are NULL. Features without an
    entity have their value in every row. Returns "" if no stored row identifies the entities.
    """
    by_keys: dict[tuple[str, ...], list[Want]] = {}
    for member in members:
        want = Want(member.column, versions[member.feature, member.fingerprint], member.keys)
        by_keys.setdefault(tuple(column for _, column in want.roles), []).append(want)
    everywhere = by_keys.pop((), []) if len(by_keys) > 1 else []
    parts = [_latest(keys, [*wants, *everywhere], versions) for keys, wants in sorted(by_keys.items())]
    return "\nUNION ALL BY NAME\n".join(f"SELECT * FROM (\n{part}\n)" for part in parts if part)


def _latest(keys: Sequence[str], wants: Sequence[Want], versions: Versions) -> str:
    """Return the query of the latest values, or "" if no stored row identifies the entities."""
    entities = "\nUNION\n".join(sorted({each for want in wants if want.roles for each in stored_keys(want, versions)}))
    if keys and not entities:
        return ""
    entities = entities or ONE_ROW
    spine = Spine(
        sql=f"(\n{entities}\n)",
        columns=keys,
        keys={key: quote(key) for key in keys},
        time=sql_timestamps.NOW if any(want.feature.timed for want in wants) else None,
    )
    return compile_sql(wants, spine, versions)


def stored_keys(want: Want, versions: Versions) -> list[str]:
    """Return queries that together give the entities of a feature, in the columns of a spine.

    The entities of a feature without stored values are those of its inputs with the same entity, if it has any.
    """
    feature = want.feature
    if not feature.is_rowless:
        listed = ", ".join(f"{quote(key)} AS {quote(column)}" for key, column in want.roles)
        return [f"SELECT DISTINCT {listed} FROM tables.{quote(feature.table)}"]
    columns, keys = dict(want.roles), [key.name for key in feature.keys]
    queries = []
    for read in reads(feature, versions):
        if read.identifies(keys) and not any(read.by):
            renamed = tuple((key, columns[str(own)]) for key, own in read.roles)
            queries += stored_keys(Want("", versions[read.feature, read.fingerprint], renamed), versions)
    return queries
