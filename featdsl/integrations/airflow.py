"""An operator of Airflow that refreshes, applies or publishes the features of a project.

from featdsl.integrations.airflow import FeatdslOperator
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from airflow.exceptions import AirflowException
from airflow.sdk import BaseOperator

from featdsl.errors import FeatdslError
from featdsl.integrations.commands import PROD, ProjectCommand, RunningCommand, line_of


class FeatdslOperator(BaseOperator):  # type: ignore[misc] # Airflow is not among the packages that types are checked with
    """Runs `featdsl refresh`, `apply` or `publish` in a process of its own, on the project in the folder `project`.

    The task's log has every event. The task returns the summary of the run, with a list of the `tables` that it built or
    refreshed, and fails with the text of the problem. Killing the task ends the command, which then publishes nothing.

    `select` limits the run to groups, features, sets, models, sources or teams, with what they are made of; `options` are more
    words of the command, such as `["--full"]`, and `variables` more environment variables. The project may live in another
    environment than Airflow: `python` is the Python there, or `executable` its featdsl. All of these are templated.
    """

    template_fields: ClassVar[Sequence[str]] = (
        "command", "project", "select", "environment", "options", "python", "executable", "variables",
    )  # fmt: skip
    ui_color: ClassVar[str] = "#dcebf7"

    def __init__(  # noqa: PLR0913 - options by name, as operators have them
        self,
        *,
        project: str,
        command: str = "refresh",
        select: Sequence[str] | str = (),
        environment: str = PROD,
        options: Sequence[str] = (),
        python: str | None = None,
        executable: str | None = None,
        variables: Mapping[str, str] | None = None,
        **task: Any,
    ) -> None:
        super().__init__(**task)
        self.project = project
        self.command = command
        self.select = select
        self.environment = environment
        self.options = options
        self.python = python
        self.executable = executable
        self.variables = variables
        self._running: RunningCommand | None = None

    def execute(self, context: Any) -> dict[str, Any]:  # noqa: ARG002 - Airflow passes it
        """Run the command and return its summary. Raises AirflowException with the text of the problem."""
        last: dict[str, Any] = {}
        tables: list[dict[str, Any]] = []
        try:
            self._running = RunningCommand(self._of_project(), self.log.info)
            for event in self._running.events():
                self.log.info(line_of(event))
                if event["event"] == "refreshed" or (event["event"] == "step_finished" and _is_build(event)):
                    tables.append({name: value for name, value in event.items() if name not in {"event", "at"}})
                last = event
        except FeatdslError as error:
            raise AirflowException(str(error)) from None
        summary = {name: value for name, value in last.items() if name not in {"event", "at"}}
        return {**summary, "tables": tables}

    def on_kill(self) -> None:
        """End the command."""
        if self._running is not None:
            self._running.stop()

    def _of_project(self) -> ProjectCommand:
        return ProjectCommand(
            name=self.command,
            project=self.project,
            select=[self.select] if isinstance(self.select, str) else self.select,
            environment=self.environment,
            options=self.options,
            python=self.python,
            executable=self.executable,
            variables=self.variables or {},
        )


def _is_build(event: Mapping[str, Any]) -> bool:
    return bool(event["table"]) and not str(event["label"]).startswith("refresh ")
