"""The settings of serving: the online store, the server, and the log of served values."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from featdsl.declarations.declaration import Name
from featdsl.definitions.durations import checked_timeout
from featdsl.project.setting_types import VARIABLE, Duration, SettingTable, memory
from featdsl.project.tokens import TokenTable


def _serving_url(text: str) -> str:
    """Return `text` if it is "embedded", a URL, or `env:NAME`, and holds no password. Raises ValueError."""
    if text == "embedded" or text.startswith(VARIABLE):
        return text
    scheme, separator, rest = text.partition("://")
    if not (separator and scheme):
        raise ValueError('write "embedded", redis://HOST:PORT, postgresql://HOST/DATABASE, or env:NAME for a whole URL')
    account = rest.partition("/")[0].rpartition("@")[0]
    if ":" in account or "password=" in rest:
        raise ValueError("it contains a password; keep it out of this file: write env:NAME for the whole URL")
    return text


class ServingLogTable(SettingTable):
    """`[serving.log]`: the share of reads that are logged, where, and how many rows or how much time one file has at most."""

    sample: Annotated[float, Field(ge=0, le=1)] = 0.0
    path: str = ".featdsl/served"
    roll_rows: Annotated[int, Field(ge=1)] = 10_000
    roll_after: Duration = "1 minute"


class ServingTable(SettingTable):
    """`[serving]`: the online store, how far ahead values are published, what reads do while it is down, and the server.

    `url` is "embedded", redis://..., postgresql://..., a URL of a plugin, or env:NAME; without it there is no online store.
    `path` is the folder of an embedded one. A request to the server has up to `max_rows` rows and `max_body` bytes.
    """

    url: Annotated[str, AfterValidator(_serving_url)] | None = None
    path: str = ".featdsl/online"
    horizon: Duration = "1 day"
    timeout: Annotated[str, AfterValidator(checked_timeout)] = "1 second"
    when_down: Literal["error", "tables"] = "error"
    max_rows: Annotated[int, Field(ge=1)] = 10_000
    max_body: Annotated[str, AfterValidator(memory)] = "16MiB"
    tokens: dict[Name, TokenTable] = Field(default_factory=dict)
    log: ServingLogTable = ServingLogTable()
