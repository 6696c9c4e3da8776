"""Try features for the newest entities of their sources."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from featdsl.definitions.names import did_you_mean, literal, quote
from featdsl.definitions.time_reading import TimeReading
from featdsl.engines.comparisons import AT, SideSource
from featdsl.engines.duckdb.session import open_session
from featdsl.engines.lookups import rounds_of
from featdsl.errors import Problem, RequestError
from featdsl.trying import trial as trials
from featdsl.trying.tables import DECLARED, reported

if TYPE_CHECKING:
    from featdsl.definitions.kinds import FeatureDefinition
    from featdsl.engines.session import Session
    from featdsl.trying.bound import Trial
    from featdsl.trying.tried import TriedFeatures

_NUMBER = '"#number"'


@dataclass(frozen=True, kw_only=True)
class Newest:
    """Which entities to try: up to `limit`, those with the newest rows, with these values of keys.

    `at` is the time of the values in ISO format, UTC without an offset; None is the time of the newest row. `request` is the
    request-time data of every row.
    """

    limit: int = 20
    at: str | None = None
    keys: Mapping[str, str] = field(default_factory=dict)
    request: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Lookup:
    """A feature whose table is looked up by columns of the spine: each key with its column."""

    feature: FeatureDefinition
    columns: tuple[tuple[str, str], ...]


def try_newest(place: trials.TrialPlace, features: Any, newest: Newest) -> TriedFeatures:
    """Return the newest entities of the features' sources, with tried and applied values at one time.

    Raises the errors of `trial.try_features`, RequestError for an unknown key, request or time.
    """
    applied = place.applied()
    trial = trials.declared(place, applied, features)
    _refuse_other(newest, trial)
    upto = _moment(newest.at) if newest.at else None
    session = open_session(place.project)
    try:
        bench = trials.tables(place, trial, session)
        spine = _Spine(trial, session, newest, upto)
        time = spine.time_column if trial.selection.timed or upto else None
        options = trials.SpineOptions(time, TimeReading())
        return trials.tried(
            place, trial, applied, trials.AskedSpine(session, session.load_spine(spine.sql()), options), bench
        )
    except BaseException:
        session.close()
        raise


def _refuse_other(newest: Newest, trial: Trial) -> None:
    """Raise RequestError for a key that no feature has, and for request-time data that are missing or unknown."""
    keys, request = trial.selection.keys, trial.selection.request
    for given, known, option in ((newest.keys, keys, "--key"), (newest.request, request, "--request")):
        for name in given:
            if name not in known:
                fix = did_you_mean(name, known) or f"They have: {', '.join(known) or 'none'}."
                what = f"The features have no {'key' if option == '--key' else 'request'} {name!r}."
                raise RequestError(Problem("Unknown key" if option == "--key" else "Unknown request", what, fix=fix))
    for name in request:
        if name not in newest.request:
            what = f"The features need the request {name}, which only the call can give."
            raise RequestError(Problem("Missing request", what, fix=f"Give it: --request {name}=..."))


def _moment(text: str) -> str:
    """Return a time as an SQL timestamp in UTC. Raises RequestError."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        what = f"{text!r} is not a time."
        raise RequestError(
            Problem("Invalid time", what, fix="Write it as 2026-01-31, or 2026-01-31T12:00:00Z.")
        ) from None
    plain = moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment
    return plain.isoformat(sep=" ")


@dataclass(frozen=True)
class _Spine:
    """The SQL of a spine over the sources that are open in a session."""

    trial: Trial
    session: Session
    newest: Newest
    upto: str | None

    @property
    def time_column(self) -> str:
        """The name of the column of times: one that no key and no feature has."""
        taken = {*self.trial.selection.keys, *self.trial.selection.request, *self.trial.selection.columns}
        return next(name for name in ("at", "at_time", "asked_at", "#at_time") if name not in taken)

    def sql(self) -> str:
        """Return the query of the spine: its keys side by side, the newest entities first, and one time."""
        parts = list(self._parts())
        at = f"TIMESTAMP {literal(self.upto)}" if self.upto else self._newest_time()
        listed = [quote(column) for columns, _ in parts for column in columns]
        listed += [f"{at} AS {quote(self.time_column)}"] if self.trial.selection.timed or self.upto else []
        listed += [f"{literal(value)} AS {quote(name)}" for name, value in self.newest.request.items()]
        numbers = f"(SELECT range AS n FROM range({self.newest.limit if parts else 1}))"
        relation = numbers
        for i, (_, query) in enumerate(parts):
            counted = f'(SELECT *, count(*) OVER () AS "#count" FROM ({query}))'
            relation += f' JOIN {counted} AS p{i} ON p{i}.{_NUMBER} = n % p{i}."#count"'
        rows = [f'p{i}."#count"' for i in range(len(parts))]
        most = f" WHERE n < greatest({', '.join(rows)})" if rows else ""
        return f"SELECT {', '.join(listed) or '1 AS nothing'} FROM {relation}{most} ORDER BY n"

    def _parts(self) -> Iterator[tuple[list[str], str]]:
        """Yield queries of entities that together have every key column of the spine, each column once."""
        done: set[str] = set()
        for lookup in self._lookups():
            new = [(key, column) for key, column in lookup.columns if column not in done]
            if not new:
                continue
            done.update(column for _, column in new)
            given = {key: self.newest.keys[column] for key, column in lookup.columns if column in self.newest.keys}
            yield [column for _, column in new], self._entities(lookup, new, given)

    def _entities(self, lookup: _Lookup, new: Sequence[tuple[str, str]], given: Mapping[str, str]) -> str:
        if len(given) == len(lookup.columns):  # also an entity without rows
            listed = ", ".join(f"{self._value(lookup, key, given[key])} AS {quote(column)}" for key, column in new)
            return f"SELECT {listed}, 0 AS {_NUMBER}"
        source = self._source(lookup.feature)
        if source is None:
            listed = ", ".join(f"{quote(key)} AS {quote(column)}" for key, column in new)
            rows = f"SELECT DISTINCT {listed} FROM tables.{quote(lookup.feature.table)}"
            return f"SELECT *, row_number() OVER () - 1 AS {_NUMBER} FROM ({rows} LIMIT {self.newest.limit})"
        found = self.session.comparisons.newest(source, given, self.upto)
        listed = ", ".join(f"{quote(key)} AS {quote(column)}" for key, column in new)
        order = ", ".join([f"{AT} DESC NULLS LAST", *(quote(key) for key, _ in lookup.columns)])
        rows = f"SELECT *, row_number() OVER (ORDER BY {order}) - 1 AS {_NUMBER} FROM ({found})"
        return f"SELECT {listed}, {_NUMBER} FROM ({rows}) WHERE {_NUMBER} < {self.newest.limit}"

    def _value(self, lookup: _Lookup, key: str, text: str) -> str:
        """Return a key given as text in its type, as SQL; the text itself if it does not fit, which the spine refuses."""
        dtype = next(each.dtype for each in lookup.feature.keys if each.name == key)
        ((fits,),) = self.session.rows(f"SELECT TRY_CAST({literal(text)} AS {dtype}) IS NOT NULL")
        return f"CAST({literal(text)} AS {dtype})" if fits else literal(text)

    def _source(self, feature: FeatureDefinition) -> SideSource | None:
        """Return the source of a feature's table; None for a feature of another project, whose table is stored."""
        group = self.trial.catalog.groups.get(feature.group)
        if group is None:
            return None
        return SideSource(DECLARED, group, feature, self.trial.catalog.sources[str(group.source)])

    def _lookups(self) -> list[_Lookup]:
        """Return the lookups by columns of the spine, those of most keys first."""
        found: dict[tuple[tuple[str, str], ...], _Lookup] = {}
        for lookups in rounds_of(self.trial.selection.wants, self.trial.snapshot.versions):
            for (_, roles), features in lookups.items():
                if roles and all(isinstance(target, str) for _, target in roles):
                    columns = tuple((key, str(target)) for key, target in roles)
                    found.setdefault(columns, _Lookup(features[0], columns))
        return sorted(found.values(), key=lambda each: -len(each.columns))

    def _newest_time(self) -> str:
        """Return the newest event time of all sources that the features read, as SQL; now if they have no rows."""
        sources = {}
        for lookups in rounds_of(self.trial.selection.wants, self.trial.snapshot.versions):
            for features in lookups.values():
                if (source := self._source(features[0])) is not None and source.source.times:
                    sources[source.source.name] = source
        newest = "CAST(NULL AS TIMESTAMP)"
        for source in sources.values():
            query = self.session.comparisons.newest(source, {}, None)
            with reported(source.source, self.session):
                ((found,),) = self.session.rows(f"SELECT CAST(max(CAST({AT} AS TIMESTAMP)) AS VARCHAR) FROM ({query})")
            newest = f"greatest({newest}, CAST({literal(found) if found else 'NULL'} AS TIMESTAMP))"
        return f"coalesce({newest}, CAST({literal(datetime.now(UTC).replace(tzinfo=None).isoformat(sep=' '))} AS TIMESTAMP))"
