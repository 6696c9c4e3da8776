"""The endpoints that answer with values."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from featdsl.errors import FeatdslError
from featdsl.server import answers, arrow, bodies
from featdsl.server.access import Caller
from featdsl.server.access_log import LogEntry
from featdsl.server.bodies import ARROW, JSON, FeastRequest, FeaturesRequest
from featdsl.server.refusals import Refusal, of_error
from featdsl.server.selections import Named, Resolved, address_of_service
from featdsl.server.serving import Serving, Wanted

Endpoint = Callable[[Request], Awaitable[Response]]
Handler = Callable[[Request, Caller, LogEntry], Awaitable[Response]]

ENTRY = "featdsl.entry"
"""The key of the scope of a request with its entry of the access log."""


def endpoint(serving: Serving, handler: Handler) -> Endpoint:
    """Return an endpoint that asks for a token, calls the handler, and answers with its errors."""

    async def answered(request: Request) -> Response:
        entry: LogEntry = request.scope[ENTRY]
        try:
            caller = serving.tokens.caller(request.headers.get("authorization"))
            entry.team = caller.team or None
            return await handler(request, caller, entry)
        except Refusal as refusal:
            return refused(refusal, entry)
        except FeatdslError as error:
            return refused(of_error(error), entry)

    return answered


def refused(refusal: Refusal, entry: LogEntry) -> Response:
    """Return the answer to a request that is refused."""
    entry.code = refusal.code
    return Response(refusal.body(), refusal.status, dict(refusal.headers), JSON)


# POST /v1/features


def features(serving: Serving) -> Handler:
    """Return the handler of `POST /v1/features`."""

    async def handler(request: Request, caller: Caller, entry: LogEntry) -> Response:
        form, wanted_form = bodies.form_of(request), bodies.form_wanted(request)
        with_status = _flag(request, "with_status") if request.scope["query_string"] else False
        body = await bodies.read(request, serving.limits.body)
        if form == "arrow":
            wanted = replace(await _of_arrow(request, body, serving, caller), with_status=with_status)
        else:
            given = bodies.parsed(body, FeaturesRequest)
            named: Named = given.features if isinstance(given.features, str) else tuple(given.features)
            wanted = Wanted(named=named, rows=given.rows, request=given.request, with_status=given.with_status)
        _, answer = await serving.answer(wanted, caller, entry)
        if wanted_form == "arrow":
            return Response(await asyncio.to_thread(arrow.answer_stream, answer), media_type=ARROW)
        return Response(answers.features_json(answer), media_type=JSON)

    return handler


async def _of_arrow(request: Request, body: bytes, serving: Serving, caller: Caller) -> Wanted:
    """Return what a stream of Arrow asks for; the query of the URL has the features, and the columns have keys and requests."""
    names = request.query_params.getlist("features")
    if not names:
        raise Refusal(400, "invalid_request", "The URL lacks ?features=, a set version or, repeated, features.")
    named: Named = names[0] if len(names) == 1 else tuple(names)
    listed = await asyncio.to_thread(arrow.rows, body)
    _, resolved = await serving.resolved(named, caller)
    if not resolved.request:
        return Wanted(named=named, rows=listed, is_json=False)
    rows = [{name: value for name, value in row.items() if name not in resolved.request} for row in listed]
    requests = [{name: value for name, value in row.items() if name in resolved.request} for row in listed]
    return Wanted(named=named, rows=rows, request=requests, is_json=False)


def _flag(request: Request, name: str) -> bool:
    """Return whether a parameter of the URL is true; false without it. Raises Refusal."""
    values = set(request.query_params.getlist(name)) or {"false"}
    if values <= {"true"} or values <= {"false"}:
        return values == {"true"}
    raise Refusal(400, "invalid_request", f"The parameter {name} of the URL is true or false.")


# POST /get-online-features


def feast_features(serving: Serving) -> Handler:
    """Return the handler of `POST /get-online-features`, in the wire format of Feast's feature server."""

    async def handler(request: Request, caller: Caller, entry: LogEntry) -> Response:
        if bodies.form_of(request, lenient=True) == "arrow":
            raise Refusal(415, "unsupported_media_type", f"A body is {JSON}.")
        if bodies.form_wanted(request) == "arrow":
            raise Refusal(406, "not_acceptable", f"An answer is {JSON}.")
        given = bodies.parsed(await bodies.read(request, serving.limits.body), FeastRequest)
        named = _feast_names(given)
        _, resolved = await serving.resolved(named, caller)
        entities = {name: column for name, column in given.entities.items() if name not in resolved.request}
        requests = {name: column for name, column in given.entities.items() if name in resolved.request}
        count = _length(given.entities)
        wanted = Wanted(
            named=named,
            rows=_by_row(entities, count),
            request=_by_row(requests, count) if requests else None,
            with_status=True,
        )
        resolved, answer = await serving.answer(wanted, caller, entry)
        names = _feast_columns(resolved, full=given.full_feature_names)
        return Response(answers.feast_json(answer, entities, names), media_type=JSON)

    return handler


def _feast_names(given: FeastRequest) -> Named:
    """Return the set version that a feature service is, or the features of a list of `group:feature`. Raises Refusal."""
    if given.feature_service:
        return address_of_service(given.feature_service)
    if not given.features:
        raise Refusal(400, "invalid_request", "The body has neither feature_service nor features.")
    return tuple(name.replace(":", ".", 1) for name in given.features)


def _length(columns: Mapping[str, Sequence[Any]]) -> int:
    """Return the number of rows of columns. Raises Refusal if they differ."""
    lengths = {len(column) for column in columns.values()}
    if len(lengths) > 1:
        raise Refusal(422, "invalid_request", "The columns of entities have different lengths.")
    return lengths.pop() if lengths else 0


def _by_row(columns: Mapping[str, Sequence[Any]], count: int) -> list[dict[str, Any]]:
    if not columns:
        return [{} for _ in range(count)]
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _feast_columns(resolved: Resolved, *, full: bool) -> dict[str, str]:
    """Return the name of each column in the answer: `group__column` if it is to be full."""
    return {
        want.column: f"{want.feature.group}__{want.column}" if full else want.column
        for want in resolved.selection.wants
    }


# For operation


def health(_: Serving) -> Endpoint:
    """Return the endpoint that says that the process lives."""

    async def answered(_: Request) -> Response:
        return Response('{"status":"alive"}', media_type=JSON)

    return answered


def ready(serving: Serving) -> Endpoint:
    """Return the endpoint that says whether requests can be answered, or why not."""

    async def answered(_: Request) -> Response:
        reason = await serving.unready()
        if reason is None:
            return Response('{"status":"ready"}', media_type=JSON)
        body = json.dumps({"status": "not ready", "reason": reason})
        return Response(body, 503, {"Retry-After": "1"}, JSON)

    return answered


def metrics(serving: Serving) -> Endpoint:
    """Return the endpoint with the metrics."""

    async def answered(_: Request) -> Response:
        text, content_type = await asyncio.to_thread(serving.metrics.text)
        return Response(text, headers={"Content-Type": content_type})

    return answered
