"""Verify a saved plan, which anybody may have edited, by planning its recorded definitions again.

The steps must be the steps that the planner writes for these definitions. Blocks and approvals are derived from the registry,
not read from the file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

from featdsl.definitions.catalog import Catalog
from featdsl.definitions.dialects import STORE
from featdsl.definitions.kinds import Definition, FeatureDefinition, address, revised
from featdsl.definitions.snapshot import PROD, Drift, Snapshot
from featdsl.definitions.sources import SourceDefinition
from featdsl.definitions.windows import Aggregate
from featdsl.engines import Compilers
from featdsl.errors import FeatdslError, Origin, PlanFileError, Problem, SqlProblem
from featdsl.plan import planner
from featdsl.plan.document import BuildTable, CheckRows, Forget, KeepEnvironment, Plan, PutView, Record, Step
from featdsl.project import invocation
from featdsl.sql import expressions, parser, syntax_tree, variants
from featdsl.sql.cache import AnalysisCache

_NOWHERE = Origin("", 0)


def derived(plan: Plan, snapshot: Snapshot, compilers: Compilers, earlier: Snapshot | None = None) -> Plan:
    """Return the plan with the changes, blocks and approvals that the planner derives from the registry.

    `earlier` is the state that a rollback restores. Raises PlanFileError if the planner writes other steps, or if a recorded
    definition could not have been declared.
    """
    try:
        applied = {each.fingerprint: each for each in snapshot.versions.values() if each.project == plan.project}
        for step in plan.steps:
            if isinstance(step, Record):
                _refuse_forged(step.definition, applied)
            elif isinstance(step, BuildTable | CheckRows | PutView):
                _refuse_statements(step)
        target = earlier.catalog.of_project(plan.project) if earlier else _target(plan, snapshot)
        drift = _rebuilt(plan, snapshot)
        state = planner.State(snapshot, drift, earlier)
        again = planner.build(state, target, planner.PlanRequest(plan.project), compilers)
    except PlanFileError:
        raise
    except (FeatdslError, SqlProblem, LookupError) as error:
        text = error.problems[0].what if isinstance(error, FeatdslError) else str(error)
        raise _changed(f"it records a definition that could not have been declared: {text}") from None
    kept = tuple(step for step in plan.steps if isinstance(step, KeepEnvironment))
    if len(kept) > (plan.environment != PROD):
        raise _changed("it would change when its environment expires")
    if list(map(act, again.steps)) != [act(step) for step in plan.steps if step not in kept]:
        raise _changed("its steps are not the steps that its definitions need")
    return replace(plan, changes=again.changes, policy=again.policy, blocks=again.blocks, approvals=again.approvals)


def _target(plan: Plan, snapshot: Snapshot) -> Catalog:
    """Return the project's definitions after the plan: the applied ones without the forgotten, and the recorded ones."""
    versions = dict(snapshot.versions)
    own = snapshot.catalog.of_project(plan.project).by_key
    others = {key: each for key, each in own.items() if key[0] != "feature"}
    for step in plan.steps:
        match step:
            case Record(definition=FeatureDefinition() as found):
                versions[found.address, found.fingerprint] = found
            case Record(definition=found):
                others[found.kind, address(found)] = found
            case Forget(kind=kind) if kind != "feature":
                others.pop((kind, step.address), None)
            case _:
                pass
    known = Catalog.of(others.values())
    members = [member for group in known.groups.values() for member in group.members]
    features = [versions[each.feature, each.fingerprint] for each in members]
    return Catalog.of([*others.values(), *features])


def _rebuilt(plan: Plan, snapshot: Snapshot) -> Drift:
    """Return the tables and views that the store had lost when the plan was made: the plan makes them again."""
    tables = {step.table for step in plan.steps if isinstance(step, BuildTable)}
    views = {
        step.name for step in plan.steps if isinstance(step, PutView) and snapshot.views.get(step.name) == step.sql
    }
    return Drift(frozenset(tables & snapshot.tables.keys()), frozenset(views))


def act(step: Step) -> Step:
    """Return a step without its descriptions: origins, reason and estimate."""
    match step:
        case BuildTable():
            uses = tuple(replace(use, origin=_NOWHERE) for use in step.functions)
            return replace(step, estimate=None, reason="", origin=_NOWHERE, functions=uses)
        case Record():
            return replace(step, definition=revised(step.definition, origin=_NOWHERE))
        case CheckRows():
            return replace(step, origin=_NOWHERE)
        case _:
            return step


# Recorded definitions


def _refuse_statements(step: BuildTable | CheckRows | PutView) -> None:
    """Refuse a step whose SQL is not one query: a text in a definition may have ended the query early."""
    is_query = syntax_tree.is_query if step.dialect == STORE else partial(variants.is_query, dialect=step.dialect)
    if not is_query(step.sql):
        raise _changed(f"the SQL of a step is not one query: {step.step}")


def _refuse_forged(found: Definition, applied: Mapping[str, FeatureDefinition]) -> None:
    """Refuse SQL that is not one expression or query, a formula that does not follow from the SQL, and a wrong fingerprint."""
    if isinstance(found, SourceDefinition):
        if found.sql:
            parser.query(found.sql)
        for dialect, text in found.variants:
            variants.check_query(text, dialect, {f"source_{name}" for name in found.inputs})
    elif isinstance(found, FeatureDefinition):
        for rule in found.expect:
            parser.expression(rule.condition)
        for dialect, text in found.variants:
            variants.check_expression(text, dialect)
        if found.function is None:
            _refuse_other_formula(found)
        same = applied.get(found.fingerprint)
        if same is not None and _values(same) != _values(found):
            raise _changed(f"it gives {found.address} other values under the fingerprint that is applied")


def _refuse_other_formula(found: FeatureDefinition) -> None:
    read: Callable[[str, AnalysisCache], expressions.Expression]
    read = expressions.windowed if found.window else expressions.expression
    derived_again = read(found.sql, AnalysisCache())
    texts = [_texts(each.formula, each.aggregates) for each in (derived_again, found)]
    if texts[0] != texts[1] and [*map(_form, texts[0])] != [*map(_form, texts[1])]:
        raise _changed(f"the formula of {found.address} does not follow from its SQL")


def _texts(formula: str, aggregates: tuple[Aggregate, ...]) -> list[str]:
    return [formula, *(text for each in aggregates for text in (each.call, each.where, each.empty, each.argument))]


def _form(text: str) -> str:
    return syntax_tree.form(syntax_tree.whole(text)) if text else ""


def _values(feature: FeatureDefinition) -> tuple[object, ...]:
    """Return the parts of a feature that decide its values, with SQL in its canonical form."""
    function = feature.function.fingerprint if feature.function else ""
    inputs = sorted(each.fingerprint for each in feature.inputs)
    text = syntax_tree.form(syntax_tree.whole(feature.sql)) if not inputs and not function else ""
    own = feature.dtype, feature.keys, feature.ttl, feature.window, feature.request
    return *own, function, inputs, text, feature.variants


def _changed(what: str) -> PlanFileError:
    fix = f"Make it again: {invocation.plan_again('featdsl plan --out plan.json')}"
    return PlanFileError(Problem("Plan was changed", f"The plan is not what featdsl plan wrote: {what}.", fix=fix))
