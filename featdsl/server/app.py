"""The application: its routes, its errors and its OpenAPI document."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from pydantic_core import to_json
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from featdsl.errors import FeatdslError
from featdsl.server import access_log, endpoints, pushes
from featdsl.server.access import Caller
from featdsl.server.access_log import Write
from featdsl.server.bodies import JSON
from featdsl.server.endpoints import ENTRY, Endpoint, endpoint, refused
from featdsl.server.metrics import Metrics
from featdsl.server.observing import Observing
from featdsl.server.openapi import document
from featdsl.server.refusals import Code, Refusal
from featdsl.server.serving import Limits, Serving
from featdsl.server.sizes import size_in_bytes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from featdsl.featurestore import FeatureStore
    from featdsl.project.settings import Project

_CODES: dict[int, tuple[Code, str]] = {
    404: ("not_found", "The server has no such path. Its paths: GET /openapi.json"),
    405: ("method_not_allowed", "The path has other methods: GET /openapi.json"),
}


def create_app(store: FeatureStore, project: Project, *, write: Write = access_log.to_stdout) -> Observing:
    """Return the application that serves a store; `write` gets each line of the access log."""
    settings = project.settings.serving
    limits = Limits(rows=settings.max_rows, body=size_in_bytes(settings.max_body))
    serving = Serving(store, project, limits, Metrics())

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        with suppress(
            FeatdslError
        ):  # the first request finds the registry read; /ready tells of one that cannot be read
            await serving.resolver()
        yield
        # A signal ends a worker without `atexit`.
        await asyncio.to_thread(store.flush_log)

    app = FastAPI(
        title=f"Features of {project.name}", openapi_url=None, docs_url=None, redoc_url=None, lifespan=lifespan
    )
    direct = {
        "/v1/features": endpoint(serving, endpoints.features(serving)),
        "/get-online-features": endpoint(serving, endpoints.feast_features(serving)),
    }
    # Plain routes: FastAPI's own would validate each request and each answer a second time.
    app.router.routes[:] = routes = _routes(serving, app, direct)
    app.add_exception_handler(HTTPException, _of_http)
    paths = frozenset(route.path for route in routes)
    return Observing(app, metrics=serving.metrics, write=write, paths=paths, direct=direct)


def _routes(serving: Serving, app: FastAPI, direct: Mapping[str, Endpoint]) -> list[Route]:
    return [
        *(Route(path, answer, methods=["POST"]) for path, answer in direct.items()),
        Route(pushes.PATH, endpoint(serving, pushes.push(serving)), methods=["POST"]),
        Route("/health", endpoints.health(serving), methods=["GET"]),
        Route("/ready", endpoints.ready(serving), methods=["GET"]),
        Route("/metrics", endpoints.metrics(serving), methods=["GET"]),
        Route("/openapi.json", _openapi(serving, app), methods=["GET"]),
    ]


def _openapi(serving: Serving, app: FastAPI) -> Endpoint:
    """Return the endpoint of the OpenAPI document, with examples of the sets that the caller may read."""

    async def answered(request: Request) -> Response:
        try:
            caller: Caller | None = serving.tokens.caller(request.headers.get("authorization"))
        except Refusal:
            caller = None
        described: dict[str, Any] = document(app.title, await serving.resolver(), caller)
        return Response(to_json(described), media_type=JSON)

    return answered


async def _of_http(request: Request, error: Exception) -> Response:
    """Answer a request for a path or a method that the server does not have."""
    status = error.status_code if isinstance(error, HTTPException) else 400
    code, text = _CODES.get(status, ("invalid_request", "The request is not valid."))
    headers = tuple((getattr(error, "headers", None) or {}).items())
    return refused(Refusal(status, code, text, headers=headers), request.scope[ENTRY])
