"""Read the facts in DuckDB's error texts: what a statement lacks, and which name DuckDB suggests."""

from __future__ import annotations

import re

from featdsl.engines.session import ErrorDetail

_COLUMN = re.compile(r'Referenced column "(.*?)" (?:not found|was not found)')
_FUNCTION = re.compile(r"Function with name (\S+) does not exist")
_TABLE = re.compile(r"Table with name (\S+) does not exist")
_SUGGESTION = re.compile(r"Did you mean (.+?)\?")
_CONNECTING = re.compile(r'(?:Unable|Failed) to connect to Postgres at "(?:[^"\\]|\\.)*": ')


def detail_of(error: Exception) -> ErrorDetail:
    """Return the facts in the text of an error."""
    text, message = str(error), message_of(error)
    suggestion = match[1] if (match := _SUGGESTION.search(text)) else ""
    if match := _COLUMN.search(text):
        return ErrorDetail(message, "column", match[1])
    if match := _FUNCTION.search(text):
        return ErrorDetail(message, "function", match[1], suggestion)
    if match := _TABLE.search(text):
        return ErrorDetail(message, "table", match[1], suggestion)
    if "No files found" in text:
        return ErrorDetail(message, "files")
    # Only the first line is DuckDB's own: those below it may quote a GROUP BY of the statement.
    if "GROUP BY" in text.partition("\n")[0]:
        return ErrorDetail(message, "grouping")
    return ErrorDetail(message, suggestion=suggestion)


def message_of(error: Exception) -> str:
    """Return the message of an error in one line, without the class of the error and without a server's address."""
    first, *others = without_servers(str(error)).strip().splitlines() or [""]
    first = re.sub(r"^[A-Za-z ]*(?:Error|Exception): ", "", first)
    # The reason of an error of S3 stands below the request that failed.
    return " ".join([first, *(line for line in others if re.match(r"[A-Z]\w+: ", line))])


def without_servers(text: str) -> str:
    """Return a text of DuckDB without the connection string of a server, which DuckDB repeats."""
    return _CONNECTING.sub("", text)
