"""The settings of the engines: `[engine]` and `[engine.s3]` of featproject.toml."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from featdsl.definitions.dialects import STORE, Dialect
from featdsl.project.setting_types import VARIABLE, SettingTable, memory

_SERVER = re.compile(r"sc://[^/\s:@]+(:\d{1,5})?(/(;[^\s;=]+=[^\s;]*)*)?")


def _bare(endpoint: str) -> str:
    """Return `endpoint` if it is the host and port of an S3 server. Raises ValueError."""
    if "/" in endpoint or "@" in endpoint:
        raise ValueError("write the host and the port only, such as 127.0.0.1:9000; use_ssl = false means http")
    return endpoint


class S3Table(SettingTable):
    """`[engine.s3]`: the S3 server of source files, if it is not AWS. Credentials come from environment variables."""

    endpoint: Annotated[str, AfterValidator(_bare)] | None = None
    region: str | None = None
    url_style: Literal["vhost", "path"] | None = None
    use_ssl: bool | None = None


def _connect(text: str) -> str:
    """Return `text` if it is the URL of a Spark Connect server, `local`, or `env:NAME`. Raises ValueError."""
    if text == "local" or text.startswith(VARIABLE):
        return text
    if not _SERVER.fullmatch(text):
        raise ValueError('write the URL of a Spark Connect server, such as "sc://host:15002", or "local"')
    if "token=" in text:
        raise ValueError("it contains a token; keep it out of this file: write env:NAME for the whole URL")
    return text


class EngineTable(SettingTable):
    """`[engine]`: which engine computes tables, limits for DuckDB (default: its own), and whether to install extensions.

    `kind` computes the groups that choose no engine themselves. `url` is the server of Spark: `sc://host:port`, or `local` for one
    that lives as long as the command.
    """

    kind: Dialect = STORE
    url: Annotated[str, AfterValidator(_connect)] | None = None
    memory_limit: Annotated[str, AfterValidator(memory)] | None = None
    # DuckDB starts all threads at once; too many get the process killed.
    threads: Annotated[int, Field(ge=1, le=1024)] | None = None
    temp_directory: str | None = None
    batch_rows: Annotated[int, Field(ge=1)] = 20_000_000
    install_extensions: bool = False
    s3: S3Table = S3Table()


def is_server(text: str) -> bool:
    """Return whether a text is the URL of a Spark Connect server, or `local`."""
    return text == "local" or _SERVER.fullmatch(text) is not None
