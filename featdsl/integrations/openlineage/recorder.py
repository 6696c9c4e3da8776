"""Turn the events of an apply or a refresh into run events of OpenLineage.

A table's job completes when the run has published: before, no reader sees what it wrote.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from featdsl.apply.events import Event, Refreshed, RuleChecked, StepFinished, StepStarted, Summary
from featdsl.integrations.openlineage import facets
from featdsl.integrations.openlineage.jobs import Job, TableJobs, WrittenRows
from featdsl.integrations.openlineage.parents import RunReference, starting_run

State = Literal["START", "COMPLETE", "ABORT", "FAIL"]
Send = Callable[[dict[str, Any]], None]


@dataclass
class _TableRun:
    """The run of one table's job: what is known of it so far."""

    run_id: str
    rows: int = 0
    size: int | None = None
    ended_at: str = ""
    is_left: bool = False
    checks: list[RuleChecked] = field(default_factory=list)


class RunRecorder:
    """Sends the events of one run, its tables and their checks. Its `listen` takes the events of featdsl."""

    def __init__(self, command: Job, tables: TableJobs, send: Send) -> None:
        self._command, self._tables, self._send = command, tables, send
        self._run = RunReference(command.namespace, command.name, _new_id())
        self._started_by = starting_run()
        self._runs: dict[str, _TableRun] = {}
        self._under_way = ""
        self._is_over = False

    def start(self) -> None:
        """Send that the command has started."""
        self._of_command("START")

    def listen(self, event: Event) -> None:
        """Take an event of the run."""
        match event:
            case StepStarted(table=str(table)):
                self._under_way = table
                self._runs[table] = _TableRun(_new_id())
                self._of_table("START", table, _now())
            case StepFinished(table=str(table)):
                run = self._runs[table]
                run.rows, run.size, run.ended_at = event.rows or 0, event.bytes, _now()
                self._under_way = ""
            case Refreshed():
                self._runs[event.table].is_left = event.how == "not refreshed"
            case RuleChecked():
                self._take_check(event)
            case Summary():
                self._complete(event.serial)
            case _:
                pass

    def fail(self, message: str) -> None:
        """Send that the run has failed: the table under way with it, while finished tables stay unpublished."""
        self._end("FAIL", {"errorMessage": facets.error(message)})

    def abort(self) -> None:
        """Send that the run was stopped."""
        self._end("ABORT", {})

    def _end(self, state: State, why: Mapping[str, Any]) -> None:
        if self._is_over:
            return
        self._is_over = True
        broken = {name for name, run in self._runs.items() if _has_error(run)}
        for table, run in self._runs.items():
            failed = table in broken or table == self._under_way
            self._of_table(
                state if failed else "ABORT", table, run.ended_at or _now(), run_facets=why if failed else {}
            )
            self._of_checks(table, run)
        self._of_command(state, why)

    def _complete(self, serial: int) -> None:
        self._is_over = True
        for table, run in self._runs.items():
            written = None if run.is_left else WrittenRows(serial, run.rows, run.size)
            self._of_table("ABORT" if run.is_left else "COMPLETE", table, run.ended_at, written=written)
            self._of_checks(table, run)
        self._of_command("COMPLETE")

    def _take_check(self, event: RuleChecked) -> None:
        for table in self._tables.tables_of(event.address):
            if table in self._runs:
                self._runs[table].checks.append(event)

    def _of_command(self, state: State, why: Mapping[str, Any] | None = None) -> None:
        above = {"parent": facets.parent(self._started_by, self._started_by)} if self._started_by else {}
        run_facets = {**above, "processing_engine": facets.engine(), **(why or {})}
        self._event(state, self._command, self._run.run_id, _now(), run_facets=run_facets)

    def _of_table(
        self,
        state: State,
        table: str,
        at: str,
        *,
        written: WrittenRows | None = None,
        run_facets: Mapping[str, Any] | None = None,
    ) -> None:
        datasets = {"inputs": self._tables.inputs(table), "outputs": self._tables.outputs(table, written)}
        own = {**self._part(), **(run_facets or {})}
        self._event(state, self._tables.job(table), self._runs[table].run_id, at, run_facets=own, **datasets)

    def _of_checks(self, table: str, run: _TableRun) -> None:
        if not run.checks:
            return
        job, run_id, at = self._tables.checks(table), _new_id(), _now()
        self._event("START", job, run_id, at, run_facets=self._part())
        state: State = "FAIL" if _has_error(run) else "COMPLETE"
        results = self._tables.checked(table, run.checks)
        self._event(state, job, run_id, at, run_facets=self._part(), inputs=results)

    def _part(self) -> dict[str, Any]:
        parent = facets.parent(self._run, self._started_by or self._run)
        return {"parent": parent, "processing_engine": facets.engine()}

    def _event(
        self,
        state: State,
        job: Job,
        run_id: str,
        at: str,
        *,
        run_facets: Mapping[str, Any],
        **datasets: list[dict[str, Any]],
    ) -> None:
        self._send(
            {
                "eventType": state,
                "eventTime": at,
                "run": {"runId": run_id, "facets": dict(run_facets)},
                "job": job.to_dict(),
                "inputs": datasets.get("inputs", []),
                "outputs": datasets.get("outputs", []),
                "producer": facets.PRODUCER,
                "schemaURL": facets.EVENT_SCHEMA,
            }
        )


def _has_error(run: _TableRun) -> bool:
    return any(each.broken and each.severity == "error" for each in run.checks)


def _new_id() -> str:
    return str(uuid.uuid4())


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
