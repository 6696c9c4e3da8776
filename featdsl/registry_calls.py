"""The calls of a feature store that find applied features and check their data."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from featdsl.apply.events import Listener, Waiting, ignore
from featdsl.discovery.browse import AppliedCatalog
from featdsl.project import settings
from featdsl.query.data_errors import computing
from featdsl.states import OpenState, States
from featdsl.stores import environments, open_store

if TYPE_CHECKING:
    from collections.abc import Mapping

    from featdsl.apply.check_rules import Checked
    from featdsl.declarations.feature_set import FeatureSet
    from featdsl.definitions.history import CheckResult
    from featdsl.definitions.snapshot import Snapshot
    from featdsl.definitions.timestamps import Ambiguous
    from featdsl.discovery.alike_values import SampleSize
    from featdsl.discovery.catalogue_entries import CatalogueDocument
    from featdsl.discovery.describe import Described
    from featdsl.discovery.drift import DriftInputs, DriftReport
    from featdsl.discovery.filters import Entry
    from featdsl.discovery.lineage import Lineage
    from featdsl.discovery.outdated import Moved
    from featdsl.discovery.report import Report
    from featdsl.discovery.search import Found, Listed
    from featdsl.query.selection import Selectable
    from featdsl.render.plan_html import PlanView
    from featdsl.trying.tried import TriedFeatures


class FeatureFilters(TypedDict, total=False):
    """The filters of features."""

    owner: str | None
    entity: str | None
    tag: str | None
    type: str | None
    set: str | None


class Filters(FeatureFilters, total=False):
    """The filters of all applied definitions."""

    kind: str | None


class RegistryCalls:
    """The calls of one environment of a project that read the registry, and those that check stored rows."""

    def __init__(self, path: str | Path | None, environment: str) -> None:
        self._project = settings.load(Path(path) if path is not None else None)
        self._environment = environments.checked(environment)
        self._states = States(self._project, self._environment)

    @property
    def catalog(self) -> AppliedCatalog:
        """The applied definitions, to browse with completion: `store.catalog.user_profile.age`."""
        return AppliedCatalog(
            self
        )  # kept, it would refer back to the store: a cycle, whose sessions stay open for a while

    # Trying features

    def try_features(  # noqa: PLR0913 - one flat call is what people type
        self,
        features: FeatureSet | Selectable | Sequence[Selectable],
        spine: Any,
        *,
        timestamp: str | None = None,
        time_unit: str | None = None,
        timezone: str | None = None,
        ambiguous: Ambiguous = "refuse",
    ) -> TriedFeatures:
        """Return a small spine with the values that features have as the code declares them now, applied or not.

        The values are those that a training set would have after an apply of the code: computed from the sources as they are
        now, for the entities of the spine alone. Nothing is written, and no lock is taken. Beside each feature that is applied
        stands its applied value: `income` and `income_applied`. `features` are declared objects, also of a notebook's cell, or
        names of features, groups and set versions that the project declares; the other arguments are those of `training_set`.
        Raises DeclarationError for mistakes in the declarations, FeatureNotFoundError for an unknown name, RequestError for a
        spine that does not fit, DataError for data that apply would refuse.
        """
        from featdsl.query import spine as spine_reading
        from featdsl.trying import trial

        place = trial.TrialPlace(self._project, open_store(self._project), self._environment)
        reading = spine_reading.time_reading(time_unit, timezone, ambiguous)
        return trial.try_features(place, features, spine, trial.SpineOptions(timestamp, reading))

    # Finding features

    def applied(self) -> Snapshot:
        """Return the newest state of the registry: every applied definition. Raises StoreError."""
        return self._open().snapshot

    def features(self, **filters: Unpack[FeatureFilters]) -> list[Listed]:
        """Return the applied features in order of address, filtered by owner, entity, tag, type and set.

        `store.features(owner="accounts", type="int", set="credit_risk@1")`. A type is the name of a Python or a DuckDB type.
        """
        from featdsl.discovery import listings, search
        from featdsl.discovery.filters import Filter

        return listings.features(search.listed(self._open().snapshot, Filter(**filters)))

    def definitions(self, **filters: Unpack[Filters]) -> list[Entry]:
        """Return the applied definitions in order of kind and address, filtered as in `features`, and by `kind`.

        A kind is "feature", "group", "set", "model", "source", "entity" or "team".
        """
        from featdsl.discovery import listings
        from featdsl.discovery.filters import Filter, chosen

        return listings.entries(chosen(self._open().snapshot, Filter(**filters)))

    def no_match(self, **filters: Unpack[Filters]) -> str:
        """Return the message that nothing matches these filters, with the known values of each filter."""
        from featdsl.discovery.filters import Filter, nothing

        return nothing(self._open().snapshot, Filter(**filters))

    def search(self, words: str, *, limit: int = 20, **filters: Unpack[Filters]) -> list[Found]:
        """Return the definitions that match `words`, the best match first, by name, description, tag, owner, column and SQL.

        Of equally good matches, those with more users, fresh values and a description come first.
        The filters are those of `definitions`: `store.search("income", owner="accounts", kind="feature")`.
        """
        from featdsl.discovery import listings, search
        from featdsl.discovery.filters import Filter
        from featdsl.discovery.ranking import Ranking

        state = self._open()
        ranking = Ranking(partial(self._computed_at, state.snapshot), datetime.now(UTC) - self._stale_after())
        found = search.search(state.snapshot, words, limit=limit, wanted=Filter(**filters), ranking=ranking)
        return listings.found(found)

    def _computed_at(self, snapshot: Snapshot, tables: Collection[str]) -> Mapping[str, datetime]:
        """Return when stored tables were last computed, by name."""
        from featdsl.discovery import freshness

        stored = {name: snapshot.tables[name] for name in tables}
        built = {name: freshness.computed_at(each, {}, None) for name, each in stored.items()}
        limit = datetime.now(UTC) - self._stale_after()
        # The records of later refreshes take a moment to read: only tables that were built long ago need them.
        if not (old := [name for name, at in built.items() if at < limit]):
            return built
        applied = {each.serial: each.applied_at for each in self._states.store.history()}
        readings = self._states.store.readings(old)
        return built | {name: freshness.computed_at(stored[name], applied, readings.get(name)) for name in old}

    def _stale_after(self, text: str | None = None) -> timedelta:
        """Return after how long values are stale. Raises RequestError for a text that is no duration."""
        from featdsl.discovery import report

        return report.duration(text or self._project.settings.catalogue.stale_after)

    def describe(self, name: str) -> Described:
        """Return the description of a feature, group, set, model, source or entity, with figures from its data.

        Raises FeatureNotFoundError for an unknown name.
        """
        from featdsl.discovery import describe
        from featdsl.discovery.stored_figures import StoredFigures

        state = self._open()
        history = self._states.store.checks(self._environment)
        with state.reading(), computing():
            figures = StoredFigures(state.snapshot, state.reader_of, self._states.store.statistics)
            return describe.describe(state.snapshot, name, figures, history)

    def lineage(self, name: str) -> Lineage:
        """Return everything upstream and downstream of a definition. Raises FeatureNotFoundError for an unknown name."""
        from featdsl.discovery import lineage

        return lineage.trace(self._open().snapshot, name)

    def plan(self, *, select: Sequence[str] = ()) -> PlanView:
        """Return the plan that takes the environment to what the code declares now; nothing is written.

        A notebook shows it, `str(plan)` is its text, and `plan.plan` has it as data. With names in `select`, only these
        definitions and their upstream change. Raises DeclarationError if a declaration is wrong.
        """
        from featdsl import pipeline
        from featdsl.render.plan_html import PlanView

        planned = pipeline.plan_unsaved(self._project, self._states.store, self._environment, select)
        return PlanView(planned.plan)

    def catalogue_document(self) -> CatalogueDocument:
        """Return the catalogue of the environment: an entry for each definition, with statistics, history, rules and uses.

        It reads the registry alone, no data. Raises StoreError.
        """
        from featdsl.discovery.catalogue import catalogue
        from featdsl.documents import catalogue_inputs

        return catalogue(catalogue_inputs(self._project, self._states.store, self._open().snapshot))

    def report(
        self, *, team: str | None = None, stale_after: str | None = None, values: SampleSize | None = None
    ) -> Report:
        """Return how the features are used: who uses whose, what nobody uses and costs, what is built twice or neglected.

        `team` limits it to what one team owns and uses. Values are stale `stale_after` their last computation: "30 days", or
        the setting of [catalogue]. `values` also compares the values of a sample. Raises RequestError for an unknown team and
        for a text that is no duration.
        """
        from featdsl.discovery import report
        from featdsl.discovery.alike_values import alike_values

        state = self._open()
        compared = None
        if values is not None:
            with state.reading(), computing():
                compared = alike_values(state.snapshot, state.reader_of, values)
        inputs = report.ReportInputs(
            snapshot=state.snapshot,
            project=self._project.name,
            now=datetime.now(UTC),
            teams=frozenset(self._project.settings.teams),
            applied={each.serial: each.applied_at for each in self._states.store.history()},
            readings=self._states.store.readings(state.snapshot.tables),
            stale_after=self._stale_after(stale_after),
            values=compared,
        )
        return report.report(inputs, team)

    # Looking after the data

    def check(self, *, select: Sequence[str] = ()) -> list[Checked]:
        """Check the stored rows against every data quality rule, and return the results; `record_checks` saves them.

        `select` limits the check to the rules of these features, groups, sets, models or teams. Raises FeatureNotFoundError
        for an unknown name.
        """
        from featdsl.apply import check_rules

        state = self._open()
        state.open_tables(set(state.snapshot.tables))
        with state.reading():
            return check_rules.listing(check_rules.run(state.snapshot, state.session.cursor(), state.compiler, select))

    def record_checks(self, checked: Sequence[Checked], *, listen: Listener = ignore) -> None:
        """Save check results in the registry, without a new state of the store.

        Takes the writer's lock meanwhile. Raises StoreLockedError.
        """
        from featdsl.apply import check_rules

        results = check_rules.results(checked, self._environment, environments.now())
        timeout = self._project.lock_timeout
        with self._states.store.writing(lambda holder: listen(Waiting(holder, timeout)), self._environment) as writer:
            writer.checked(results)
            writer.keep_checks()

    def check_history(self, name: str | None = None) -> list[CheckResult]:
        """Return the saved check results, the newest first: all, or those of one feature, group, set or model.

        The results of a group, a set or a model include those of its features. Raises FeatureNotFoundError for an unknown name.
        """
        from featdsl.apply import check_rules
        from featdsl.discovery import listings

        results = self._states.store.checks(self._environment)
        if name is None:
            return listings.past_checks(results)
        # Addresses first: a removed definition has a history too.
        own = {each.address for each in results if each.address == name or each.address.startswith(f"{name}.")}
        wanted = own or check_rules.chosen(self._open().snapshot, [name])
        return listings.past_checks(each for each in results if each.address in wanted)

    def drift(
        self, names: Sequence[str] = (), *, lock: Mapping[str, Any] | None = None, against: int | None = None
    ) -> DriftReport:
        """Return how far the values of features have moved, by their statistics: no data is read.

        `names` are features, groups, set versions and models; without any, all features are compared. The newest run that measured
        a feature is compared with the one before; for a model, with the one it was trained on; with the training lock `lock`, with
        the one that it was trained on; with `against`, with the newest one up to this state. Raises FeatureNotFoundError for an
        unknown name, StoreError for a state that is not kept, LockFileError for the lock of another store.
        """
        from featdsl.discovery import drift
        from featdsl.query import lockfile

        inputs = self._drift_inputs()
        if lock is not None:
            return drift.of_lock(inputs, lockfile.read(json.dumps(lock), name="The lock"), "the lock", names)
        return drift.of_names(inputs, names, against)

    def _drift_inputs(self) -> DriftInputs:
        from featdsl.discovery.drift import DriftInputs, DriftLimits
        from featdsl.discovery.history import Past

        store, limits = self._states.store, self._project.settings.drift
        history = [each for each in store.history() if each.environment == self._environment]
        return DriftInputs(
            self._open().snapshot,
            Past(history, store.plan),
            partial(store.read, self._environment),
            store.statistics,
            DriftLimits(psi=limits.psi, nulls=limits.nulls, volume=limits.volume),
        )

    def unserved(self, lock: Mapping[str, Any]) -> tuple[Moved, ...]:
        """Return the features of a training lock that are served with another definition now, or not at all.

        Raises LockFileError for a lock that was edited or is of another store, FeatureNotFoundError if its set version is gone.
        """
        from featdsl.discovery import outdated
        from featdsl.discovery.history import Past
        from featdsl.query import lockfile

        history = [each for each in self._states.store.history() if each.environment == self._environment]
        kept = lockfile.read(json.dumps(lock), name="The lock")
        return outdated.unserved(self._open().snapshot, Past(history, self._states.store.plan), kept, "The lock")

    def _open(self) -> OpenState:
        return self._states.newest()
