"""Run the blocks of the guides in order, each in a folder of its own, and compare their output."""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from featdsl.project.settings import Settings
from tests.test_readme import ROOT, Block, blocks, run_console, run_diff, run_doctest

GUIDES = sorted((ROOT / "docs" / "guides").glob("*.md"))
PAGES = [*GUIDES, ROOT / "docs" / "index.md", *sorted((ROOT / "docs" / "reference").glob("*.md"))]
PROJECT = "shop"
NOT_RUN = {"sh", "text", "sql", "yaml", "{toctree}"}
"""Languages of blocks that only show something: what needs a network or a server, and what is no code."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder to work in, with this featdsl, and no package `features` of another project."""
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("PYTEST_PLUGINS", "featdsl.testing.plugin")  # an installed featdsl has it as an entry point
    monkeypatch.setenv("USER", "ann")
    monkeypatch.setenv("LOGNAME", "ann")
    earlier = {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] == "features"}
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] == "features"]:
        del sys.modules[name]
    sys.modules.update(earlier)


@pytest.mark.slow
@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.stem)
def test_every_block_of_a_guide_does_what_it_shows(guide: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands print the shown output, Python returns the shown values, and files and edits are those of the page."""
    names: dict[str, object] = {"__name__": "__main__"}
    for block in blocks(str(guide.relative_to(ROOT))):
        project = folder / PROJECT
        if block.language == "pycon":
            monkeypatch.chdir(project)
            monkeypatch.syspath_prepend(str(project))
        run(block, folder, names)


def run(block: Block, folder: Path, names: dict[str, object]) -> None:
    """Run one block: commands in the folder, all else in the project."""
    project = folder / PROJECT
    match block.language:
        case "console":
            run_console(block.text, folder)
        case "pycon":
            run_doctest(block.text, names)
        case "diff":
            run_diff(block.text, project)
        case "toml":
            settings = project / "featproject.toml"
            settings.write_text(f"{settings.read_text(encoding='utf-8')}\n{block.text}", encoding="utf-8")
            Settings.model_validate(tomllib.loads(settings.read_text(encoding="utf-8")))
        case "python":
            write_or_compare(block.text, project)
        case language:
            assert language in NOT_RUN, f"a block of {language} is not run"


def write_or_compare(text: str, project: Path) -> None:
    """Write a file that a block names in its first line; a block without a name is a file of the project as it is."""
    first = text.splitlines()[0]
    if first.startswith("# "):
        file = project / first.removeprefix("# ")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    else:
        files = [file.read_text(encoding="utf-8") for file in project.rglob("*.py")]
        assert any(text in each for each in files), f"no file of the project has:\n{text}"


def test_links_of_guides_lead_somewhere() -> None:
    """Every relative link points to a file."""
    broken = [
        f"{page.name}: {target}"
        for page in PAGES
        for target in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8"))
        if not target.startswith("https://") and not (page.parent / target).exists()
    ]
    assert broken == []
