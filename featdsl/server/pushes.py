"""The endpoint that takes events for a source."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import to_json
from starlette.responses import Response

from featdsl.definitions.coercion import Misfit
from featdsl.definitions.names import nearest
from featdsl.errors import OnlineStoreError, RequestError
from featdsl.server import arrow, bodies
from featdsl.server.access import Caller
from featdsl.server.access_log import LogEntry
from featdsl.server.bodies import JSON
from featdsl.server.endpoints import Handler
from featdsl.server.json_values import Convert, decoder
from featdsl.server.refusals import RETRY_AFTER, Code, Refusal, wrong_type
from featdsl.server.selections import shown

if TYPE_CHECKING:
    from starlette.requests import Request

    from featdsl.definitions.snapshot import Snapshot
    from featdsl.definitions.sources import SourceDefinition
    from featdsl.server.serving import Serving

PATH = "/v1/push/{source}"

_CODES: Mapping[str, Code] = {
    "Unknown column": "unknown_column",
    "Missing column": "missing_column",
    "Wrong type of column": "wrong_type",
    "Missing event time": "missing_timestamp",
    "Missing event id": "missing_event_id",
    "Event time in the future": "future_timestamp",
}
"""The code of each problem of an event. The texts of these problems have no values."""


class EventsRequest(BaseModel):
    """The body of `POST /v1/push/{source}`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    rows: Annotated[list[bodies.Row], Field(description="The events, each with every column of the source.")]


class EventsAnswer(BaseModel):
    """The answer of `POST /v1/push/{source}`."""

    accepted: Annotated[int, Field(description="The number of events that were added.")]
    duplicates: Annotated[int, Field(description="The number of events whose ids were known already.")]


def push(serving: Serving) -> Handler:
    """Return the handler of `POST /v1/push/{source}`. A client may repeat a request: known events are not added again."""

    async def handler(request: Request, caller: Caller, entry: LogEntry) -> Response:
        form = bodies.form_of(request)
        source = pushed_source((await serving.newest()).snapshot, request.path_params["source"], caller)
        body = await bodies.read(request, serving.limits.body)
        if form == "arrow":
            rows = await asyncio.to_thread(arrow.rows, body)
        else:
            rows = bodies.parsed(body, EventsRequest).rows
        entry.rows = len(rows)
        if len(rows) > serving.limits.rows:
            raise Refusal(413, "too_many_rows", f"A request has up to {serving.limits.rows} rows.")
        rows = rows if form == "arrow" else _decoded(rows, source)
        try:
            result = await asyncio.to_thread(serving.store.push, source.name, rows)
        except RequestError as error:
            problem = error.problems[0]
            if problem.summary not in _CODES:
                raise
            raise Refusal(422, _CODES[problem.summary], f"{problem.what} {problem.fix}") from None
        except OnlineStoreError:
            text = "The events are stored, but their values are not published. Send the same request again."
            raise Refusal(503, "online_store_down", text, headers=(("Retry-After", RETRY_AFTER),)) from None
        serving.metrics.pushed(source.name, result.accepted)
        return Response(to_json({"accepted": result.accepted, "duplicates": result.duplicates}), media_type=JSON)

    return handler


def pushed_source(snapshot: Snapshot, name: str, caller: Caller) -> SourceDefinition:
    """Return the source that a caller pushes to. Raises Refusal.

    A token pushes to the sources of its team, unless it is limited to sets; without tokens everyone pushes.
    """
    sources = snapshot.catalog.sources
    own = sorted(each.name for each in sources.values() if each.format == "push" and caller.may_push(each.owner))
    source = sources.get(name)
    if source is None or source.format != "push":
        text = f'No source "{shown(name)}" takes events.'
        raise Refusal(404, "unknown_source", text, nearest(shown(name), own))
    if not caller.may_push(source.owner):
        raise Refusal(403, "forbidden_source", "The token may not push to this source.", nearest(name, own))
    return source


def _decoded(rows: list[dict[str, Any]], source: SourceDefinition) -> list[dict[str, Any]]:
    """Return events with values of the types that JSON does not have. Raises Refusal."""
    dtypes = {column.name: column.dtype for column in source.event_columns}
    decoders = {name: convert for name, dtype in dtypes.items() if (convert := decoder(dtype)) is not None}
    if not decoders:
        return rows
    return [
        {name: _value(value, decoders.get(name), name, dtypes, number) for name, value in row.items()}
        for number, row in enumerate(rows, start=1)
    ]


def _value(value: Any, convert: Convert | None, name: str, dtypes: Mapping[str, str], number: int) -> Any:
    try:
        return value if value is None or convert is None else convert(value)
    except Misfit:
        raise wrong_type(name, dtypes[name], number) from None
