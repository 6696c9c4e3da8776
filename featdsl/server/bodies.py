"""Read the bodies of requests: their type, their size, and their JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import from_json

from featdsl.definitions.names import nearest
from featdsl.server.refusals import Refusal

if TYPE_CHECKING:
    from starlette.requests import Request

JSON = "application/json"
ARROW = "application/vnd.apache.arrow.stream"
Form = Literal["json", "arrow"]

Row = dict[str, Any]
Model = TypeVar("Model", bound=BaseModel)


class FeaturesRequest(BaseModel):
    """The body of `POST /v1/features`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    features: Annotated[
        str | list[str],
        Field(description="A set version, such as credit_risk@1, or a list of features, such as user_profile.age."),
    ]
    rows: Annotated[list[Row], Field(description="The keys of each row, by name.")]
    request: Annotated[
        Row | list[Row] | None,
        Field(description="Request-time data: one object for all rows, or one for each row."),
    ] = None
    with_status: Annotated[
        bool, Field(description="Whether the answer has the status and the event timestamp of each value.")
    ] = False


class FeastRequest(BaseModel):
    """The body of `POST /get-online-features`, as clients of Feast send it."""

    model_config = ConfigDict(extra="ignore", strict=True)

    entities: Annotated[dict[str, list[Any]], Field(description="The keys, and request-time data, by column.")]
    feature_service: Annotated[str | None, Field(description="A set version: credit_risk@1, or credit_risk_v1.")] = None
    features: Annotated[list[str] | None, Field(description='Features as "group:feature".')] = None
    full_feature_names: Annotated[bool, Field(description='Whether names of columns are "group__feature".')] = False


def form_of(request: Request, *, lenient: bool = False) -> Form:
    """Return the form of a body by its Content-Type. Raises Refusal.

    If `lenient`, every body is JSON unless it says Arrow: clients of Feast send JSON without a type, or as curl's `-d` does.
    """
    written = request.headers.get("content-type", JSON)
    media_type = written.partition(";")[0].strip().lower()
    if media_type == ARROW:
        return "arrow"
    if media_type == JSON or media_type.endswith("+json") or lenient:
        return "json"
    raise Refusal(415, "unsupported_media_type", f"A body is {JSON} or {ARROW}.")


def form_wanted(request: Request) -> Form:
    """Return the form of the answer that the Accept header prefers; JSON without a preference. Raises Refusal."""
    accept = request.headers.get("accept")
    if accept is None or accept in {"*/*", JSON}:
        return "json"
    best: tuple[float, Form] | None = None
    for each in accept.split(","):
        media_type, *parameters = (part.strip().lower() for part in each.split(";"))
        weight = _weight(parameters)
        form: Form | None = (
            "json" if media_type in {JSON, "application/*", "*/*"} else "arrow" if media_type == ARROW else None
        )
        if form and weight > 0 and (best is None or weight > best[0]):
            best = weight, form
    if best is None:
        raise Refusal(406, "not_acceptable", f"An answer is {JSON} or {ARROW}.")
    return best[1]


def _weight(parameters: list[str]) -> float:
    """Return the q of a media range, 1 without one, 0 if it is not a number."""
    for each in parameters:
        name, _, value = each.partition("=")
        if name.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return 0
    return 1


async def read(request: Request, most: int) -> bytes:
    """Return the body of a request of up to `most` bytes; reading ends where it is larger. Raises Refusal."""
    length = request.headers.get("content-length", "0")
    if length.isdecimal() and int(length) > most:
        raise _too_large(most)
    parts, size, is_last = list[bytes](), 0, False
    while not is_last:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise Refusal(400, "invalid_request", "The body is not complete.")
        parts.append(message.get("body", b""))
        size, is_last = size + len(parts[-1]), not message.get("more_body", False)
        if size > most:
            raise _too_large(most)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _too_large(most: int) -> Refusal:
    # The rest of the body is not read, so that the connection cannot be used again.
    return Refusal(413, "body_too_large", f"A body has up to {most} bytes.", headers=(("Connection", "close"),))


def parsed(body: bytes, model: type[Model]) -> Model:
    """Return a body of JSON as a model. Raises Refusal."""
    try:
        document = from_json(body, allow_inf_nan=False)
    except ValueError:
        raise Refusal(400, "not_json", "The body is not JSON.") from None
    if not isinstance(document, dict):
        raise Refusal(400, "invalid_request", "The body is not a JSON object.")
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise _misshapen(error, model) from None


def _misshapen(error: ValidationError, model: type[BaseModel]) -> Refusal:
    """Return the refusal of the first field that does not fit, without its value."""
    detail = error.errors(include_input=False, include_url=False)[0]
    field, fields = str(detail["loc"][0]), model.model_fields
    match detail["type"]:
        case "missing":
            return Refusal(400, "invalid_request", f"The field {field} is missing.")
        case "extra_forbidden":
            text = "The body has an unknown field."
            return Refusal(400, "invalid_request", text, nearest(field[:100], fields) or sorted(fields))
    text = f"The field {field} has the wrong type. {fields[field].description}"
    return Refusal(400, "invalid_request", text)
