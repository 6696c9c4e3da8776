"""The settings of events: where an apply and a refresh send those of OpenLineage."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator

from featdsl.project.setting_types import VARIABLE, SettingTable


def fault_of_endpoint(text: str) -> str:
    """Return why a text is not the URL of an endpoint, or ""."""
    parts = urlsplit(text)
    if parts.scheme == "file" and parts.path:
        return ""
    if parts.scheme not in {"http", "https"} or not parts.netloc:
        return "write the URL of the endpoint, such as http://HOST:PORT, or file:PATH"
    return ""


def _endpoint(text: str) -> str:
    """Return `text` if it is the URL of an endpoint without secrets, or `env:NAME`. Raises ValueError."""
    if text.startswith(VARIABLE):
        return text
    if fault := fault_of_endpoint(text):
        raise ValueError(fault)
    parts = urlsplit(text)
    if "@" in parts.netloc or parts.query:
        raise ValueError("it may contain a secret; write env:NAME for the whole URL, or set OPENLINEAGE_API_KEY")
    return text


class EventsTable(SettingTable):
    """`[events]`: where to send the events of OpenLineage, and the namespace of the jobs in them.

    `openlineage_url` is http://..., https://..., file:PATH, or env:NAME; without it no events are sent.
    """

    openlineage_url: Annotated[str, AfterValidator(_endpoint)] | None = None
    openlineage_namespace: str = "featdsl"
