"""Connecting to a server: what is no server, and what a server must be able to do."""

from __future__ import annotations

import http.server
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
import pytest

from featdsl.engines.spark import connect
from featdsl.engines.spark.connect import SETTINGS, Connected
from featdsl.errors import RequestError, UnreachableError


def problem_of(url: str) -> tuple[str, str, str]:
    """Return the problem of connecting to a URL."""
    with pytest.raises(UnreachableError) as raised:
        connect.connect(url).close()
    (problem,) = raised.value.problems
    return problem.summary, problem.what, problem.fix


@contextmanager
def listening(answer: bytes | None = None) -> Iterator[int]:
    """Listen on a port; send `answer` to whoever connects, or nothing at all."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        ended = threading.Event()

        def serve() -> None:
            kept = []
            while not ended.is_set():
                try:
                    connection, _ = server.accept()
                except TimeoutError:
                    continue
                kept.append(connection)
                if answer is not None:
                    connection.sendall(answer)
            for connection in kept:
                connection.close()

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        ended.set()
        thread.join()


@contextmanager
def claiming(version: str, after: float = 0) -> Iterator[str]:
    """Serve Spark's Connect protocol as far as to claim a version, after some seconds."""
    from pyspark.sql.connect import proto

    class Servicer(proto.SparkConnectServiceServicer):  # type: ignore[name-defined, misc]
        def AnalyzePlan(self, request: Any, _: Any) -> Any:  # noqa: N802 - gRPC's name
            time.sleep(after)
            return proto.AnalyzePlanResponse(
                session_id=request.session_id, spark_version=proto.AnalyzePlanResponse.SparkVersion(version=version)
            )

    server = grpc.server(ThreadPoolExecutor(2))
    proto.add_SparkConnectServiceServicer_to_server(Servicer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"sc://127.0.0.1:{port}"
    server.stop(None)


def test_a_session_has_its_settings_and_leaves_those_of_others_alone(spark_url: str) -> None:
    """The settings count for one session."""
    other = connect.connect(spark_url)
    other.spark.conf.set("spark.sql.session.timeZone", "Asia/Tokyo")
    own = connect.connect(spark_url)
    assert {name: str(own.spark.conf.get(name)) for name in SETTINGS} | {} == SETTINGS
    assert other.spark.conf.get("spark.sql.session.timeZone") == "Asia/Tokyo"
    assert own.version.split()[0] in {"spark", "sail"}
    own.close()
    other.close()


def test_a_local_server_ends_with_its_session() -> None:
    """`local` is a server of this process."""
    local = connect.connect("local")
    assert local.place == "local"
    assert local.is_sail
    host, port = local.server.listening_address
    local.close()
    with pytest.raises(OSError, match="refused"):
        socket.create_connection((host, port), timeout=1)


def test_connecting_writes_nothing(spark_url: str) -> None:
    """Libraries warn of pandas, and log each session and each error."""
    code = (
        "from pathlib import Path; from featdsl.engines.spark.session import open_engine\n"
        f"for url in ('local', {spark_url!r}):\n"
        "  engine = open_engine(url, Path())\n"
        "  try: engine.write('SELECT nothing', [], '/nowhere')\n"
        "  except Exception as error: assert type(error).__name__ == 'EngineError', error\n"
        "  engine.close()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)


@pytest.mark.parametrize("url", ["spark://host:7077", "host:15002", "", "http://host", "sc:/host"])
def test_what_is_no_url_is_refused(url: str) -> None:
    """A URL begins with sc://."""
    summary, what, fix = problem_of(url)
    assert summary == "Spark cannot be reached"
    assert what.endswith("is no URL of a Spark Connect server.")
    assert fix == 'Write url = "sc://HOST:PORT", or url = "local" for a server in this process.'


def test_a_url_that_the_client_refuses_is_refused_without_its_token() -> None:
    """Parameters stand after a semicolon."""
    summary, what, _ = problem_of("sc://host:15002/path;token=hidden")
    assert (summary, what) == (
        "Spark cannot be reached",
        "sc://host:15002: it is no URL of a Spark Connect server.",
    )


def test_nobody_at_the_port_is_told_at_once() -> None:
    """The client itself tries for ten minutes."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    begun = time.monotonic()
    summary, what, fix = problem_of(f"sc://127.0.0.1:{port}/;token=hidden;use_ssl=true")
    assert time.monotonic() - begun < 12
    assert (summary, what) == ("Spark cannot be reached", f"sc://127.0.0.1:{port}: no connection can be made.")
    assert fix == "Check that the server runs and that [engine] url in featproject.toml names it."


def test_a_server_that_says_nothing_is_told_within_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """It accepts connections."""
    monkeypatch.setattr(connect, "_TIMEOUT", 1.0)
    with listening() as port:
        begun = time.monotonic()
        _, what, _ = problem_of(f"sc://127.0.0.1:{port}")
        assert time.monotonic() - begun < 10
    assert what.startswith(f"sc://127.0.0.1:{port}: ")


def test_a_busy_server_has_more_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first session of a server may take a while; this one is too old in the end."""
    monkeypatch.setattr(connect, "_TIMEOUT", 0.5)
    with claiming("3.5.6", after=1.5) as url:
        assert problem_of(url)[0] == "Spark cannot be used"


def test_a_web_server_is_no_spark() -> None:
    """It answers, but in another protocol."""
    web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    threading.Thread(target=web.serve_forever, daemon=True).start()
    stderr, sys.stderr = sys.stderr, open("/dev/null", "w")  # noqa: PTH123, SIM115 - the web server logs there
    try:
        _, what, _ = problem_of(f"sc://127.0.0.1:{web.server_port}")
    finally:
        sys.stderr.close()
        sys.stderr = stderr
        web.shutdown()
        web.server_close()
    assert what == f"sc://127.0.0.1:{web.server_port}: it answers, but it is no Spark Connect server."


def test_another_grpc_server_is_no_spark() -> None:
    """It has no such service."""
    server = grpc.server(ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    _, what, _ = problem_of(f"sc://127.0.0.1:{port}")
    server.stop(None)
    assert what == f"sc://127.0.0.1:{port}: it answers, but it is no Spark Connect server."


@pytest.mark.parametrize("version", ["3.5.6", "", "unknown"])
def test_an_old_server_is_refused(version: str) -> None:
    """Connect exists since Spark 3.4."""
    with claiming(version) as url:
        summary, what, fix = problem_of(url)
    shown = version or "of an unknown version"
    assert summary == "Spark cannot be used"
    assert what == f"{url}: it runs Spark {shown}, but Spark 4.0 or newer is needed."
    assert fix == "Upgrade the server, or name another one in [engine] url."


class Conf:
    """The settings of a session that refuses one of them, or lets it have no effect."""

    def __init__(self, conf: Any, name: str, error: Exception | None = None) -> None:
        self.conf, self.name, self.error = conf, name, error

    def get(self, name: str, default: Any = None) -> Any:
        """Return a setting."""
        return "other" if name == self.name else self.conf.get(name, default)

    def set(self, name: str, value: str) -> None:
        """Change a setting."""
        if name == self.name and self.error:
            raise self.error
        self.conf.set(name, value)


class Session:
    """A session with other settings."""

    def __init__(self, spark: Any, conf: Any) -> None:
        self.spark, self.conf = spark, conf

    def sql(self, query: str) -> Any:
        """Run a query."""
        return self.spark.sql(query)


def test_a_setting_that_is_refused_or_has_no_effect_is_named(spark: Any) -> None:
    """A hosted server allows a few settings only."""
    from pyspark.errors import AnalysisException

    refused = AnalysisException("[CONFIG_NOT_AVAILABLE] It is not available. SQLSTATE: 42K0I\n\nJVM stacktrace:\norg.x")
    name = "spark.sql.ansi.enabled"
    for error, why in ((refused, "It is not available"), (None, "it is other after it was set")):
        session: Any = Session(spark, Conf(spark.conf, name, error))
        with pytest.raises(UnreachableError) as raised:
            connect._apply_settings(Connected(session, "sc://host:1", "spark 4.0.0"))
        (problem,) = raised.value.problems
        assert problem.summary == "Spark cannot be used"
        assert problem.what == f"sc://host:1: it refuses the setting {name} = true: {why}."
        assert problem.fix == f"Values would differ from DuckDB's. Let sessions of the server have {name} = true."


def test_settings_must_have_an_effect(spark: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server may keep a setting, and not know it."""
    proved = {**connect._PROVED, "spark.sql.session.timeZone": "Asia/Tokyo"}
    monkeypatch.setattr(connect, "_PROVED", proved)
    with pytest.raises(UnreachableError, match="spark.sql.session.timeZone = Asia/Tokyo: SQL sees UTC"):
        connect._apply_settings(Connected(spark, "sc://host:1", "spark 4.0.0"))


@pytest.mark.parametrize(
    ("url", "package", "missing", "extra"),
    [
        ("sc://host:1", "pyspark-client", "pyspark", "spark"),
        ("sc://host:1", "pyspark-client", "grpc", "spark"),
        ("local", "pyspark-client", "pyspark", "spark-local"),
        ("local", "pysail", "pysail.spark", "spark-local"),
    ],
)
def test_a_missing_package_is_named_with_the_command_that_installs_it(
    url: str, package: str, missing: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An extra of featdsl brings them."""
    for name in [name for name in sys.modules if name.split(".")[0] == missing]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(RequestError) as raised:
        connect.connect(url)
    (problem,) = raised.value.problems
    assert problem.summary == "Missing package"
    assert problem.what == f'engine="spark" needs {package}, which is not installed.'
    assert problem.fix == f"Install it into this environment: pip install 'featdsl[{extra}]'"


PARTLY = "import warnings; warnings.simplefilter('error'); import pyspark.testing.utils"
"""What a library may do that imports a part of the client: it warns of pandas, and takes the warning for a missing package."""


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (
            f"from featdsl.engines.spark.connect import import_client; import_client('sc://'); {PARTLY}; c()",
            "no problem",
        ),
        (
            f"{PARTLY}; c()",
            'Broken package: engine="spark" needs pyspark-client, which cannot be imported: cannot import',
        ),
    ],
)
def test_a_client_that_another_library_has_imported_in_part(code: str, told: str) -> None:
    """It is told from a missing one, and does no harm once the client is imported whole."""
    before = """
def c():
    from featdsl.engines.spark import connect
    try:
        connect.connect("sc://127.0.0.1:9")
    except connect.UnreachableError:
        print("no problem")
    except connect.RequestError as error:
        print(error.problems[0].summary, error.problems[0].what, sep=": ")
"""
    done = subprocess.run([sys.executable, "-c", before + code], capture_output=True, text=True, check=False)
    assert done.stdout.startswith(told), done.stderr


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("local", "local"),
        ("sc://host", "sc://host"),
        ("sc://host:15002/;token=secret", "sc://host:15002"),
        ("sc://host:15002;token=secret", "sc://host:15002"),
        ("sc://user:secret@host:15002/", "sc://host:15002"),
    ],
)
def test_places_have_no_secrets(url: str, place: str) -> None:
    """They stand in messages."""
    assert connect.place_of(url) == place
