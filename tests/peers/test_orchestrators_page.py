"""The code of docs/orchestrators.md runs as it stands, beside a project in the folder `bank`."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ACCOUNTS, BANK, Workspace

dg = pytest.importorskip("dagster")
pytest.importorskip("airflow")

PAGE = (Path(__file__).parents[2] / "docs" / "orchestrators.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # of the products themselves


@pytest.fixture
def beside(workspace: Workspace) -> Workspace:
    """A folder with the applied project `bank` in it."""
    bank = Workspace(workspace.root / "bank").write(BANK).parquet("data/accounts.parquet", ACCOUNTS)
    bank.apply()
    return workspace


def test_the_page_has_the_blocks_that_are_run_here() -> None:
    """A new block needs a test."""
    assert [block.splitlines()[0] for block in BLOCKS] == [
        "import dagster as dg",
        '@dg.asset(key=["raw", "accounts"])',
        "from airflow.sdk import DAG",
        "traced = FeatdslOperator(",
    ]


def test_the_assets_of_the_page(beside: Workspace) -> None:
    """They are made and materialised, the source by an asset of Dagster."""
    space: dict[str, Any] = {"__name__": "definitions"}
    with chdir(beside.root):
        exec(compile(BLOCKS[0] + BLOCKS[1], "orchestrators.md", "exec"), space)  # noqa: S102 - the page's own code
        graph = space["defs"].resolve_asset_graph()
        keys = {each.to_user_string() for each in graph.get_all_asset_keys()}
        result = space["defs"].resolve_implicit_global_asset_job_def().execute_in_process()
    assert keys == {"raw/accounts", "bank/user_profile", "bank/affordability"}
    assert result.success
    assert len(result.get_asset_materialization_events()) == 3


def test_the_dag_of_the_page(beside: Workspace, tmp_path: Path) -> None:
    """Airflow loads it, and its refresh runs."""
    code = f"{BLOCKS[2]}\n{BLOCKS[3]}\nprint(sorted(dag.task_dict), refresh.downstream_task_ids)\nprint(refresh.execute({{}})['serial'])\n"
    (beside.root / "features_dag.py").write_text(code)
    done = subprocess.run(
        [sys.executable, "features_dag.py"], cwd=beside.root, env={**os.environ, "AIRFLOW_HOME": str(tmp_path)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "['publish', 'refresh'] {'publish'}" in done.stdout
    assert done.stdout.splitlines()[-1] == "1"
