"""The plugin of pytest: a fixture for those who ask for it, and nothing for all others."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Workspace
from tests.waiting import PATIENCE

ROOT = Path(__file__).parents[2]
HEAVY = {"duckdb", "pydantic", "sqlglot", "networkx", "jinja2", "pandas", "polars", "pyarrow", "click"}


def run_pytest(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run pytest in a folder as its users do, with the plugin."""
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "featdsl.testing.plugin", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONSAFEPATH": "1"}
    return subprocess.run(
        words, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=PATIENCE
    )


def test_the_entry_point_has_the_name_of_the_module() -> None:
    """So that `-p` and the entry point are one plugin, which pytest loads once."""
    import tomllib

    points = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["entry-points"]
    assert points["pytest11"] == {"featdsl.testing.plugin": "featdsl.testing.plugin"}


def test_the_plugin_loads_nothing_heavy() -> None:
    """People who test no features pay for none of it."""
    script = "import sys\nimport pytest\nbefore = set(sys.modules)\nimport featdsl.testing.plugin\nprint(*(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    loaded = set(done.stdout.split())
    assert loaded == {"featdsl", "featdsl.testing", "featdsl.testing.plugin"}


def test_a_run_without_a_project_is_not_touched(tmp_path: Path) -> None:
    """Nothing is imported, and no path is added."""
    text = f"""
import sys

def test_nothing_is_loaded():
    assert not {HEAVY!r} & {{name.partition(".")[0] for name in sys.modules}}
    assert {str(tmp_path)!r} not in sys.path
"""
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_other.py").write_text(text, encoding="utf-8")
    done = run_pytest(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout


def test_the_fixture_without_a_project_says_so(tmp_path: Path) -> None:
    """With the command that starts one."""
    (tmp_path / "test_mine.py").write_text("def test_mine(featdsl_project): ...\n", encoding="utf-8")
    done = run_pytest(tmp_path)
    assert done.returncode == 1
    assert "No project found" in done.stdout


@pytest.mark.slow
def test_the_test_of_a_new_project_passes(workspace: Workspace) -> None:
    """`featdsl init` writes one, and `pytest` alone runs it; it fails when the feature changes."""
    assert workspace.run("init").returncode == 0
    done = run_pytest(workspace.root)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout

    path = workspace.root / "features" / "lending" / "__init__.py"
    path.write_text(path.read_text(encoding="utf-8").replace("income / ", "income * "), encoding="utf-8")
    done = run_pytest(workspace.root)
    assert done.returncode == 1
    assert "1 failed, 1 passed" in done.stdout
