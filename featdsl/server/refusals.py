"""The errors that the server answers with: an HTTP status, a code for programs, and a message without values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from pydantic_core import to_json

from featdsl.errors import (
    DataError,
    FeatdslError,
    OnlineStoreError,
    RequestError,
    ResourceError,
    StoreError,
    UnreachableError,
)

Code = Literal[
    "not_json",
    "invalid_request",
    "missing_token",
    "wrong_token",
    "forbidden_set",
    "forbidden_features",
    "private_group",
    "not_found",
    "unknown_feature_set",
    "unknown_version",
    "unknown_feature",
    "unknown_source",
    "method_not_allowed",
    "not_acceptable",
    "body_too_large",
    "too_many_rows",
    "unsupported_media_type",
    "ambiguous_feature",
    "invalid_features",
    "unknown_key",
    "missing_key",
    "unknown_request",
    "missing_request",
    "wrong_type",
    "uncomputable",
    "forbidden_source",
    "unknown_column",
    "missing_column",
    "missing_timestamp",
    "missing_event_id",
    "future_timestamp",
    "internal",
    "online_store_down",
    "store_down",
]
"""Every code that an error of the server can have."""

CODES: tuple[str, ...] = get_args(Code)

RETRY_AFTER = "1"
"""Seconds after which a client may repeat a request that a store did not answer."""


@dataclass
class Refusal(Exception):
    """A request that the server does not answer with values. `nearest` holds the similar names that the caller may read."""

    status: int
    code: Code
    message: str
    nearest: Sequence[str] = ()
    headers: tuple[tuple[str, str], ...] = ()

    def body(self) -> bytes:
        """Return the JSON of the answer."""
        error = {"code": self.code, "message": self.message, "nearest": list(self.nearest)}
        return to_json({"error": error})


def wrong_type(name: str, dtype: str, row: int | None) -> Refusal:
    """Return the refusal of a key or of request-time data that does not fit its type; `row` counts from 1."""
    place = f" in row {row}" if row is not None else ""
    return Refusal(422, "wrong_type", f"The value of {name}{place} is not a {dtype}.")


def of_error(error: FeatdslError) -> Refusal:
    """Return the refusal for an error of the feature store. Texts of errors may hold values, so that none is repeated."""
    match error:
        case OnlineStoreError():
            text = "The online store does not answer. Repeat the request later."
            return Refusal(503, "online_store_down", text, headers=(("Retry-After", RETRY_AFTER),))
        case StoreError() | UnreachableError() | ResourceError():
            text = "The store of the features cannot be read. Repeat the request later."
            return Refusal(503, "store_down", text, headers=(("Retry-After", RETRY_AFTER),))
        case DataError():
            text = "The SQL of a feature fails on these rows."
            return Refusal(422, "uncomputable", text)
        case RequestError():
            summary = error.problems[0].summary if error.problems else "The request does not fit"
            return Refusal(422, "wrong_type" if summary.startswith("Wrong type") else "invalid_request", f"{summary}.")
        case _:
            return Refusal(422, "invalid_features", "The features cannot be read.")
