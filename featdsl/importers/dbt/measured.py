"""Find what a metric of dbt's semantic layer aggregates: a measure, the metric's own aggregation, or that of another metric."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from featdsl.importers.dbt.manifest import DbtManifest, Node
from featdsl.importers.dbt.models import DbtModel


@dataclass(frozen=True)
class Measured:
    """A measure, the semantic model that it is of, the dbt model below, and filters."""

    measure: Node
    semantic: Node
    model: DbtModel
    filters: tuple[object, ...] = ()
    instead_of_null: object = None


@dataclass(frozen=True)
class Measures:
    """The semantic models over models that can be sources, by name, and the measures in them."""

    models: Mapping[str, tuple[Node, DbtModel]]
    measures: Mapping[str, Measured]
    metrics: Mapping[str, Node]

    def of(self, metric: Node, above: tuple[str, ...] = ()) -> Measured | None:
        """Return what a metric aggregates; None if that is over a model that was left out."""
        parameters = metric.get("type_params") or {}
        inner = (parameters.get("cumulative_type_params") or {}).get("metric") or {}
        if inner:
            return self._of_inner(metric, inner, above)
        used = parameters.get("measure") or {}
        measured = self.measures.get(str(used.get("name") or "")) if used else self._own(metric)
        if measured is None:
            return None
        filtered = _filtered(measured, used.get("filter"), metric.get("filter"))
        own = parameters.get("fill_nulls_with") if not used else used.get("fill_nulls_with")
        return replace(filtered, instead_of_null=own)

    def _of_inner(self, metric: Node, inner: Node, above: tuple[str, ...]) -> Measured | None:
        """Return what the metric aggregates that another one accumulates."""
        name = str(inner.get("name") or "")
        known = self.metrics.get(name)
        measured = None if known is None or name in above else self.of(known, (*above, name))
        return measured and _filtered(measured, inner.get("filter"), metric.get("filter"))

    def _own(self, metric: Node) -> Measured | None:
        """Return the aggregation of a metric that names no measure."""
        parameters = metric.get("type_params") or {}
        own = parameters.get("metric_aggregation_params") or {}
        place = self.models.get(str(own.get("semantic_model") or ""))
        if place is None:
            return None
        given = {name: value for name, value in own.items() if value is not None}
        return Measured({"name": metric["name"], "expr": parameters.get("expr"), **given}, *place)


def find(manifest: DbtManifest, models: Mapping[str, DbtModel]) -> Measures:
    """Return the measures over models that can be sources."""
    places = {
        str(semantic["name"]): (semantic, models[unique_id])
        for semantic in manifest.semantic_models.values()
        for unique_id in semantic.get("depends_on", {}).get("nodes", ())
        if unique_id in models
    }
    measures = {
        str(measure["name"]): Measured(measure, semantic, model)
        for semantic, model in places.values()
        for measure in semantic.get("measures") or ()
    }
    return Measures(places, measures, {str(each["name"]): each for each in manifest.metrics.values()})


def _filtered(measured: Measured, *filters: object) -> Measured:
    given = tuple(each for each in filters if each)
    return replace(measured, filters=(*measured.filters, *given))
