"""Clients of Feast's feature server work unchanged: bodies as they send them, answers as they read them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from featdsl.query.answer import Answer, ServedValue
from featdsl.server.answers import feast_json
from tests.server.conftest import Served

PATH = "/get-online-features"
EPOCH = "1970-01-01T00:00:00Z"


def column(*values: Any, at: str | Sequence[str] = EPOCH, status: str | Sequence[str] = "PRESENT") -> dict[str, Any]:
    """Return a column of an answer; a status and a time hold for all its values, or there is one for each."""
    times = [at] * len(values) if isinstance(at, str) else at
    statuses = [status] * len(values) if isinstance(status, str) else status
    return {"values": list(values), "statuses": statuses, "event_timestamps": times}


LAST = {3: "2026-01-20T00:00:00Z", 2: "2026-01-19T00:00:00Z"}
"""The event timestamp of the last row of some users."""


def test_features_of_views_are_answered_by_column(served: Served) -> None:
    """The entity columns come first, present and without an event timestamp."""
    body = {"features": ["user_profile:age", "affordability:monthly"], "entities": {"user_id": [3, 2, 99]}}

    assert served.post(PATH, json=body).json() == {
        "metadata": {"feature_names": ["user_id", "age", "monthly"]},
        "results": [
            column(3, 2, 99),
            column(33, 34, None, at=[LAST[3], LAST[2], EPOCH], status=["PRESENT", "PRESENT", "NOT_FOUND"]),
            column(19000 / 12, 1500.0, None, at=[LAST[3], LAST[2], EPOCH], status=["PRESENT", "PRESENT", "NOT_FOUND"]),
        ],
    }


@pytest.mark.parametrize("service", ["credit_risk@1", "credit_risk_v1"])
def test_a_feature_service_is_a_set_version(service: str, served: Served) -> None:
    """By its address, or by the name of its view, which is a name for Feast."""
    body = {"feature_service": service, "entities": {"user_id": [3]}}

    assert served.post(PATH, json=body).json() == {
        "metadata": {"feature_names": ["user_id", "age", "income"]},
        "results": [column(3), column(33, at=LAST[3]), column(19000.0, at=LAST[3])],
    }


def test_full_feature_names_have_the_group(served: Served) -> None:
    """Two underscores stand between them, as in Feast."""
    body = {"feature_service": "credit_risk_v2", "entities": {"user_id": [3]}, "full_feature_names": True}

    assert served.post(PATH, json=body).json()["metadata"]["feature_names"] == [
        "user_id",
        "user_profile__age",
        "user_profile__income",
        "affordability__monthly",
    ]


@pytest.mark.parametrize("content_type", [None, "application/json", "application/x-www-form-urlencoded"])
def test_a_body_needs_no_content_type(content_type: str | None, served: Served) -> None:
    """Feast's own client and curl send a text."""
    body = json.dumps({"features": ["user_profile:age"], "entities": {"user_id": [3]}})
    headers = {"Content-Type": content_type} if content_type else {}

    assert served.post(PATH, content=body, headers=headers).json()["results"][1] == column(33, at=LAST[3])


def test_fields_that_only_feast_knows_are_ignored(served: Served) -> None:
    """Newer clients send more of them."""
    body = {
        "features": ["user_profile:age"],
        "feature_service": None,
        "entities": {"user_id": [3]},
        "include_feature_view_version_metadata": False,
    }
    assert served.post(PATH, json=body).status_code == 200


def test_feast_reads_the_event_timestamp_as_its_client_does(served: Served) -> None:
    """The client takes that of the second column."""
    body = {"features": ["user_profile:age"], "entities": {"user_id": [3]}}
    text = served.post(PATH, json=body).json()["results"][1]["event_timestamps"][0]

    assert datetime.fromisoformat(text).tzinfo == UTC


def test_statuses_are_those_of_feast() -> None:
    """Each status of a value has its name in Feast, and its event timestamp."""
    at = datetime(2026, 1, 20, tzinfo=UTC)
    served = [
        ServedValue(33, "present", at),
        ServedValue(None, "null", at),
        ServedValue(None, "unknown_entity", None),
        ServedValue(None, "expired", at),
    ]
    answer = Answer(
        name="",
        rows=[{"age": each.value} for each in served],
        statuses=[{"age": each} for each in served],
        dtypes={"age": "BIGINT"},
        fingerprints={},
        read_at=at,
        from_tables={},
        state=1,
        published_at=at,
    )

    assert json.loads(feast_json(answer, {"user_id": [1, 2, 3, 4]}, {"age": "age"})) == {
        "metadata": {"feature_names": ["user_id", "age"]},
        "results": [
            {"values": [1, 2, 3, 4], "statuses": ["PRESENT"] * 4, "event_timestamps": [EPOCH] * 4},
            {
                "values": [33, None, None, None],
                "statuses": ["PRESENT", "NULL_VALUE", "NOT_FOUND", "OUTSIDE_MAX_AGE"],
                "event_timestamps": ["2026-01-20T00:00:00Z", "2026-01-20T00:00:00Z", EPOCH, "2026-01-20T00:00:00Z"],
            },
        ],
    }


@pytest.mark.parametrize(
    ("body", "refused"),
    [
        ({"entities": {"user_id": [3]}}, (400, "invalid_request", [])),
        ({"features": ["user_profile:age"]}, (400, "invalid_request", [])),
        ({"features": ["user_profile:age"], "entities": {"user_id": 3}}, (400, "invalid_request", [])),
        ({"features": ["user_profile:age"], "entities": {"user": [3]}}, (422, "unknown_key", ["user_id"])),
        ({"features": ["user_profile:age"], "entities": {}}, (200, "", [])),
        (
            {"features": ["user_profile:agee"], "entities": {"user_id": [3]}},
            (404, "unknown_feature", ["user_profile.age"]),
        ),
        (
            {"feature_service": "credit_rsk_v1", "entities": {"user_id": [3]}},
            (404, "unknown_feature_set", ["credit_risk@1", "credit_risk@2"]),
        ),
        (
            {"features": ["user_profile:age"], "entities": {"user_id": [3], "x": [1, 2]}},
            (422, "invalid_request", []),
        ),
    ],
)
def test_mistakes_are_refused_as_on_the_other_path(body: Any, refused: Any, served: Served) -> None:
    """With the same codes; no rows are no mistake."""
    if refused[0] == 200:
        assert served.post(PATH, json=body).json()["results"] == [column()]
    else:
        assert served.error(PATH, json=body) == refused
