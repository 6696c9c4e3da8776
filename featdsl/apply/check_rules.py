"""Check the stored rows against every declared rule: the check command."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from featdsl.apply.checks import broken_rows
from featdsl.definitions.history import CheckResult
from featdsl.definitions.kinds import Definition, FeatureDefinition, GroupDefinition, ModelDefinition, SetDefinition
from featdsl.definitions.quality_rules import Kind, Severity, rule_text
from featdsl.definitions.sheets import Cell, Code, ShownList, listed, verdict
from featdsl.definitions.snapshot import Snapshot
from featdsl.engines import Baseline, Compiler
from featdsl.errors import FeatureNotFoundError, Problem
from featdsl.plan import rule_checks
from featdsl.plan.document import CheckRows
from featdsl.query.parity import EXAMPLES
from featdsl.query.selection import find
from featdsl.stores.provenance import user

if TYPE_CHECKING:
    from featdsl.engines.session import Session


@dataclass(frozen=True, kw_only=True)
class Checked:
    """The result of a rule in one state: `broken` of the stored `rows`, with some of the broken rows as `examples`."""

    address: str
    owner: str
    kind: Kind
    rule: str
    name: str
    severity: Severity
    broken: int
    rows: int
    serial: int
    examples: tuple[Mapping[str, Any], ...]

    @property
    def rule_text(self) -> str:
        """The rule with its name, and with a note if it only warns."""
        return rule_text(self.rule, self.name, self.severity)


def listing(checked: Iterable[Checked]) -> ShownList[Checked]:
    """Return check results as a list that a notebook shows with their verdicts."""
    return ShownList(checked, _cells)


def _cells(each: Checked) -> dict[str, Cell]:
    outcome: Literal["ok", "warning", "failed"]
    outcome = "ok" if not each.broken else "failed" if each.severity == "error" else "warning"
    example = listed(f"{name} = {value}" for name, value in each.examples[0].items()) if each.examples else ""
    return {
        "verdict": verdict(outcome), "name": Code(each.address), "owner": each.owner, "rule": Code(each.rule_text),
        "broken": each.broken or None, "rows": each.rows, "first example": example,
    }  # fmt: skip


def run(snapshot: Snapshot, session: Session, compiler: Compiler, names: Sequence[str] = ()) -> Iterator[Checked]:
    """Yield the check of each rule of each current feature and group, run on the stored rows, in order of group.

    `names` limits the checks to these features, groups and teams, and to the features that these sets and models use. Raises
    FeatureNotFoundError for an unknown name.
    """
    catalog = snapshot.catalog
    selected = chosen(snapshot, names) if names else {*catalog.groups, *catalog.features}
    rules = rule_checks.RuleCompiler(compiler, catalog, snapshot.versions)
    for group in sorted(catalog.groups):
        for address, rule in rule_checks.declared(catalog, group):
            if address in selected and rule_checks.can_be_run(rule, Baseline()):
                step = rules.check(group, address, rule, Baseline())
                yield _checked(snapshot, session, step, catalog.groups[group].owner)


def chosen(snapshot: Snapshot, names: Sequence[str]) -> set[str]:
    """Return the features and groups of these names; a group, a set and a model include their features."""
    catalog, addresses = snapshot.catalog, set[str]()
    for name in names:
        owned = [each.name for each in catalog.groups.values() if each.owner == name]
        pending: list[Definition] = [catalog.groups[each] for each in owned] if owned else [find(snapshot, name)]
        while pending:
            match definition := pending.pop():
                case FeatureDefinition():
                    addresses.add(definition.address)
                case GroupDefinition():
                    addresses |= {definition.name, *(member.feature for member in definition.members)}
                case SetDefinition():
                    groups = {member.feature.partition(".")[0] for member in definition.members}
                    addresses |= {*groups, *(member.feature for member in definition.members)}
                case ModelDefinition():
                    pending.append(catalog.sets[definition.features])
                case _:
                    what = f"{name} is of the kind {definition.kind}, which has no checks of its own."
                    fix = "Name a feature, a group, a set, a model or a team."
                    raise FeatureNotFoundError(Problem("Nothing to check", what, fix=fix))
    return addresses


def _checked(snapshot: Snapshot, session: Session, step: CheckRows, owner: str) -> Checked:
    assert step.kind != "identity"  # noqa: S101 - nobody declares it
    broken, examples = broken_rows(step, session, most=EXAMPLES)
    return Checked(
        address=step.address,
        owner=owner,
        kind=step.kind,
        rule=step.rule,
        name=step.name,
        severity=step.severity,
        broken=broken,
        rows=max(snapshot.tables[table].rows for table in step.reads),
        serial=snapshot.newest,
        examples=tuple(examples),
    )


def results(checked: Sequence[Checked], environment: str, now: datetime) -> list[CheckResult]:
    """Return check results as the registry keeps them: without examples, so that no value leaves its table."""
    return [
        CheckResult(
            environment=environment,
            address=each.address,
            kind=each.kind,
            rule=each.rule,
            name=each.name,
            severity=each.severity,
            broken=each.broken,
            rows=each.rows,
            checked_at=now.isoformat(timespec="milliseconds"),
            serial=each.serial,
            by=user(),
            during="check",
        )
        for each in checked
    ]
