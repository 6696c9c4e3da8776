"""The operator in Airflow: a DAG of a folder, run with a metadata database of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from featdsl.project.settings import load
from featdsl.stores import open_store
from tests.conftest import Workspace
from tests.integrations.held_store import held
from tests.integrations.lineage_events import SHOP
from tests.waiting import PATIENCE

pytest.importorskip("airflow")

DAG = """
import json
import os
import pathlib
import sys

from airflow.sdk import DAG

from featdsl.integrations.airflow import FeatdslOperator

with DAG("features", schedule=None) as dag:
    FeatdslOperator(
        task_id="refresh",
        project="{{ dag_run.conf['project'] }}",
        select="{{ dag_run.conf['group'] }}",
        python=sys.executable,
        variables={"SHOP": "{{ dag.dag_id }}"},
    )
    FeatdslOperator(task_id="broken", project="{{ dag_run.conf['project'] }}", select=["shar"])

if __name__ == "__main__":
    run = dag.test(run_conf={"project": sys.argv[1], "group": "paid"})
    found = {each.task_id: [each.state, each.xcom_pull(task_ids=each.task_id)] for each in run.get_task_instances()}
    pathlib.Path(sys.argv[2]).write_text(json.dumps(found))
"""

KILL = """
import sys
import threading

from featdsl.integrations.airflow import FeatdslOperator

operator = FeatdslOperator(task_id="apply", command="apply", project=sys.argv[1])
waiting = threading.Event()
log = operator.log.info
operator.log.info = lambda line, *words: (log(line, *words), waiting.set() if line.startswith("waiting") else None)
threading.Thread(target=lambda: (waiting.wait(60), operator.on_kill())).start()
try:
    operator.execute({})
except Exception as error:
    print(type(error).__name__, error)
"""


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of Airflow's processes, with a database."""
    home = tmp_path_factory.mktemp("airflow")
    (home / "dags").mkdir()
    (home / "dags/features.py").write_text(DAG)
    settings = {"LOAD_EXAMPLES": "False", "UNIT_TEST_MODE": "False"}
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(home),
        **{f"AIRFLOW__CORE__{name}": value for name, value in settings.items()},
    }
    subprocess.run([sys.executable, "-m", "airflow", "db", "migrate"], env=environment, check=True, capture_output=True)
    return environment


@pytest.fixture
def shop(workspace: Workspace) -> Workspace:
    """A source with a query over it, and three groups, applied."""
    workspace.write(SHOP).apply()
    return workspace


@pytest.mark.slow
def test_tasks_of_a_dag(airflow: dict[str, str], shop: Workspace, tmp_path: Path) -> None:
    """The templates, the events in the log, the summary for later tasks, and a failure with the text of the problem."""
    with (shop.root / "data/orders.csv").open("a") as file:
        file.write("2,2026-01-09,8,paid\n")
    dag = Path(airflow["AIRFLOW_HOME"], "dags/features.py")
    done = subprocess.run(
        [sys.executable, str(dag), str(shop.root), str(tmp_path / "found.json")],
        env=airflow, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads((tmp_path / "found.json").read_text())
    told = done.stdout + done.stderr

    assert {name: state for name, (state, _) in found.items()} == {"refresh": "success", "broken": "failed"}
    summary = found["refresh"][1]
    state = open_store(load(shop.root)).read()
    table = state.catalog.features["paid.last_paid"].table
    assert (summary["serial"], summary["environment"], summary["rows"]) == (2, "prod", state.tables[table].rows)
    assert [(each["group"], each["table"], each["how"]) for each in summary["tables"]] == [("paid", table, "rebuilt")]
    assert "refreshed group=paid" in told
    assert found["broken"][1] is None
    assert 'Unknown name\n  Nothing here is called "shar".\n  Did you mean "share"?' in told


@pytest.mark.slow
def test_killing_a_task_ends_the_command(airflow: dict[str, str], shop: Workspace) -> None:
    """While it waits for another writer, whose lock is free afterwards; nothing is published."""
    with (shop.root / "features/__init__.py").open("a") as file:
        file.write(
            '\n\nclass More(FeatureGroup, entity=customer, source=orders):\n    more = Feature(float, sql="amount")\n'
        )
    holder = held(shop)
    try:
        done = subprocess.run(
            [sys.executable, "-c", KILL, str(shop.root)],
            env=airflow,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )
    finally:
        holder.kill()
        holder.communicate()
    assert "AirflowException featdsl failed\n  featdsl apply ended with exit code 1." in done.stdout
    assert open_store(load(shop.root)).read().head.serial == 1
