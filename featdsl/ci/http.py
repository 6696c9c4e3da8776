"""A small client of JSON over HTTP: timeouts, retries, rate limits, and errors that name the call and what it needs."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from email.message import Message
from functools import wraps
from http.client import HTTPException
from typing import Any, Concatenate, ParamSpec, TypeVar
from urllib.parse import urlencode

from featdsl.errors import Problem, ProviderError

_Self = TypeVar("_Self")
_Result = TypeVar("_Result")
_Arguments = ParamSpec("_Arguments")

PAGE = 100
"""Items of a page, the most that GitHub and GitLab return."""
_SECONDS = 30
"""The time limit of one attempt."""
_PATIENCE = 120.0
"""The longest total wait of one call in seconds: for a rate limit, or between attempts."""
_PAUSES = (1.0, 4.0)
"""The pauses before the second and the third attempt, in seconds."""
_MOST_BYTES = 64 * 1024 * 1024
_MOST_PAGES = 100
_MISSING = 404


@dataclass(frozen=True)
class _Answer:
    """A status with its headers and body; status 0 means that there was no answer, and the body says why."""

    status: int
    headers: Message
    body: bytes


@dataclass(frozen=True)
class Client:
    """The client of one provider. `headers` carry its token, which never follows a redirect to another server."""

    name: str
    url: str
    headers: Mapping[str, str]
    sleep: Callable[[float], None] = field(default=time.sleep, compare=False)
    clock: Callable[[], float] = field(default=time.time, compare=False)

    def get(self, path: str, *, need: str, **query: object) -> Any:
        """Return the JSON value at a path. `need` names the permission of the call. Raises ProviderError."""
        return self._json(_Call("GET", _with_query(path, query), need))

    def send(self, method: str, path: str, body: Mapping[str, object] | None, *, need: str) -> Any:
        """Send a value and return the answer's. Raises ProviderError."""
        return self._json(_Call(method, path, need, body))

    def pages(self, path: str, *, need: str, **query: object) -> Iterator[Any]:
        """Yield the items of a list, page by page. Raises ProviderError, also for a list without an end."""
        for page in range(1, _MOST_PAGES + 1):
            found = self.get(path, need=need, **query, per_page=PAGE, page=page)
            items = found if isinstance(found, list) else next((v for v in found.values() if isinstance(v, list)), [])
            yield from items
            if len(items) < PAGE:
                return
        raise self._error("answered strangely", f"GET {path}: the list has more than {_MOST_PAGES * PAGE:,} items.", "")

    def content(self, path: str, *, need: str) -> bytes | None:
        """Return the bytes of a file, None if there is none. Raises ProviderError."""
        try:
            return self._answer(_Call("GET", path, need)).body
        except ProviderError as error:
            if error.status in {_MISSING, 410}:
                return None
            raise

    def _json(self, call: _Call) -> Any:
        body = self._answer(call).body
        if not body:
            return None
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            raise self._error("answered strangely", f"{call}: the answer is not JSON.", _PROXY) from None

    def _answer(self, call: _Call) -> _Answer:
        """Return an answer with a good status. Waits for rate limits and repeats what may be repeated."""
        waited, pauses = 0.0, iter(_PAUSES)
        while True:
            answer = _attempt(self, call)
            if 0 < answer.status < 400:  # noqa: PLR2004 - statuses from 400 on are refusals
                return answer
            wait = self._limited(answer)
            if wait is None and _is_passing(answer) and call.may_repeat:
                wait = next(pauses, None)
            if wait is None or waited + wait > _PATIENCE:
                raise self._refusal(call, answer, wait)
            self.sleep(wait)
            waited += wait

    def _limited(self, answer: _Answer) -> float | None:
        """Return how many seconds a rate limit asks to wait, None if the answer is of no rate limit."""
        if answer.status not in {403, 429}:
            return None
        if after := _number(answer.headers.get("Retry-After")):
            return after
        if answer.headers.get("X-RateLimit-Remaining") == "0":
            return max(1.0, (_number(answer.headers.get("X-RateLimit-Reset")) or 0.0) - self.clock())
        return 30.0 if answer.status == 429 else None  # noqa: PLR2004 - too many requests

    def _refusal(self, call: _Call, answer: _Answer, wait: float | None) -> ProviderError:
        status = answer.status
        if status == 0:
            what = f"{call}: {answer.body.decode(errors='replace')}."
            return self._error("cannot be reached", what, "Run the job again once it can be reached.", status)
        if wait is not None and self._limited(answer) is not None:
            what = f"{call}: {status}: the rate limit asks to wait {wait:.0f} s; a job waits {_PATIENCE:.0f} s at most."
            return self._error("limits the rate", what, "Run the job again later.", status)
        said, told = _REFUSALS.get(status, ("fails", _PROXY) if status >= 500 else ("refuses", ""))  # noqa: PLR2004 - server errors
        what = f"{call}: {status}: {_message(answer.body)}"
        return self._error(said, what, told.format(name=self.name, need=call.need), status)

    def _error(self, said: str, what: str, fix: str, status: int = 0) -> ProviderError:
        error = ProviderError(Problem(f"{self.name} {said}", what, fix=fix))
        error.status = status
        return error


_PROXY = "Run the job again. If it fails again, look at the provider's status page, and at proxies in between."
_REFUSALS = {
    401: ("knows no such token", "Give the job a valid token of {name}; docs/ci.md names the variable."),
    403: ("refuses", "Give the token of the job this permission: {need}."),
    404: ("does not find it", "It does not exist, or the token may not see it. The call needs: {need}."),
    422: ("does not accept it", ""),
}
"""The summary and the fix of statuses with a plain cause."""


@dataclass(frozen=True)
class _Call:
    method: str
    path: str
    need: str
    body: Mapping[str, object] | None = None

    def __str__(self) -> str:
        return f"{self.method} {self.path.partition('?')[0]}"

    @property
    def may_repeat(self) -> bool:
        """Whether doing it twice is as good as once: a POST that failed may have been done."""
        return self.method != "POST"


def understood(
    method: Callable[Concatenate[_Self, _Arguments], _Result],
) -> Callable[Concatenate[_Self, _Arguments], _Result]:
    """Return a method of a provider that raises ProviderError where an answer is JSON of another shape, as of a proxy."""

    @wraps(method)
    def call(self: _Self, /, *arguments: _Arguments.args, **named: _Arguments.kwargs) -> _Result:
        try:
            return method(self, *arguments, **named)
        except (LookupError, TypeError, ValueError, AttributeError):
            what = f"{method.__name__.replace('_', ' ')}: the answer has another form than its API describes."
            raise ProviderError(Problem(f"{type(self).__name__} answered strangely", what, fix=_PROXY)) from None

    return call


def _attempt(client: Client, call: _Call) -> _Answer:
    data = None if call.body is None else json.dumps(call.body).encode()
    request = urllib.request.Request(f"{client.url}{call.path}", data, method=call.method)  # noqa: S310 - the provider's address
    request.add_header("User-Agent", "featdsl")
    if data is not None:
        request.add_header("Content-Type", "application/json")
    for name, value in client.headers.items():
        request.add_unredirected_header(name, value)
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS) as response:  # noqa: S310 - the provider's address
            body = response.read(_MOST_BYTES + 1)
            if len(body) > _MOST_BYTES:
                return _Answer(0, Message(), b"the answer is larger than 64 MiB")
            return _Answer(response.status, response.headers, body)
    except urllib.error.HTTPError as error:
        return _Answer(error.code, error.headers, error.read(_MOST_BYTES))
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error or type(error).__name__
        return _Answer(0, Message(), str(reason).encode())


def _is_passing(answer: _Answer) -> bool:
    return answer.status == 0 or answer.status >= 500  # noqa: PLR2004 - server errors


def _message(body: bytes) -> str:
    """Return what a refusal says, in one line."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    said = found.get("message") or found.get("error") if isinstance(found, dict) else None
    more = found.get("errors") if isinstance(found, dict) else None
    text = " ".join(str(each) if isinstance(each, str) else json.dumps(each) for each in (said, more) if each)
    line = " ".join(text.split()) or "no reason given"
    return line if len(line) <= 300 else f"{line[:300]}…"  # noqa: PLR2004 - a line or three


def _number(text: str | None) -> float | None:
    """Return a header's number; None if it has none, as in a date."""
    return float(text) if text and text.isascii() and text.isdigit() else None


def _with_query(path: str, query: Mapping[str, object]) -> str:
    given = {name: value for name, value in query.items() if value is not None}
    return f"{path}?{urlencode(given)}" if given else path
