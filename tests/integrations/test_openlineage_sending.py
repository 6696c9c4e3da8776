"""Where the events of OpenLineage go, and endpoints that do not work."""

from __future__ import annotations

import json
import re
import time

import pytest

from featdsl.integrations.openlineage.jobs import TableJobs
from tests.conftest import Workspace
from tests.integrations.lineage_events import (
    outline,
    send_to,
)
from tests.integrations.lineage_server import collecting


def warning_of(workspace: Workspace, url: str, **variables: str) -> str:
    """Apply with an endpoint that fails: the apply succeeds. Return what it prints to standard error."""
    send_to(workspace, url)
    done = workspace.run("apply", "--yes", **variables)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "The store is at state 1." in done.stdout
    return done.stderr


def test_an_endpoint_that_is_down_costs_one_line(bank: Workspace) -> None:
    """However many events there were to send."""
    with collecting() as endpoint:
        pass
    host = endpoint.url.removeprefix("http://")
    told = warning_of(bank, endpoint.url)
    assert told == f"Warning: OpenLineage events were not sent: {host} cannot be reached: Connection refused.\n"


def test_an_endpoint_that_refuses_costs_one_line(bank: Workspace) -> None:
    """Nothing is sent to it after the first answer."""
    with collecting(status=401) as endpoint:
        told = warning_of(bank, endpoint.url)
    assert re.fullmatch(r"Warning: OpenLineage events were not sent: 127\.0\.0\.1:\d+ answered 401\.\n", told)
    assert len(endpoint.events) == 1


def test_a_redirect_is_not_followed(bank: Workspace) -> None:
    """It would take the key to another server."""
    with collecting() as other, collecting(status=307, location=other.url) as endpoint:
        told = warning_of(bank, endpoint.url, OPENLINEAGE_API_KEY="k3y")
    assert told.endswith("answered 307.\n")
    assert other.events == []


@pytest.mark.slow
def test_a_slow_endpoint_does_not_hold_a_run_up(bank: Workspace) -> None:
    """It is given up after five seconds in all."""
    bank.apply()
    with collecting(pause=30) as endpoint:
        send_to(bank, endpoint.url)
        begun = time.monotonic()
        done = bank.run("refresh", "--format", "json")
        seconds = time.monotonic() - begun
    assert done.returncode == 0
    assert re.fullmatch(r"Warning: OpenLineage events were not sent: .* too slow\.\n", done.stderr)
    assert 4 < seconds < 10


@pytest.mark.slow
def test_an_endpoint_that_answers_gets_every_event(bank: Workspace) -> None:
    """Although all answers together take longer than a run waits for one."""
    with collecting(pause=0.9) as endpoint:
        send_to(bank, endpoint.url)
        done = bank.run("apply", "--yes")
    assert (done.returncode, done.stderr) == (0, "")
    assert len(endpoint.events) == 8


def test_the_key_is_sent_and_never_shown(bank: Workspace) -> None:
    """As the official clients send it."""
    with collecting() as endpoint:
        send_to(bank, f"{endpoint.url}/lineage/v2")
        done = bank.run("apply", "--yes", OPENLINEAGE_API_KEY="k3y")
    assert {each["Authorization"] for each in endpoint.headers} == {"Bearer k3y"}
    assert {each["Content-Type"] for each in endpoint.headers} == {"application/json"}
    assert set(endpoint.paths) == {"/lineage/v2"}
    assert "k3y" not in done.stdout + done.stderr + str(endpoint.events)


def test_a_url_from_the_environment(bank: Workspace) -> None:
    """With a token in it, which is not shown if it fails."""
    with collecting() as endpoint:
        send_to(bank, "env:LINEAGE")
        done = bank.run("apply", "--yes", LINEAGE=f"{endpoint.url}/in?token=s3cret")
    assert done.stderr == ""
    assert set(endpoint.paths) == {"/in?token=s3cret"}


def test_a_missing_or_wrong_variable_is_a_warning(bank: Workspace) -> None:
    """An apply does not fail for lineage."""
    told = warning_of(bank, "env:LINEAGE")
    assert told == (
        "Warning: OpenLineage events were not sent: [events] openlineage_url is env:LINEAGE, but the environment variable"
        " LINEAGE is not set.\n"
    )
    told = bank.run("refresh", LINEAGE="ftp://secret@example.com").stderr
    assert "LINEAGE is no endpoint; write the URL of the endpoint, such as http://HOST:PORT, or file:PATH." in told
    assert "secret" not in told


def test_events_in_a_file(bank: Workspace) -> None:
    """One on each line, after those of earlier runs."""
    send_to(bank, "file:lineage.jsonl")
    assert bank.run("apply", "--yes").stderr == ""
    assert bank.run("refresh").stderr == ""
    events = [json.loads(line) for line in (bank.root / "lineage.jsonl").read_text().splitlines()]
    assert [each for each in outline(events) if each.startswith("COMPLETE") and each.count(".") == 1] == [
        "COMPLETE bank.apply", "COMPLETE bank.refresh",
    ]  # fmt: skip


def test_a_file_that_cannot_be_written_is_a_warning(bank: Workspace) -> None:
    """Like an endpoint that is down."""
    told = warning_of(bank, "file:missing/lineage.jsonl")
    path = bank.root / "missing/lineage.jsonl"
    assert told == f"Warning: OpenLineage events were not sent: {path} cannot be written: No such file or directory.\n"


def test_a_mistake_in_making_events_is_a_warning(bank: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """It costs the events, and not the run."""
    monkeypatch.setattr(TableJobs, "outputs", lambda *_: 1 / 0)
    with collecting() as endpoint:
        told = warning_of(bank, endpoint.url)
    assert told == "Warning: OpenLineage events were not sent: they cannot be made (ZeroDivisionError).\n"


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("https://user:secret@example.com", "it may contain a secret; write env:NAME for the whole URL, or set OPENLINEAGE_API_KEY"),
        ("https://example.com?key=secret", "it may contain a secret; write env:NAME for the whole URL, or set OPENLINEAGE_API_KEY"),
        ("ftp://secret.example.com", "write the URL of the endpoint, such as http://HOST:PORT, or file:PATH"),
    ],
)  # fmt: skip
def test_an_invalid_url_is_refused_and_not_shown(bank: Workspace, url: str, why: str) -> None:
    """It may be a secret."""
    send_to(bank, url)
    done = bank.run("plan")
    assert done.returncode == 1
    assert f"events.openlineage_url: {why}." in done.stderr
    assert "secret." not in done.stderr.replace("contain a secret;", "")


def test_a_namespace_of_jobs(bank: Workspace) -> None:
    """As a team names its scheduler."""
    send_to(bank, "file:lineage.jsonl")
    with (bank.root / "featproject.toml").open("a") as file:
        file.write('openlineage_namespace = "nightly"\n')
    assert bank.run("apply", "--yes").returncode == 0
    assert (bank.root / "lineage.jsonl").read_text().count('"job": {"namespace": "nightly", "name": "bank.apply') >= 8
