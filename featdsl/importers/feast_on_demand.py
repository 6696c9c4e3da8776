"""Turn the on-demand views of Feast into derived groups, where their functions are plain expressions."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass

from featdsl.definitions import dtypes
from featdsl.importers import feast_types, feast_views
from featdsl.importers.declarations import ImportedFeature, ImportedGroup, ImportedReference
from featdsl.importers.feast_expressions import ExpressionTranslator, PlainSql
from featdsl.importers.feast_findings import FeastFindings
from featdsl.importers.feast_functions import InputColumn, NotPlainError, outputs
from featdsl.importers.feast_names import LONGEST_NAME
from featdsl.importers.feast_objects import FeastField, FeastOnDemandView, FeastRepository
from featdsl.importers.feast_sources import NotCarriedOverError
from featdsl.importers.feast_views import CarriedView
from featdsl.importers.names import RESERVED, valid_name


@dataclass(frozen=True)
class _Input:
    """An input of a function: a feature, or a value of the request."""

    name: str
    """Its name in SQL."""
    dtype: str
    reference: ImportedReference | None = None


def carried(
    repository: FeastRepository, views: Mapping[str, CarriedView], findings: FeastFindings
) -> dict[str, CarriedView]:
    """Return the groups of the on-demand views that can be carried over, by Feast's names."""
    groups: dict[str, CarriedView] = {}
    for each in repository.on_demand:
        try:
            taken = {view.group.name for view in (*views.values(), *groups.values())}
            name = valid_name(each.name, taken=taken, prefix="group")
            groups[each.name] = _carried(each, name, views, findings, repository)
        except NotCarriedOverError as reason:
            findings.leave_out(each, str(reason))
        except NotPlainError as reason:
            findings.leave_out(each, str(reason), where=_place(each, reason))
    return groups


def _carried(
    view: FeastOnDemandView,
    name: str,
    views: Mapping[str, CarriedView],
    findings: FeastFindings,
    repository: FeastRepository,
) -> CarriedView:
    entity, keys = _entity(view, views)
    if view.computed or view.mode not in {"pandas", "python"}:
        raise NotCarriedOverError(f"Feast computes it by {' and '.join(view.computed) or view.mode}")
    expressions = outputs(view)
    inputs = _inputs(view, views, {field.name for field in view.features} | expressions.keys())
    features = _features(view, expressions, inputs, findings, keys)
    used = _used(expressions, inputs, features)
    group = ImportedGroup(
        name=name,
        entity=entity,
        inputs=tuple(each.reference for each in used if each.reference),
        request={each.name: each.dtype for each in used if not each.reference},
        features=tuple(features.values()),
        team=feast_views.team(view, repository),
        module=feast_views.module(view),
        description=view.description,
        tags=feast_views.tags({key: text for key, text in view.tags.items() if key != "team"}),
    )
    return CarriedView(group, keys, features)


def _entity(view: FeastOnDemandView, views: Mapping[str, CarriedView]) -> tuple[str | None, tuple[str, ...]]:
    """Return the entity of the group and its keys: those of the input that has all keys of the others."""
    missing = [each.view for each in view.sources if each.view not in views]
    if missing:
        raise NotCarriedOverError(f"its input {missing[0]} is not carried over")
    if any(each.keys for each in view.sources):
        raise NotCarriedOverError("it looks up an input by other keys: write it with alias(keys=...)")
    read = [views[each.view] for each in view.sources]
    widest = max(read, key=lambda each: len(each.keys), default=None)
    if widest is None:
        return None, ()
    if any(not set(each.keys) <= set(widest.keys) for each in read):
        described = " and ".join(dict.fromkeys(str(each.group.entity) for each in read))
        raise NotCarriedOverError(f"its inputs describe different entities, {described}: no input has the keys of all")
    return widest.group.entity, widest.keys


def _inputs(view: FeastOnDemandView, views: Mapping[str, CarriedView], outputs: set[str]) -> dict[str, _Input]:
    """Return the inputs by the names that the function may use: `feature`, and `view__feature`."""
    inputs: dict[str, _Input] = {}
    for projection in view.sources:
        of = views[projection.view]
        for known in projection.features or of.features:
            if known not in of.features:
                continue
            feature = of.features[known]
            full = f"{projection.view}__{known}"
            # A name that a feature of the group or another input has is no name for an input.
            taken = outputs | {each.name for each in inputs.values()}
            alias = f"{of.group.name}__{feature.name}"[:LONGEST_NAME] if feature.name in taken else ""
            reference = ImportedReference(address=of.address(known), alias=alias)
            inputs[full] = _Input(alias or feature.name, feature.dtype, reference)
            inputs.setdefault(known, inputs[full])
    for field in view.request:
        inputs[field.name] = _Input(
            valid_name(field.name, taken=RESERVED, prefix="value"), feast_types.of_feast(field.dtype)
        )
    return inputs


def _features(
    view: FeastOnDemandView,
    expressions: Mapping[str, ast.expr],
    inputs: Mapping[str, _Input],
    findings: FeastFindings,
    keys: tuple[str, ...],
) -> dict[str, ImportedFeature]:
    """Return the features by Feast's names. Raises NotPlainError or NotCarriedOverError if none can be carried over."""
    translator = ExpressionTranslator(
        {name: (each.name, each.dtype) for name, each in inputs.items()}, pandas=view.mode == "pandas"
    )
    features: dict[str, ImportedFeature] = {}
    faults: dict[str, NotPlainError] = {}
    taken = {*RESERVED, *keys}
    for field in view.features or [FeastField(name=name, dtype="") for name in expressions]:
        if field.name not in expressions:
            findings.leave_out(view, "its function does not return it", name=field.name)
            continue
        try:
            sql = translator.sql(expressions[field.name])
        except NotPlainError as fault:
            faults[field.name] = fault
            continue
        name = valid_name(field.name, taken=taken, prefix="feature")
        taken.add(name)
        features[field.name] = _feature(field, name, sql)
    if not features:
        raise next(iter(faults.values()), NotCarriedOverError("none of its features can be carried over"))
    for known, reason in faults.items():
        findings.leave_out(view, str(reason), name=known, where=_place(view, reason))
    return features


def _feature(field: FeastField, name: str, sql: PlainSql) -> ImportedFeature:
    """Return a feature of the declared type, or of the type of its expression where values would not fit."""
    wanted = feast_types.of_feast(field.dtype) if field.dtype else sql.dtype
    dtype = (
        wanted if dtypes.gives(sql.dtype, wanted) and not (wanted == "FLOAT" and sql.kind != "float32") else sql.dtype
    )
    return ImportedFeature(
        name=name, dtype=dtype, sql=sql.text, description=field.description, tags=feast_views.tags(field.tags)
    )


def _used(
    expressions: Mapping[str, ast.expr], inputs: Mapping[str, _Input], features: Mapping[str, ImportedFeature]
) -> list[_Input]:
    """Return the inputs that the features read, in the order of the sources."""
    nodes = [node for name in features for node in ast.walk(expressions[name])]
    read = {inputs[node.name].name for node in nodes if isinstance(node, InputColumn)}
    return list({each.name: each for each in inputs.values() if each.name in read}.values())


def _place(view: FeastOnDemandView, fault: NotPlainError) -> str:
    """Return the line of the function that is not translated."""
    return f"{view.code_file}:{view.code_line + max(fault.line - 1, 0)}" if view.code_file else view.where
