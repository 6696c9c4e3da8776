"""Run the blocks of docs/notebook.md and docs/assistants.md in a new project, and compare what they show."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from mcp import Client, StdioServerParameters

import featdsl
from featdsl.cli.completion import VARIABLE
from tests.conftest import Workspace
from tests.test_readme import blocks, run_console, run_doctest

CODE = str(Path(featdsl.__file__).parents[1])


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project that `featdsl init` creates, applied."""
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setenv("PYTHONPATH", CODE)
    run_console(blocks("docs/notebook.md")[0].text, tmp_path)
    folder = tmp_path / "shop"
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    for name in [name for name in sys.modules if name.partition(".")[0] == "features"]:
        monkeypatch.delitem(sys.modules, name)
    return folder


@pytest.mark.slow
def test_the_page_about_notebooks_shows_what_happens(shop: Path) -> None:
    """Python returns the shown values, and each shell gets a script."""
    names: dict[str, object] = {}
    for block in blocks("docs/notebook.md")[1:]:
        if block.language == "pycon":
            run_doctest(block.text, names)
            continue
        assert block.language == "sh"
        shells = re.findall(rf"{VARIABLE}=(\w+)_source featdsl", block.text)
        assert shells == ["bash", "zsh", "fish"]
        for shell in shells:
            assert Workspace(shop).run(**{VARIABLE: f"{shell}_source"}).returncode == 0


@pytest.mark.slow
def test_the_page_about_assistants_shows_what_happens(shop: Path) -> None:
    """The settings start a server, the options are known, and the client prints what is shown."""
    config, served, client, printed = blocks("docs/assistants.md")
    settings = json.loads(config.text.replace("/path/to/project", str(shop)))["mcpServers"]["features"]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {"PATH": path, "PYTHONPATH": CODE}

    async def tools() -> list[str]:
        async with Client(StdioServerParameters(**settings, env=environment)) as connected:
            return [each.name for each in (await connected.list_tools()).tools]

    page = (Path(__file__).parents[1] / "docs" / "assistants.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `(\w+)` \|", page, flags=re.MULTILINE) == asyncio.run(tools())
    assert served.text.split()[:3] == ["featdsl", "mcp", "--http"]
    script = client.text.replace('args=["mcp"]', f'args=["mcp"], env={environment!r}')
    done = subprocess.run([sys.executable, "-c", script], cwd=shop, capture_output=True, text=True, check=False)
    assert done.stdout == printed.text, done.stderr
