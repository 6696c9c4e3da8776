"""The planner names no engine: with another compiler it makes the same plan, in another dialect."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from featdsl.definitions.catalog import Catalog
from featdsl.definitions.kinds import FeatureDefinition, GroupDefinition, Member
from featdsl.definitions.snapshot import Snapshot
from featdsl.definitions.sources import Column, SourceDefinition
from featdsl.engines import NO_TABLES, CompiledTable, Compiler, Compilers, StoredColumns
from featdsl.engines.duckdb.compiler import COMPILER
from featdsl.engines.lookups import Versions
from featdsl.errors import DeclarationError, Problem
from featdsl.pipeline import make_plan
from featdsl.plan import planner
from featdsl.plan.document import BuildTable, CheckRows, Plan, PutView, Record, Step
from featdsl.project import settings
from featdsl.stores import open_store
from tests.conftest import Workspace


class WordCompiler:
    """Writes a word for each query, and refuses windows."""

    dialect = "words"

    def base_table(
        self, group: GroupDefinition, features: Sequence[FeatureDefinition], source: SourceDefinition
    ) -> CompiledTable:
        """Name the group and its source."""
        columns = tuple(Column(name=each.name, dtype=each.dtype) for each in (*features[0].keys, *features))
        return CompiledTable(f"values of {group.name} from {source.name}", columns)

    def events_table(
        self, group: GroupDefinition, features: Sequence[FeatureDefinition], source: SourceDefinition
    ) -> CompiledTable:
        """Refuse windows. Raises DeclarationError."""
        del features, source
        raise DeclarationError([Problem("Window is not supported", f"{group.name} has windows.", group.origin)])

    def derived_table(
        self,
        features: Sequence[FeatureDefinition],
        versions: Versions,
        since: str | None = None,
        tables: StoredColumns = NO_TABLES,
    ) -> CompiledTable:
        """Name the group."""
        del versions, since, tables
        columns = tuple(Column(name=each.name, dtype=each.dtype) for each in features)
        return CompiledTable(f"values derived in {features[0].group}", columns)

    def group_view(self, features: Sequence[FeatureDefinition], versions: Versions) -> str:
        """Name the group."""
        del versions
        return f"view of {features[0].group}"

    def latest_view(self, features: Sequence[FeatureDefinition], versions: Versions) -> str:
        """Name the group."""
        del versions
        return f"latest of {features[0].group}"

    def set_view(self, members: Iterable[Member], versions: Versions) -> str:
        """Name the members."""
        del versions
        return f"set of {', '.join(each.feature for each in members)}"

    def duplicates(self, features: Sequence[FeatureDefinition], *, is_base: bool, since: str | None = None) -> str:
        """Name the group."""
        del is_base, since
        return f"duplicates in {features[0].group}"

    def _rule(self, features: Any, versions: Versions, *rest: Any) -> str:
        del versions, rest
        return f"a rule on {features}"

    violations = outside = moved = shared = _rule

    def stale(self, feature: FeatureDefinition, rule: Any) -> str:
        """Name the table."""
        del rule
        return f"age of {feature.table}"

    miscounted = stale


def without_sql(step: Step) -> Step:
    """Return a step without the text of its query and the columns that a compiler chooses."""
    match step:
        case BuildTable():
            return replace(step, sql="", dialect="", columns=())
        case CheckRows() | PutView():
            return replace(step, sql="", dialect="")
        case _:
            return step


@pytest.fixture
def plan_by(bank: Workspace) -> Any:
    """Return what plans the first apply of the small project with a compiler."""
    project = settings.load(bank.root)
    target = planned_catalog(make_plan(project, open_store(project)).plan)

    def planned(compiler: Compiler) -> Plan:
        return planner.build(planner.State(Snapshot()), target, planner.PlanRequest("bank"), Compilers(compiler))

    return planned


def planned_catalog(plan: Plan) -> Catalog:
    """Return the catalog that a first plan records."""
    return Catalog.of(step.definition for step in plan.steps if isinstance(step, Record))


def test_another_compiler_makes_the_same_plan(plan_by: Any) -> None:
    """Steps, changes and approvals are the same; each query is the compiler's own, in its dialect."""
    ours, theirs = plan_by(COMPILER), plan_by(WordCompiler())
    assert [*map(without_sql, theirs.steps)] == [*map(without_sql, ours.steps)]
    assert replace(theirs, steps=()) == replace(ours, steps=())
    written = {step.sql: step.dialect for step in theirs.steps if isinstance(step, BuildTable | PutView | CheckRows)}
    assert set(written.values()) == {"words"}
    assert "values of user_profile from accounts" in written
    assert "set of user_profile.age, user_profile.income" in written


def test_a_compiler_may_refuse(plan_by: Any) -> None:
    """A query that it cannot write fails the plan with the compiler's problem."""

    class Refusing(WordCompiler):
        base_table = WordCompiler.events_table

    with pytest.raises(DeclarationError, match="Window is not supported"):
        plan_by(Refusing())
