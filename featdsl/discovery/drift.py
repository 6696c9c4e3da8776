"""Compare the newest statistics of features with those of an earlier run: what a model was trained on, or a state."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from featdsl.definitions import stability
from featdsl.definitions.kinds import (
    FeatureDefinition,
    GroupDefinition,
    Member,
    ModelDefinition,
    SetDefinition,
)
from featdsl.definitions.snapshot import Snapshot
from featdsl.definitions.statistics import ColumnStatistics, TableStatistics
from featdsl.discovery import outdated
from featdsl.discovery.history import Past
from featdsl.discovery.measured_runs import MeasuredRun, measured_runs, tables_of_groups
from featdsl.errors import Problem, RequestError
from featdsl.query.lockfile import Lock, refuse_other_store
from featdsl.query.selection import find

Verdict = Literal["drifted", "steady", "not compared"]
_SHOWN = 20
"""The largest number of new or gone values in a report."""


@dataclass(frozen=True, kw_only=True)
class DriftLimits:
    """From which change on a feature has drifted: see `[drift]` in docs/settings.md."""

    psi: float
    nulls: float
    volume: float


@dataclass(frozen=True, kw_only=True)
class DriftSide:
    """One of two compared runs: its state and time, the rows of the table, and figures of the feature.

    `sampled` is the number of rows that the index was computed from, if it was not all.
    """

    serial: int
    measured_at: str
    rows: int
    null_share: float | None
    mean: float | None
    sampled: int | None


@dataclass(frozen=True, kw_only=True)
class DriftReason:
    """A change that is past its threshold."""

    code: Literal["psi", "nulls", "volume"]
    text: str


@dataclass(frozen=True, kw_only=True)
class FeatureDrift:
    """How far the values of a feature have moved since an earlier run, which `against` names.

    `psi` is None if it cannot be computed. `new_values` and `gone_values` are those that one of the runs certainly has not, at
    most 20 each. `note` says why nothing was compared, or what limits the comparison.
    """

    feature: str
    owner: str
    dtype: str
    against: str
    verdict: Verdict
    before: DriftSide | None = None
    now: DriftSide | None = None
    psi: float | None = None
    new_values: tuple[str, ...] = ()
    gone_values: tuple[str, ...] = ()
    reasons: tuple[DriftReason, ...] = ()
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class DriftReport:
    """The features of an environment whose values were compared, in order of address, and the limits."""

    environment: str
    limits: DriftLimits
    features: tuple[FeatureDrift, ...]

    @property
    def drifted(self) -> tuple[FeatureDrift, ...]:
        """The features that have drifted."""
        return tuple(each for each in self.features if each.verdict == "drifted")


@dataclass(frozen=True)
class DriftInputs:
    """What a comparison reads: an environment's state, its applies, its earlier states, kept statistics, and the limits."""

    snapshot: Snapshot
    past: Past
    earlier: Callable[[int], Snapshot]
    statistics: Callable[[Iterable[str]], Mapping[str, Sequence[TableStatistics]]]
    limits: DriftLimits


@dataclass(frozen=True)
class _Wanted:
    """A feature to compare, with the version of it that an earlier run measured.

    The earlier run is the newest up to the state `upto`; None means the run before the newest one. `missing` says why there is
    nothing to compare.
    """

    feature: FeatureDefinition
    before: FeatureDefinition | None
    against: str
    upto: int | None = None
    missing: str = ""


def of_names(inputs: DriftInputs, names: Sequence[str], against: int | None = None) -> DriftReport:
    """Compare features with a state, or with the run before; models with the state at which they were trained.

    `names` are those of features, groups, set versions and models; without any, all features of the environment count. Raises
    FeatureNotFoundError for an unknown name, StoreError for a state that is not kept.
    """
    wanted: dict[tuple[str, str, str], _Wanted] = {}
    then = inputs.earlier(against) if against is not None else None
    for each in _chosen(inputs, names, then, against):
        wanted.setdefault((each.feature.address, each.feature.fingerprint, each.against), each)
    return _report(inputs, wanted.values())


def of_lock(inputs: DriftInputs, lock: Lock, name: str, names: Sequence[str] = ()) -> DriftReport:
    """Compare the features of a training lock with those that it was trained on, or only those of `names`.

    Raises LockFileError for the lock of another store.
    """
    refuse_other_store(lock, inputs.snapshot)
    versions = inputs.snapshot.versions
    by_fingerprint = {each.fingerprint: each for each in versions.values()}
    only = {each.feature.address for each in _chosen(inputs, names, None, None)} if names else None
    wanted, gone = [], []
    for address, fingerprint in sorted(set(lock.features.values())):
        feature = versions.get((address, fingerprint)) or by_fingerprint.get(fingerprint)
        if only is not None and (feature.address if feature else address) not in only:
            continue
        if feature is None:
            gone.append(
                FeatureDrift(
                    feature=address, owner="", dtype="", against=name, verdict="not compared",
                    note="the store no longer has the version that it was trained on",
                )
            )  # fmt: skip
        else:
            wanted.append(_Wanted(feature, feature, name, lock.serial))
    return _report(inputs, wanted, gone)


def _report(inputs: DriftInputs, wanted: Iterable[_Wanted], more: Sequence[FeatureDrift] = ()) -> DriftReport:
    listed = list(wanted)
    runs = _runs(inputs, (version for each in listed for version in (each.feature, each.before) if version))
    found = [*(_compared(each, runs, inputs.limits) for each in listed), *more]
    found.sort(key=lambda each: (each.feature, each.against))
    return DriftReport(environment=inputs.snapshot.environment, limits=inputs.limits, features=tuple(found))


# What is compared with what


def _chosen(inputs: DriftInputs, names: Sequence[str], then: Snapshot | None, state: int | None) -> Iterator[_Wanted]:
    catalog = inputs.snapshot.catalog
    if not names:
        for address in sorted(catalog.features):
            yield _against(catalog.features[address], then, state)
    for name in names:
        definition = find(inputs.snapshot, name)
        match definition:
            case FeatureDefinition():
                yield _against(definition, then, state)
            case GroupDefinition():
                yield from (_against(each, then, state) for each in catalog.members_of(definition.name))
            case SetDefinition():
                yield from (_against(each, then, state) for each in _pinned(inputs, definition.members))
            case ModelDefinition():
                yield from _of_model(inputs, definition, then, state)
            case _:
                what = f"{definition.kind} {name} has no values of its own."
                fix = "Name features, groups, set versions or models: featdsl list"
                raise RequestError(Problem("No features to compare", what, fix=fix))


def _pinned(inputs: DriftInputs, members: Iterable[Member]) -> list[FeatureDefinition]:
    return [inputs.snapshot.versions[each.feature, each.fingerprint] for each in members]


def _against(feature: FeatureDefinition, then: Snapshot | None, state: int | None) -> _Wanted:
    if then is None or state is None:
        return _Wanted(feature, feature, "the run before")
    known = then.versions.get((feature.address, feature.fingerprint)) or then.catalog.features.get(feature.address)
    missing = "" if known else f"state {state} does not have it"
    return _Wanted(feature, known, f"state {state}", state, missing)


def _of_model(
    inputs: DriftInputs, model: ModelDefinition, then: Snapshot | None, state: int | None
) -> Iterator[_Wanted]:
    features = _pinned(inputs, inputs.snapshot.catalog.sets[model.features].members)
    if then is not None:
        yield from (_against(each, then, state) for each in features)
        return
    entry = outdated.trained_at(inputs.past, model.name)
    missing = "" if entry else f"the history no longer tells when {model.name} was trained"
    for each in features:
        yield _Wanted(each, each, f"model {model.name}", entry.serial if entry else None, missing)


# Comparing


_Runs = Mapping[tuple[str, str], Sequence[MeasuredRun]]
"""The runs that measured each version of a feature, by address and fingerprint, newest first."""


def _side(point: MeasuredRun) -> DriftSide:
    run, column = point.run, point.column
    return DriftSide(
        serial=run.serial,
        measured_at=run.computed_at,
        rows=run.rows,
        null_share=column.null_share,
        mean=column.mean,
        sampled=column.sampled,
    )


def _runs(inputs: DriftInputs, features: Iterable[FeatureDefinition]) -> _Runs:
    """Return the runs that measured these features without a problem."""
    wanted = {(each.address, each.fingerprint): each for each in features}
    known = [*inputs.snapshot.versions.values(), *wanted.values()]
    groups = {each.group for each in wanted.values()}
    tables = tables_of_groups(each for each in known if each.group in groups)
    statistics = inputs.statistics(sorted(set().union(*tables.values())))
    return {
        key: [
            each
            for each in measured_runs(feature, tables.get(feature.group, ()), statistics)
            if not each.column.problem
        ]
        for key, feature in wanted.items()
    }


def _compared(wanted: _Wanted, runs: _Runs, limits: DriftLimits) -> FeatureDrift:
    newest = next(iter(runs[wanted.feature.address, wanted.feature.fingerprint]), None)
    before, why = _before(wanted, runs)
    if newest is None or before is None:
        why = _unmeasured(wanted.feature) if newest is None else why
        return _result(wanted, "not compared", newest, before, note=wanted.missing or why)
    was, now = before.column, newest.column
    psi = stability.psi(was, now) if was.dtype == now.dtype else None
    reasons = tuple(_reasons(before, newest, psi, wanted, limits))
    result = _result(wanted, "drifted" if reasons else "steady", newest, before, note=_note(was, now, psi))
    return _with_values(result, was, now, psi, reasons)


def _result(
    wanted: _Wanted, verdict: Verdict, now: MeasuredRun | None, before: MeasuredRun | None, *, note: str
) -> FeatureDrift:
    feature = wanted.feature
    return FeatureDrift(
        feature=feature.address, owner=feature.owner, dtype=feature.dtype, against=wanted.against, verdict=verdict,
        before=_side(before) if before else None, now=_side(now) if now else None, note=note,
    )  # fmt: skip


def _with_values(
    result: FeatureDrift,
    was: ColumnStatistics,
    now: ColumnStatistics,
    psi: float | None,
    reasons: tuple[DriftReason, ...],
) -> FeatureDrift:
    return replace(
        result,
        psi=psi,
        reasons=reasons,
        new_values=stability.new_values(was, now)[:_SHOWN],
        gone_values=stability.new_values(now, was)[:_SHOWN],
    )


def _before(wanted: _Wanted, runs: _Runs) -> tuple[MeasuredRun | None, str]:
    """Return the earlier run to compare with, or why there is none."""
    if wanted.missing or wanted.before is None:
        return None, wanted.missing
    points = runs[wanted.before.address, wanted.before.fingerprint]
    if wanted.upto is None:
        return (points[1], "") if len(points) > 1 else (None, "measured once, so there is nothing to compare with yet")
    found = next((each for each in points if each.run.serial <= wanted.upto), None)
    return found, f"the store keeps no statistics from before state {wanted.upto + 1}"


def _unmeasured(feature: FeatureDefinition) -> str:
    return "no run has measured it" if feature.table else "it has no stored values"


def _reasons(
    before: MeasuredRun, newest: MeasuredRun, psi: float | None, wanted: _Wanted, limits: DriftLimits
) -> Iterator[DriftReason]:
    if psi is not None and psi >= limits.psi:
        yield DriftReason(code="psi", text=f"PSI {psi:.2f} is {limits.psi:g} or more")
    was, now = before.column.null_share or 0.0, newest.column.null_share or 0.0
    if now - was >= limits.nulls:
        yield DriftReason(
            code="nulls", text=f"{_percent(now)} are NULL instead of {_percent(was)}: {limits.nulls:g} or more"
        )
    rows, then = newest.run.rows, before.run.rows
    change = (rows - then) / then if then else float(rows > 0)
    # A table gains rows as time goes by, so it is not compared with an old one for that.
    if change <= -limits.volume or (wanted.upto is None and change >= limits.volume):
        yield DriftReason(code="volume", text=f"{rows:,} rows instead of {then:,}: {limits.volume:g} or more of change")


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _note(was: ColumnStatistics, now: ColumnStatistics, psi: float | None) -> str:
    if was.dtype != now.dtype:
        return f"its type was {was.dtype}"
    if was.fingerprint != now.fingerprint:
        return "its definition was another one"
    if psi is None:
        few = min(was.counted, now.counted) < stability.LEAST_VALUES
        return "too few values for a PSI" if few else "no PSI: its values have no common bins"
    return ""
