"""What whoever runs the server sees: probes, metrics, logs, applies that come meanwhile, and its end."""

from __future__ import annotations

import os
import re
import shutil
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from featdsl.featurestore import FeatureStore
from tests.conftest import ACCOUNTS, BANK, Workspace
from tests.server.conftest import PUBLISHED, Serve, Served
from tests.servers import free_port
from tests.waiting import PATIENCE, wait_until

BODY = {"features": "credit_risk@1", "rows": [{"user_id": 3}]}
Edit = Callable[[str, str, str], None]


# Probes


def probes(served: Served) -> list[tuple[int, Any]]:
    """Return the answers of the two probes."""
    answers = [served.client.get("/health"), served.client.get("/ready")]
    return [(each.status_code, each.json()) for each in answers]


def test_a_server_that_can_answer_lives_and_is_ready(served: Served) -> None:
    """Without a token, as probes send none."""
    assert probes(served) == [(200, {"status": "alive"}), (200, {"status": "ready"})]


def test_a_server_is_not_ready_before_the_first_apply(bank: Workspace, serve: Serve) -> None:
    """It lives, and becomes ready by the apply."""
    served = serve(bank)
    before = probes(served)
    bank.apply()

    assert before == [(200, {"status": "alive"}), (503, {"status": "not ready", "reason": "nothing has been applied"})]
    assert probes(served) == [(200, {"status": "alive"}), (200, {"status": "ready"})]


def test_a_server_without_its_registry_lives_but_is_not_ready(applied: Workspace, serve: Serve) -> None:
    """The reason says which part is missing, and requests get it as an error of the server."""
    served = serve(applied)
    catalogue = applied.root / ".featdsl" / "store.duckdb"
    catalogue.unlink()
    catalogue.write_bytes(b"damaged" * 10_000)

    assert probes(served) == [
        (200, {"status": "alive"}),
        (503, {"status": "not ready", "reason": "the registry cannot be read"}),
    ]
    assert served.error(json=BODY) == (503, "store_down", [])


def damage(workspace: Workspace) -> None:
    """Make the online store unreadable."""
    (file,) = workspace.root.joinpath(".featdsl", "online").rglob("data.mdb")
    file.write_bytes(b"damaged" * 10_000)


def test_an_online_store_that_is_down_is_told(bank: Workspace, serve: Serve) -> None:
    """Clients learn when to repeat their request, and probes why."""
    bank.write({"featproject.toml": PUBLISHED}).apply()
    damage(bank)
    served = serve(bank)

    answer = served.post(json=BODY)

    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "online_store_down")
    assert answer.headers["retry-after"] == "1"
    assert probes(served)[1] == (503, {"status": "not ready", "reason": "the online store does not answer"})
    assert served.metric('featdsl_errors_total{code="online_store_down"}') == 1


def test_the_tables_answer_for_an_online_store_that_is_down(bank: Workspace, serve: Serve) -> None:
    """If the settings say so; a metric counts the columns."""
    bank.write({"featproject.toml": f'{PUBLISHED}when_down = "tables"\n'}).apply()
    damage(bank)
    served = serve(bank)

    answer = served.post(json=BODY).json()

    assert (answer["rows"], list(answer["metadata"]["from_tables"])) == (
        [{"age": 33, "income": 19000.0}],
        ["age", "income"],
    )
    assert served.metric('featdsl_table_reads_total{set="credit_risk@1"}') == 2


# Metrics and logs


def test_metrics_count_requests_by_set(applied: Workspace, serve: Serve) -> None:
    """Rows, unknown entities, errors by code, and the time of each request."""
    served = serve(applied)
    served.post(json={"features": "credit_risk@1", "rows": [{"user_id": 3}, {"user_id": 99}]})
    served.post(json={"features": ["age"], "rows": [{"user_id": 3}]})
    served.post(json={"features": "credit_risk@1", "rows": [{}]})

    assert [
        served.metric(line)
        for line in (
            'featdsl_request_seconds_count{set="credit_risk@1"}',
            'featdsl_rows_total{set="credit_risk@1"}',
            'featdsl_rows_total{set="list"}',
            'featdsl_unknown_entities_total{set="credit_risk@1"}',
            'featdsl_errors_total{code="missing_key"}',
            'featdsl_errors_total{code="wrong_type"}',
        )
    ] == [1, 2, 1, 1, 1, 0]


def test_the_newest_publication_has_a_time(bank: Workspace, serve: Serve) -> None:
    """Its age is the time now minus this one."""
    bank.write({"featproject.toml": PUBLISHED}).apply()
    served = serve(bank)
    published = served.post(json=BODY).json()["metadata"]["published_at"]

    seconds = served.metric("featdsl_publication_timestamp_seconds")

    from datetime import datetime

    assert seconds == pytest.approx(datetime.fromisoformat(published).timestamp())


def test_names_of_requests_never_become_labels(served: Served) -> None:
    """Else anyone could fill the memory of the server and of Prometheus."""
    for number in range(20):
        served.post(json={"features": f"made_up_{number}@1", "rows": []})
        served.post(f"/made_up_{number}", json={})

    assert "made_up" not in served.client.get("/metrics").text
    assert {entry["path"] for entry in served.log} == {"/v1/features", "other", "/metrics"}


def test_the_log_has_one_line_of_json_for_each_request(served: Served) -> None:
    """With the set, the rows and the team, and nothing of the values."""
    served.post(json=BODY)
    served.client.get("/health")

    entries = []
    for entry in served.log:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", entry.pop("time"))
        assert entry.pop("ms") > 0
        entries.append(entry)
    nothing = {"set": None, "rows": None, "team": None, "error": None}
    assert entries == [
        {**nothing, "method": "POST", "path": "/v1/features", "status": 200, "set": "credit_risk@1", "rows": 1},
        {**nothing, "method": "GET", "path": "/health", "status": 200},
    ]


def test_a_failure_of_the_server_is_told_without_values(
    applied: Workspace, serve: Serve, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The client learns nothing of it; standard error says where it failed, not the text of the exception."""
    served = serve(applied)

    def fail(*_: object) -> None:
        raise ZeroDivisionError("of the secret")

    monkeypatch.setattr("featdsl.server.answers.features_json", fail)
    answer = served.post(json=BODY)
    told = capfd.readouterr().err

    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal")
    assert (served.log[-1]["status"], served.log[-1]["error"]) == (500, "internal")
    assert '"failed":"ZeroDivisionError"' in told
    assert "secret" not in told


# Applies that come meanwhile


def test_a_new_version_is_served_after_its_apply(applied: Workspace, edit: Edit, serve: Serve) -> None:
    """Without a restart, and rights follow too."""
    served = serve(applied)
    body = {"features": "credit_risk@3", "rows": [{"user_id": 3}]}
    before = served.error(json=body)
    team = "features/lending/__init__.py"
    edit(
        team,
        "loan_default =",
        "credit_risk_v3 = credit_risk_v1.evolve(version=3, remove=[UserProfile.age])\nloan_default =",
    )
    applied.apply()

    assert before == (404, "unknown_version", ["credit_risk@1", "credit_risk@2"])
    assert served.post(json=body).json()["rows"] == [{"income": 19000.0}]


@pytest.mark.parametrize("settings", [BANK["featproject.toml"], PUBLISHED])
def test_a_group_that_becomes_private_is_refused_from_its_apply_on(
    settings: str, bank: Workspace, edit: Edit, serve: Serve
) -> None:
    """Also to requests that the server has answered a moment before."""
    bank.write({"featproject.toml": settings, "features/lending/__init__.py": ""}).apply()
    served = serve(bank)
    body = {"features": ["age"], "rows": [{"user_id": 3}]}
    before = served.post(json=body).json()["rows"]
    edit("features/accounts/__init__.py", "source=accounts)", 'source=accounts, access="private")')
    bank.apply()

    assert before == [{"age": 33}]
    assert served.error(json=body) == (403, "private_group", [])


def test_the_registry_is_not_read_for_each_request(
    bank: Workspace, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither after an apply nor after a refresh, whose state the answers have."""
    bank.write({"featproject.toml": PUBLISHED}).apply()
    reads: list[int] = []
    applied = FeatureStore.applied
    monkeypatch.setattr(FeatureStore, "applied", lambda store: reads.append(1) or applied(store))
    served = serve(bank)
    served.post(json=BODY)
    bank.parquet("data/accounts.parquet", ACCOUNTS.replace("range(20)", "range(40)")).run("refresh")
    wait_until(lambda: served.post(json=BODY).json()["rows"] == [{"age": 33, "income": 39000.0}])
    before, began = len(reads), time.monotonic()
    for _ in range(50):
        served.post(json=BODY)

    assert len(reads) - before <= 2 + time.monotonic() - began


@pytest.mark.slow
def test_no_answer_has_values_of_a_group_that_became_private(bank: Workspace, edit: Edit, serve: Serve) -> None:
    """The values of the state in which it is private are never in an answer, however many requests run."""
    bank.write({"featproject.toml": PUBLISHED, "features/lending/__init__.py": ""}).apply()
    served, leaked, done = serve(bank), [], threading.Event()
    body = {"features": ["income"], "rows": [{"user_id": 3}]}

    def ask() -> None:
        with httpx.Client(base_url=served.url, timeout=PATIENCE) as client:
            while not done.is_set():
                text = client.post("/v1/features", json=body).text
                leaked.extend([text] if "38000" in text else [])

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    edit("features/accounts/__init__.py", "source=accounts)", 'source=accounts, access="private")')
    edit("features/accounts/__init__.py", 'sql="annual_income"', 'sql="annual_income * 2"')
    bank.apply()
    done.wait(0.5)
    done.set()
    for thread in threads:
        thread.join()

    assert leaked == []
    assert served.error(json=body) == (403, "private_group", [])


@pytest.mark.slow
@pytest.mark.parametrize("settings", [BANK["featproject.toml"], PUBLISHED])
def test_no_request_fails_while_applies_run(settings: str, bank: Workspace, edit: Edit, serve: Serve) -> None:
    """Each answer is of one state: the income and the twelfth of it belong together."""
    bank.write({"featproject.toml": settings}).apply()
    served, wrong, done = serve(bank), [], threading.Event()
    body = {"features": ["user_profile.income", "affordability.monthly"], "rows": [{"user_id": 3}, {"user_id": 2}]}

    def ask() -> None:
        with httpx.Client(base_url=served.url, timeout=PATIENCE) as client:
            while not done.is_set():
                answer = client.post("/v1/features", json=body)
                rows = answer.json()["rows"] if answer.status_code == 200 else []
                if [row["income"] for row in rows] != [row["monthly"] * 12 for row in rows] or not rows:
                    wrong.append(answer.text)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for factor in range(2, 6):
        old = "annual_income" if factor == 2 else f"annual_income * {factor - 1}"
        edit("features/accounts/__init__.py", f'sql="{old}"', f'sql="annual_income * {factor}"')
        bank.apply()
    done.set()
    for thread in threads:
        thread.join()

    assert wrong == []
    wait_until(lambda: served.post(json=body).json()["rows"][0]["income"] == 95000.0)
    assert len(served.lines) > 20


# The process


@contextmanager
def running(
    workspace: Workspace, *options: str, url: str = "http", **client: Any
) -> Iterator[tuple[Any, httpx.Client]]:
    """Run `featdsl serve` until the block ends, and yield its process and a client of it."""
    port = free_port()
    command = [sys.executable, "-m", "featdsl", "serve", "--port", str(port), *options]
    process: Any = subprocess.Popen(
        command, cwd=workspace.root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    with httpx.Client(base_url=f"{url}://127.0.0.1:{port}", timeout=PATIENCE, **client) as reader:

        def lives() -> bool:
            assert process.poll() is None, process.communicate()
            try:
                return reader.get("/health").status_code == 200
            except httpx.TransportError:
                return False

        try:
            wait_until(lives)
            yield process, reader
        finally:
            reader.close()
            process.terminate()
            if not process.stdout.closed:
                process.communicate(timeout=PATIENCE)


def address(client: httpx.Client) -> str:
    """Return the URL of a server, without a slash."""
    return str(client.base_url).rstrip("/")


@pytest.mark.slow
def test_the_command_serves_until_it_is_ended(applied: Workspace) -> None:
    """It says where and that it is open, writes its log to standard output, and ends well on SIGTERM."""
    with running(applied) as (process, client):
        assert client.post("/v1/features", json=BODY).json()["rows"] == [{"age": 33, "income": 19000.0}]
        process.send_signal(signal.SIGTERM)
        output, errors = process.communicate(timeout=PATIENCE)

    assert process.returncode == 0
    assert errors == (
        f"Serving bank, state 1 of prod, at {address(client)}\n"
        "No tokens are set: everyone who reaches this port may read all public groups. Make one: featdsl token\n"
    )
    assert '"path":"/v1/features","status":200' in output.splitlines()[-1]


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
def test_requests_that_have_begun_are_finished(workers: str, applied: Workspace) -> None:
    """A body that arrives after SIGTERM is still answered."""
    arrived = threading.Event()

    def slowly() -> Iterator[bytes]:
        yield b'{"features": "credit_risk@1", '
        arrived.wait(10)
        yield b'"rows": [{"user_id": 3}]}'

    with running(applied, "--workers", workers) as (process, client):
        answers: list[httpx.Response] = []
        thread = threading.Thread(target=lambda: answers.append(client.post("/v1/features", content=slowly())))
        thread.start()
        threading.Event().wait(0.5)
        process.send_signal(signal.SIGTERM)
        threading.Event().wait(1)
        arrived.set()
        thread.join()
        process.communicate(timeout=PATIENCE)

    assert [answer.json()["rows"] for answer in answers] == [[{"age": 33, "income": 19000.0}]]
    assert process.returncode == 0


@pytest.mark.slow
def test_workers_count_together(applied: Workspace) -> None:
    """Each scrape has the sum of all workers, whichever answers it."""
    with running(applied, "--workers", "2") as (_, client):
        for _ in range(20):
            httpx.post(f"{address(client)}/v1/features", json=BODY)
        text = httpx.get(f"{address(client)}/metrics").text

    assert 'featdsl_rows_total{set="credit_risk@1"} 20.0' in text.splitlines()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="Linux lists the workers")
def test_a_worker_that_dies_is_replaced(applied: Workspace) -> None:
    """The others go on."""
    with running(applied, "--workers", "2") as (process, client):

        def workers() -> set[int]:
            own = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="utf-8").split()
            return {int(pid) for pid in own if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()}

        wait_until(lambda: len(workers()) == 2)
        before = workers()
        os.kill(min(before), signal.SIGKILL)
        wait_until(lambda: len(workers()) == 2 and workers() != before)

        assert httpx.post(f"{address(client)}/v1/features", json=BODY).status_code == 200


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
def test_tls_is_that_of_uvicorn(applied: Workspace, tmp_path: Path) -> None:
    """A certificate and its key are enough."""
    key, certificate = str(tmp_path / "key.pem"), str(tmp_path / "certificate.pem")
    make = f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -keyout {key} -out {certificate} -subj /CN=localhost"
    subprocess.run([*make.split(), "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
    trusted = ssl.create_default_context(cafile=certificate)

    options = ("--ssl-keyfile", key, "--ssl-certfile", certificate)
    with running(applied, *options, url="https", verify=trusted) as (_, client):
        assert client.post("/v1/features", json=BODY).status_code == 200


@pytest.mark.slow
@pytest.mark.parametrize("library", ["fastapi", "uvicorn", "prometheus_client"])
def test_a_missing_extra_is_named_with_the_line_that_installs_it(library: str, applied: Workspace) -> None:
    """The error has no traceback."""
    code = f"import sys; sys.modules[{library!r}] = None; from featdsl.__main__ import main; sys.argv[1:] = ['serve']; main()"
    done = subprocess.run([sys.executable, "-c", code], cwd=applied.root, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (
        1,
        "Missing package\n"
        f"  featdsl serve needs {library}, which is not installed.\n"
        "  Install it into this environment: pip install 'featdsl[serve]'\n",
    )


@pytest.mark.parametrize(
    ("typed", "settings", "told"),
    [
        (["--ssl-keyfile", "featproject.toml"], BANK["featproject.toml"], "--ssl-keyfile needs --ssl-certfile"),
        (["--env", "pr_1"], BANK["featproject.toml"], "Unknown environment"),
        ([], BANK["featproject.toml"] + '[serving]\nurl = "env:NOT_SET"\n', "NOT_SET is not set"),
    ],
)
def test_a_server_that_cannot_start_says_why(typed: list[str], settings: str, told: str, applied: Workspace) -> None:
    """Before it listens."""
    done = applied.write({"featproject.toml": settings}).run("serve", *typed)

    assert done.returncode == 1
    assert told in done.stderr
