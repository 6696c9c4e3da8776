"""The client of providers: what it repeats, how long it waits, and what it says."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from socket import socket

import pytest

from featdsl.ci.http import Client
from featdsl.errors import ProviderError
from tests.ci.forge import Answer, Forge, serving


@dataclass
class Server:
    """A server that answers every call with its method, unless an answer is scripted."""

    forge: Forge
    url: str
    slept: list[float] = field(default_factory=list)

    @property
    def client(self) -> Client:
        """A client whose clock stands still."""
        return Client("GitHub", self.url, {"Authorization": "Bearer x"}, sleep=self.slept.append, clock=lambda: 1000.0)


@pytest.fixture
def server() -> Iterator[Server]:
    """A server on this machine."""
    forge = Forge()
    with serving(forge, lambda method, *_: (200, {"method": method}), "Authorization") as url:
        yield Server(forge, url)


def refusal(server: Server, answer: Answer, method: str = "GET") -> str:
    """Return the error of a call that is answered so."""
    server.forge.scripted.extend([answer] * 10)
    with pytest.raises(ProviderError) as caught:
        server.client.send(method, "/thing", None, need="things: write")
    return str(caught.value)


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (401, {"message": "Bad credentials"}, "GitHub knows no such token\n  GET /thing: 401: Bad credentials\n"
         "  Give the job a valid token of GitHub; docs/ci.md names the variable."),
        (403, {"message": "Resource not accessible by integration"}, "GitHub refuses\n"
         "  GET /thing: 403: Resource not accessible by integration\n"
         "  Give the token of the job this permission: things: write."),
        (404, {"message": "Not Found"}, "GitHub does not find it\n  GET /thing: 404: Not Found\n"
         "  It does not exist, or the token may not see it. The call needs: things: write."),
        (422, {"message": "Validation Failed", "errors": [{"field": "body"}]}, "GitHub does not accept it\n"
         '  GET /thing: 422: Validation Failed [{"field": "body"}]'),
        (418, None, "GitHub refuses\n  GET /thing: 418: no reason given"),
    ],
)  # fmt: skip
def test_a_refusal_names_the_call_and_what_it_needs(status: int, body: object, said: str, server: Server) -> None:
    """A refusal is not repeated."""
    assert refusal(server, Answer("GET", "/thing", status, body)) == said
    assert server.forge.calls == ["GET /thing"]


def test_a_failure_is_repeated_twice(server: Server) -> None:
    """Then the error says that the provider fails."""
    assert refusal(server, Answer("GET", "/thing", 500)).startswith(
        "GitHub fails\n  GET /thing: 500: no reason given\n"
    )
    assert (len(server.forge.calls), server.slept) == (3, [1.0, 4.0])


def test_a_failure_that_passes_is_not_told(server: Server) -> None:
    """The second attempt succeeds."""
    server.forge.scripted.append(Answer("GET", "/thing", 502))
    assert server.client.get("/thing", need="") == {"method": "GET"}
    assert server.slept == [1.0]


def test_a_post_that_failed_is_not_repeated(server: Server) -> None:
    """It may have been done."""
    assert refusal(server, Answer("POST", "/thing", 500), "POST").startswith("GitHub fails")
    assert server.forge.calls == ["POST /thing"]


@pytest.mark.parametrize(
    ("status", "headers", "wait"),
    [
        (429, {"Retry-After": "7"}, 7.0),
        (403, {"Retry-After": "7"}, 7.0),
        (403, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1050"}, 50.0),
        (429, {}, 30.0),
        (429, {"Retry-After": "Fri, 31 Dec 1999 23:59:59 GMT"}, 30.0),
    ],
)
def test_a_rate_limit_is_waited_for(status: int, headers: dict[str, str], wait: float, server: Server) -> None:
    """Also before a POST: a limited one was not done."""
    server.forge.scripted.append(Answer("POST", "/thing", status, headers=headers))
    assert server.client.send("POST", "/thing", {"a": 1}, need="") == {"method": "POST"}
    assert server.slept == [wait]


def test_a_rate_limit_is_waited_for_within_a_bound(server: Server) -> None:
    """A job does not hang for an hour."""
    text = refusal(server, Answer("GET", "/thing", 429, headers={"Retry-After": "3600"}))
    assert text == (
        "GitHub limits the rate\n"
        "  GET /thing: 429: the rate limit asks to wait 3600 s; a job waits 120 s at most.\n"
        "  Run the job again later."
    )
    assert server.slept == []


def test_the_waits_of_one_call_have_a_bound_together(server: Server) -> None:
    """Four limits of 50 seconds are too many."""
    assert refusal(server, Answer("GET", "/thing", 429, headers={"Retry-After": "50"})).startswith("GitHub limits")
    assert server.slept == [50.0, 50.0]


def test_an_answer_that_is_not_json(server: Server) -> None:
    """As a proxy's page for people is."""
    server.forge.scripted.append(Answer("GET", "/thing", 200, b"<html>Sign in</html>"))
    with pytest.raises(ProviderError, match="GitHub answered strangely\n  GET /thing: the answer is not JSON."):
        server.client.get("/thing", need="")


def test_nobody_answers() -> None:
    """The address is named by the call, without a traceback."""
    with closing(socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    slept: list[float] = []
    with pytest.raises(ProviderError, match="GitLab cannot be reached\n  GET /thing: "):
        Client("GitLab", f"http://127.0.0.1:{port}", {}, sleep=slept.append).get("/thing", need="")
    assert slept == [1.0, 4.0]


def test_all_pages_are_read(server: Server) -> None:
    """A list of 250 has three pages."""
    forge = Forge()
    with serving(forge, lambda *_: (200, list(range(250))), "Authorization") as url:
        assert list(Client("GitHub", url, {}).pages("/list", need="")) == list(range(250))
    assert len(forge.calls) == 3
