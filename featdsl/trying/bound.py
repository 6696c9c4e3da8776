"""Bind the declarations of a trial to their sources."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from featdsl import pipeline
from featdsl.catalog import bind, build, imports
from featdsl.catalog.bind_context import BindContext
from featdsl.catalog.equivalence import Applied
from featdsl.declarations.feature_group import GroupDeclaration
from featdsl.declarations.source import Source
from featdsl.definitions import graph
from featdsl.definitions.catalog import Catalog
from featdsl.definitions.history import HistoryEntry
from featdsl.definitions.kinds import FeatureDefinition, revised
from featdsl.definitions.snapshot import Snapshot
from featdsl.definitions.udfs import Functions
from featdsl.engines import Compilers
from featdsl.engines.duckdb.compiler import COMPILER
from featdsl.engines.duckdb.session import open_session
from featdsl.errors import Problem, RequestError
from featdsl.query.selection import Selection, select

if TYPE_CHECKING:
    from collections.abc import Callable

    from featdsl.catalog.loader import Loaded
    from featdsl.engines.session import Session
    from featdsl.project.settings import Project
    from featdsl.query.selection import Selectable


def _no_history() -> Sequence[HistoryEntry]:
    return ()


@dataclass(frozen=True)
class Start:
    """What a trial starts from: a project, the applied state if there is one, and the history of its store."""

    project: Project
    applied: Snapshot = field(default_factory=Snapshot)
    history: Callable[[], Sequence[HistoryEntry]] = _no_history


@dataclass(frozen=True)
class Trial:
    """Declared features that can be computed.

    `snapshot` is the state as it would be, whose tables are those that the store has; `catalog` has the definitions that the
    selected features need, bound to their sources. `frames` are the rows in memory by hash, `functions` the Python functions
    by fingerprint.
    """

    project: Project
    selection: Selection
    snapshot: Snapshot
    catalog: Catalog
    frames: Mapping[str, Any]
    functions: Functions


def made(start: Start, loaded: Loaded, resolved: str | Sequence[Selectable]) -> Trial:
    """Return the trial of resolved names; `loaded` are the declarations that they need. Raises DeclarationError."""
    with closing(open_session(start.project)) as session:
        rows = _frame_rows(loaded, session)
        built = _built(start, loaded, {name: digest for name, (digest, _) in rows.items()})
        selection = select(_state(start.applied, built), resolved)
        needed = reduced(built, selection)
        frames = dict(rows.values())
        bound = bind.bind(
            needed, BindContext(start.project, session, Compilers(COMPILER), frames=frames), start.applied
        ).catalog
    state = _state(start.applied, built.updated(bound))
    selection = replace(selection, wants=tuple(replace(w, feature=_newest(state, w.feature)) for w in selection.wants))
    groups = [each for each in loaded.declarations if isinstance(each, GroupDeclaration) and each.valid]
    features = [feature for group in groups for feature in group.features.values()]
    functions = pipeline.declared_functions([*loaded.declarations, *features])
    return Trial(start.project, selection, state, bound, frames, functions)


def _newest(state: Snapshot, feature: FeatureDefinition) -> FeatureDefinition:
    return state.versions[feature.address, feature.fingerprint]


def _frame_rows(loaded: Loaded, session: Session) -> dict[str, tuple[str, Any]]:
    """Return the hash and the rows of each dataframe source, by source."""
    sources = [each for each in loaded.declarations if isinstance(each, Source) and each.valid]
    return {each.name: (session.frame_digest(each.frame), each.frame) for each in sources if each.frame is not None}


def _built(start: Start, loaded: Loaded, frames: Mapping[str, str]) -> Catalog:
    applied, project = start.applied, start.project
    pulled = imports.known(loaded.declarations, imports.AppliedRegistry(applied, start.history), project.name)
    known = Applied(applied.catalog, applied.versions)
    return build.build(loaded, project, build.BuildContext(frames=frames, imports=pulled, applied=known))


def _state(applied: Snapshot, declared: Catalog) -> Snapshot:
    """Return the applied state with the declared definitions in place of those of the same name."""
    versions = {(each.address, each.fingerprint): each for each in declared.features.values()}
    return replace(applied, catalog=applied.catalog.updated(declared), versions={**applied.versions, **versions})


def reduced(catalog: Catalog, selection: Selection) -> Catalog:
    """Return the definitions that selected features need, with groups that have only these features, and no rules.

    Raises RequestError for a feature that the code no longer declares.
    """
    needed: dict[str, FeatureDefinition] = {}
    pending = [want.feature.address for want in selection.wants]
    while pending:
        address = pending.pop()
        if address not in needed:
            needed[address] = feature = _declared(catalog, address)
            pending += [name for name, _ in feature.upstream]
    groups = {}
    for name, group in catalog.groups.items():
        if members := tuple(each for each in group.members if each.feature in needed):
            groups[name] = revised(group, members=members, rules=())
    names = {group.entity for group in groups.values()}
    sources = graph.with_inputs(catalog, [str(each.source) for each in groups.values() if each.source])
    return Catalog(
        entities={name: each for name, each in catalog.entities.items() if name in names},
        sources={each.name: each for each in sources},
        groups=groups,
        features={name: revised(each, expect=(), whole=()) for name, each in needed.items()},
    )


def _declared(catalog: Catalog, address: str) -> FeatureDefinition:
    if address not in catalog.features:
        what = f"{address} is applied, but the code no longer declares it, so there is nothing to try."
        raise RequestError(Problem("Feature is not declared", what, fix="List the features to try without it."))
    return catalog.features[address]
