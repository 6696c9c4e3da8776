"""The whole way from files to a plan: load, build the catalogue, bind it, compare, plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from featdsl import binding, catalog, engine, frames, loader, planner
from featdsl.declaration import Declaration
from featdsl.definitions import Catalog
from featdsl.plan import Plan
from featdsl.project import Project
from featdsl.source import Source
from featdsl.stores import Store


@dataclass(frozen=True)
class Planned:
    """A plan, and the rows in memory that it builds from, by their hash."""

    plan: Plan
    rows: Mapping[str, Any]


def make_plan(project: Project, store: Store) -> Planned:
    """Return the plan that brings the store to what the project's features package declares."""
    loaded = loader.load(project)
    rows = _rows(project, loaded.declarations)
    hashes = {name: digest for name, (digest, _) in rows.items()}
    desired = catalog.build(
        loaded.declarations, project, problems=loaded.problems, frames=hashes, macro_files=loaded.macro_files
    )
    return plan_for(project, store, desired, dict(rows.values()))


def plan_for(project: Project, store: Store, desired: Catalog, rows: Mapping[str, Any]) -> Planned:
    """Return the plan that brings the store to a catalogue."""
    snapshot = store.read()
    connection = engine.connect(project)
    try:
        bound = binding.bind(desired, connection, root=project.root, frame_folder=store.frames, rows=rows)
    finally:
        connection.close()
    return Planned(planner.build(snapshot, bound, project.name, drift=store.drift(snapshot)), rows)


def _rows(project: Project, declarations: tuple[Declaration, ...]) -> dict[str, tuple[str, Any]]:
    """Return for each source in memory the hash of its rows, and the frame."""
    with_frames = [d for d in declarations if isinstance(d, Source) and d.valid and d.frame is not None]
    if not with_frames:
        return {}
    connection = engine.connect(project)
    try:
        return {each.name: (frames.fingerprint(connection, each.frame), each.frame) for each in with_frames}
    finally:
        connection.close()


def keep_rows(planned: Planned, project: Project, store: Store) -> None:
    """Keep the rows in memory that a plan builds from, so that another process can apply it."""
    if planned.rows:
        connection = engine.connect(project)
        try:
            frames.keep_all(connection, planned.rows, store.frames)
        finally:
            connection.close()
