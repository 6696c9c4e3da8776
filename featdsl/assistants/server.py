"""Serve the tools to assistants, over standard input and output or over HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version

import anyio
import uvicorn
from mcp.server.mcpserver import MCPServer
from mcp.server.transport_security import TransportSecuritySettings
from mcp.types import ToolAnnotations

from featdsl.assistants.tools import Toolbox
from featdsl.discovery.usage import Importing
from featdsl.featurestore import FeatureStore
from featdsl.project.output import standard_output
from featdsl.project.settings import Project
from featdsl.stores import open_store

PATH = "/mcp"
_LARGEST = 256 * 1024
"""The most bytes of a request."""
_INSTRUCTIONS = """\
This server knows the machine-learning features of the project {project}: what each means, who owns it, and how to use it.
Before you write a feature, an aggregate or SQL over the project's data, call search_features with the words of the request,
and find_duplicates with the definition that you have in mind. Use a feature that exists, with the code of usage_snippet; write
a new one only where none means the same. After you edit declarations, call plan. Nothing here writes to the store."""


@dataclass(frozen=True)
class HttpAddress:
    """Where to listen, and the further names that clients may call the server by."""

    host: str
    port: int
    names: Sequence[str] = ()

    @property
    def security(self) -> TransportSecuritySettings:
        """The accepted Host and Origin headers: a page of another origin cannot reach the server by a name of its own."""
        own = ("127.0.0.1", "localhost", "[::1]") if self.is_local else (_bracketed(self.host), *self.names)
        hosts = [name for each in own for name in (each, f"{each}:{self.port}")]
        origins = [f"{scheme}://{each}" for each in hosts for scheme in ("http", "https")]
        return TransportSecuritySettings(allowed_hosts=hosts, allowed_origins=origins)

    @property
    def is_local(self) -> bool:
        """Whether only this machine reaches it."""
        return self.host in {"127.0.0.1", "localhost", "::1"}

    @property
    def url(self) -> str:
        """Its URL."""
        return f"http://{_bracketed(self.host)}:{self.port}{PATH}"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def made(store: FeatureStore, project: Project) -> MCPServer:
    """Return the server of the tools over one environment of a project."""
    server: MCPServer = MCPServer(
        name="featdsl",
        title=f"Features of {project.name}",
        instructions=_INSTRUCTIONS.format(project=project.name),
        version=version("featdsl"),
        log_level="WARNING",
    )
    importing = Importing(project.name, project.root, project.features)
    toolbox = Toolbox(store, importing, open_store(project).statistics)
    reading = ToolAnnotations(read_only_hint=True, idempotent_hint=True, open_world_hint=False)
    for tool in toolbox.tools:
        server.add_tool(tool, annotations=reading)
    return server


def serve_stdio(server: MCPServer) -> None:
    """Serve one client over standard input and output, until it closes them."""
    with standard_output():  # the SDK keeps it for messages, and sends what user code prints to standard error
        server.run("stdio")


def serve_http(server: MCPServer, address: HttpAddress) -> None:
    """Serve clients over streamable HTTP, until SIGTERM or SIGINT."""
    app = server.streamable_http_app(
        streamable_http_path=PATH,
        host=address.host,
        max_request_body_size=_LARGEST,
        transport_security=address.security,
    )
    config = uvicorn.Config(app, host=address.host, port=address.port, log_level="warning", access_log=False)
    anyio.run(uvicorn.Server(config).serve)
