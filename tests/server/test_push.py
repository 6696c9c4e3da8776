"""`POST /v1/push/{source}` appends events as `FeatureStore.push` does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest

from featdsl.project.tokens import digest
from tests.conftest import Workspace
from tests.push.declared import SHOP, click
from tests.server.conftest import Serve, Served, serving
from tests.server.test_arrow import stream
from tests.server.test_operation import damage

PATH = "/v1/push/clicks"
SETTINGS = SHOP["featproject.toml"] + '\n[serving]\nurl = "embedded"\nmax_rows = 3\n'
TOKENS = "".join(
    f'\n[serving.tokens.{name}]\nteam = "{team}"\nsha256 = "{digest(name)}"\n{sets}'
    for name, team, sets in [
        ("own", "shop", ""),
        ("other", "lending", ""),
        ("limited", "shop", 'sets = ["shop@*"]\n'),
    ]
)
"""Three tokens, each of which is its own name. The team of the source is that of the file: the project's."""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The shop, published and served without tokens, for pushes that are refused."""
    workspace = Workspace(tmp_path_factory.mktemp("shop")).write({**SHOP, "featproject.toml": SETTINGS})
    workspace.apply()
    with serving() as start:
        yield start(workspace)


def test_events_are_in_the_values_when_the_answer_comes(workspace: Workspace, serve: Serve) -> None:
    """The client may read its own events at once; known events are not added again."""
    workspace.write({**SHOP, "featproject.toml": SETTINGS}).apply()
    served = serve(workspace)
    events = [click(1, 5.0, "01-02 10:00"), click(1, 7.0, "01-03 10:00")]

    answers = [served.post(PATH, json={"rows": each}).json() for each in (events[:1], events, events)]

    assert answers == [
        {"accepted": 1, "duplicates": 0},
        {"accepted": 1, "duplicates": 1},
        {"accepted": 0, "duplicates": 2},
    ]
    body = {"features": ["last_click.amount", "spent.times"], "rows": [{"user_id": 1}]}
    assert served.post(json=body).json()["rows"] == [{"amount": 7.0, "times": 2}]
    assert served.metric('featdsl_pushed_events_total{source="clicks"}') == 2
    assert [(entry["path"], entry["rows"]) for entry in served.log[:1]] == [("/v1/push/{source}", 1)]


def test_events_that_cannot_be_published_are_stored(workspace: Workspace, serve: Serve) -> None:
    """The answer says so, and the client may send them again."""
    workspace.write({**SHOP, "featproject.toml": SETTINGS}).apply()
    damage(workspace)
    served = serve(workspace)

    answer = served.post(PATH, json={"rows": [click(1, 5.0, "01-02 10:00")]})

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert answer.json()["error"] == {
        "code": "online_store_down",
        "message": "The events are stored, but their values are not published. Send the same request again.",
        "nearest": [],
    }


def test_events_may_be_a_stream_of_arrow(shop: Served) -> None:
    """With the columns of the source."""
    headers = {"Content-Type": "application/vnd.apache.arrow.stream"}
    content = stream(pa.Table.from_pylist([click(1, 5.0, "01-02 10:00")]))

    assert shop.post(PATH, content=content, headers=headers).json() == {"accepted": 1, "duplicates": 0}


EVENT = click(1, 5.0, "01-02 10:00")


@pytest.mark.parametrize(
    ("path", "body", "refused"),
    [
        ("/v1/push/click", {"rows": [EVENT]}, (404, "unknown_source", ["clicks"])),
        (PATH, {"rows": [{**EVENT, "x": 1}]}, (422, "unknown_column", [])),
        (PATH, {"rows": [{"user_id": 1}]}, (422, "missing_column", [])),
        (PATH, {"rows": [{**EVENT, "amount": "much"}]}, (422, "wrong_type", [])),
        (PATH, {"rows": [{**EVENT, "at": None}]}, (422, "missing_timestamp", [])),
        (PATH, {"rows": [{**EVENT, "at": "2999-01-01"}]}, (422, "future_timestamp", [])),
        (PATH, {"rows": [EVENT] * 4}, (413, "too_many_rows", [])),
        (PATH, {"rows": EVENT}, (400, "invalid_request", [])),
        (PATH, {}, (400, "invalid_request", [])),
        (PATH, {"rows": [], "to": "online"}, (400, "invalid_request", ["rows"])),
    ],
)
def test_wrong_events_are_refused_whole(path: str, body: Any, refused: Any, shop: Served) -> None:
    """Nothing is written, and the message repeats no value."""
    assert shop.error(path, json=body) == refused
    assert "much" not in shop.post(path, json=body).text
    assert shop.post(PATH, json={"rows": []}).json() == {"accepted": 0, "duplicates": 0}


@pytest.mark.parametrize(
    ("token", "refused"),
    [
        (None, (401, "missing_token", [])),
        ("other", (403, "forbidden_source", [])),
        ("limited", (403, "forbidden_source", [])),
    ],
)
def test_only_the_team_of_a_source_pushes_to_it(
    token: str | None, refused: Any, workspace: Workspace, serve: Serve
) -> None:
    """A token that is limited to sets only reads."""
    workspace.write({**SHOP, "featproject.toml": SETTINGS + TOKENS}).apply()
    served = serve(workspace)

    assert served.error(PATH, json={"rows": [EVENT]}, token=token) == refused
    assert served.post(PATH, json={"rows": [EVENT]}, token="own").json() == {"accepted": 1, "duplicates": 0}  # noqa: S106
