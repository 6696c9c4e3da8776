"""Keep the training lock with a model in MLflow, and check that the model's features are still served as it was trained.

from featdsl.integrations.mlflow import check_served, load_model, log_training
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol

from featdsl.errors import LockFileError, OutdatedModelError, Problem, RequestError
from featdsl.query import lockfile

if TYPE_CHECKING:
    from featdsl.discovery.outdated import Moved
    from featdsl.featurestore import FeatureStore

ARTIFACT = "featdsl/features.lock.json"
"""Where a run keeps its training lock."""
INSTALL = "Install it into this environment: pip install 'featdsl[mlflow,frames]'"
_LOG = "Log the lock when you train: featdsl.integrations.mlflow.log_training(training)"


class Trained(Protocol):
    """The rows that a model was trained on: a training set, or the rows of the serving log."""

    @property
    def lock(self) -> dict[str, Any]:
        """The training lock."""
        ...


def log_training(training: Trained, *, run_id: str | None = None) -> None:
    """Log the lock of the rows that a model is trained on with a run of MLflow: the active one, or `run_id`.

    The run gets the artifact `featdsl/features.lock.json`, and the tags `featdsl.set` (absent for a list of features),
    `featdsl.environment`, `featdsl.state` and `featdsl.fingerprints`, a digest that is equal for equal definitions. Raises
    RequestError if no run is active, or if MLflow is not installed or fails.
    """
    mlflow = _mlflow()
    active = mlflow.active_run()
    if run_id is None and active is None:
        what = "log_training logs with the active run of MLflow, and there is none."
        raise RequestError(Problem("No active run", what, fix="Call it inside of: with mlflow.start_run():"))
    run = run_id or active.info.run_id
    lock = training.lock
    with _refused(f"The lock cannot be logged with run {run}"):
        client = mlflow.MlflowClient()
        client.log_text(run, json.dumps(lock, indent=4), ARTIFACT)
        for name, value in _tags(lock).items():
            client.set_tag(run, name, value)


def read_lock(uri: str) -> lockfile.Lock:
    """Return the lock that was logged with a model, or with a run: `models:/loan/1`, `models:/loan@live`, `runs:/ID`.

    Raises LockFileError if there is no lock, or if it was edited; RequestError if MLflow cannot find the model.
    """
    return lockfile.read(_text(_run_of(uri), uri), name=f"The lock of {uri}")


def check_served(uri: str, store: FeatureStore) -> str | None:
    """Check that the store serves the features of a model with the definitions that the model was trained on.

    Returns the set version to serve from, or None if the model was trained on a list of features. Raises OutdatedModelError
    with the features that changed, FeatureNotFoundError if the set version is gone, and the errors of `read_lock`.
    """
    run = _run_of(uri)
    text = _text(run, uri)
    lock = lockfile.read(text, name=f"The lock of {uri}")
    moved = store.unserved(json.loads(text))
    if moved:
        what = "\n".join([f"{uri} was trained on {lock.set or 'a list of features'}. Now:", *_lines(moved)])
        download = f"mlflow artifacts download --artifact-uri runs:/{run}/{ARTIFACT} --dst-path ."
        fix = f"See what changed:\n  {download}\n  featdsl outdated features.lock.json\nThen train again."
        raise OutdatedModelError(Problem("Model is outdated", what, fix=fix))
    return lock.set


def load_model(uri: str, store: FeatureStore, *, load: Callable[[str], Any] | None = None) -> Any:
    """Return a model of MLflow, after `check_served`. `load` loads it: `mlflow.pyfunc.load_model` by default.

    Raises the errors of `check_served`.
    """
    check_served(uri, store)
    return (load or _mlflow("mlflow.pyfunc").load_model)(uri)


def _lines(moved: tuple[Moved, ...]) -> Iterator[str]:
    from featdsl.render.reports import moved_line

    return (f"  {moved_line(each)}" for each in moved)


def _tags(lock: Mapping[str, Any]) -> dict[str, str]:
    definitions = json.dumps(lock["features"], sort_keys=True).encode()
    tags = {
        "featdsl.environment": lock["environment"],
        "featdsl.state": str(lock["store"]["serial"]),
        "featdsl.fingerprints": hashlib.sha256(definitions).hexdigest()[:32],
    }
    return {**({"featdsl.set": lock["set"]} if lock["set"] else {}), **tags}


def _run_of(uri: str) -> str:
    """Return the run that a model was logged with. Raises RequestError, LockFileError."""
    if uri.startswith("runs:/"):
        return uri.removeprefix("runs:/").lstrip("/").partition("/")[0]
    mlflow = _mlflow()
    with _refused(f"MLflow cannot find {uri}"):
        run: str | None = mlflow.models.get_model_info(uri).run_id
    if run is None:
        raise LockFileError(Problem("Model without a run", f"{uri} was logged outside of a run.", fix=_LOG))
    return run


def _text(run: str, uri: str) -> str:
    """Return the text of a run's lock. Raises RequestError for an unknown run, LockFileError for a run without a lock."""
    mlflow = _mlflow()
    with _refused(f"MLflow cannot find the run of {uri}"):
        listed = mlflow.MlflowClient().list_artifacts(run, ARTIFACT.partition("/")[0])
    if ARTIFACT not in {each.path for each in listed}:
        raise LockFileError(Problem("Model without a lock", f"The run of {uri} has no {ARTIFACT}.", fix=_LOG))
    with _refused(f"The lock of {uri} cannot be read"):
        text: str = mlflow.artifacts.load_text(f"runs:/{run}/{ARTIFACT}")
    return text


def _mlflow(name: str = "mlflow") -> ModuleType:
    try:
        return import_module(name)
    except ImportError as error:
        what = f"featdsl.integrations.mlflow needs {error.name or name}, which is not installed."
        raise RequestError(Problem("Missing package", what, fix=INSTALL)) from None


@contextmanager
def _refused(what: str) -> Iterator[None]:
    """Raise RequestError if MLflow refuses a call or its server cannot be reached."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except (MlflowException, OSError) as error:
        code = getattr(error, "error_code", "") or type(error).__name__
        fix = "Check the name, and the tracking server: MLFLOW_TRACKING_URI."
        raise RequestError(Problem("MLflow refused the call", f"{what} ({code}).", fix=fix)) from None
