"""Turn the metrics of dbt's semantic layer into windowed features, and those computed from others into derived features."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from featdsl.importers.dbt import derived, keys
from featdsl.importers.dbt.choices import LIFETIME, DbtChoices
from featdsl.importers.dbt.derived import KnownMetrics
from featdsl.importers.dbt.filters import UntranslatableError, condition
from featdsl.importers.dbt.manifest import DbtManifest, Node, texts
from featdsl.importers.dbt.measured import Measured, Measures, find
from featdsl.importers.dbt.measures import aggregate
from featdsl.importers.dbt.models import DbtModel
from featdsl.importers.declarations import ImportedFeature, ImportedGroup, ImportNote, LeftOut
from featdsl.importers.entities import EntityNames
from featdsl.importers.names import valid_name

_UNITS = ("second", "minute", "hour", "day", "week", "month", "year")
_BASE = ("simple", "cumulative")
_NO_ENTITY = "Its semantic model has no entity that is a column, so it has a value for nobody."


@dataclass
class ReadMetrics:
    """The groups of a project's metrics, and what was left out."""

    groups: list[ImportedGroup] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    notes: list[ImportNote] = field(default_factory=list)


def read(
    manifest: DbtManifest, models: Mapping[str, DbtModel], entities: EntityNames, choices: DbtChoices
) -> ReadMetrics:
    """Return the metrics of a project as groups: one for each semantic model and entity that it can be counted by."""
    result = ReadMetrics()
    measures = find(manifest, models)
    features: dict[str, list[tuple[str, ImportedFeature]]] = {}
    for metric in _own(manifest.metrics, manifest):
        if metric.get("type") in _BASE:
            _add(metric, measures, features, choices, result)
        elif metric.get("type") not in derived.KINDS:
            result.left_out.append(
                _left_out(metric, f"featdsl has no counterpart of metrics of type {metric.get('type')}.")
            )
    _add_unused(measures, manifest, features, choices)
    known = KnownMetrics(manifest.metrics, {each.source.name for each in models.values()})
    for semantic, pairs in features.items():
        groups = [*_groups(manifest.semantic_models[semantic], pairs, models, entities)]
        for group in groups:
            known.add(group, pairs)
        result.groups += groups
        result.left_out += [] if groups else [LeftOut("metric", metric, _NO_ENTITY) for metric, _ in pairs]
    computed = [each for each in _own(manifest.metrics, manifest) if each["type"] in derived.KINDS]
    more, left_out = derived.read(known, computed)
    result.groups += more
    result.left_out += [*left_out, *_consumers(manifest)]
    return result


def _consumers(manifest: DbtManifest) -> Iterator[LeftOut]:
    """Yield what uses models and metrics: consumers choose their features in featdsl anew."""
    for each in _own(manifest.saved_queries, manifest):
        yield LeftOut("saved query", str(each["name"]), "It selects metrics; declare a FeatureSet of them.")
    for each in _own(manifest.exposures, manifest):
        yield LeftOut(
            "exposure", str(each["name"]), "It uses models; if it is a model, declare a Model with its FeatureSet."
        )


def window_of(metric: Node) -> str:
    """Return the window of a cumulative metric; `"lifetime"` if it has none. Raises UntranslatableError."""
    parameters = metric.get("type_params") or {}
    own = parameters.get("cumulative_type_params") or {}
    if own.get("grain_to_date") or parameters.get("grain_to_date"):
        raise UntranslatableError("It counts from the start of a calendar period, and windows have a fixed length.")
    window = own.get("window") or parameters.get("window")
    if not window:
        return LIFETIME
    unit = str(window["granularity"]).lower().removesuffix("s")
    if unit == "quarter":
        return f"{3 * window['count']} months"
    if unit not in _UNITS:
        raise UntranslatableError(f"featdsl has no window of the unit {unit}.")
    return f"{window['count']} {unit}{'' if window['count'] == 1 else 's'}"


def _own(nodes: Mapping[str, Node], manifest: DbtManifest) -> list[Node]:
    return [each for each in nodes.values() if each.get("package_name") == manifest.name]


def _add(
    metric: Node,
    measures: Measures,
    features: dict[str, list[tuple[str, ImportedFeature]]],
    choices: DbtChoices,
    result: ReadMetrics,
) -> None:
    """Add the feature of a metric over one measure, or why there is none."""
    measured = measures.of(metric)
    if measured is None:
        result.left_out.append(_left_out(metric, "Its measure is over a model that was left out."))
        return
    try:
        windows = [window_of(metric)] if metric["type"] == "cumulative" else choices.windows
        feature = _feature(metric, measured, windows)
    except UntranslatableError as error:
        result.left_out.append(_left_out(metric, str(error)))
        return
    features.setdefault(str(measured.semantic["unique_id"]), []).append((str(metric["name"]), feature))


def _add_unused(
    measures: Measures,
    manifest: DbtManifest,
    features: dict[str, list[tuple[str, ImportedFeature]]],
    choices: DbtChoices,
) -> None:
    """Add a feature for each measure that no metric uses."""
    used = {
        str(each["name"])
        for metric in manifest.metrics.values()
        for each in (metric.get("type_params") or {}).get("input_measures") or ()
    }
    for name, measured in measures.measures.items():
        taken = {each.name for _, each in features.get(str(measured.semantic["unique_id"]), ())}
        if name in used or valid_name(name) in taken:
            continue
        try:
            feature = _feature(measured.measure, measured, choices.windows)
        except UntranslatableError:
            continue
        features.setdefault(str(measured.semantic["unique_id"]), []).append((f"measure {name}", feature))


def _feature(of: Node, measured: Measured, windows: Sequence[str]) -> ImportedFeature:
    """Return the windowed feature of a metric or a measure. Raises UntranslatableError."""
    _refuse_other_time(measured)
    conditions = [condition(each, measured.semantic) for each in measured.filters]
    sql = aggregate(measured.measure, " AND ".join(filter(None, conditions)))
    if isinstance(measured.instead_of_null, int | float):
        sql = f"coalesce({sql}, {measured.instead_of_null})"
    dtype = measured.model.rows.dtype(sql)
    if dtype is None:
        raise UntranslatableError("DuckDB does not understand its SQL over the model's columns.")
    return ImportedFeature(
        name=valid_name(str(of["name"])),
        dtype=dtype,
        sql=sql,
        description=_description(of, measured.measure),
        tags=texts(of.get("tags")),
        options={"window": windows[0]} if len(windows) == 1 else {"windows": list(windows)},
    )


def _description(of: Node, measure: Node) -> str:
    """Return what a metric says of itself, else its measure, else its label."""
    written = str(of.get("description") or "")
    if written and not written.startswith("Metric created from measure"):
        return written
    label = str(of.get("label") or "")
    return str(measure.get("description") or "") or ("" if label == of["name"] else label)


def _refuse_other_time(measured: Measured) -> None:
    """Raise UntranslatableError if a measure counts by another time than that of its source."""
    name = str(measured.measure.get("agg_time_dimension") or "")
    time = keys.expression(measured.semantic, "dimensions", name) if name else keys.semantic_time(measured.semantic)
    if not time:
        raise UntranslatableError("Its measure has no agg_time_dimension.")
    if measured.model.rows.column(time) != measured.model.found.timestamp:
        raise UntranslatableError(
            f"It counts by {time}, and its source by {measured.model.found.timestamp or 'no time'}."
        )


def _groups(
    semantic: Node, pairs: Sequence[tuple[str, ImportedFeature]], models: Mapping[str, DbtModel], entities: EntityNames
) -> Iterator[ImportedGroup]:
    """Yield the group of a semantic model's metrics for each entity that they can be counted by."""
    model = next(models[each] for each in semantic["depends_on"]["nodes"] if each in models)
    counted_by = keys.entities_of(semantic, "foreign") or keys.entities_of(semantic, "primary", "unique")
    for name, sql in counted_by:
        column = model.rows.column(sql)
        if column is None:
            continue
        keyed = entities.of({column: model.rows.columns[column]}, model.name, name)
        yield ImportedGroup(
            name=valid_name(f"{semantic['name']}_by_{name}", taken={each.source.name for each in models.values()}),
            entity=keyed.entity,
            features=tuple(feature for _, feature in pairs),
            team=model.team,
            source=model.source.name,
            keys=keyed.keys,
            description=str(semantic.get("description") or "") or f"Metrics of {semantic['name']}, by {name}.",
        )


def _left_out(metric: Node, reason: str) -> LeftOut:
    return LeftOut("metric", str(metric["name"]), reason, str(metric.get("original_file_path") or ""))
