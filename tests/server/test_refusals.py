"""Every mistake of a client has its status, its code and the nearest names, and nothing of it is in a log."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.conftest import BANK, Workspace
from tests.server.conftest import Serve, Served

ONE = [{"user_id": 3}]


@pytest.mark.parametrize(
    ("body", "refused"),
    [
        ({"features": "credit_rsk@1", "rows": ONE}, (404, "unknown_feature_set", ["credit_risk@1", "credit_risk@2"])),
        ({"features": "credit_risk@7", "rows": ONE}, (404, "unknown_version", ["credit_risk@1", "credit_risk@2"])),
        ({"features": "credit_risk", "rows": ONE}, (404, "unknown_version", ["credit_risk@1", "credit_risk@2"])),
        ({"features": ["user_profile.incom"], "rows": ONE}, (404, "unknown_feature", ["user_profile.income"])),
        ({"features": "incom", "rows": ONE}, (404, "unknown_feature", ["user_profile.income"])),
        ({"features": ["credit_risk@1"], "rows": ONE}, (422, "invalid_features", [])),
        ({"features": ["age", "age"], "rows": ONE}, (422, "invalid_features", [])),
        ({"features": [], "rows": ONE}, (422, "invalid_features", [])),
        ({"features": "credit_risk@1", "rows": [{"user": 3}]}, (422, "unknown_key", ["user_id"])),
        ({"features": "credit_risk@1", "rows": [{}]}, (422, "missing_key", ["user_id"])),
        ({"features": "credit_risk@1", "rows": [{"user_id": 3, "x": 1}]}, (422, "unknown_key", [])),
        ({"features": "credit_risk@1", "rows": [{"user_id": "three"}]}, (422, "wrong_type", [])),
        ({"features": "credit_risk@1", "rows": [{"user_id": [3]}]}, (422, "wrong_type", [])),
        ({"features": "credit_risk@1", "rows": [{"user_id": True}]}, (422, "wrong_type", [])),
        ({"features": "credit_risk@1", "rows": ONE, "request": {"x": 1}}, (422, "unknown_request", [])),
        ({"features": "credit_risk@1", "rows": {"user_id": 3}}, (400, "invalid_request", [])),
        ({"features": "credit_risk@1", "rows": [3]}, (400, "invalid_request", [])),
        ({"features": 7, "rows": ONE}, (400, "invalid_request", [])),
        ({"features": "credit_risk@1"}, (400, "invalid_request", [])),
        ({"features": "credit_risk@1", "rows": ONE, "with_state": True}, (400, "invalid_request", ["with_status"])),
        ({"features": "credit_risk@1", "rows": ONE, "with_status": "yes"}, (400, "invalid_request", [])),
        ([], (400, "invalid_request", [])),
    ],
)
def test_a_wrong_body_is_refused_by_code(body: Any, refused: Any, served: Served) -> None:
    """The nearest names are those that the caller may read."""
    assert served.error(json=body) == refused


def test_the_same_name_in_two_groups_is_ambiguous(bank: Workspace, serve: Serve) -> None:
    """The nearest names are the candidates."""
    other = 'class Rival(FeatureGroup, entity=user, source=accounts):\n    age = Feature(int, sql="1")\n'
    bank.write({
        "features/rivals/__init__.py": (
            f"from featdsl import Feature, FeatureGroup\nfrom features.accounts import accounts, user\n\n\n{other}"
        )
    }).apply()  # fmt: skip

    assert serve(bank).error(json={"features": ["age"], "rows": ONE}) == (
        422,
        "ambiguous_feature",
        ["rival.age", "user_profile.age"],
    )


@pytest.mark.parametrize("body", [b"", b"{", b"nonsense", b'{"features": NaN}', b"\xff\xfe", b'"\\ud800"', b"[" * 9999])
def test_a_body_that_is_not_json_is_refused(body: bytes, served: Served) -> None:
    """NaN is not JSON either."""
    headers = {"Content-Type": "application/json"}
    assert served.error(content=body, headers=headers) == (400, "not_json", [])


def test_a_message_names_the_place_but_not_the_value(served: Served) -> None:
    """A client finds the row; a log of errors holds no keys."""
    rows = [{"user_id": 3}, {"user_id": "secret"}]
    answer = served.post(json={"features": "credit_risk@1", "rows": rows})

    assert answer.json()["error"]["message"] == "The value of user_id in row 2 is not a BIGINT."


@pytest.mark.parametrize(
    ("headers", "refused"),
    [
        ({"Content-Type": "text/csv"}, (415, "unsupported_media_type", [])),
        ({"Accept": "text/html"}, (406, "not_acceptable", [])),
        ({"Accept": "application/json;q=0"}, (406, "not_acceptable", [])),
    ],
)
def test_other_media_types_are_refused(headers: dict[str, str], refused: Any, served: Served) -> None:
    """In both directions."""
    body = json.dumps({"features": "credit_risk@1", "rows": ONE})
    assert served.error(content=body, headers={"Content-Type": "application/json", **headers}) == refused


@pytest.mark.parametrize("accept", ["*/*", "application/*", "text/html, application/json;q=0.5", "application/json"])
def test_json_is_the_answer_where_it_is_accepted(accept: str, served: Served) -> None:
    """Browsers and clients say so in several ways."""
    answer = served.post(json={"features": "credit_risk@1", "rows": ONE}, headers={"Accept": accept})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")


def test_unknown_paths_and_methods_are_refused_in_the_same_form(served: Served) -> None:
    """Every error of the server is one for programs."""
    answers = [served.client.get("/v2/features"), served.client.get("/v1/features"), served.client.delete("/health")]

    assert [(each.status_code, each.json()["error"]["code"]) for each in answers] == [
        (404, "not_found"),
        (405, "method_not_allowed"),
        (405, "method_not_allowed"),
    ]
    assert answers[1].headers["allow"] == "POST"


LIMITED = BANK["featproject.toml"] + '\n[serving]\nmax_rows = 2\nmax_body = "1KiB"\n'


@pytest.fixture
def limited(bank: Workspace, serve: Serve) -> Served:
    """A server of up to two rows and 1024 bytes."""
    bank.write({"featproject.toml": LIMITED}).apply()
    return serve(bank)


def test_too_many_rows_are_refused(limited: Served) -> None:
    """The limit itself is allowed."""
    assert limited.post(json={"features": "credit_risk@1", "rows": ONE * 2}).status_code == 200
    assert limited.error(json={"features": "credit_risk@1", "rows": ONE * 3}) == (413, "too_many_rows", [])


def test_too_large_a_body_is_refused(limited: Served) -> None:
    """Whether its length is announced or not."""
    body = json.dumps({"features": "credit_risk@1", "rows": ONE}).encode()
    assert limited.post(content=body + b" " * (1024 - len(body))).status_code == 200
    assert limited.error(content=body + b" " * 1024) == (413, "body_too_large", [])


def test_reading_ends_where_a_body_becomes_too_large(limited: Served) -> None:
    """A client that goes on sending is not read to the end."""
    import socket

    port = int(limited.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.settimeout(10)
        head = "POST /v1/features HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        connection.sendall(head.encode() + b"400\r\n" + b" " * 1024 + b"\r\n" + b"400\r\n" + b" " * 1024 + b"\r\n")
        answer = connection.recv(4096)  # the last chunk was never sent

    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'"code":"body_too_large"' in answer


def test_a_mistake_of_a_client_leaves_no_traceback_and_no_value(
    served: Served, capfd: pytest.CaptureFixture[str]
) -> None:
    """The log has one entry for it, with the code."""
    served.post(json={"features": "credit_risk@1", "rows": [{"user_id": "hidden"}]})
    served.post("/v1/features?key=hidden", json={"features": ["hidden"], "rows": [{"hidden": "hidden"}]})
    served.post("/hidden", json={})

    logged = [{key: entry[key] for key in ("path", "status", "set", "rows", "error")} for entry in served.log]
    assert logged == [
        {"path": "/v1/features", "status": 422, "set": "credit_risk@1", "rows": 1, "error": "wrong_type"},
        {"path": "/v1/features", "status": 404, "set": None, "rows": 1, "error": "unknown_feature"},
        {"path": "other", "status": 404, "set": None, "rows": None, "error": "not_found"},
    ]
    assert b"hidden" not in b"".join(served.lines)
    assert capfd.readouterr() == ("", "")
