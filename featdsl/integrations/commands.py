"""Run a command of featdsl in a process of its own, and read its events: what orchestrators have in common.

This module imports nothing but the standard library and featdsl's own errors, so an orchestrator's environment needs no more
of featdsl than these files; the project can live in another environment.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from featdsl.errors import FeatdslError, Origin, Problem

Event = dict[str, Any]

PROD = "prod"
_GRACE = 5.0
"""Seconds that a stopped command gets to clean up."""
_KEPT_LINES = 20
"""How many of the last lines of standard error a problem shows, if the command said nothing else."""


@dataclass(frozen=True, kw_only=True)
class ProjectCommand:
    """A command of featdsl on a project: `options` come last, `variables` are added to the environment.

    `python` is the Python of another environment that has featdsl and the project's packages; `executable` is a featdsl to run
    instead. Without both, it is this environment's.
    """

    name: str
    project: str | Path
    select: Sequence[str] = ()
    environment: str = PROD
    options: Sequence[str] = ()
    python: str | Path | None = None
    executable: str | Path | None = None
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def arguments(self) -> list[str]:
        """The words of the command."""
        program = [str(self.executable)] if self.executable else [str(self.python or sys.executable), "-m", "featdsl"]
        selected = [word for name in self.select for word in ("--select", name)]
        environment = ["--env", self.environment] if self.environment != PROD else []
        confirmed = ["--yes"] if self.name == "apply" else []
        words = [self.name, *confirmed, *selected, *environment, "--format", "json", *self.options]
        return [*program, "-C", str(self.project), *words]


class RunningCommand:
    """A command that runs. Its events are read once; `stop` ends it from another thread or after a signal."""

    def __init__(self, command: ProjectCommand, log: Callable[[str], None]) -> None:
        """Start a command; `log` gets its lines that are no events. Raises FeatdslError if the program is missing."""
        self._command, self._log = command, log
        self._last: deque[str] = deque(maxlen=_KEPT_LINES)
        try:
            self._process = subprocess.Popen(  # noqa: S603 - the words are not read by a shell
                command.arguments,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**os.environ, **command.variables},
                text=True,
                encoding="utf-8",
                errors="replace",
                start_new_session=True,
            )
        except OSError as error:
            what = f"{command.arguments[0]} cannot be run: {error.strerror}."
            fix = "Name the Python that has featdsl with python=, or the program itself with executable=."
            raise FeatdslError(Problem("featdsl cannot be run", what, fix=fix)) from None
        self._listener = threading.Thread(target=self._listen, args=(self._process.stderr,), daemon=True)
        self._listener.start()

    def events(self) -> Iterator[Event]:
        """Yield each event as it happens, the summary last. Raises FeatdslError with the problems of a command that fails.

        A reader that stops early stops the command.
        """
        try:
            for line in self._process.stdout or ():
                event = _parsed(line)
                if event is None:
                    self._log(line.rstrip("\n"))
                elif event["event"] == "failed":
                    self._finish()
                    raise FeatdslError(_problem(each) for each in event["problems"])
                else:
                    yield event
            if code := self._finish():
                raise FeatdslError(self._unexplained(code))
        finally:
            self.stop()
            self._close()

    def output(self) -> Any:
        """Return the one JSON document that the command prints. Raises FeatdslError if it prints none."""
        text, _ = (self._process.stdout.read() if self._process.stdout else ""), self._finish()
        try:
            return json.loads(text)
        except ValueError:
            raise FeatdslError(self._unexplained(self._process.returncode)) from None
        finally:
            self._close()

    def stop(self) -> None:
        """End the command as Ctrl-C does, which publishes nothing, and kill it if it does not end soon."""
        if self._process.poll() is None:
            self._signal(signal.SIGINT)
            try:
                self._process.wait(_GRACE)
            except subprocess.TimeoutExpired:
                self._kill()
                self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        """Send a signal to the command and to the processes that it has started."""
        if not hasattr(os, "killpg"):  # Windows has no groups of processes
            self._process.terminate()
            return
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def _kill(self) -> None:
        if hasattr(signal, "SIGKILL"):
            self._signal(signal.SIGKILL)
        else:
            self._process.kill()

    def _close(self) -> None:
        """Close the command's output; only its reader may, for another thread would close it while it is read."""
        self._listener.join(_GRACE)
        for stream in (self._process.stdout, self._process.stderr):
            if stream and not self._listener.is_alive():
                stream.close()

    def _finish(self) -> int:
        code = self._process.wait()
        self._listener.join(_GRACE)
        return code

    def _listen(self, stream: IO[str]) -> None:
        with suppress(ValueError):  # the stream was closed
            for line in stream:
                text = line.rstrip("\n")
                self._last.append(text)
                self._log(text)

    def _unexplained(self, code: int) -> Problem:
        ended = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        return Problem("featdsl failed", "\n".join([f"featdsl {self._command.name} {ended}.", *self._last]))


def _parsed(line: str) -> Event | None:
    """Return the event of a line; None for any other line."""
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and "event" in event else None


def _problem(told: Mapping[str, Any]) -> Problem:
    file, _, line = (told["where"] or "").rpartition(":")
    return Problem(
        told["summary"], told["what"], Origin(file, int(line)) if line.isdecimal() else None, told["fix"] or ""
    )


def line_of(event: Event) -> str:
    """Return an event as a line of a log: its name, then its fields that say something."""
    fields = {name: value for name, value in event.items() if name not in {"event", "at"} and value is not None}
    return " ".join([event["event"], *(f"{name}={value}" for name, value in fields.items())])
