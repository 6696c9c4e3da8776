"""Sources in the catalogue: their place, their rendered SQL, what they read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from featdsl import expressions, fingerprints, templates
from featdsl.definitions import FunctionDefinition, SourceDefinition, SourceFormat
from featdsl.draft import Draft, key_columns
from featdsl.draft_functions import function_of
from featdsl.durations import seconds
from featdsl.errors import SqlProblem
from featdsl.names import did_you_mean
from featdsl.source import Source


def add_sources(draft: Draft, sources: Sequence[Source]) -> None:
    """Add the sources, each after those that it reads."""
    by_name = {source.name: source for source in sources}
    names = templates.source_names(by_name)
    texts = {source.name: text for source in sources if (text := _rendered_query(draft, source, names)) is not None}
    made = {source.name: found for source in sources if (found := _function(draft, source)) is not None}
    inputs = {name: _source_inputs(draft, by_name[name], text, by_name) for name, text in texts.items()}
    inputs |= {name: _known(draft, by_name[name], found.parameters, by_name) for name, found in made.items()}
    needs = {name: inputs.get(name, ()) for name in by_name if f"source {name}" not in draft.broken}
    for name in draft.ordered("source", by_name, needs):
        if all(upstream in draft.sources for upstream in needs[name]):
            _add_source(draft, by_name[name], texts.get(name, ""), needs[name], made.get(name))
        else:
            draft.broken.add(f"source {name}")


def _rendered_query(draft: Draft, source: Source, names: Mapping[str, str]) -> str | None:
    if source.sql is None:
        return None
    return draft.rendered(f"source {source.name}", source.sql, source.origin, names)


def _source_inputs(draft: Draft, source: Source, text: str, known: Mapping[str, Source]) -> tuple[str, ...]:
    address = f"source {source.name}"
    try:
        inputs = expressions.query(text, draft.memory).inputs
    except SqlProblem as problem:
        draft.refuse(address, "Invalid SQL", f"{address}: {problem}", source.origin, problem.mend)
        return ()
    return _known(draft, source, inputs, known)


def _function(draft: Draft, source: Source) -> FunctionDefinition | None:
    if source.function is None:
        return None
    return function_of(draft, f"source {source.name}", source.function, source.origin)


def _known(draft: Draft, source: Source, inputs: tuple[str, ...], known: Mapping[str, Source]) -> tuple[str, ...]:
    """Return the sources that one reads, sorted; refuse those that nothing declares."""
    address = f"source {source.name}"
    for name in inputs:
        if name not in known and f"source {name}" not in draft.broken:
            what = f'{address} reads "{name}", which no source declares.'
            draft.refuse(address, "Unknown source", what, source.origin, did_you_mean(name, known))
    return tuple(sorted(inputs))


def _add_source(
    draft: Draft, source: Source, text: str, inputs: tuple[str, ...], function: FunctionDefinition | None
) -> None:
    place = _place(draft, source)
    columns = key_columns(source.columns or {})
    options = tuple(sorted((name, json.dumps(value)) for name, value in source.options.items()))
    found = SourceDefinition(
        name=source.name,
        description=source.description,
        format=place[0],
        location=place[1],
        options=options,
        sql=text,
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
        fingerprint="",
        **draft.common(source),
    )

    def fingerprint(each: SourceDefinition, upstream: Mapping[str, str]) -> str:
        return fingerprints.source(
            format=each.format,
            location=each.location,
            options=each.options,
            sql=expressions.query(each.sql, draft.memory).canonical if each.sql else "",
            inputs=upstream,
            time=(each.timestamp, each.tie_break),
            available_at=each.available_at,
            reading=_reading(each),
            function=each.function.fingerprint if each.function else "",
            columns=each.columns,
        )

    upstream = {name: draft.sources[name].fingerprint for name in inputs}
    draft.sources[source.name] = draft.applied.source(found, fingerprint, upstream)


def _tie_break(source: Source) -> str | tuple[str, ...] | None:
    """Return the columns that choose between rows; one stays the text that it was before there could be several."""
    return source.tie_break[0] if len(source.tie_break) == 1 else source.tie_break or None


def _reading(source: SourceDefinition) -> dict[str, str]:
    """Return what a source says of how its times and columns are read."""
    said = {"time_unit": source.time_unit, "timezone": source.timezone, "valid_to": source.valid_to}
    # What is refused has no value, so only the two that choose one change values.
    if source.ambiguous != "refuse":
        said["ambiguous"] = source.ambiguous
    said["schema"] = ", ".join(sorted(f"{each.name.lower()} {each.dtype}" for each in source.schema))
    return {name: value for name, value in said.items() if value}


def _place(draft: Draft, source: Source) -> tuple[SourceFormat, tuple[str, ...]]:
    if source.sql is not None:
        return "sql", ()
    if source.function is not None:
        return "python", ()
    if source.table is not None:
        return "table", (str(source.database), source.table)
    if source.path is None:
        return "frame", (draft.frames.get(source.name, ""),)
    return source.file_format(), tuple(sorted(source.path))
