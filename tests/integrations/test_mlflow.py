"""The training lock of a model in MLflow, over a tracking database of MLflow's own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from featdsl import FeatureNotFoundError, FeatureStore, RequestError
from featdsl.engines.spark.connect import import_client
from featdsl.errors import LockFileError, OutdatedModelError
from featdsl.integrations.mlflow import ARTIFACT, check_served, load_model, log_training, read_lock
from tests.conftest import Workspace
from tests.plan.test_renames import rename_feature
from tests.waiting import PATIENCE

SET = "credit_risk@1"
SPINE = "SELECT 2 AS user_id, now() AS ts"
ACCOUNTS = "features/accounts/__init__.py"
LENDING = "features/lending/__init__.py"
Edit = Callable[[str, str, str], None]

pytestmark = [
    pytest.mark.slow,
    # MLflow 3.17 loads a relation of its own tables in a way that SQLAlchemy 2.1 deprecates.
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:sqlalchemy.exc.SADeprecationWarning"),
    # MLflow warns of type hints, its own ones too.
    pytest.mark.filterwarnings(r"ignore::UserWarning:mlflow\..*"),
]


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tracking database: MLflow takes seconds to make one."""
    return tmp_path_factory.mktemp("mlflow")


@pytest.fixture
def mlflow(tracking: Path, tmp_path: Path) -> Iterator[Any]:
    """MLflow with an experiment of the test's own, and no registered model."""
    import_client("sc://")
    import mlflow

    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{tracking / 'mlflow.db'}")
    mlflow.create_experiment(tmp_path.name, artifact_location=(tmp_path / "artifacts").as_uri())
    mlflow.set_experiment(tmp_path.name)
    yield mlflow
    for model in mlflow.search_registered_models():
        mlflow.MlflowClient().delete_registered_model(model.name)
    mlflow.set_experiment(experiment_id="0")  # other tests have databases of their own, which lack this experiment
    mlflow.set_tracking_uri(before)


def trained(mlflow: Any, store: FeatureStore, features: Any = SET, *, locked: bool = True) -> Any:
    """Log a model that was trained on features, registered as `loan`, and return what MLflow tells of it."""
    training = store.training_set(features, SPINE, timestamp="ts")

    class Loan(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
        def predict(self, model_input: list[float]) -> list[float]:
            return [2 * each for each in model_input]

    with mlflow.start_run():
        if locked:
            log_training(training)
        return mlflow.pyfunc.log_model(
            name="model", python_model=Loan(), registered_model_name="loan", pip_requirements=[]
        )


def test_a_run_keeps_the_lock_of_the_training_set(applied: Workspace, mlflow: Any) -> None:
    """As a file, which `featdsl outdated` reads, and with tags to search by."""
    lock = applied.store.training_set(SET, SPINE, timestamp="ts").lock
    info = trained(mlflow, applied.store)

    run = mlflow.get_run(info.run_id)
    tags = {name: value for name, value in run.data.tags.items() if name.startswith("featdsl.")}
    digest = tags.pop("featdsl.fingerprints")
    assert tags == {"featdsl.set": SET, "featdsl.environment": "prod", "featdsl.state": "1"}
    assert len(digest) == 32
    file = mlflow.artifacts.download_artifacts(run_id=info.run_id, artifact_path=ARTIFACT, dst_path=str(applied.root))
    assert json.loads(Path(file).read_text()) == lock
    assert applied.run("outdated", file).stdout == "No model is outdated.\n"


@pytest.mark.parametrize("uri", ["models:/loan/1", "models:/loan@live", "{model}", "runs:/{run}", "runs:/{run}/model"])
def test_a_model_is_served_as_it_was_trained(applied: Workspace, mlflow: Any, uri: str) -> None:
    """By every way to name a model; the result is the set version to serve from."""
    info = trained(mlflow, applied.store)
    mlflow.MlflowClient().set_registered_model_alias("loan", "live", 1)
    uri = uri.format(run=info.run_id, model=info.model_uri)

    assert read_lock(uri).features.keys() == {"age", "income"}
    assert check_served(uri, applied.store) == SET


def test_a_pinned_definition_is_served_after_a_newer_one_came(applied: Workspace, mlflow: Any, edit: Edit) -> None:
    """The set version keeps it, so the model may go on; `featdsl outdated` tells of the newer one."""
    trained(mlflow, applied.store)
    edit(ACCOUNTS, "annual_income", "annual_income * 2")
    applied.apply()

    assert check_served("models:/loan/1", applied.store) == SET
    assert applied.run("outdated").returncode == 2


def test_a_renamed_feature_is_served(applied: Workspace, mlflow: Any, edit: Edit) -> None:
    """A new name is no new definition."""
    trained(mlflow, applied.store, ["user_profile.age", "income"])
    rename_feature(edit)
    applied.apply()

    assert check_served("models:/loan/1", applied.store) is None


def test_features_with_other_definitions_are_named_with_the_command_that_shows_them(
    applied: Workspace, mlflow: Any, edit: Edit
) -> None:
    """A list of features has the definitions of now. The printed commands work."""
    info = trained(mlflow, applied.store, ["age", "income"])
    edit(ACCOUNTS, "annual_income", "annual_income * 2")
    applied.apply()

    with pytest.raises(OutdatedModelError) as raised:
        load_model("models:/loan/1", applied.store)
    (problem,) = raised.value.problems
    (line,) = [line for line in problem.what.splitlines() if "income" in line]
    assert problem.what == f"models:/loan/1 was trained on a list of features. Now:\n{line}"
    assert line.startswith("  user_profile.income has a new definition in state 2, by ")
    download = f"mlflow artifacts download --artifact-uri runs:/{info.run_id}/{ARTIFACT} --dst-path ."
    assert problem.fix.splitlines() == [
        "See what changed:", f"  {download}", "  featdsl outdated features.lock.json", "Then train again.",
    ]  # fmt: skip
    command = [sys.executable, "-W", "ignore", "-m", *download.split()]
    environment = {"MLFLOW_TRACKING_URI": mlflow.get_tracking_uri()}
    subprocess.run(command, cwd=applied.root, env=environment, check=True, capture_output=True, timeout=PATIENCE)
    shown = applied.run("outdated", "features.lock.json")
    assert "user_profile.income has a new definition in state 2" in shown.stdout
    assert "+ annual_income * 2" in shown.stdout


def test_a_set_version_that_is_gone_is_an_error(applied: Workspace, mlflow: Any) -> None:
    """It names the version."""
    trained(mlflow, applied.store, "credit_risk@2")
    path = applied.root / LENDING
    path.write_text("\n".join(line for line in path.read_text().splitlines() if "credit_risk_v2" not in line))
    applied.apply()

    with pytest.raises(FeatureNotFoundError, match='No set version "credit_risk@2" has been applied'):
        check_served("models:/loan/1", applied.store)


def test_a_model_is_loaded_after_the_check(applied: Workspace, mlflow: Any) -> None:
    """As MLflow loads it, or as the caller says."""
    trained(mlflow, applied.store)
    model = load_model("models:/loan/1", applied.store)

    assert model.predict([1.5]) == [3.0]
    assert load_model("models:/loan/1", applied.store, load=str.upper) == "MODELS:/LOAN/1"


def test_a_model_of_served_values_has_their_lock(applied: Workspace, mlflow: Any) -> None:
    """Rows of the serving log are logged as a training set is."""
    applied.write({"featproject.toml": '[project]\nname = "bank"\n\n[serving.log]\nsample = 1.0\n'})
    store = applied.store
    store.get_features(SET, user_id=2)
    with mlflow.start_run() as run:
        log_training(store.served(SET))

    assert check_served(f"runs:/{run.info.run_id}", store) == SET


def test_a_lock_may_be_logged_with_a_run_that_ended(applied: Workspace, mlflow: Any) -> None:
    """By its id."""
    with mlflow.start_run() as run:
        pass
    log_training(applied.store.training_set(SET, SPINE, timestamp="ts"), run_id=run.info.run_id)

    assert check_served(f"runs:/{run.info.run_id}", applied.store) == SET


# Bad input


def test_without_an_active_run_nothing_is_logged(applied: Workspace, mlflow: Any) -> None:
    """MLflow would start a run of its own, which nobody ends."""
    with pytest.raises(RequestError) as raised:
        log_training(applied.store.training_set(SET, SPINE, timestamp="ts"))
    assert str(raised.value) == (
        "No active run\n  log_training logs with the active run of MLflow, and there is none.\n"
        "  Call it inside of: with mlflow.start_run():"
    )
    assert mlflow.search_runs(output_format="list") == []


def test_a_model_without_a_lock_is_an_error(applied: Workspace, mlflow: Any) -> None:
    """It says how to log one."""
    trained(mlflow, applied.store, locked=False)
    with pytest.raises(LockFileError) as raised:
        check_served("models:/loan/1", applied.store)
    assert str(raised.value) == (
        "Model without a lock\n  The run of models:/loan/1 has no featdsl/features.lock.json.\n"
        "  Log the lock when you train: featdsl.integrations.mlflow.log_training(training)"
    )


def test_a_lock_that_was_edited_is_an_error(applied: Workspace, mlflow: Any) -> None:
    """Its digest shows the edit."""
    info = trained(mlflow, applied.store)
    lock = applied.store.training_set(SET, SPINE, timestamp="ts").lock
    mlflow.MlflowClient().log_text(info.run_id, json.dumps({**lock, "set": "credit_risk@2"}), ARTIFACT)
    with pytest.raises(LockFileError, match="The lock of models:/loan/1 was edited after it was made"):
        check_served("models:/loan/1", applied.store)


def test_a_lock_of_another_store_is_an_error(applied: Workspace, mlflow: Any, tmp_path: Path) -> None:
    """The fingerprints may agree, but not the data."""
    trained(mlflow, applied.store)
    (applied.root / ".featdsl").rename(tmp_path / "old")
    assert applied.run("apply", "--yes").returncode == 0
    with pytest.raises(LockFileError, match="The lock was made on another store than this one"):
        check_served("models:/loan/1", applied.store)


@pytest.mark.parametrize("uri", ["models:/loan/7", "runs:/0123456789abcdef0123456789abcdef", "nothing"])
def test_an_unknown_model_is_an_error(applied: Workspace, mlflow: Any, uri: str) -> None:
    """Without the text or the traceback of MLflow."""
    trained(mlflow, applied.store)
    with pytest.raises(RequestError, match=f"(?s)MLflow refused the call.*MLflow cannot find .*{uri}") as raised:
        check_served(uri, applied.store)
    assert raised.value.__suppress_context__


@pytest.mark.parametrize(
    ("library", "call"), [("mlflow", "read_lock('models:/loan/1')"), ("pandas", "load_model('runs:/1', Store())")]
)
def test_without_a_library_the_line_that_installs_it_is_printed(library: str, call: str) -> None:
    """The module can be imported; a call needs the library, and models of MLflow need pandas."""
    program = (
        f"import sys; sys.modules[{library!r}] = None; import featdsl.integrations.mlflow as module; "
        "from featdsl.integrations.mlflow import *; module.check_served = lambda *_: None; Store = object; "
        f"{call}"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    assert done.stderr.endswith(
        f"RequestError: Missing package\n  featdsl.integrations.mlflow needs {library}, which is not installed.\n"
        "  Install it into this environment: pip install 'featdsl[mlflow,frames]'\n"
    )
