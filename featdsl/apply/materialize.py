"""Build tables: at once, in batches of event time if there are very many rows, or from where an interrupted apply stopped."""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Sequence

from featdsl.apply import build_specs
from featdsl.apply.build_specs import BuildSpec
from featdsl.apply.run import SMALL, Progress, Run
from featdsl.definitions.stored_tables import Reading
from featdsl.engines.increments import Bounds
from featdsl.engines.session import EngineError
from featdsl.plan.document import BuildTable


def build(step: BuildTable, run: Run, progress: Progress) -> int:
    """Build a table, or continue one of an interrupted apply, and return its number of rows. Raises DataError."""
    with run.calling(step), run.reported(step):
        rows = _over_source(spec_of(step, run), run, progress) if step.source else _derived(step, run)
    run.results.built.add(step.table)
    return rows


def spec_of(step: BuildTable, run: Run) -> BuildSpec:
    """Return the build spec of a table over an open source."""
    return BuildSpec(build=step, sources=build_specs.with_inputs(step.source, run.sources.opened))


def start_small_tables(coming: deque[BuildTable], run: Run) -> None:
    """Start building the next tables in the background while they are small and there is room, and take them off the queue.

    The first table that reads a table still to be built ends that: the tables after it may read it.
    """
    small = min(SMALL, run.project.settings.engine.batch_rows)
    while run.writer.has_room and coming and _is_ready(coming[0], run):
        step = coming.popleft()
        if step.functions or step.table in run.results.built or run.is_external(step):
            continue
        try:
            with run.session.translated():
                rows = _expected_rows(step, run)
                if rows is not None and rows <= small:
                    check = run.identity_checks.get(step.table, "")
                    run.writer.begin(step.table, step.sql, step.reads, check)
        except EngineError:
            continue  # the table's own step reports it


def _is_ready(step: BuildTable, run: Run) -> bool:
    return all(table in run.results.built or table not in run.builds for table in step.reads)


def _expected_rows(step: BuildTable, run: Run) -> int | None:
    """Return the number of rows that a table is computed from; None if only reading them would tell."""
    if not step.source:
        return sum(run.writer.table(name).rows for name in step.reads)
    return run.sources.count_rows(run.sources.opened[step.source])


def _derived(step: BuildTable, run: Run) -> int:
    made_of = _made_of_tables(step, run)
    left = run.writer.resume(step.table, made_of)
    rows = left.rows if left else _built(step, run)
    run.results.made_of[step.table] = made_of
    run.writer.keep(step.table, "", Reading(""), made_of=made_of)
    return rows


def _built(step: BuildTable, run: Run) -> int:
    if not run.is_external(step):
        return run.writer.build(step.table, step.sql, step.columns, step.reads, step.keys)
    return run.taken_over(step, run.external.derived(step))


def _made_of_tables(step: BuildTable, run: Run) -> str:
    """Return a hash of a derived table's query and of the states of its inputs; empty if one is unknown."""
    known = run.writer.snapshot.tables
    states = []
    for table in step.reads:
        published = f"state {known[table].written[-1].serial}" if table in known and known[table].written else ""
        states.append(run.results.made_of.get(table, published))
    return _digest([step.sql, *states], run) if all(states) else ""


def _digest(parts: Sequence[str], run: Run) -> str:
    return hashlib.sha256(json.dumps([run.session.version, *parts]).encode()).hexdigest()[:32]


def _over_source(spec: BuildSpec, run: Run, progress: Progress) -> int:
    """Build a table over a source; each batch is kept before the next one starts."""
    step, writer = spec.build, run.writer
    listing = run.sources.listing(spec.sources)
    reading = run.sources.reading(listing)
    made_of = _digest([step.sql, reading.files], run) if listing.whole else ""
    kept = build_specs.to_json(spec)
    run.results.made_of[step.table] = made_of
    left = writer.resume(step.table, made_of)
    if left and left.upto is None:
        writer.keep(step.table, kept, reading, made_of=made_of)
        return left.rows
    if run.is_external(step):
        rows = run.taken_over(step, run.external.over_source(step, spec.table, spec.sources))
        writer.keep(step.table, kept, reading, made_of=made_of)
        return rows
    total, bounds = _batches(spec, run)
    done, start = (left.rows, left.upto) if left else (0, None)
    # The bounds may differ from those of the interrupted apply: they are estimates, and settings may have changed.
    later = [bound for bound in bounds if start is None or bound > start]
    for since, upto in zip([start, *later], [*later, None], strict=True):
        with run.session.increments.query(spec.table, Bounds(since, upto)) as sql:
            if since is None:
                done = writer.build(step.table, sql, step.columns, step.reads, step.keys)
            else:
                done += writer.extend(step.table, sql, since=since) or 0
        writer.keep(step.table, kept, reading, made_of=made_of, upto=upto)
        if later or since is not None:
            progress(done, max(total, done))
    return done


def _batches(spec: BuildSpec, run: Run) -> tuple[int, list[str]]:
    """Return the number of rows of a source, and the event times that split it into batches: none for few rows."""
    total = run.sources.count_rows(spec.source)
    if total is None or not spec.is_incremental:
        return 0, []
    batches = -(-total // run.project.settings.engine.batch_rows)
    return total, run.session.increments.split_times(spec.table, batches) if batches > 1 else []
