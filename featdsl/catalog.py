"""Turn declarations into one canonical catalogue, or into every mistake that keeps them from being one."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from featdsl import fingerprints, graph, macros, sql, templates
from featdsl.declaration import Declaration
from featdsl.definitions import (
    Catalog,
    Column,
    EntityDefinition,
    FeatureDefinition,
    GroupDefinition,
    Input,
    Member,
    ModelDefinition,
    SetDefinition,
    SourceDefinition,
    SourceFormat,
)
from featdsl.durations import seconds
from featdsl.entity import Entity
from featdsl.errors import DeclarationError, Origin, Problem
from featdsl.feature import Feature, FeatureAlias
from featdsl.featureset import FeatureSet, Model
from featdsl.group import GroupDeclaration, Reference
from featdsl.names import did_you_mean
from featdsl.project import Project
from featdsl.source import Source

D = TypeVar("D", bound=Declaration)


@dataclass
class _Draft:
    """The catalogue while it is being built, and the mistakes met so far."""

    project: Project
    frames: Mapping[str, str]
    library: macros.Library
    entities: dict[str, EntityDefinition] = field(default_factory=dict)
    sources: dict[str, SourceDefinition] = field(default_factory=dict)
    groups: dict[str, GroupDefinition] = field(default_factory=dict)
    features: dict[str, FeatureDefinition] = field(default_factory=dict)
    sets: dict[str, SetDefinition] = field(default_factory=dict)
    models: dict[str, ModelDefinition] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    broken: set[str] = field(default_factory=set)
    """Addresses with a mistake of their own: what refers to them is not to blame."""

    def refuse(self, address: str, summary: str, what: str, where: Origin, mend: str = "") -> None:
        self.broken.add(address)
        self.problems.append(Problem(summary, what, where, mend))

    def common(self, declaration: Declaration) -> dict[str, Any]:
        origin = declaration.origin.relative_to(self.project.root)
        return {"project": self.project.name, "owner": self.project.team_of(origin.file), "origin": origin}


def build(
    declarations: Sequence[Declaration],
    project: Project,
    *,
    problems: Iterable[Problem] = (),
    frames: Mapping[str, str] | None = None,
    macro_files: Mapping[str, str] | None = None,
) -> Catalog:
    """Return the catalogue of `declarations`.

    `problems` are mistakes found before, told together with those found here; `frames` maps each source that is
    rows in memory to the hash of its rows, `macro_files` the path of each macro file to its text. Raises
    DeclarationError with all mistakes.
    """
    library = macros.library(macro_files or {}, _places(declarations, project))
    draft = _Draft(project, frames or {}, library, problems=[*problems, *library.problems])
    _add_entities(draft, _unique(draft, declarations, Entity, "entities"))
    _add_sources(draft, _unique(draft, declarations, Source, "sources"))
    _add_groups(draft, _unique(draft, declarations, GroupDeclaration, "groups"))
    _add_sets(draft, _unique(draft, declarations, FeatureSet, "set versions"))
    _add_models(draft, _unique(draft, declarations, Model, "models"))
    if draft.problems:
        seen = dict.fromkeys(problem.seen_from(project.root) for problem in draft.problems)
        raise DeclarationError(sorted(seen, key=lambda problem: (problem.where or Origin("", 0), problem.what)))
    return Catalog(draft.entities, draft.sources, draft.groups, draft.features, draft.sets, draft.models)


def _places(declarations: Sequence[Declaration], project: Project) -> dict[str, Origin]:
    """Return where each source is declared."""
    return {each.name: each.origin.relative_to(project.root) for each in declarations if isinstance(each, Source)}


def _unique(draft: _Draft, declarations: Sequence[Declaration], kind: type[D], plural: str) -> list[D]:
    """Return the valid declarations of a kind by address; two of one name are a mistake."""
    first: dict[str, D] = {}
    for declaration in declarations:
        if not isinstance(declaration, kind):
            continue
        if not declaration.valid:
            draft.broken.add(f"{kind.kind} {declaration.address}")
            continue
        earlier = first.setdefault(declaration.address, declaration)
        if earlier is not declaration:
            there = earlier.origin.relative_to(draft.project.root)
            mend = "Give one of them another name."
            if kind is FeatureSet:
                mend = "Give this one the next version: .evolve(version=...)."
            what = f"Two {plural} are called {declaration.address}; the other one is at {there}."
            draft.refuse(f"{kind.kind} {declaration.address}", "Name used twice", what, declaration.origin, mend)
    return [first[address] for address in sorted(first)]


def _add_entities(draft: _Draft, entities: Sequence[Entity]) -> None:
    types: dict[str, tuple[str, str]] = {}
    for entity in entities:
        for key, dtype in sorted(entity.keys.items()):
            other, other_type = types.setdefault(key, (entity.name, dtype))
            if other_type != dtype:
                draft.refuse(
                    f"entity {entity.name}", "Key with two types",
                    f"{entity.name}.{key} is {dtype}, but {other}.{key} is {other_type}; one spine cannot carry both.",
                    entity.origin, "Give them one type, or one of them another name.",
                )  # fmt: skip
        draft.entities[entity.name] = EntityDefinition(
            name=entity.name, description=entity.description, keys=_columns(entity.keys), **draft.common(entity)
        )


def _ordered(
    draft: _Draft, kind: str, declared: Mapping[str, Declaration], needs: Mapping[str, Iterable[str]]
) -> list[str]:
    """Return the names so that each stands after what it needs; those of a cycle are refused and left out."""
    try:
        return graph.ordered(needs)
    except graph.CycleProblem as cycle:
        members = set(cycle.cycle)
        draft.broken.update(f"{kind} {name}" for name in members)
        what = f"Each {kind} of this circle needs the one before: {cycle}."
        mend = "Take one of them out of the circle."
        draft.refuse(f"{kind} {cycle.cycle[0]}", "Cycle", what, declared[cycle.cycle[0]].origin, mend)
        return _ordered(draft, kind, declared, {name: of for name, of in needs.items() if name not in members})


def _columns(keys: Mapping[str, str]) -> tuple[Column, ...]:
    return tuple(Column(name=name, dtype=dtype) for name, dtype in sorted(keys.items()))


# Sources


def _add_sources(draft: _Draft, sources: Sequence[Source]) -> None:
    by_name = {source.name: source for source in sources}
    names = templates.source_names(by_name)
    texts = {source.name: text for source in sources if (text := _rendered_query(draft, source, names)) is not None}
    inputs = {name: _source_inputs(draft, by_name[name], text, by_name) for name, text in texts.items()}
    needs = {name: inputs.get(name, ()) for name in by_name if f"source {name}" not in draft.broken}
    for name in _ordered(draft, "source", by_name, needs):
        if all(upstream in draft.sources for upstream in needs[name]):
            _add_source(draft, by_name[name], texts.get(name, ""), needs[name])
        else:
            draft.broken.add(f"source {name}")


def _rendered_query(draft: _Draft, source: Source, names: Mapping[str, str]) -> str | None:
    if source.sql is None:
        return None
    return _rendered(draft, f"source {source.name}", source.sql, source.origin, names)


def _rendered(draft: _Draft, address: str, text: str, where: Origin, names: Mapping[str, str]) -> str | None:
    """Return a text with its Jinja filled; a mistake inside a macro is told at its line, and names who called it."""
    file = where.relative_to(draft.project.root)
    seen = draft.library.seen_from(file.file)
    try:
        rendered = templates.render(text, variables=draft.project.settings.variables, sources=names, macros=seen)
    except templates.TemplateProblem as problem:
        caller = f"{address}, at {file}" if problem.where else address
        draft.refuse(address, "Template cannot be filled", f"{caller}: {problem}", problem.where or where, problem.mend)
        return None
    return rendered.strip()


def _source_inputs(draft: _Draft, source: Source, text: str, known: Mapping[str, Source]) -> tuple[str, ...]:
    address = f"source {source.name}"
    try:
        inputs = sql.source_inputs(sql.query(text))
    except sql.SqlProblem as problem:
        draft.refuse(address, "Invalid SQL", f"{address}: {problem}", source.origin, problem.mend)
        return ()
    for name in inputs:
        if name not in known and f"source {name}" not in draft.broken:
            what = f'{address} reads "{name}", which no source declares.'
            draft.refuse(address, "Unknown source", what, source.origin, did_you_mean(name, known))
    return inputs


def _add_source(draft: _Draft, source: Source, text: str, inputs: tuple[str, ...]) -> None:
    place = _place(draft, source)
    options = tuple(sorted((name, json.dumps(value)) for name, value in source.options.items()))
    draft.sources[source.name] = SourceDefinition(
        name=source.name,
        description=source.description,
        format=place[0],
        location=place[1],
        options=options,
        sql=text,
        inputs=inputs,
        timestamp=source.timestamp,
        available_at=source.available_at,
        tie_break=source.tie_break,
        fingerprint=fingerprints.source(
            format=place[0],
            location=place[1],
            options=options,
            sql=sql.canonical(sql.query(text)) if text else "",
            inputs={name: draft.sources[name].fingerprint for name in inputs},
            time=(source.timestamp, source.tie_break),
            available_at=source.available_at,
        ),
        **draft.common(source),
    )


def _place(draft: _Draft, source: Source) -> tuple[SourceFormat, tuple[str, ...]]:
    if source.sql is not None:
        return "sql", ()
    if source.table is not None:
        return "table", (str(source.database), source.table)
    if source.path is None:
        return "frame", (draft.frames.get(source.name, ""),)
    return source.file_format(), tuple(sorted(source.path))


# Groups and their features


def _add_groups(draft: _Draft, groups: Sequence[GroupDeclaration]) -> None:
    by_name = {group.name: group for group in groups}
    needs = {group.name: sorted({_group_of(item) for item in group.inputs or ()}) for group in groups}
    for name in _ordered(draft, "group", by_name, needs):
        _add_group(draft, by_name[name])


def _group_of(reference: Reference) -> str:
    if isinstance(reference, str):
        return reference.partition(".")[0]
    return _target(reference).group.address


def _target(reference: Feature[Any] | FeatureAlias[Any]) -> Feature[Any]:
    return reference.feature if isinstance(reference, FeatureAlias) else reference


def _add_group(draft: _Draft, group: GroupDeclaration) -> None:
    address = f"group {group.name}"
    source = _source_of(draft, group)
    inputs = _inputs_of(draft, group)
    if group.entity and group.entity.name not in draft.entities:
        _refuse_foreign(draft, address, "entity", group.entity.name, group.origin)
    if address in draft.broken or (source is None and group.source is not None):
        draft.broken.update({address, *(f"feature {group.name}.{name}" for name in group.features)})
        return
    scope = _Scope(
        source=source,
        inputs=inputs,
        keys=_columns(group.entity.keys) if group.entity else (),
        ttl=seconds(group.ttl) if group.ttl else None,
    )
    found = [_feature(draft, group, name, scope) for name in sorted(group.features)]
    features = [feature for feature in found if feature is not None]
    members = tuple(
        Member(column=feature.name, feature=feature.address, fingerprint=feature.fingerprint) for feature in features
    )
    timed = bool(source.timestamp) if source else any(each.timed for each in _read(draft, features))
    late = bool(source and source.available_at)
    table = f"{group.name}_{fingerprints.table(members, keys=scope.keys, timed=timed)[:8]}"
    if source is None:
        _refuse_no_entities(draft, group, features)
    for feature in features:
        draft.features[feature.address] = replace(feature, table=table, timed=timed, late=late)
    draft.groups[group.name] = GroupDefinition(
        name=group.name,
        description=group.description,
        tags=group.tags,
        entity=group.entity.name if group.entity else None,
        source=source.name if source else None,
        keys=tuple(sorted(group.keys.items())),
        ttl=scope.ttl,
        members=members,
        table=table,
        **draft.common(group),
    )


@dataclass(frozen=True)
class _Scope:
    """What the SQL of a group's features is written over."""

    source: SourceDefinition | None
    inputs: tuple[Input, ...]
    keys: tuple[Column, ...]
    ttl: int | None


def _read(draft: _Draft, features: Iterable[FeatureDefinition]) -> list[FeatureDefinition]:
    """Return the features that these are derived from: an input that nobody reads says nothing."""
    return [draft.features[item.feature] for feature in features for item in feature.inputs]


def _refuse_no_entities(draft: _Draft, group: GroupDeclaration, features: Sequence[FeatureDefinition]) -> None:
    """Refuse a derived group whose rows nothing tells: each needs inputs, one of them with all of its keys."""
    for feature in features:
        if not feature.inputs:
            what = f"feature {feature.address} reads none of its group's inputs: {feature.sql}"
            mend = "Derive it from one of them, or give it a group over a source."
            draft.refuse(f"feature {feature.address}", "No input", what, feature.origin, mend)
            draft.broken.add(f"group {group.name}")
    keys = group.entity.keys if group.entity else {}
    read = _read(draft, features)
    if read and all(len(each.keys) < len(keys) for each in read):
        what = f"group {group.name} reads no input with the key {', '.join(keys)}, so nothing tells which there are."
        mend = "Derive it from at least one feature of its own entity."
        draft.refuse(f"group {group.name}", "No input of the entity", what, group.origin, mend)


def _source_of(draft: _Draft, group: GroupDeclaration) -> SourceDefinition | None:
    if group.source is None:
        return None
    if group.source.name not in draft.sources:
        _refuse_foreign(draft, f"group {group.name}", "source", group.source.name, group.origin)
        return None
    return draft.sources[group.source.name]


def _refuse_foreign(draft: _Draft, address: str, kind: str, name: str, where: Origin) -> None:
    """Refuse what refers to something that is not declared in this project, unless that has its own mistake."""
    if f"{kind} {name}" not in draft.broken:
        what = f"{address} uses the {kind} {name}, which is not declared in {draft.project.features.name}/."
        draft.refuse(address, f"Unknown {kind}", what, where, "Declare it in a module there and import it from it.")
    draft.broken.add(address)


def _inputs_of(draft: _Draft, group: GroupDeclaration) -> tuple[Input, ...]:
    address = f"group {group.name}"
    inputs: dict[str, Input] = {}
    for reference in group.inputs or ():
        member = _member(draft, address, reference, group.origin)
        if member is None:
            draft.broken.add(address)
            continue
        feature = draft.features[member.feature]
        missing = sorted({key.name for key in feature.keys} - (group.entity.keys.keys() if group.entity else set()))
        if missing or member.keys:
            what = f"{address} is derived from {feature.address}, whose key {missing or list(member.keys)} it lacks."
            draft.refuse(address, "Input of another entity", what, group.origin)
        elif member.column in inputs:
            what = f"{address} has two inputs called {member.column}."
            mend = f'Give one another name: .alias("{feature.group}_{member.column}").'
            draft.refuse(address, "Column used twice", what, group.origin, mend)
        else:
            inputs[member.column] = Input(
                column=member.column, feature=feature.address, fingerprint=feature.fingerprint
            )
    return tuple(inputs[column] for column in sorted(inputs))


def _feature(draft: _Draft, group: GroupDeclaration, name: str, scope: _Scope) -> FeatureDefinition | None:
    feature = group.features[name]
    address = f"feature {group.name}.{name}"
    if not feature.valid:
        draft.broken.add(address)
        return None
    text = _rendered(draft, address, feature.sql if feature.sql is not None else f'"{name}"', feature.origin, {})
    expect = [_rendered(draft, address, condition, feature.origin, {}) for condition in feature.expect]
    conditions = tuple(condition for condition in expect if condition is not None)
    if text is None or len(conditions) < len(expect):
        return None
    try:
        tree = sql.expression(text)
        for condition in conditions:
            sql.expression(condition)
    except sql.SqlProblem as problem:
        draft.refuse(address, "Invalid SQL", f"{address}: {problem}", feature.origin, problem.mend)
        return None
    reads = sql.columns(tree)
    inputs = {item.column.lower() for item in scope.inputs}
    missing = [column for column in reads if column not in inputs] if group.source is None else []
    if missing:
        what = f"{address} reads the column {missing[0]!r}, which is none of its inputs."
        mend = did_you_mean(missing[0], inputs) or f"Its inputs are: {', '.join(sorted(inputs))}."
        draft.refuse(address, "Unknown column", what, feature.origin, mend)
        return None
    used = tuple(item for item in scope.inputs if item.column.lower() in reads)
    return FeatureDefinition(
        name=name,
        group=group.name,
        description=feature.description,
        tags=feature.tags,
        dtype=feature.dtype,
        sql=text,
        expect=conditions,
        reads=reads,
        inputs=used if group.source is None else (),
        entity=group.entity.name if group.entity else None,
        keys=scope.keys,
        timed=False,
        ttl=scope.ttl,
        fingerprint=_fingerprint(group, feature, sql.canonical(tree), scope, used),
        table="",
        **draft.common(feature),
    )


def _fingerprint(
    group: GroupDeclaration, feature: Feature[Any], canonical: str, scope: _Scope, used: tuple[Input, ...]
) -> str:
    if scope.source is None:
        return fingerprints.derived_feature(
            dtype=feature.dtype, sql=canonical, keys=scope.keys, inputs=used, ttl=scope.ttl
        )
    keys = [(key.name, key.dtype, group.keys.get(key.name, key.name).lower()) for key in scope.keys]
    return fingerprints.base_feature(
        dtype=feature.dtype, sql=canonical, keys=keys, source=scope.source.fingerprint, ttl=scope.ttl
    )


# Sets and models


def _member(draft: _Draft, address: str, reference: Reference, where: Origin) -> Member | None:
    """Return the feature that a reference names, or tell what is wrong with it."""
    target = reference if isinstance(reference, str) else _target(reference).address
    if target not in draft.features:
        group = target.partition(".")[0]
        if f"feature {target}" not in draft.broken and f"group {group}" not in draft.broken:
            what = f'{address} uses "{target}", which no group declares.'
            draft.refuse(address, "Unknown feature", what, where, did_you_mean(target, draft.features))
        draft.broken.add(address)
        return None
    feature = draft.features[target]
    keys: dict[str, str] = dict(reference.keys) if isinstance(reference, FeatureAlias) else {}
    unknown = sorted(keys.keys() - {key.name for key in feature.keys})
    if unknown:
        what = f"{address} gives {target} the key {unknown[0]!r}, which its entity {feature.entity} does not have."
        draft.refuse(address, "Unknown key", what, where, did_you_mean(unknown[0], [key.name for key in feature.keys]))
        return None
    column = feature.name if isinstance(reference, str) else reference.name
    return Member(column=column, feature=target, fingerprint=feature.fingerprint, keys=tuple(sorted(keys.items())))


def _add_sets(draft: _Draft, sets: Sequence[FeatureSet]) -> None:
    for feature_set in sets:
        address = f"set {feature_set.address}"
        found = [_member(draft, address, reference, feature_set.origin) for reference in feature_set.features]
        members = [member for member in found if member is not None]
        _refuse_shared_columns(draft, feature_set, members)
        draft.sets[feature_set.address] = SetDefinition(
            name=feature_set.name,
            version=feature_set.version,
            description=feature_set.description,
            members=tuple(members),
            **draft.common(feature_set),
        )


def _refuse_shared_columns(draft: _Draft, feature_set: FeatureSet, members: Sequence[Member]) -> None:
    keys = {
        dict(member.keys).get(key.name, key.name): key.dtype
        for member in members
        for key in draft.features[member.feature].keys
    }
    taken: dict[str, str] = {}
    address = f"set {feature_set.address}"
    for member in members:
        mend = f'Give one another name: .alias("{member.feature.replace(".", "_")}").'
        if member.column in keys:
            what = f"{feature_set.address}: {member.feature} would be the column {member.column}, which is a key."
            draft.refuse(address, "Column used twice", what, feature_set.origin, mend)
        elif member.column in taken:
            both = f"{taken[member.column]} and {member.feature} would both be the column {member.column}"
            draft.refuse(address, "Column used twice", f"{feature_set.address}: {both}.", feature_set.origin, mend)
        taken[member.column] = member.feature


def _add_models(draft: _Draft, models: Sequence[Model]) -> None:
    for model in models:
        if model.features.address not in draft.sets:
            _refuse_foreign(draft, f"model {model.name}", "set", model.features.address, model.origin)
            continue
        draft.models[model.name] = ModelDefinition(
            name=model.name,
            description=model.description,
            features=model.features.address,
            **draft.common(model),
        )
