"""Turn the feature views of Feast into groups over sources."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePath

from featdsl.definitions import durations
from featdsl.importers import feast_types
from featdsl.importers.declarations import ImportedFeature, ImportedGroup
from featdsl.importers.feast_entities import CarriedEntity, FeastEntities
from featdsl.importers.feast_findings import FeastFindings
from featdsl.importers.feast_names import bare
from featdsl.importers.feast_objects import FeastField, FeastObject, FeastRepository, FeastView
from featdsl.importers.feast_sources import CarriedSource, NotCarriedOverError
from featdsl.importers.names import RESERVED, valid_module, valid_name

_VIEWS = ("FeatureView", "BatchFeatureView")
_COMPUTED = {"udf": "a function", "feature_transformation": "a function", "source_views": "other views"}
"""What computes the values of a view, in words."""
_NANOSECONDS = "timestamp[ns"


@dataclass(frozen=True)
class CarriedView:
    """A group with the view of Feast that it was made from."""

    group: ImportedGroup
    keys: tuple[str, ...]
    features: Mapping[str, ImportedFeature]
    """The features by Feast's names."""

    def address(self, feature: str) -> str:
        """Return the address of a feature, by Feast's name."""
        return f"{self.group.name}.{self.features[feature].name}"


def carried(
    repository: FeastRepository,
    sources: Mapping[str, CarriedSource],
    reasons: Mapping[str, str],
    findings: FeastFindings,
) -> tuple[dict[str, CarriedView], FeastEntities]:
    """Return the views that can be carried over, by Feast's names, and the entities that they describe.

    `reasons` says why sources are not carried over.
    """
    entities = FeastEntities(repository, sources)
    views: dict[str, CarriedView] = {}
    for each in repository.views:
        try:
            _refuse(each, sources, reasons)
            name = valid_name(each.name, taken={view.group.name for view in views.values()}, prefix="group")
            views[each.name] = _carried(each, name, sources[each.source], entities.of(each), findings, repository)
        except NotCarriedOverError as reason:
            findings.leave_out(each, str(reason))
    return views, entities


def team(each: FeastObject, repository: FeastRepository) -> str:
    """Return the team of an object: its owner, else its tag `team`, else the project. An e-mail address names its account."""
    named = each.owner.partition("@")[0] or each.tags.get("team", "") or repository.project
    return valid_module(named)


def module(each: FeastObject) -> str:
    """Return the module for an object: the name of Feast's file."""
    return valid_module(PurePath(each.file).stem) if each.file else ""


def tags(of: Mapping[str, str]) -> tuple[str, ...]:
    """Return tags with their values as texts: `{"tier": "gold"}` is `tier:gold`."""
    return tuple(f"{name}:{text}" if text else name for name, text in of.items())


def _refuse(view: FeastView, sources: Mapping[str, CarriedSource], reasons: Mapping[str, str]) -> None:
    """Raise NotCarriedOverError for a view that featdsl cannot compute."""
    if view.kind not in _VIEWS or view.computed:
        how = " and ".join(dict.fromkeys(_COMPUTED.get(each, each) for each in view.computed)) or "a stream"
        raise NotCarriedOverError(
            f"Feast computes it by {how}: write it as features with sql= and window=, or import a view of its results"
        )
    if view.source not in sources:
        reason = reasons.get(view.source) or "it has no stored rows"
        raise NotCarriedOverError(f"source {view.source}: {reason}" if view.source else reason)


def _carried(  # noqa: PLR0913, PLR0917 - what one view is made from
    view: FeastView,
    name: str,
    source: CarriedSource,
    entity: CarriedEntity | None,
    findings: FeastFindings,
    repository: FeastRepository,
) -> CarriedView:
    options = _options(view, source)
    features = _features(view, name, source, entity, findings)
    if view.ttl:
        findings.note("ttl", "of a row exactly as old as its ttl, Feast still has the values, and featdsl has none")
    if view.stream:
        findings.note(
            name, f"it reads the stored rows behind its {view.stream}; new rows must reach them, or Source.push"
        )
    group = ImportedGroup(
        name=name,
        entity=entity.name if entity else None,
        source=source.source.name,
        keys=_renamed_keys(entity, source),
        features=tuple(features.values()),
        team=team(view, repository),
        module=module(view),
        description=view.description,
        tags=tags({key: text for key, text in view.tags.items() if key != "team"}),
        options=options,
    )
    return CarriedView(group, entity.columns if entity else (), features)


def _options(view: FeastView, source: CarriedSource) -> dict[str, object]:
    """Return the options of the class header."""
    if view.ttl and view.ttl != int(view.ttl):
        raise NotCarriedOverError(f"its ttl is {view.ttl} seconds, and featdsl's is in whole seconds")
    options: dict[str, object] = {"ttl": durations.written(int(view.ttl))} if view.ttl else {}
    options |= {"online": True} if view.online else {}
    return options | ({"engine": "spark"} if source.on_spark else {})


def _renamed_keys(entity: CarriedEntity | None, source: CarriedSource) -> dict[str, str]:
    """Return the keys that have another name in the source."""
    pairs = {} if entity is None else {key: source.of.column(known) for known, key in entity.known.items()}
    return {key: column for key, column in pairs.items() if key != column}


def _features(
    view: FeastView, group: str, source: CarriedSource, entity: CarriedEntity | None, findings: FeastFindings
) -> dict[str, ImportedFeature]:
    """Return the features by Feast's names. Raises NotCarriedOverError if there is none."""
    columns = dict(source.of.columns)
    keys = entity.known if entity else {}
    taken = {*RESERVED, *keys.values()}
    features: dict[str, ImportedFeature] = {}
    for field in view.features or _all_columns(source, keys):
        column = source.of.column(field.name)
        if columns and column not in columns:
            findings.leave_out(view, f"its source has no column {column}", name=field.name)
            continue
        name = valid_name(field.name, taken=taken, prefix="feature")
        taken.add(name)
        features[field.name] = _feature(field, name, column, columns.get(column, ""))
        _note(field, features[field.name], columns.get(column, ""), f"{group}.{name}", findings)
    if not features:
        raise NotCarriedOverError(
            "none of its features can be carried over" if view.features else "its schema is unknown"
        )
    return features


def _all_columns(source: CarriedSource, keys: Iterable[str]) -> list[FeastField]:
    """Return the fields that Feast infers for a view without a schema: all columns but keys, times and names with `__`."""
    of = source.of
    others = {of.column(key) for key in keys} | {of.column(name) for name in (of.timestamp, of.created) if name}
    others.add(str(source.source.options["timestamp"]))
    return [
        FeastField(name=of.mapping.get(name, name), dtype="")
        for name, _ in of.columns
        if name not in others and not name.startswith("__") and not name.endswith("__")
    ]


def _feature(field: FeastField, name: str, column: str, stored: str) -> ImportedFeature:
    dtype = feast_types.chosen(field.dtype, stored)
    sql = "" if name == column else bare(column)
    if stored.startswith(_NANOSECONDS) and dtype == "TIMESTAMP WITH TIME ZONE":
        sql = f"CAST({sql or bare(column)} AS TIMESTAMP WITH TIME ZONE)"  # such times have microseconds at most
    return ImportedFeature(name=name, dtype=dtype, sql=sql, description=field.description, tags=tags(field.tags))


def _note(field: FeastField, feature: ImportedFeature, stored: str, address: str, findings: FeastFindings) -> None:
    """Add what differs from Feast's declaration."""
    if field.dtype and feature.dtype != feast_types.of_feast(field.dtype):
        findings.note(address, f"Feast declares {field.dtype}, but its column has {stored}, so it is {feature.dtype}")
    if feature.name != field.name:
        findings.note(address, f"Feast calls it {field.name}")
