"""The documentation's site: it builds without a warning, its links lead somewhere, and what is generated is current."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import featdsl
from featdsl import testing
from tests.test_readme import ROOT

DOCS = ROOT / "docs"
SPHINX = ROOT / ".venv-docs" / "bin" / "sphinx-build"
needs_sphinx = pytest.mark.skipif(not SPHINX.exists(), reason="`make docs` makes the environment of the site")
STRICT = ("--quiet", "--fail-on-warning", "--keep-going", "--builder", "html")


def script(name: str) -> ModuleType:
    """Return a script of docs/ as a module."""
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def built(sources: Path, site: Path) -> subprocess.CompletedProcess[str]:
    """Build a site as `make docs` does."""
    command = [SPHINX, *STRICT, "--doctree-dir", site.with_name("doctrees"), sources, site]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.slow
@needs_sphinx
def test_the_site_builds_without_a_warning_or_a_dead_link(tmp_path: Path) -> None:
    """Every page is in the navigation, every link and anchor exists, and no page loads anything from another host."""
    done = built(DOCS, tmp_path / "site")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(script("links").problems(tmp_path / "site")) == []
    page = (tmp_path / "site" / "reference" / "declarations.html").read_text(encoding="utf-8")
    assert 'id="featdsl.FeatureGroup"' in page
    assert "one owner, one entity, one table" in page


@pytest.mark.slow
@needs_sphinx
@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ("[gone](gone.md)", "gone.md"),
        ("[gone](errors.md#no-such-heading)", "no-such-heading"),
        ("```api\nfeatdsl.NoSuchName\n```", "NoSuchName"),
    ],
    ids=["page", "anchor", "name"],
)
def test_a_mistake_fails_the_build(text: str, warning: str, tmp_path: Path) -> None:
    """A link to a page or a heading that is gone, and a name without a docstring to show."""
    sources = tmp_path / "docs"
    (sources / "static").mkdir(parents=True)
    for name in ("conf.py", "site_sources.py", "api_reference.py", "errors.md", "static/site.css"):
        shutil.copy(DOCS / name, sources / name)
    (tmp_path / "featdsl").symlink_to(ROOT / "featdsl")
    (sources / "index.md").write_text(f"# Home\n\n{text}\n\n```{{toctree}}\nerrors\n```\n", encoding="utf-8")
    done = built(sources, tmp_path / "site")
    assert done.returncode != 0
    assert warning in done.stderr


def test_the_check_of_links_finds_what_is_dead(tmp_path: Path) -> None:
    """A missing file, a missing anchor, and a file of another host."""
    (tmp_path / "a.html").write_text(
        '<script src="https://example.com/x.js"></script><a href="b.html#here">1</a><a href="b.html#there">2</a>'
        '<a href="c.html">3</a><a href="https://example.com">4</a><a href="#top">5</a><p id="top">',
        encoding="utf-8",
    )
    (tmp_path / "b.html").write_text('<h1 id="here">', encoding="utf-8")
    assert list(script("links").problems(tmp_path)) == [
        "a.html: loads https://example.com/x.js from elsewhere",
        "a.html: b.html#there has no such anchor",
        "a.html: c.html is not a file of the site",
    ]


@pytest.mark.parametrize("name", ["errors", "commands"])
def test_a_list_that_is_written_from_the_code_is_current(name: str, tmp_path: Path) -> None:
    """Writing it again gives the same bytes: python docs/NAME.py docs/NAME.md."""
    written = tmp_path / f"{name}.md"
    subprocess.run([sys.executable, str(DOCS / f"{name}.py"), str(written)], check=True)
    assert written.read_text(encoding="utf-8") == (DOCS / f"{name}.md").read_text(encoding="utf-8")


def test_the_list_of_errors_has_every_summary() -> None:
    """Those that the code writes out, found by a search of its text."""
    page = (DOCS / "errors.md").read_text(encoding="utf-8")
    files = [file for file in (ROOT / "featdsl").rglob("*.py") if "template" not in file.parts]
    texts = [file.read_text(encoding="utf-8") for file in files]
    summaries = {found for text in texts for found in re.findall(r'\bProblem\(\s*"([^"{}]+)"', text)}
    assert len(summaries) > 100
    assert {each for each in summaries if f"**{each}**" not in page} == set()


def test_each_error_has_a_cause_and_a_fix() -> None:
    """No cell of the list is empty but a repeated summary."""
    rows = re.findall(r"^\| (.*?) \| (.*) \| (.*?) \|$", (DOCS / "errors.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(rows) > 400
    assert [row for row in rows if not row[1].strip() or not row[2].strip()] == []


def test_the_reference_has_every_public_name() -> None:
    """What `featdsl` and `featdsl.testing` export, each in one block."""
    pages = sorted((DOCS / "reference").glob("*.md"))
    shown = [
        name for page in pages for name in re.findall(r"^(featdsl\.[\w.]+)", page.read_text("utf-8"), re.MULTILINE)
    ]
    exported = {f"featdsl.{name}" for name in featdsl.__all__}
    exported |= {f"featdsl.testing.{name}" for name in testing.__all__}
    assert {name for name in exported if shown.count(name) != 1} == set()


def test_each_picture_says_what_it_shows() -> None:
    """To people who do not see it, and in the colours of both themes."""
    for picture in sorted((DOCS / "images").glob("*.svg")):
        text = picture.read_text(encoding="utf-8")
        assert re.search(r"<title id=\"title\">.+</title>", text), picture.name
        assert re.search(r"<desc id=\"desc\">.+</desc>", text), picture.name
        assert "prefers-color-scheme: dark" in text, picture.name
        assert "http" not in text.replace("http://www.w3.org/2000/svg", ""), picture.name
