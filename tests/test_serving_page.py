"""Run the blocks of docs/serving.md in order, in a new project, and compare their output."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from contextlib import ExitStack
from pathlib import Path

import pytest

from featdsl.engines.spark.connect import import_client
from featdsl.project.serving_settings import ServingTable
from featdsl.project.settings import Settings
from tests.servers import free_port, wait_for
from tests.test_readme import ROOT, Block, blocks, run_console, run_doctest

PAGE = "docs/serving.md"
pytestmark = [
    pytest.mark.slow,
    # MLflow 3.17 loads a relation of its own tables in a way that SQLAlchemy 2.1 deprecates.
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:sqlalchemy.exc.SADeprecationWarning"),
    # MLflow warns of type hints, its own ones too.
    pytest.mark.filterwarnings(r"ignore::UserWarning:mlflow\..*"),
]


def test_every_block_of_the_page_does_what_it_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings are set, files are written, commands print the shown output, and Python returns the shown values."""
    import_client("sc://")  # MLflow imports a part of it, with warnings as errors
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    for name in [name for name in sys.modules if name.partition(".")[0] == "features"]:
        monkeypatch.delitem(sys.modules, name)
    first, *others = blocks(PAGE)
    assert first.language == "console"
    run_console(first.text, tmp_path)
    folder, names, port = tmp_path / "shop", dict[str, object](), str(free_port())
    monkeypatch.chdir(folder)
    with ExitStack() as stack:
        for block in others:
            _run(Block(block.language, block.text.replace("8080", port)), folder, names, stack)


def _run(block: Block, folder: Path, names: dict[str, object], stack: ExitStack) -> None:
    """Run one block in the folder of the project; a server runs until the stack closes."""
    match block.language:
        case "console":
            run_console(block.text, folder)
        case "toml":
            _set(folder / "featproject.toml", block.text)
        case "python":
            file = folder / block.text.splitlines()[0].removeprefix("# ")
            file.parent.mkdir(parents=True)
            file.write_text(block.text, encoding="utf-8")
        case "pycon":
            run_doctest(block.text, names)
        case "sh":
            port = int(block.text.rpartition(" ")[2])
            command = [sys.executable, "-m", *block.text.split()]
            silent = subprocess.DEVNULL
            stack.callback(
                stack.enter_context(subprocess.Popen(command, cwd=folder, stdout=silent, stderr=silent)).kill
            )
            wait_for(port)
        case language:
            assert language == "text"


def _set(file: Path, text: str) -> None:
    """Add a table of `[serving]` that the settings do not have yet; other tables are valid."""
    before = file.read_text(encoding="utf-8")
    tables = tomllib.loads(text)
    if "serving" not in tables:
        assert tables == {
            "project": {"entry-points": {"featdsl.online_stores": {"cassandra": "my_package.featdsl_store:open_store"}}}
        }
    elif text.splitlines()[0] not in before:
        file.write_text(f"{before}\n{text}", encoding="utf-8")
    else:
        Settings.model_validate({"project": {"name": "shop"}, **tables})


def test_each_setting_of_serving_is_in_the_table() -> None:
    """With its default."""
    page = (ROOT / PAGE).read_text(encoding="utf-8")
    (table,) = re.findall(r"^\| setting \| meaning \| default \|\n\|---\|---\|---\|\n((?:\|.*\n)+)", page, re.MULTILINE)
    rows = [row.strip("| ").split(" | ") for row in table.splitlines()]
    shown = {name.strip("`"): default.strip('`"') for name, _, default in rows}
    defaults = {name: field.default for name, field in ServingTable.model_fields.items() if name in shown}
    assert shown == {**defaults, "url": "none: values are read from the tables"}
    assert list(shown) == list(ServingTable.model_fields)[: len(shown)]
