"""Gather from a store and a project what documents about them are made from."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache

from featdsl.definitions.durations import seconds
from featdsl.definitions.snapshot import Snapshot
from featdsl.discovery import outdated
from featdsl.discovery.catalogue import CatalogueInputs
from featdsl.discovery.history import Past
from featdsl.discovery.usage import Importing
from featdsl.project.settings import Project
from featdsl.stores import Store


def catalogue_inputs(project: Project, store: Store, snapshot: Snapshot) -> CatalogueInputs:
    """Return what the catalogue of a state is made from. Raises StoreError."""
    environment = snapshot.environment
    past = Past([each for each in store.history() if each.environment == environment], store.plan)
    settings = project.settings
    accounts = {team: ", ".join(listed) for team, listed in settings.codeowners.items()}
    return CatalogueInputs(
        snapshot=snapshot,
        past=past,
        importing=Importing(project.name, project.root, project.features),
        now=datetime.now(UTC),
        drift=store.drift(snapshot),
        checks=store.checks(environment),
        statistics=store.statistics(snapshot.tables),
        readings=store.readings(snapshot.tables),
        outdated=tuple(
            outdated.models(snapshot, past, cache(lambda serial: outdated.state(store, environment, serial)))
        ),
        contacts={**accounts, **settings.catalogue.contacts},
        stale_after=timedelta(seconds=seconds(settings.catalogue.stale_after)),
    )
