"""Run the blocks of docs/testing.md in order, in a new project, and compare their output."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from featdsl import testing
from tests.test_readme import ROOT, blocks, run_console, run_doctest

PAGE = "docs/testing.md"


@pytest.fixture
def without_features() -> Iterator[None]:
    """No package `features` of another project while a test runs, and none of the test's own afterwards."""
    earlier = {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] == "features"}
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "features"]:
        del sys.modules[name]
    sys.modules.update(earlier)


@pytest.mark.slow
@pytest.mark.usefixtures("without_features")
def test_every_block_of_the_page_does_what_it_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands print the shown output, Python returns the shown values, and the shown tests pass."""
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setenv("PYTEST_PLUGINS", "featdsl.testing.plugin")  # an installed featdsl has it as an entry point
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    first, *others = blocks(PAGE)
    run_console(first.text, tmp_path)
    folder, names = tmp_path / "shop", dict[str, object]()
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    ran = []
    for block in others:
        ran.append(block.language)
        match block.language:
            case "console":
                run_console(block.text, folder)
            case "pycon":
                names["__name__"] = "__main__"
                run_doctest(block.text, names)
            case "python":
                (folder / block.text.splitlines()[0].removeprefix("# ")).write_text(block.text, encoding="utf-8")
            case language:
                assert language == "yaml"
    assert set(ran) == {"console", "pycon", "python", "yaml"}


def test_the_hook_of_the_page_is_the_one_that_there_is() -> None:
    """A reader can copy it."""
    (shown,) = [block.text for block in blocks(PAGE) if block.language == "yaml"]
    assert "- id: featdsl-validate" in shown
    assert "- id: featdsl-validate" in (ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8")


def test_the_page_lists_the_whole_interface() -> None:
    """Every public method of a project and of given rows, and every function."""
    page = (ROOT / PAGE).read_text(encoding="utf-8")
    public = {
        *(
            f"featdsl_project.{name}("
            for name in vars(testing.FeatureProject)
            if not name.startswith("_") and name != "close"
        ),
        *(f"given.{name}(" for name in vars(testing.Given) if not name.startswith("_")),
        *(f"testing.{name}(" for name in testing.__all__ if name.islower()),
    }
    assert {name for name in public if f"`{name}" not in page} == set()
