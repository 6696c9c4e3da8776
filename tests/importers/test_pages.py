"""What the pages for people who move in show is what happens."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from featdsl.catalog import loader
from featdsl.project import settings
from tests.conftest import Workspace
from tests.test_readme import ROOT, blocks, run_console


@pytest.mark.slow
def test_the_blocks_of_the_sql_page_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Queries are imported and applied as shown."""
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    for block in blocks("docs/coming_from_sql.md"):
        if block.language == "sql":
            name, _, text = block.text.partition("\n")
            (tmp_path / name.removeprefix("-- ")).write_text(text, encoding="utf-8")
        else:
            run_console(block.text, tmp_path)
    assert (tmp_path / "shop/.featdsl").is_dir()


def test_the_declarations_of_the_tecton_page_are_valid(workspace: Workspace) -> None:
    """They load, and plan over rows of that shape."""
    (block,) = blocks("docs/coming_from_tecton.md")
    workspace.write({"featproject.toml": '[project]\nname = "shop"\n', "features/fraud.py": block.text})
    workspace.parquet(
        "data/transactions.parquet",
        "SELECT 'a' AS user_id, 'm' AS merchant, 1.5::DOUBLE AS amount, TIMESTAMP '2026-01-01' AS paid_at",
    )
    assert loader.load(settings.load(workspace.root)).problems == ()
    planned = workspace.run("plan")
    assert planned.returncode == 0, planned.stderr


def test_the_dbt_page_names_the_options_that_there_are() -> None:
    """Each option on the page is one of the command."""
    page = (ROOT / "docs/coming_from_dbt.md").read_text(encoding="utf-8")
    text = Workspace(ROOT).run("import", "dbt", "--help").stdout
    assert {each for each in re.findall(r"--[a-z]+", page) if each not in text} == set()
