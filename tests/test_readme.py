"""Run the blocks of the README in order, in a copy of the example, and compare their output."""

from __future__ import annotations

import doctest
import os
import re
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydantic import BaseModel

from featdsl.project.settings import Settings

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
VARYING = re.compile(
    r"(?<= in )[\d.]+(?= s\.)|[\d,]+(?= values compared)|(?<=up to )\d+(?= moments)|(?<=written, )[\d.]+(?= s\.)"
    r"|\d+(?= pages,)|\d+(?= files written)"
)
"""Numbers of the output that differ from run to run."""


@dataclass(frozen=True)
class Block:
    """One fenced block: its language and its text."""

    language: str
    text: str


def blocks(file: str) -> list[Block]:
    """Return the fenced blocks of a page, in order."""
    return [Block(*found) for found in BLOCK.findall((ROOT / file).read_text(encoding="utf-8"))]


def example(folder: Path) -> Path:
    """Copy the example project, so that tests do not change the repository's own store."""
    shutil.copytree(ROOT / "features", folder / "features")
    shutil.copytree(ROOT / "data", folder / "data")
    shutil.copy(ROOT / "featproject.toml", folder)
    return folder


def commands(text: str) -> list[tuple[str, str]]:
    """Return each command of a console block with its output."""
    parts = re.split(r"^\$ (.*)\n", text, flags=re.MULTILINE)[1:]
    return list(zip(parts[::2], parts[1::2], strict=True))


def run_console(text: str, folder: Path) -> None:
    """Run each command of a console block in its own shell, and compare the output."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for command, expected in commands(text):
        done = subprocess.run(  # noqa: S602 - commands of our own README
            command, shell=True, cwd=folder, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False
        )  # fmt: skip
        assert matches(done.stdout, expected), f"$ {command}\n{done.stdout}{done.stderr}"


def matches(printed: str, expected: str) -> bool:
    """Return whether a text matches; a line of three dots in `expected` stands for any lines, a varying number for any other."""
    lines = expected.splitlines(keepends=True)
    pattern = "".join(
        ".*" if line == "...\n" else "[0-9.,]+".join(map(re.escape, VARYING.split(line))) for line in lines
    )
    return re.fullmatch(pattern, printed and printed.rstrip("\n") + "\n", flags=re.DOTALL) is not None


def run_doctest(text: str, names: dict[str, object]) -> None:
    """Run an interactive block with the names of earlier blocks."""
    parsed = doctest.DocTestParser().get_doctest(text, names, "README.md", None, 0)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    failures: list[str] = []
    runner.run(parsed, out=failures.append, clear_globs=False)
    names.update(parsed.globs)
    assert failures == []


def run_diff(text: str, folder: Path) -> None:
    """Apply the edit of a diff block; its lines with a minus must exist."""
    lines = text.splitlines()
    file = folder / lines[1].removeprefix("+++ b/")
    old = "\n".join(line[1:] for line in lines[2:] if line.startswith("-"))
    new = "\n".join(line[1:] for line in lines[2:] if line.startswith("+"))
    content = file.read_text(encoding="utf-8")
    assert old in content
    file.write_text(content.replace(old, new), encoding="utf-8")


@pytest.mark.slow
def test_every_block_of_the_readme_does_what_it_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands print the shown output and Python returns the shown values, in order."""
    folder = example(tmp_path)
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delenv("COLUMNS", raising=False)
    for name in [name for name in sys.modules if name.partition(".")[0] == "features"]:
        monkeypatch.delitem(sys.modules, name)
    names: dict[str, object] = {}
    ran = []
    for block in blocks("README.md"):
        ran.append(block.language)
        match block.language:
            case "console":
                run_console(block.text, folder)
            case "pycon":
                run_doctest(block.text, names)
            case "python":
                exec(compile(block.text, "README.md", "exec"), {"__name__": "readme"})  # noqa: S102 - our own text
            case "diff":
                run_diff(block.text, folder)
            case "sh":
                assert block.text.strip() in {"make demo", "make test"}
            case _:
                pytest.fail(f"a block of {block.language} is not run")
    assert set(ran) == {"sh", "python", "console", "pycon", "diff"}


def test_the_declaration_in_the_readme_is_the_one_in_the_example() -> None:
    """The README shows a declaration of the example."""
    (shown,) = [block.text for block in blocks("README.md") if block.language == "python"]
    body = shown[shown.index("class CarrierDelays") :].strip()
    assert body in (ROOT / "features" / "operations" / "__init__.py").read_text(encoding="utf-8")


def test_ci_runs_the_test_command_and_then_the_slow_suite() -> None:
    """CI first runs the command that a reader types."""
    lines = (ROOT / ".ci" / "run").read_text(encoding="utf-8").strip().splitlines()
    assert lines[-2:] == ["make test", "exec make test-slow"]


def test_links_lead_somewhere() -> None:
    """Every relative link of every page points to a file."""
    broken = [
        f"{page.name}: {target}"
        for page in PAGES
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8"))
        if not target.startswith("https://") and not (page.parent / target).exists()
    ]
    assert broken == []


def test_files_that_a_page_names_exist() -> None:
    """A path of a Python file on any page is a file, from the root or from the package; NAME and PROJECT stand for others."""
    wrong = [
        f"{page.name}: {path}"
        for page in PAGES
        for path in re.findall(r"`((?!features/)[\w/]+/\w+\.py)`", page.read_text(encoding="utf-8"))
        if not Path(path).stem.isupper()
        and "NAME" not in path
        and not any((folder / path).is_file() for folder in (ROOT, ROOT / "featdsl"))
    ]
    assert wrong == []


@pytest.mark.slow
def test_the_picture_is_of_a_real_plan(tmp_path: Path) -> None:
    """Drawing it again gives the same bytes."""
    drawn = tmp_path / "plan.svg"
    subprocess.run([sys.executable, str(ROOT / "docs" / "picture.py"), str(drawn)], check=True)
    assert drawn.read_text(encoding="utf-8") == (ROOT / "docs" / "plan.svg").read_text(encoding="utf-8")


def test_each_setting_is_documented() -> None:
    """The page lists every setting, and no other."""
    page = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^\| `(\[.*?)` \|", page, flags=re.MULTILINE))
    known = set()
    for name, field in Settings.model_fields.items():
        table = field.annotation
        inside = table.model_fields if isinstance(table, type) and issubclass(table, BaseModel) else None
        known |= {f"[{name}] {key}" for key in inside} if inside else {f"[{name}]"}
    assert listed == known


def test_the_settings_shown_are_valid() -> None:
    """A reader can copy the sample."""
    (shown,) = blocks("docs/settings.md")
    assert Settings.model_validate(tomllib.loads(shown.text)).project.name == "flights"
