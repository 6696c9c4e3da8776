"""The run that starts featdsl, such as a task of Airflow: `OPENLINEAGE_PARENT_ID` names it, as for other tools."""

from __future__ import annotations

import os
import uuid
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import unquote

_VARIABLE = "OPENLINEAGE_PARENT_ID"


@dataclass(frozen=True)
class RunReference:
    """A run, and the namespace and the name of its job."""

    namespace: str
    job: str
    run_id: str


def starting_run() -> RunReference | None:
    """Return the run that starts this process, from `NAMESPACE/JOB/RUN`; None if the variable is unset or no such text."""
    namespace, _, rest = os.environ.get(_VARIABLE, "").partition("/")
    job, _, run_id = rest.rpartition("/")
    if namespace and job:
        with suppress(ValueError):
            return RunReference(unquote(namespace), unquote(job), str(uuid.UUID(run_id)))
    return None
