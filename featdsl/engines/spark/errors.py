"""Errors of Spark and of Sail, translated to ours: one line, without the stack traces of a server."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from featdsl.engines.duckdb import data_errors
from featdsl.engines.resources import DISK_TEXTS
from featdsl.engines.session import EngineError, ErrorDetail, ErrorKind, Fault, Lack
from featdsl.engines.spark import worker
from featdsl.errors import DataError, Origin, Problem

_EXPLAINED: tuple[tuple[ErrorKind, str, str, str], ...] = (
    (
        "unreachable",
        "INVALID_HANDLE|SESSION_CLOSED|SESSION_NOT_FOUND|SESSION_CHANGED|OPERATION_NOT_FOUND|invalid session|session .*not (?:found|running)",
        "the session has ended: the server was restarted, or it ended a session that was idle for too long",
        "Apply again; if sessions end too early, raise spark.connect.session.manager.defaultSessionTimeout of the server.",
    ),
    (
        "unreachable",
        (
            r"RETRIES_EXCEEDED|StatusCode\.UNAVAILABLE|failed to connect to all addresses|Connection refused|Connection reset|Socket closed"
            "|SparkContext was shut down|stopped SparkContext|Cannot call methods on a stopped"
        ),
        "the connection to the server was lost, or the server has ended",
        "Start the server again, then apply again.",
    ),
    (
        "memory",
        (
            "OutOfMemoryError|Java heap space|GC overhead limit|UNABLE_TO_ACQUIRE_MEMORY|_OUT_OF_MEMORY"
            "|exceeding (?:physical )?memory limits|exit code:? 137|code 137|Resources exhausted|OOMKilled"
        ),
        "the server or a worker ran out of memory: {message}",
        "Give the executors or the driver of the cluster more memory.",
    ),
    (
        "unreachable",
        (
            "ExecutorLostFailure|[Ee]xecutor lost|Executor heartbeat timed out|[Ww]orker lost|FetchFailed|MetadataFetchFailed"
            "|Master removed our application|All masters are unresponsive"
        ),
        "workers of the cluster were lost while they computed",
        "Look into the log of the workers for the reason, often too little memory; then apply again.",
    ),
    (
        "disk",
        "|".join(map(re.escape, DISK_TEXTS)),
        "{message}",
        "Free some space on the disks of the cluster, or in the folder of the store.",
    ),
    (
        "other",
        "PYTHON_VERSION_MISMATCH|Python in worker has different version",
        "the Python of its workers has another version than this one, so functions cannot run there",
        "Set PYSPARK_PYTHON of the cluster to a Python of the same minor version.",
    ),
    (
        "other",
        "ModuleNotFoundError: No module named",
        "its workers lack a package that a function needs: {message}",
        "Install the package where the Python workers of the cluster run; modules of the project itself come with its functions.",
    ),
    (
        "other",
        "Python worker exited unexpectedly|PYTHON_WORKER_EXITED|Python worker process terminated",
        "a Python worker ended while it ran a function",
        "Look into the log of the workers: a library crashed, or memory ran out.",
    ),
)
"""Failures of a cluster: their kind, what an error says of them, the reason in plain words, and the fix."""

_OF_CONDITION: tuple[tuple[str, ErrorKind], ...] = (
    ("PARSE_", "syntax"),
    ("TABLE_OR_VIEW_NOT_FOUND", "missing"),
    ("SCHEMA_NOT_FOUND", "missing"),
    ("CATALOG_NOT_FOUND", "missing"),
    ("PATH_NOT_FOUND", "missing"),
    ("REQUIRES_SINGLE_PART_NAMESPACE", "missing"),
    ("USER_RAISED_EXCEPTION", "value"),
    ("FAILED_READ_FILE.PARQUET_COLUMN_DATA_TYPE_MISMATCH", "binding"),
    ("FAILED_READ_FILE", "unreachable"),
    ("CANNOT_MERGE_SCHEMAS", "binding"),
    ("PARQUET_TYPE_ILLEGAL", "binding"),
    ("INSUFFICIENT_PERMISSIONS", "unreachable"),
)
"""The kinds of errors by the beginning of Spark's name for them."""
_OF_STATE: tuple[tuple[str, ErrorKind], ...] = (
    ("42601", "syntax"),
    ("42P01", "missing"),
    ("42704", "missing"),
    ("42K03", "missing"),
    ("22", "value"),
    ("P0001", "value"),
    ("42", "binding"),
    ("08", "unreachable"),
    ("58", "unreachable"),
)
"""The kinds of errors by the beginning of their SQLSTATE."""
_OF_TEXT: tuple[tuple[str, ErrorKind], ...] = (
    (r"TABLE_OR_VIEW_NOT_FOUND|[Tt]able not found|PATH_NOT_FOUND|[Pp]ath does not exist|No files found", "missing"),
    (r"PARQUET_COLUMN_DATA_TYPE_MISMATCH|Ambiguous", "binding"),
    (r"invalid argument: found|PARSE_SYNTAX_ERROR", "syntax"),
    (
        r"cannot resolve|No field named|unknown function|Cannot coerce|missing from the schema|type_coercion|UNRESOLVED_",
        "binding",
    ),
    (
        r"[Dd]ivide by zero|[Rr]emainder by zero|ArrowInvalid|out of bounds|[Cc]an(?:no|')t cast|Cast error|overflow|Overflow|Parser error|CAST_INVALID_INPUT",
        "value",
    ),
    (
        (
            r"FileSystem error|ObjectStore|Permission denied|No FileSystem for scheme|ClassNotFoundException|Mkdirs failed|lookup address"
            r"|AccessDenied|Access Denied|Parquet error|is not a Parquet file|UnknownHost"
        ),
        "unreachable",
    ),
)
"""The kinds of errors by their text: those of Sail have no condition, and those inside tasks keep only their text."""
_OF_CLASS: dict[str, ErrorKind] = {
    "ParseException": "syntax",
    "ArithmeticException": "value",
    "NumberFormatException": "value",
    "DateTimeException": "value",
    "ArrayIndexOutOfBoundsException": "value",
    "UnsupportedOperationException": "binding",
}
_LACKS: tuple[tuple[str, Lack], ...] = (
    (r"name (?:`[^`]*`\.)*`([^`]+)` cannot be resolved", "column"),
    (r'Identifier\("([^"]+)"\)\]\) is missing', "column"),
    (r"Cannot resolve routine (?:`[^`]*`\.)*`([^`]+)`", "function"),
    (r"unknown function: (\S+)", "function"),
    (r"table or view (\S+) cannot be found", "table"),
    (r"Table or view not found: (\S+)", "table"),
    (r"[Pp]ath does not exist: (\S+)", "files"),
)
"""What a statement lacks, and its name."""

_STACK = re.compile(r"\s*(?:JVM stacktrace:|== SQL|== Plan|Driver stacktrace:).*", re.DOTALL)
_OF_TASK = re.compile(r"most recent failure: Lost task \S+ in stage \S+ \(TID \d+\) \([^)]*\): (.*)", re.DOTALL)
_OF_PYTHON = re.compile(r"Traceback \(most recent call last\):.*\n(\S[^\n]*)", re.DOTALL)
_STATE = re.compile(r"\s*SQLSTATE: \w+.*", re.DOTALL)
_CONDITION = re.compile(r"^\s*\[[A-Z][A-Z0-9_.]*\]\s*")
_CLASS = re.compile(r"^(?:[a-z]\w*\.)+[A-Z]\w*: ")


def message_of(error: Exception) -> str:
    """Return the message of an error in one line, without classes, codes and stack traces of the server."""
    text = _STACK.sub("", str(error))
    if match := _OF_TASK.search(text):
        text = match[1]
    text = _STATE.sub("", text).strip()
    if match := _OF_PYTHON.search(text):
        text = match[1]
    first = next((line.strip() for line in text.splitlines() if line.strip()), "") or type(error).__name__
    return _CONDITION.sub("", _CLASS.sub("", first)) or type(error).__name__


def stop_retrying(spark: Any) -> None:
    """Let the last calls of a session fail at once if the server is gone."""
    from pyspark.sql.connect.client.retries import DefaultPolicy

    spark.client.set_retry_policies([DefaultPolicy(max_retries=0)])


@contextmanager
def translated(spark: Any, place: str, root: Path) -> Iterator[None]:
    """Raise the errors of a session as EngineError, and as DataError if a Python function failed. Ctrl-C ends its statement.

    `place` names the server; files of functions are shown relative to `root`.
    """
    import grpc
    from pyspark.errors import PySparkException

    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"pyspark\.")  # it also warns of errors that it raises
            yield
    except KeyboardInterrupt:
        # The local server ends by itself: it gets the signal too.
        stop_retrying(spark)
        with suppress(Exception):
            spark.interruptAll()
        raise
    except (PySparkException, grpc.RpcError) as error:
        translation = of(error, place, root)
        if isinstance(translation, EngineError) and translation.kind == "unreachable":
            stop_retrying(spark)
        raise translation from error


def of(error: Exception, place: str, root: Path) -> EngineError | DataError:
    """Return the error for one of pyspark or of gRPC."""
    text, message = str(error), message_of(error)
    if failure := worker.failure_in(text):
        summary, what, file, line, fix = failure
        return DataError(Problem(summary, what, Origin(file, line), fix).seen_from(root))
    if fault := data_errors.found(error):
        plain = Fault(fault.summary, fault.what, _STATE.sub("", fault.fix))
        return EngineError(message, "value", fault=plain)
    for kind, pattern, why, fix in _EXPLAINED:
        if re.search(pattern, text):
            what = f"{place}: {why.format(message=message.rstrip('.'))}"
            fault = Fault("Spark failed", what, f"The next apply reuses the tables that are done. {fix}")
            return EngineError(f"{what}.\n{fix}", kind, detail=ErrorDetail(what), fault=fault)
    return EngineError(message, kind_of(error), detail=_detail(text, message))


def kind_of(error: Exception) -> ErrorKind:
    """Return the kind of an error of pyspark."""
    text = _STACK.sub("", str(error))
    condition = _name(error, "getCondition") or (
        match[1] if (match := re.search(r"\[([A-Z][A-Z0-9_.]+)\]", text)) else ""
    )
    state = _name(error, "getSqlState") or (match[1] if (match := re.search(r"SQLSTATE: (\w+)", text)) else "")
    by_condition = next((kind for name, kind in _OF_CONDITION if condition.startswith(name)), None)
    by_state = next((kind for name, kind in _OF_STATE if state.startswith(name)), None)
    by_text = next((kind for pattern, kind in _OF_TEXT if re.search(pattern, text)), None)
    return by_condition or by_state or by_text or _OF_CLASS.get(type(error).__name__, "other")


def _name(error: Exception, method: str) -> str:
    return str(getattr(error, method, lambda: None)() or "")


def _detail(text: str, message: str) -> ErrorDetail:
    for pattern, lacks in _LACKS:
        if match := re.search(pattern, text):
            return ErrorDetail(message, lacks, match[1])
    return ErrorDetail(message, "grouping" if "GROUP BY" in message else "")
