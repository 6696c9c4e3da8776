"""Preview the values of a plan: compute the old and the new definitions over the same data, in a scratch session.

The preview runs the SQL that apply would run, for the sampled entities only. Tables that are looked up by other keys, such as
the value of a feature, are computed whole. An old definition that can no longer be computed is read from the stored table.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from featdsl.definitions.kinds import Definition, FeatureDefinition, address
from featdsl.definitions.snapshot import Snapshot, assemble
from featdsl.definitions.value_shifts import Compared
from featdsl.engines.comparisons import RowSelection
from featdsl.plan import comparison
from featdsl.plan.comparison import SAMPLE, TablePair, sample_table
from featdsl.plan.document import Forget, Plan, Record
from featdsl.plan.preview_needs import needs_of
from featdsl.plan.preview_session import (
    NotAvailableError,
    OpenedSide,
    PreviewInputs,
    Scratch,
    as_not_available,
    open_side,
)

if TYPE_CHECKING:
    from featdsl.engines.session import Session


def preview(
    plan: Plan, snapshot: Snapshot, inputs: PreviewInputs, session: Session, *, sample: int | None = SAMPLE
) -> tuple[Compared, ...]:
    """Return how the values of each changed feature shift. Nothing is written to the store.

    `snapshot` is the state that the plan was made for, `session` a new one. `sample` is the number of entities to compare of
    each group; None compares all.
    """
    after = outcome(plan, snapshot)
    addresses = [each.change.address for each in plan.changes if each.change.kind == "feature"]
    table_pairs, results = comparison.changed(snapshot.catalog, after.catalog, addresses)
    if table_pairs:
        results += _compared(_scratch(inputs, session, table_pairs, (snapshot, after), sample), table_pairs)
    return comparison.in_order(results)


def outcome(plan: Plan, snapshot: Snapshot) -> Snapshot:
    """Return the state after a plan, with the tables from before."""
    definitions: dict[tuple[str, str, str], Definition] = {
        _key(each): each for each in [*snapshot.catalog, *snapshot.versions.values()]
    }
    for step in plan.steps:
        if isinstance(step, Record):
            definitions[_key(step.definition)] = step.definition
        elif isinstance(step, Forget):
            definitions.pop((step.kind, step.address, step.fingerprint), None)
    return assemble(snapshot.head, definitions.values(), snapshot.tables.values(), snapshot.views)


def _key(definition: Definition) -> tuple[str, str, str]:
    fingerprint = definition.fingerprint if isinstance(definition, FeatureDefinition) else ""
    return definition.kind, address(definition), fingerprint


def _scratch(
    inputs: PreviewInputs,
    session: Session,
    table_pairs: Sequence[TablePair],
    states: tuple[Snapshot, Snapshot],
    sample: int | None,
) -> Scratch:
    """Return a scratch session with the sources open that the table pairs need."""
    before, after = states
    versions = {**before.versions, **after.versions}
    needs = needs_of(table_pairs, before.catalog, after.catalog, versions)
    sides = {name: OpenedSide(name, state.catalog, {}) for name, state in (("before", before), ("after", after))}
    scratch = Scratch(inputs, session, before, sides, versions, needs, sample)
    sources: dict[str, dict[str, None]] = {"before": {}, "after": {}}
    for need in needs.values():
        with suppress(NotAvailableError):
            if not need.first.computed:
                read = scratch.source_of(need)
                sources[read.side][read.source.name] = None
    opened = {name: open_side(inputs, session, name, side.catalog, sources[name]) for name, side in sides.items()}
    return replace(scratch, sides=opened)


def _compared(scratch: Scratch, table_pairs: Sequence[TablePair]) -> Iterator[Compared]:
    """Yield the result of each feature."""
    entities: dict[int, int] = {}
    whys: dict[int, str] = {}
    for number, table_pair in enumerate(table_pairs):
        try:
            entities[number] = scratch.draw(number, table_pair)
        except NotAvailableError as error:
            whys[number] = str(error)
    stored, failed = _compute_tables(scratch)
    for number, table_pair in enumerate(table_pairs):
        why = whys.get(number) or next((failed[t] for t in failed if _is_read(scratch, t, number)), "")
        if why:
            yield from table_pair.not_compared(why)
            continue
        try:
            with as_not_available(f"group {table_pair.new.group}"):
                selection = _selection(scratch, number, table_pair, entities[number], stored)
                shifts = scratch.session.comparisons.shifts(table_pair.pairs, scratch.versions, selection)
                yield from list(shifts)
        except NotAvailableError as error:
            yield from table_pair.not_compared(str(error))


def _is_read(scratch: Scratch, table: str, number: int) -> bool:
    return any(user == number for user, _ in scratch.needs[table].users)


def _compute_tables(scratch: Scratch) -> tuple[dict[str, str], dict[str, str]]:
    """Compute every needed table.

    Return, each with the reason, the tables that are read as stored instead, and the tables that are not available at all.
    """
    stored: dict[str, str] = {}
    failed: dict[str, str] = {}
    for table, need in scratch.needs.items():
        try:
            scratch.compute(need)
        except NotAvailableError as error:
            try:
                scratch.open_stored(table)
                stored[table] = str(error)
            except NotAvailableError:
                failed[table] = str(error)
    return stored, failed


def _selection(
    scratch: Scratch, number: int, table_pair: TablePair, entities: int, stored: Mapping[str, str]
) -> RowSelection:
    """Return the rows to compare: if the old values are read as stored, only the rows of the stored table."""
    users = {table: {side for user, side in scratch.needs[table].users if user == number} for table in stored}
    old = [why for table, why in stored.items() if users[table] == {"before"}]
    both = [why for table, why in stored.items() if "after" in users[table]]
    notes = [f"before is as stored: {old[0]}"] if old else []
    notes += [f"partly as stored: {both[0]}"] if both else []
    return RowSelection(
        sample=sample_table(number) if table_pair.keys and scratch.sample is not None else "",
        entities=entities,
        rows_of=table_pair.old if old else None,
        note="; ".join(notes),
    )
