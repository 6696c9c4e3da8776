"""Check the declarations of a project without a store and without data."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from featdsl import pipeline
from featdsl.catalog import bind, bind_sources, build, imports, loader, offline
from featdsl.catalog.bind_context import BindContext
from featdsl.catalog.equivalence import Applied
from featdsl.declarations.source import Source
from featdsl.definitions.catalog import Catalog
from featdsl.definitions.snapshot import Snapshot
from featdsl.engines import Compilers
from featdsl.engines.duckdb.compiler import COMPILER
from featdsl.engines.duckdb.session import open_session
from featdsl.errors import DeclarationError, Problem

if TYPE_CHECKING:
    from featdsl.project.settings import Project
    from featdsl.stores.export import Exported


@dataclass(frozen=True)
class Validation:
    """The mistakes in a project's declarations.

    `groups` and `features` count what was checked, if there are no mistakes; `unread` are the sources whose columns are not
    declared, so that the columns that features read of them were not checked. `catalog` has the project's definitions.
    """

    problems: tuple[Problem, ...]
    groups: int = 0
    features: int = 0
    unread: tuple[str, ...] = ()
    catalog: Catalog = field(default_factory=Catalog)


def validate(project: Project, exported: Exported | None = None) -> Validation:
    """Return every mistake in the declarations of a project that shows without its store and its data.

    An exported registry has the columns of unchanged sources, the definitions of other projects, and the features that sets keep.
    """
    try:
        with pipeline.uncollected():
            return _checked(project, exported)
    except DeclarationError as error:
        return Validation(tuple(problem.seen_from(project.root) for problem in error.problems))


def _checked(project: Project, exported: Exported | None) -> Validation:
    loaded = loader.load(project, offline.EveryName())
    applied = exported.snapshot if exported else Snapshot()
    pulled = offline.pulled(loaded.declarations)
    if exported:
        pulled = imports.known(loaded.declarations, imports.AppliedRegistry(applied), project.name)
    frames = {name: f"frame of {name}" for name in _frames(loaded.declarations)}
    known = Applied(applied.catalog, applied.versions)
    catalog = build.build(loaded, project, build.BuildContext(frames=frames, imports=pulled, applied=known))
    with closing(open_session(project)) as session:
        rows = {frames[name]: rows for name, rows in _frames(loaded.declarations).items()}
        context = BindContext(
            project,
            session,
            Compilers(COMPILER),
            frames=rows,
            exported=applied.catalog.sources if exported else None,
            offline=True,
        )
        bound = bind.bind(catalog, context, applied)
    own = bound.catalog.of_project(project.name)
    return Validation((), len(own.groups), len(own.features), tuple(sorted(_unread(own))), own)


def _frames(declarations: Sequence[Any]) -> dict[str, Any]:
    return {each.name: each.frame for each in declarations if isinstance(each, Source) and each.frame is not None}


def _unread(catalog: Catalog) -> set[str]:
    """Return the sources over files and databases that groups or queries read."""
    read = {str(group.source) for group in catalog.groups.values() if group.source}
    read |= {name for source in catalog.sources.values() for name in source.inputs}
    unread = {name for name in read if not catalog.sources[name].columns}
    return {name for name in unread if catalog.sources[name].format not in bind_sources.IN_CODE}
