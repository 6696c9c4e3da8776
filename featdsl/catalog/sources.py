"""Add sources to the catalogue: their location, their rendered SQL, and the sources that they read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial

from featdsl.catalog.builder import CatalogBuilder, key_columns
from featdsl.catalog.python_functions import function_of
from featdsl.declarations.source import Source
from featdsl.definitions import fingerprints
from featdsl.definitions.dialects import Dialect
from featdsl.definitions.durations import seconds
from featdsl.definitions.names import EVENT_NUMBER, did_you_mean
from featdsl.definitions.sources import FunctionDefinition, SourceDefinition, SourceFormat
from featdsl.errors import SqlProblem
from featdsl.sql import expressions, templates, variants


def add_sources(builder: CatalogBuilder, sources: Sequence[Source]) -> None:
    """Add the sources to the builder, each after the ones that it reads."""
    by_name = {source.name: source for source in sources}
    names = templates.source_names(by_name)
    texts = {source.name: text for source in sources if (text := _rendered_query(builder, source, names)) is not None}
    functions = {source.name: function for source in sources if (function := _function(builder, source)) is not None}
    inputs = {name: _source_inputs(builder, by_name[name], text, by_name) for name, text in texts.items()}
    inputs |= {name: _known(builder, by_name[name], each.parameters, by_name) for name, each in functions.items()}
    needs = {name: inputs.get(name, ()) for name in by_name if f"source {name}" not in builder.broken}
    for name in builder.ordered("source", by_name, needs):
        if all(upstream in builder.sources for upstream in needs[name]):
            _add_source(builder, by_name[name], texts.get(name, ""), needs[name], functions.get(name))
        else:
            builder.broken.add(f"source {name}")


def _rendered_query(builder: CatalogBuilder, source: Source, names: Mapping[str, str]) -> str | None:
    if source.sql is None:
        return None
    return builder.rendered(f"source {source.name}", source.sql, source.origin, names)


def _variants(builder: CatalogBuilder, source: Source, inputs: Sequence[str]) -> tuple[tuple[Dialect, str], ...]:
    """Return the queries of a source in other dialects, with their sources rendered as in the first."""
    names = {name: f"`source_{name}`" for name in templates.source_names(builder.sources)}
    check = partial(variants.check_query, relations={f"source_{name}" for name in inputs})
    return builder.variants(f"source {source.name}", source.variants, source.origin, names, check)


def _source_inputs(builder: CatalogBuilder, source: Source, text: str, known: Mapping[str, Source]) -> tuple[str, ...]:
    address = f"source {source.name}"
    try:
        inputs = expressions.query(text, builder.cache).inputs
    except SqlProblem as problem:
        builder.refuse(address, "Invalid SQL", f"{address}: {problem}", source.origin, problem.fix)
        return ()
    return _known(builder, source, inputs, known)


def _function(builder: CatalogBuilder, source: Source) -> FunctionDefinition | None:
    if source.function is None:
        return None
    return function_of(builder, f"source {source.name}", source.function, source.origin)


def _known(
    builder: CatalogBuilder, source: Source, inputs: tuple[str, ...], known: Mapping[str, Source]
) -> tuple[str, ...]:
    """Return a source's inputs, sorted; adds a problem to the builder for each undeclared one."""
    address = f"source {source.name}"
    for name in inputs:
        if name not in known and f"source {name}" not in builder.broken:
            what = f'{address} reads "{name}", which no source declares.'
            builder.refuse(address, "Unknown source", what, source.origin, did_you_mean(name, known))
    return tuple(sorted(inputs))


def _add_source(
    builder: CatalogBuilder, source: Source, text: str, inputs: tuple[str, ...], function: FunctionDefinition | None
) -> None:
    format_, location = _location(builder, source)
    columns = key_columns(source.columns or {})
    if source.pushed:
        columns = key_columns({**source.file_schema, EVENT_NUMBER: "BIGINT"})
    options = tuple(sorted((name, json.dumps(value)) for name, value in source.options.items()))
    definition = SourceDefinition(
        name=source.name,
        description=source.description,
        format=format_,
        location=location,
        options=options,
        sql=text,
        variants=_variants(builder, source, inputs),
        inputs=inputs,
        function=function,
        columns=columns,
        schema=key_columns(source.file_schema),
        timestamp=source.timestamp,
        available_at=source.available_at,
        valid_to=source.valid_to,
        tie_break=_tie_break(source),
        lookback=seconds(source.lookback) if source.lookback else None,
        time_unit=source.time_unit,
        timezone=source.timezone,
        ambiguous=source.ambiguous or "refuse",
        event_id=source.event_id,
        fingerprint="",
        **builder.common(source),
    )

    def fingerprint(each: SourceDefinition, upstream: Mapping[str, str]) -> str:
        return fingerprints.source(
            format=each.format,
            location=each.location,
            options=each.options,
            sql=fingerprints.in_dialects(_canonical(builder, each), each.variants),
            inputs=upstream,
            time=(each.timestamp, each.tie_break),
            available_at=each.available_at,
            reading=_reading(each),
            function=each.function.fingerprint if each.function else "",
            columns=each.columns,
        )

    upstream = {name: builder.sources[name].fingerprint for name in inputs}
    builder.sources[source.name] = builder.applied.source(definition, fingerprint, upstream)


def _canonical(builder: CatalogBuilder, source: SourceDefinition) -> str:
    return expressions.query(source.sql, builder.cache).canonical if source.sql else ""


def _tie_break(source: Source) -> str | tuple[str, ...] | None:
    """Return the columns that choose between rows of one time; a single column as a string, as older definitions have it.

    Of pushed events, the one that arrived last wins in the end: a refresh does not fail on events of one time.
    """
    if source.pushed:
        return (*source.tie_break, EVENT_NUMBER) if source.tie_break else EVENT_NUMBER
    return source.tie_break[0] if len(source.tie_break) == 1 else source.tie_break or None


def _reading(source: SourceDefinition) -> dict[str, str]:
    """Return the source's options that decide how its times and columns are read."""
    options = {"time_unit": source.time_unit, "timezone": source.timezone, "valid_to": source.valid_to}
    # "refuse" yields no values, so only the other two choices change values.
    if source.ambiguous != "refuse":
        options["ambiguous"] = source.ambiguous
    options["schema"] = ", ".join(sorted(f"{each.name.lower()} {each.dtype}" for each in source.schema))
    return {name: value for name, value in options.items() if value}


def _location(builder: CatalogBuilder, source: Source) -> tuple[SourceFormat, tuple[str, ...]]:
    if source.sql is not None:
        return "sql", ()
    if source.function is not None:
        return "python", ()
    if source.table is not None:
        return ("table", (str(source.database), source.table)) if source.database else ("cluster", (source.table,))
    if source.pushed:
        return "push", (source.name,)
    if source.path is None:
        return "frame", (builder.frames.get(source.name, ""),)
    return source.file_format(), tuple(sorted(source.path))
