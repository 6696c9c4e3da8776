"""Run the checks of a plan, and record their results."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from featdsl.apply.events import Listener, RuleChecked, Warned
from featdsl.apply.run import Run
from featdsl.definitions.history import CheckResult
from featdsl.definitions.quality_rules import broken_rule, example_lines
from featdsl.engines.session import EngineError
from featdsl.errors import DataError, Problem
from featdsl.plan.document import CheckRows
from featdsl.stores.provenance import user

if TYPE_CHECKING:
    from featdsl.engines.session import Session

_SHOWN_ROWS = 5


def check(step: CheckRows, run: Run, listen: Listener) -> None:
    """Run a check, and report a declared rule that warns; save results before an error ends the run. Raises DataError."""
    broken, rows = _broken(step, run)
    if step.kind != "identity":
        checked = _result(step, run, broken)
        run.results.checks.append(checked)
        listen(_event(checked))
    if not broken:
        return
    if step.severity == "warn":
        checked = run.results.checks[-1]
        listen(Warned(step.address, step.kind, step.rule, step.name, broken, checked.rows, tuple(rows)))
        return
    _save_results(run)
    what = "\n".join([broken_rule(step.address, step.kind, step.rule_text, broken), *example_lines(rows, broken)])
    raise DataError(Problem("Check failed", what, step.origin, f"Nothing was published. {step.fix}"))


def _event(result: CheckResult) -> RuleChecked:
    return RuleChecked(
        address=result.address,
        kind=result.kind,
        rule=result.rule,
        name=result.name,
        severity=result.severity,
        broken=result.broken,
        rows=result.rows,
    )


def _broken(step: CheckRows, run: Run) -> tuple[int, list[dict[str, Any]]]:
    if run.writer.holds(step.sql):
        return 0, []
    run.writer.open(step.reads)
    return broken_rows(step, run.session, most=_SHOWN_ROWS)


def broken_rows(step: CheckRows, session: Session, *, most: int) -> tuple[int, list[dict[str, Any]]]:
    """Return the number of rows that break the rule of a check, and up to `most` of them by column.

    Raises DataError if the rule cannot be computed for the data.
    """
    try:
        return session.first_rows(step.sql, most)
    except EngineError as error:
        what = f"{step.address}, the rule {step.rule_text}: {error.first_lines}"
        raise DataError(Problem("Check cannot be computed", what, step.origin, step.fix)) from None


def _save_results(run: Run) -> None:
    """Save check results although nothing is published; if saving fails, the failed check is still reported."""
    unpublished = run.writer.snapshot.newest
    run.writer.checked([replace(each, serial=unpublished) for each in run.results.checks])
    with contextlib.suppress(OSError, EngineError), run.session.translated():
        run.writer.keep_checks()


def _result(step: CheckRows, run: Run, broken: int) -> CheckResult:
    """Return the result of a declared rule's check, with the number of rows of the largest table that it reads."""
    assert step.kind != "identity"  # noqa: S101 - nobody declares it
    return CheckResult(
        environment=run.environment,
        address=step.address,
        kind=step.kind,
        rule=step.rule,
        name=step.name,
        severity=step.severity,
        broken=broken,
        rows=max(run.writer.table(name).rows for name in step.reads),
        checked_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
        serial=run.writer.serial,
        by=user(),
        during=run.during,
    )
