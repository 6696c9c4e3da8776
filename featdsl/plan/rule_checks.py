"""Compile the checks of a plan: one `CheckRows` step for each declared rule, which selects the rows that break it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from featdsl.definitions.catalog import Catalog
from featdsl.definitions.kinds import FeatureDefinition
from featdsl.definitions.quality_rules import Distribution, Expectation, Freshness, Rule, Stability, Uniqueness, Volume
from featdsl.definitions.table_spec import TableSpec
from featdsl.engines import Baseline, Compiler
from featdsl.engines.lookups import Versions
from featdsl.plan.document import CheckRows

_FIXES = {
    Expectation: "Correct the data or the feature's SQL, or relax its expect=.",
    Distribution: "See what has changed in the data, or relax expect=Between(...).",
    Stability: "See what has changed in the data, or relax expect=Stable(...).",
    Uniqueness: "Correct the data, or relax unique=.",
    Freshness: "See why no newer rows come, or relax max_age=.",
    Volume: "See why rows are missing or too many, or relax rows=.",
}


def declared(catalog: Catalog, group: str) -> list[tuple[str, Rule]]:
    """Return the rules of a group and of its features, each with the address of the group or the feature."""
    stored = catalog.stored_members_of(group)
    of_features = [(each.address, rule) for each in stored for rule in (*each.expect, *each.whole)]
    return [*of_features, *((group, rule) for rule in catalog.groups[group].rules)]


def can_be_run(rule: Rule, baseline: Baseline) -> bool:
    """Return whether a rule can be checked: one that compares two sets of values needs both."""
    return not isinstance(rule, Stability) or bool(rule.reference or baseline.since or baseline.before)


@dataclass(frozen=True)
class RuleCompiler:
    """Compiles the checks of one catalog. `versions` holds every feature that its groups read."""

    compiler: Compiler
    catalog: Catalog
    versions: Versions

    def check(self, group: str, address: str, rule: Rule, baseline: Baseline) -> CheckRows:
        """Return the check of a rule of a group or of one of its features.

        A rule on single rows checks the rows since the time of the baseline, if it has one.
        """
        compiler, versions = self.compiler, self.versions
        features = self.catalog.stored_members_of(group)
        counted = _counted(features)
        match rule:
            case Expectation():
                named = (self.catalog.features[address].name, rule)
                sql = compiler.violations(features, versions, named, baseline.since)
            case Distribution():
                sql = compiler.outside(self.catalog.features[address], versions, rule)
            case Stability():
                sql = compiler.moved(self.catalog.features[address], versions, rule, baseline)
            case Uniqueness():
                sql = compiler.shared(features, versions, rule)
            case Freshness():
                sql = compiler.stale(counted, rule)
            case Volume():
                sql = compiler.miscounted(counted, rule)
            case _:
                assert_never(rule)
        reads = {counted.name} if isinstance(rule, Freshness | Volume) else {each.table for each in features}
        is_by_build = isinstance(rule, Stability) and not rule.reference and not baseline.since
        if baseline.before and is_by_build:
            reads.add(baseline.before.table)
        known = self.catalog.features.get(address) or self.catalog.groups[group]
        return CheckRows(
            address=address,
            kind=rule.kind,
            rule=rule.text,
            name=rule.name,
            severity=rule.severity,
            dialect=compiler.dialect,
            sql=sql,
            reads=tuple(sorted(reads)),
            fix=_FIXES[type(rule)],
            origin=known.origin,
        )


def _counted(features: list[FeatureDefinition]) -> TableSpec:
    """Return the table whose rows count as the group's: its values, else the events of its windows."""
    return TableSpec.of([min(features, key=lambda each: (each.window is not None, each.table))])
