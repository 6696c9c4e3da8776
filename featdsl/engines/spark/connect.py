"""Connect to a server of Spark, and give its session the settings that equal values need."""

from __future__ import annotations

import atexit
import logging
import os
import sys
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from threading import Event
from typing import TYPE_CHECKING, Any

from featdsl.engines.spark.errors import message_of, stop_retrying
from featdsl.errors import Problem, RequestError, UnreachableError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

LOCAL = "local"
"""The URL of a server in this process, which ends with the session."""
_SCHEME = "sc://"
_TIMEOUT = 10.0
"""The seconds that a server has to answer the first call."""
_TIMEOUT_OF_BUSY = 60.0
"""The seconds that it has in addition if it has accepted the connection."""
_RETRIES = 4
"""How often a call is repeated while the server is out of reach, for about ten seconds in all."""
_OLDEST = 4
"""The oldest major version that is supported."""
_INSTALL = "Install it into this environment: pip install 'featdsl[{}]'"
_CHECK = "Check that the server runs and that [engine] url in featproject.toml names it."

SETTINGS = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.ansi.enabled": "true",
    "spark.sql.timestampType": "TIMESTAMP_NTZ",
    "spark.sql.caseSensitive": "false",
    # The text of SQL means what it says.
    "spark.sql.variable.substitute": "false",
    "spark.sql.ansi.doubleQuotedIdentifiers": "false",
    "spark.sql.ansi.enforceReservedKeywords": "false",
    # Values are never changed or lost silently.
    "spark.sql.decimalOperations.allowPrecisionLoss": "true",
    "spark.sql.mapKeyDedupPolicy": "EXCEPTION",
    "spark.sql.legacy.timeParserPolicy": "CORRECTED",
    "spark.sql.files.ignoreCorruptFiles": "false",
    "spark.sql.files.ignoreMissingFiles": "false",
    # Parquet files have the values and types that DuckDB reads and writes.
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    "spark.sql.parquet.datetimeRebaseModeInRead": "CORRECTED",
    "spark.sql.parquet.datetimeRebaseModeInWrite": "CORRECTED",
    "spark.sql.parquet.int96RebaseModeInRead": "CORRECTED",
    "spark.sql.parquet.inferTimestampNTZ.enabled": "true",
    "spark.sql.parquet.binaryAsString": "false",
    "spark.sql.parquet.writeLegacyFormat": "false",
    "spark.sql.sources.partitionColumnTypeInference.enabled": "false",
}
"""The settings of each session, and of no other session of the server."""

_ASOF_JOIN = "spark.sql.join.asofJoin.enabled"
_ASOF_PROBE = (
    "SELECT a, b FROM (SELECT 2 AS a) AS l LEFT OUTER ASOF JOIN (SELECT 1 AS b) AS r MATCH_CONDITION (l.a >= r.b)"
)
_PROBE = r"""
SELECT current_timezone() AS `spark.sql.session.timeZone`, typeof(TIMESTAMP '2020-01-01') AS `spark.sql.timestampType`,
  '${spark.sql.ansi.enabled}' AS `spark.sql.variable.substitute`, length('\'') AS `spark.sql.parser.escapedStringLiterals`,
  'a' = 'A' AS `the collation of texts`
"""
_PROVED = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.timestampType": "timestamp_ntz",
    "spark.sql.variable.substitute": "${spark.sql.ansi.enabled}",
    "spark.sql.parser.escapedStringLiterals": 1,
    "the collation of texts": False,
}
"""What the probe returns if the settings have an effect."""


@dataclass
class Connected:
    """A session of a server. `place` names the server without secrets; `version` is its name and its version."""

    spark: SparkSession
    place: str
    version: str
    server: Any = field(default=None, repr=False)
    """The server in this process, if the session has its own."""

    @property
    def is_sail(self) -> bool:
        """Whether the server is Sail."""
        return self.version.startswith("sail")

    def has_asof_join(self) -> bool:
        """Switch on the join that finds the latest row, and return whether the server has it."""
        from pyspark.errors import PySparkException

        try:
            self.spark.conf.set(_ASOF_JOIN, "true")
            return [tuple(row) for row in self.spark.sql(_ASOF_PROBE).collect()] == [(2, 1)]
        except PySparkException:
            return False

    def close(self) -> None:
        """End the session, and the server if it has its own. A server that is gone is no error."""
        stop_retrying(self.spark)
        with suppress(Exception):
            self.spark.stop()
        if self.server is not None:
            _stop(self.server)


def connect(url: str) -> Connected:
    """Return a new session of the server at a URL, `sc://HOST:PORT` with parameters such as `/;token=...`, or of `local`.

    Raises RequestError for a missing package, and UnreachableError for a server that does not answer, or cannot be used.
    """
    place = place_of(url)
    if url != LOCAL and not url.startswith(_SCHEME):
        fix = 'Write url = "sc://HOST:PORT", or url = "local" for a server in this process.'
        raise UnreachableError(
            Problem("Spark cannot be reached", f"{place} is no URL of a Spark Connect server.", fix=fix)
        )
    import_client(url)
    with _quiet():
        server = _local_server() if url == LOCAL else None
        try:
            address = url if server is None else "{}{}:{}".format(_SCHEME, *server.listening_address)
            _probe(address, place)
            return _session(address, place, server)
        except BaseException:
            if server is not None:
                _stop(server)
            raise


def import_client(url: str) -> None:
    """Import the client of Spark Connect whole, and for `local` the server, without the client's warnings.

    Whoever imports a part of it first where warnings are errors, as MLflow may, leaves the rest without its functions.
    Raises RequestError if one is not installed, or cannot be imported.
    """
    extra = "spark-local" if url == LOCAL else "spark"
    package = "pyspark-client"
    with _quiet(), _as_a_program():
        try:
            import grpc  # noqa: F401
            import pyspark.sql.connect.catalog
            import pyspark.sql.connect.functions
            import pyspark.sql.connect.session
            import pyspark.sql.connect.udf  # noqa: F401

            if url == LOCAL:
                package = "pysail"
                import pysail.spark  # noqa: F401
        except ModuleNotFoundError as error:
            what = f'engine="spark" needs {package}, which is not installed.'
            raise RequestError(Problem("Missing package", what, fix=_INSTALL.format(extra))) from error
        except ImportError as error:
            what = f'engine="spark" needs {package}, which cannot be imported: {message_of(error)}.'
            raise RequestError(Problem("Broken package", what, fix=_INSTALL.format(extra))) from error


def place_of(url: str) -> str:
    """Return the name of a server in messages: its URL without parameters, which may hold a secret."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        return scheme
    return f"{scheme}://{rest.partition('/')[0].rpartition('@')[2].partition(';')[0].partition('?')[0]}"


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what libraries say of their own accord from users: of versions of pandas, of each error, and of each session."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    for name in ("SQLQueryContextLogger", "DataFrameQueryContextLogger"):
        logging.getLogger(name).disabled = True


@contextmanager
def _as_a_program() -> Iterator[None]:
    """Import pyspark as a program in a file does: of a program without one, `python -c`, it imports its own tests, and exits."""
    program = sys.modules["__main__"]
    if hasattr(program, "__file__"):
        yield
        return
    program.__file__ = "program"
    try:
        yield
    finally:
        del program.__file__


def _local_server() -> Any:
    os.environ.setdefault("RUST_LOG", "off")
    from pysail.spark import SparkConnectServer

    server: Any = SparkConnectServer("127.0.0.1", 0)
    server.start(background=True)
    atexit.register(server.stop)  # without its end, the process would wait for it
    return server


def _stop(server: Any) -> None:
    atexit.unregister(server.stop)
    with suppress(RuntimeError):  # it has ended already
        server.stop()


def _unreachable(place: str, why: str, fix: str = _CHECK) -> UnreachableError:
    return UnreachableError(Problem("Spark cannot be reached", f"{place}: {why}.", fix=fix))


def _unusable(place: str, why: str, fix: str) -> UnreachableError:
    return UnreachableError(Problem("Spark cannot be used", f"{place}: {why}.", fix=fix))


def _probe(url: str, place: str) -> None:
    """Ask a server for its version once, where the client itself would ask for ten minutes."""
    import grpc
    from pyspark.errors import PySparkException
    from pyspark.sql.connect.client.core import DefaultChannelBuilder

    try:
        builder = DefaultChannelBuilder(url)
        channel = builder.toChannel()
    except (PySparkException, ValueError) as error:
        fix = 'Write url = "sc://HOST:PORT", with parameters after "/;".'
        raise _unreachable(place, "it is no URL of a Spark Connect server", fix) from error
    with channel:
        try:
            version = _asked(channel, builder, _TIMEOUT)
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.DEADLINE_EXCEEDED or not _is_ready(channel):
                raise _refused(place, error) from error
            version = _asked_again(channel, builder, place)
    if not version.partition(".")[0].isdigit() or int(version.partition(".")[0]) < _OLDEST:
        why = f"it runs Spark {version or 'of an unknown version'}, but Spark {_OLDEST}.0 or newer is needed"
        raise _unusable(place, why, "Upgrade the server, or name another one in [engine] url.")


def _is_ready(channel: Any) -> bool:
    """Return whether a server has accepted the connection, and speaks gRPC."""
    import grpc

    ready = Event()
    channel.subscribe(lambda state: ready.set() if state is grpc.ChannelConnectivity.READY else None)
    return ready.wait(1)


def _asked_again(channel: Any, builder: Any, place: str) -> str:
    """Return the version of a server that has accepted a connection, but is busy: its first session may take a while."""
    import grpc

    try:
        return _asked(channel, builder, _TIMEOUT_OF_BUSY)
    except grpc.RpcError as error:
        raise _refused(place, error) from error


def _asked(channel: Any, builder: Any, timeout: float) -> str:
    """Return the version of Spark that a server claims. Raises grpc.RpcError."""
    import grpc
    from pyspark.sql.connect.proto import (
        AnalyzePlanRequest,
        ReleaseSessionRequest,
        SparkConnectServiceStub,
        UserContext,
    )

    stub: Any = SparkConnectServiceStub(channel)  # type: ignore[no-untyped-call]
    own: dict[str, Any] = {
        "session_id": str(uuid.uuid4()),
        "user_context": UserContext(user_id=builder.userId or "featdsl"),
    }
    request = AnalyzePlanRequest(spark_version=AnalyzePlanRequest.SparkVersion(), **own)
    answer = stub.AnalyzePlan(request, timeout=timeout, metadata=builder.metadata())
    with suppress(grpc.RpcError):
        stub.ReleaseSession(ReleaseSessionRequest(**own), timeout=timeout, metadata=builder.metadata())
    return str(answer.spark_version.version)


_REASONS = {
    "UNAVAILABLE": "no connection can be made",
    "DEADLINE_EXCEEDED": f"it does not answer within {_TIMEOUT:g} seconds",
    "UNIMPLEMENTED": "it answers, but it is no Spark Connect server",
    "UNAUTHENTICATED": "it refuses this token",
    "PERMISSION_DENIED": "the token may not use it",
}
"""Why the first call fails, by gRPC's code."""
_OTHER_SERVER = ("http1.x", "Received http2 header with status", "frame", "WRONG_VERSION_NUMBER", "Socket closed")
"""Parts of what gRPC says of a server that speaks another protocol."""
_FIXES = {
    "UNAUTHENTICATED": 'Set the token of the URL, and write [engine] url as "env:NAME".',
    "PERMISSION_DENIED": "Ask for access to the server, or use another token.",
}


def _refused(place: str, error: Any) -> UnreachableError:
    code, details = error.code().name, error.details() or ""
    why = _REASONS.get(code) or f"it answers {code}: {details.partition(chr(10))[0]}".rstrip(".: ")
    if any(each in details for each in _OTHER_SERVER):
        why = _REASONS["UNIMPLEMENTED"]
    return _unreachable(place, why, _FIXES.get(code, _CHECK))


def _session(url: str, place: str, server: Any) -> Connected:
    from pyspark.errors import PySparkException
    from pyspark.sql import SparkSession
    from pyspark.sql.connect.client.retries import DefaultPolicy

    try:
        spark: Any = SparkSession.builder.remote(url).create()
        spark.client.set_retry_policies([DefaultPolicy(max_retries=_RETRIES, initial_backoff=200, max_backoff=5000)])
        version = _version(spark)
    except PySparkException as error:
        raise _unreachable(place, message_of(error).rstrip(".")) from error
    connected = Connected(spark, place, version, server)
    try:
        _apply_settings(connected)
    except BaseException:
        with suppress(Exception):
            spark.stop()
        raise
    return connected


def _version(spark: Any) -> str:
    """Return the name and the version of a server. Sail tells the version of Spark that it follows, but its own in SQL."""
    claimed = str(spark.version)
    ((own,),) = spark.sql("SELECT version()").collect()
    own = str(own).partition(" ")[0]
    return f"spark {claimed}" if own == claimed else f"sail {own}"


def _apply_settings(connected: Connected) -> None:
    """Set what equal values need, and prove that it has an effect. Raises UnreachableError that names a setting that fails."""
    from pyspark.errors import PySparkException

    spark = connected.spark
    for name, wanted in SETTINGS.items():
        try:
            if _value(spark, name).lower() == wanted.lower():
                continue
            spark.conf.set(name, wanted)
            found = _value(spark, name)
        except PySparkException as error:
            raise _wrong_setting(connected.place, name, wanted, message_of(error).rstrip(".")) from error
        if found.lower() != wanted.lower():
            raise _wrong_setting(connected.place, name, wanted, f"it is {found} after it was set")
    try:
        (row,) = spark.sql(_PROBE).collect()
    except PySparkException as error:
        raise _unusable(connected.place, message_of(error).rstrip("."), _CHECK) from error
    for name, wanted_value in _PROVED.items():
        if row[name] != wanted_value:
            raise _wrong_setting(connected.place, name, str(wanted_value), f"SQL sees {row[name]}")


def _value(spark: Any, name: str) -> str:
    """Return a setting; "" if the server does not know it."""
    from pyspark.errors import PySparkException

    try:
        return str(spark.conf.get(name))
    except PySparkException:
        return ""


def _wrong_setting(place: str, name: str, wanted: str, why: str) -> UnreachableError:
    fix = f"Values would differ from DuckDB's. Let sessions of the server have {name} = {wanted}."
    return _unusable(place, f"it refuses the setting {name} = {wanted}: {why}", fix)
