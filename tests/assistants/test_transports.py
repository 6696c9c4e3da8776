"""The server of assistants as a process: over standard input and output, and over HTTP, with the SDK's own client."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from mcp import Client, StdioServerParameters

import featdsl
from featdsl.project import extras
from tests.conftest import Workspace
from tests.servers import free_port, wait_for
from tests.waiting import PATIENCE

CODE = str(Path(featdsl.__file__).parents[1])


async def _asked(server: Any) -> tuple[str, Any, Any]:
    """Return the title of a server, the best match of a search, and the text of its plan."""
    async with Client(server) as client:
        info = client.server_info
        found = await client.call_tool("search_features", {"query": "monthly income", "kind": "feature"})
        plan = await client.call_tool("plan", {})
        assert info is not None
        return info.title or "", found.structured_content, plan.structured_content


@pytest.mark.slow
def test_a_process_answers_over_standard_input_and_output(applied: Workspace) -> None:
    """What user code prints does not disturb the messages, and the process ends with its client."""
    file = applied.root / "features/accounts/__init__.py"
    noise = "import os\nprint('noise')\nos.write(1, b'more noise')\n"
    file.write_text(noise + file.read_text(encoding="utf-8"), encoding="utf-8")
    command = StdioServerParameters(
        command=sys.executable, args=["-m", "featdsl", "mcp"], cwd=applied.root, env={"PYTHONPATH": CODE}
    )
    title, found, plan = asyncio.run(_asked(command))
    assert title == "Features of bank"
    assert found["matches"][0]["name"] == "affordability.monthly"
    assert plan["is_empty"], plan


@contextmanager
def serving(workspace: Workspace, *options: str) -> Iterator[int]:
    """Run the server over HTTP, and end it."""
    port = free_port()
    command = [sys.executable, "-m", "featdsl", "mcp", "--http", f"127.0.0.1:{port}", *options]
    environment = {**os.environ, "PYTHONPATH": CODE}
    with subprocess.Popen(
        command, cwd=workspace.root, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            wait_for(port)
            yield port
        finally:
            process.send_signal(signal.SIGTERM)
            output, errors = process.communicate(timeout=PATIENCE)
        assert output == ""
        assert errors.startswith(f"Serving the features of bank to assistants at http://127.0.0.1:{port}/mcp\n"), errors
        assert "Traceback" not in errors


def initialize(port: int, **headers: str) -> int:
    """Begin a session by hand; return the status of the answer."""
    message = {
        "jsonrpc": "2.0", "id": 1, "method": "initialize",
        "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}},
    }  # fmt: skip
    accepted = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json", **headers}
    with httpx.Client() as client:
        url = f"http://127.0.0.1:{port}/mcp"
        return client.post(url, content=json.dumps(message), headers=accepted, timeout=PATIENCE).status_code


@pytest.mark.slow
def test_a_server_answers_over_http_and_refuses_other_hosts_and_origins(applied: Workspace) -> None:
    """A page in a browser cannot reach it by a name that resolves to this machine."""
    with serving(applied) as port:
        title, found, plan = asyncio.run(_asked(f"http://127.0.0.1:{port}/mcp"))
        assert (title, plan["is_empty"]) == ("Features of bank", True)
        assert found["matches"][0]["name"] == "affordability.monthly"
        assert initialize(port) == 200
        assert initialize(port, Host=f"localhost:{port}", Origin=f"http://localhost:{port}") == 200
        assert initialize(port, Host="evil.example.com") == 421
        assert initialize(port, Host=f"evil.example.com:{port}") == 421
        assert initialize(port, Origin="http://evil.example.com") == 403
        with httpx.Client() as client:
            huge = client.post(f"http://127.0.0.1:{port}/mcp", content=b"x" * 300_000, timeout=PATIENCE)
        assert huge.status_code == 413


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--http", "8765"], "'8765' is not HOST:PORT"),
        (["--http", "127.0.0.1:99999"], "is not HOST:PORT"),
        (["--http", "0.0.0.0:8765"], "add --allowed-host"),
        (["--allowed-host", "features.example.com"], "--allowed-host needs --http"),
        (["--env", "nowhere", "--http", "127.0.0.1:8765"], "nowhere"),
    ],
)
def test_wrong_options_are_refused(applied: Workspace, arguments: list[str], told: str) -> None:
    """Before anything listens."""
    done = applied.run("mcp", *arguments)
    assert done.returncode == 1
    assert told in done.stderr


def test_a_missing_sdk_names_the_command_that_installs_it() -> None:
    """The extra is optional."""
    with pytest.raises(featdsl.RequestError) as raised, extras.needed("featdsl mcp"):
        raise ModuleNotFoundError("No module named 'mcp'", name="mcp")
    assert str(raised.value) == (
        "Missing package\n  featdsl mcp needs mcp, which is not installed.\n"
        "  Install it into this environment: pip install 'featdsl[mcp]'"
    )
