"""Write answers as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, Field
from pydantic_core import to_json

from featdsl.server.json_values import Convert, encoder

if TYPE_CHECKING:
    from featdsl.query.answer import Answer

EPOCH = "1970-01-01T00:00:00Z"
"""The event timestamp of a value that has none, in Feast's wire format."""

FEAST_STATUSES = {
    "present": "PRESENT",
    "null": "NULL_VALUE",
    "unknown_entity": "NOT_FOUND",
    "expired": "OUTSIDE_MAX_AGE",
}


class AnswerMetadata(BaseModel):
    """How the values of an answer were read."""

    set: Annotated[str | None, Field(description="The set version; null for a list of features.")]
    state: Annotated[int, Field(description="The state of the registry.")]
    read_at: Annotated[str, Field(description="The time of the values.", json_schema_extra={"format": "date-time"})]
    published_at: Annotated[
        str | None,
        Field(
            description="The time of the publication that was read; null if all values come from the tables.",
            json_schema_extra={"format": "date-time"},
        ),
    ]
    from_tables: Annotated[
        dict[str, str], Field(description="The columns that were read from the tables, each with the reason.")
    ]


class StatusOfValue(BaseModel):
    """The status of one value."""

    status: Annotated[str, Field(json_schema_extra={"enum": ["present", "null", "unknown_entity", "expired"]})]
    event_timestamp: Annotated[str | None, Field(json_schema_extra={"format": "date-time"})]


class FeaturesAnswer(BaseModel):
    """The answer of `POST /v1/features`."""

    metadata: AnswerMetadata
    rows: Annotated[list[dict[str, Any]], Field(description="The values of each row, by column.")]
    statuses: Annotated[
        list[dict[str, StatusOfValue]] | None,
        Field(description="The status of each value, if the request has with_status."),
    ] = None


class FeastMetadata(BaseModel):
    """The columns of an answer in Feast's wire format."""

    feature_names: list[str]


class FeastColumn(BaseModel):
    """One column of an answer in Feast's wire format, with a value for each row."""

    values: list[Any]
    statuses: Annotated[
        list[str], Field(json_schema_extra={"items": {"type": "string", "enum": sorted(FEAST_STATUSES.values())}})
    ]
    event_timestamps: list[str]


class FeastAnswer(BaseModel):
    """The answer of `POST /get-online-features`, as clients of Feast read it."""

    metadata: FeastMetadata
    results: list[FeastColumn]


class RefusalDetail(BaseModel):
    """Why a request was refused."""

    code: Annotated[str, Field(description="A constant for programs, such as unknown_feature_set.")]
    message: Annotated[str, Field(description="A text for people.")]
    nearest: Annotated[list[str], Field(description="The most similar names.")]


class RefusalAnswer(BaseModel):
    """The answer to a request that was refused."""

    error: RefusalDetail


@lru_cache(maxsize=1024)
def encoders(dtypes: tuple[tuple[str, str], ...]) -> Mapping[str, Convert]:
    """Return the conversion to JSON of each column that needs one."""
    converts = {column: encoder(dtype) for column, dtype in dtypes}
    return {column: each for column, each in converts.items() if each is not None}


def time_text(time: datetime | None) -> str | None:
    """Return a time in UTC in ISO 8601 with Z."""
    return None if time is None else f"{time.replace(tzinfo=None).isoformat()}Z"


def plain_rows(answer: Answer) -> Sequence[Mapping[str, Any]]:
    """Return the rows of an answer with values in JSON's forms."""
    converts = encoders(tuple(answer.dtypes.items()))
    if not converts:
        return answer.rows
    return [
        {**row, **{name: convert(row[name]) for name, convert in converts.items() if row[name] is not None}}
        for row in answer.rows
    ]


def metadata(answer: Answer) -> dict[str, Any]:
    """Return the metadata of an answer."""
    return {
        "set": answer.name or None,
        "state": answer.state,
        "read_at": time_text(answer.read_at),
        "published_at": time_text(answer.published_at),
        "from_tables": dict(answer.from_tables),
    }


def features_json(answer: Answer) -> bytes:
    """Return the answer of `POST /v1/features`."""
    document: dict[str, Any] = {"metadata": metadata(answer), "rows": plain_rows(answer)}
    if answer.statuses is not None:
        document["statuses"] = [
            {
                column: {"status": each.status, "event_timestamp": time_text(each.event_timestamp)}
                for column, each in row.items()
            }
            for row in answer.statuses
        ]
    return to_json(document, inf_nan_mode="strings")


def feast_json(answer: Answer, entities: Mapping[str, Sequence[Any]], names: Mapping[str, str]) -> bytes:
    """Return the answer of `POST /get-online-features`: the entity columns, then the features, by column.

    `names` has the name of each feature's column in the answer. A value that has no event timestamp has that of 1970, as Feast
    gives it.
    """
    rows = plain_rows(answer)
    results = [
        {"values": values, "statuses": ["PRESENT"] * len(values), "event_timestamps": [EPOCH] * len(values)}
        for values in entities.values()
    ]
    results += [_feast_column(answer, rows, column) for column in names]
    document = {"metadata": {"feature_names": [*entities, *names.values()]}, "results": results}
    return to_json(document, inf_nan_mode="strings")


def _feast_column(answer: Answer, rows: Sequence[Mapping[str, Any]], column: str) -> dict[str, Any]:
    values = [row[column] for row in rows]
    if answer.statuses is None:
        statuses = ["NULL_VALUE" if value is None else "PRESENT" for value in values]
        return {"values": values, "statuses": statuses, "event_timestamps": [EPOCH] * len(values)}
    served = [row[column] for row in answer.statuses]
    return {
        "values": values,
        "statuses": [FEAST_STATUSES[each.status] for each in served],
        "event_timestamps": [time_text(each.event_timestamp) or EPOCH for each in served],
    }
