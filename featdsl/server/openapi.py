"""The OpenAPI document: the paths, their bodies and their errors, and an example for each set version."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic.json_schema import models_json_schema

from featdsl import __version__
from featdsl.query.selection import Selection
from featdsl.server import json_schemas, pushes
from featdsl.server.answers import FeastAnswer, FeaturesAnswer, RefusalAnswer
from featdsl.server.bodies import ARROW, JSON, FeastRequest, FeaturesRequest

if TYPE_CHECKING:
    from featdsl.server.access import Caller
    from featdsl.server.selections import Resolver

_MODELS = (
    FeaturesRequest, FeaturesAnswer, FeastRequest, FeastAnswer, pushes.EventsRequest, pushes.EventsAnswer, RefusalAnswer,
)  # fmt: skip
_REFS = "#/components/schemas/{model}"
_ERRORS = {
    "400": "The body is not JSON, or has the wrong shape: not_json, invalid_request.",
    "401": "The token is missing or wrong: missing_token, wrong_token.",
    "403": "The token may not read the features: forbidden_set, forbidden_features, private_group, forbidden_source.",
    "404": "A name is unknown: unknown_feature_set, unknown_version, unknown_feature, unknown_source.",
    "406": "No form of the Accept header is available: not_acceptable.",
    "413": "The request is too large: body_too_large, too_many_rows.",
    "415": "The Content-Type is unknown: unsupported_media_type.",
    "422": (
        "Names or values do not fit the features: unknown_key, missing_key, unknown_request, missing_request, wrong_type, "
        "ambiguous_feature, invalid_features, invalid_request, uncomputable; for events unknown_column, missing_column, "
        "missing_timestamp, missing_event_id, future_timestamp."
    ),
    "503": "A store does not answer: online_store_down, store_down. Retry-After says when to repeat the request.",
}
_VALUES = (
    "Values in JSON: BOOLEAN, integers of up to 64 bits, FLOAT and DOUBLE are JSON's own; NaN and infinities are strings. "
    "HUGEINT, UHUGEINT, BIGNUM and DECIMAL are strings with all digits. Timestamps are ISO 8601 in UTC with Z; dates, times and "
    "intervals are ISO 8601. BLOB is base64. LIST and ARRAY are arrays, STRUCT and MAP with VARCHAR keys are objects, other "
    "MAPs are arrays of pairs. NULL is null."
)


def document(title: str, resolver: Resolver, caller: Caller | None) -> dict[str, Any]:
    """Return the OpenAPI document; its examples are of the sets that a caller may read, without one there are none."""
    _, definitions = models_json_schema([(model, "validation") for model in _MODELS], ref_template=_REFS)
    sets = resolver.readable_sets(caller) if caller is not None else []
    selections = {address: resolver.selection_of(address) for address in sets}
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": __version__, "description": _VALUES},
        "paths": {
            "/v1/features": {"post": _features(selections)},
            "/get-online-features": {"post": _feast(selections)},
            pushes.PATH: {"post": _push()},
            "/health": {"get": _plain("Whether the process lives.", {"200": "It lives."})},
            "/ready": {
                "get": _plain(
                    "Whether requests can be answered.", {"200": "They can.", "503": "They cannot; it says why."}
                )
            },
            "/metrics": {
                "get": {
                    "summary": "The metrics, for Prometheus.",
                    "responses": {"200": {"description": "The metrics.", "content": {"text/plain": {}}}},
                }
            },
        },
        "components": {
            "schemas": definitions["$defs"],
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _features(selections: dict[str, Selection]) -> dict[str, Any]:
    examples = {address: {"value": features_example(address, each)} for address, each in selections.items()}
    answers = {address: {"value": _answer_example(address, each)} for address, each in selections.items()}
    return {
        "summary": "Return the values of a feature set, or of a list of features, for rows of keys.",
        "operationId": "features",
        "security": [{"token": []}, {}],
        "requestBody": {
            "required": True,
            "content": {
                JSON: {"schema": _ref("FeaturesRequest"), **({"examples": examples} if examples else {})},
                ARROW: {"schema": {"type": "string", "contentMediaType": ARROW}},
            },
        },
        "parameters": [
            _query("features", "For a body of Arrow: a set version, or features.", {"type": "array", "items": _TEXT}),
            _query("with_status", "For a body of Arrow: whether the answer has statuses.", {"type": "boolean"}),
        ],
        "responses": {
            "200": {
                "description": "The values.",
                "content": {
                    JSON: {"schema": _ref("FeaturesAnswer"), **({"examples": answers} if answers else {})},
                    ARROW: {"schema": {"type": "string", "contentMediaType": ARROW}},
                },
            },
            **_refusals(),
        },
    }


def _feast(selections: dict[str, Selection]) -> dict[str, Any]:
    examples = {
        address: {
            "value": {
                "feature_service": address,
                "entities": {
                    name: [json_schemas.example(dtype)] for name, dtype in {**each.keys, **each.request}.items()
                },
            }
        }
        for address, each in selections.items()
    }
    return {
        "summary": "Return values in the wire format of Feast's feature server.",
        "operationId": "get_online_features",
        "security": [{"token": []}, {}],
        "requestBody": {
            "required": True,
            "content": {JSON: {"schema": _ref("FeastRequest"), **({"examples": examples} if examples else {})}},
        },
        "responses": {
            "200": {"description": "The values, by column.", "content": {JSON: {"schema": _ref("FeastAnswer")}}},
            **_refusals(),
        },
    }


_TEXT = {"type": "string"}


def _push() -> dict[str, Any]:
    return {
        "summary": "Append events to a source, durably; known events are not added again.",
        "operationId": "push",
        "security": [{"token": []}, {}],
        "parameters": [
            {"name": "source", "in": "path", "required": True, "description": "The source.", "schema": _TEXT}
        ],
        "requestBody": {
            "required": True,
            "content": {
                JSON: {"schema": _ref("EventsRequest")},
                ARROW: {"schema": {"type": "string", "contentMediaType": ARROW}},
            },
        },
        "responses": {
            "200": {"description": "The events are stored.", "content": {JSON: {"schema": _ref("EventsAnswer")}}},
            **_refusals(),
        },
    }


def _query(name: str, description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "description": description, "schema": schema}


def features_example(address: str, selection: Selection) -> dict[str, Any]:
    """Return a body of `POST /v1/features` for a set, with keys and request-time data of the declared types."""
    body: dict[str, Any] = {
        "features": address,
        "rows": [{name: json_schemas.example(dtype) for name, dtype in selection.keys.items()}],
    }
    if selection.request:
        body["request"] = {name: json_schemas.example(dtype) for name, dtype in selection.request.items()}
    return body


def _answer_example(address: str, selection: Selection) -> dict[str, Any]:
    described = {
        "set": address,
        "state": 1,
        "read_at": "2026-01-31T12:30:00Z",
        "published_at": "2026-01-31T12:00:00Z",
        "from_tables": {},
    }
    row = {column: json_schemas.example(dtype) for column, dtype in selection.dtypes.items()}
    return {"metadata": described, "rows": [row]}


def _plain(summary: str, responses: dict[str, str]) -> dict[str, Any]:
    schema = {"type": "object", "required": ["status"], "properties": {"status": _TEXT, "reason": _TEXT}}
    described = {
        status: {"description": text, "content": {JSON: {"schema": schema}}} for status, text in responses.items()
    }
    return {"summary": summary, "responses": described}


def _refusals() -> dict[str, Any]:
    content = {JSON: {"schema": _ref("RefusalAnswer")}}
    return {status: {"description": text, "content": content} for status, text in _ERRORS.items()}


def _ref(model: str) -> dict[str, str]:
    return {"$ref": _REFS.format(model=model)}
