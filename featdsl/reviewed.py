"""A saved plan is data that anybody may have edited: what it may do is derived anew from the registry and what it records.

Its steps must be those that the planner writes for the definitions that it would leave behind. Whether a guard stops it, and
who must agree, is found again and not read from the file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from featdsl import expressions, planner, sql, syntax, typed
from featdsl.definitions import Aggregate, Catalog, Definition, FeatureDefinition, SourceDefinition, address, revised
from featdsl.errors import FeatdslError, Origin, PlanFileError, Problem, SqlProblem
from featdsl.memory import Memory
from featdsl.plan import BuildTable, CheckRows, Forget, KeepEnvironment, Plan, PutView, Record, Step
from featdsl.snapshot import PROD, Drift, Snapshot

_NOWHERE = Origin("", 0)


def derived(plan: Plan, snapshot: Snapshot, earlier: Snapshot | None = None) -> Plan:
    """Return the plan with its changes, verdict and approvals as the planner finds them for the registry as it is.

    `earlier` is the state that it goes back to, if it does. Raises PlanFileError where the planner would write other steps, or
    where what is recorded is no definition that could have been declared.
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
        again = planner.build(snapshot, target, plan.project, drift=drift, earlier=earlier)
    except PlanFileError:
        raise
    except (FeatdslError, SqlProblem, LookupError) as error:
        said = error.problems[0].what if isinstance(error, FeatdslError) else str(error)
        raise _changed(f"it records what could not have been declared: {said}") from None
    kept = tuple(step for step in plan.steps if isinstance(step, KeepEnvironment))
    if len(kept) > (plan.environment != PROD):
        raise _changed("it would have its environment expire otherwise")
    if list(map(_act, again.steps)) != [_act(step) for step in plan.steps if step not in kept]:
        raise _changed("it would run other steps than its definitions need")
    return replace(plan, changes=again.changes, policy=again.policy, blocks=again.blocks, approvals=again.approvals)


def _target(plan: Plan, snapshot: Snapshot) -> Catalog:
    """Return what the project has once the plan has run: what is applied, less what goes, and what is recorded."""
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
    """Return what the plan makes again though it is there: what the store had lost when the plan was made."""
    tables = {step.table for step in plan.steps if isinstance(step, BuildTable)}
    views = {
        step.name for step in plan.steps if isinstance(step, PutView) and snapshot.views.get(step.name) == step.sql
    }
    return Drift(frozenset(tables & snapshot.tables.keys()), frozenset(views))


def _act(step: Step) -> Step:
    """Return a step without what is only told of it: places, and what it may take."""
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


# What could have been declared


def _refuse_statements(step: BuildTable | CheckRows | PutView) -> None:
    """Refuse a step whose SQL is more than one query, by whatever text of a definition it became that."""
    import duckdb

    try:
        found = [each.type for each in duckdb.extract_statements(step.sql)]
    except duckdb.Error:
        found = []
    if found != [duckdb.StatementType.SELECT]:
        raise _changed(f"the SQL of a step is not one query: {step.step}")


def _refuse_forged(found: Definition, applied: Mapping[str, FeatureDefinition]) -> None:
    """Refuse SQL that is no single expression or query, formulas of another SQL, and a fingerprint of other values."""
    if isinstance(found, SourceDefinition):
        if found.sql:
            sql.query(found.sql)
    elif isinstance(found, FeatureDefinition):
        for rule in found.expect:
            sql.expression(rule.condition)
        if found.function is None:
            _refuse_other_formula(found)
        same = applied.get(found.fingerprint)
        if same is not None and _values(same) != _values(found):
            raise _changed(f"it gives {found.address} other values under the fingerprint that is applied")


def _refuse_other_formula(found: FeatureDefinition) -> None:
    read: Callable[[str, Memory], expressions.Expression]
    read = expressions.windowed if found.window else expressions.expression
    said = read(found.sql, Memory())
    texts = [_texts(each.formula, each.aggregates) for each in (said, found)]
    if texts[0] != texts[1] and [*map(_form, texts[0])] != [*map(_form, texts[1])]:
        raise _changed(f"the formula of {found.address} is not that of its SQL")


def _texts(formula: str, aggregates: tuple[Aggregate, ...]) -> list[str]:
    return [formula, *(text for each in aggregates for text in (each.call, each.where, each.empty, each.argument))]


def _form(text: str) -> str:
    return syntax.form(syntax.whole(text)) if text else ""


def _values(feature: FeatureDefinition) -> tuple[object, ...]:
    """Return what decides the values of a feature, as far as no spelling of SQL does."""
    function = feature.function.fingerprint if feature.function else ""
    inputs = sorted(each.fingerprint for each in feature.inputs)
    text = syntax.form(syntax.whole(feature.sql)) if not inputs and not function else ""
    return feature.dtype, feature.keys, feature.ttl, feature.window, feature.request, function, inputs, text


def _changed(what: str) -> PlanFileError:
    mend = f"Make it again: {typed.plan_again('featdsl plan --out plan.json')}"
    return PlanFileError(Problem("Plan was changed", f"The plan is not what featdsl plan wrote: {what}.", mend=mend))
