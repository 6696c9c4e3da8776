"""Find the compiler of a dialect and open its engine, for code that must not know which engines there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from featdsl.definitions.dialects import TITLES
from featdsl.errors import Problem, UnreachableError

if TYPE_CHECKING:
    from featdsl.definitions.dialects import Dialect
    from featdsl.engines import ExternalCompiler
    from featdsl.engines.external import ExternalEngine
    from featdsl.project.settings import Project


def external_compiler(dialect: Dialect) -> ExternalCompiler:
    """Return the compiler of an engine that computes tables elsewhere."""
    from featdsl.engines.spark.compiler import COMPILER

    return {COMPILER.dialect: COMPILER}[dialect]


def open_engine(project: Project, dialect: Dialect) -> ExternalEngine:
    """Connect to the engine that computes tables in a dialect. Raises UnreachableError."""
    url = project.engine_url
    if url is None:
        what = "[engine] in featproject.toml names no server."
        fix = f'Add the server of {TITLES[dialect]} to [engine]: url = "sc://host:15002", or "local".'
        raise UnreachableError(Problem("Engine has no server", what, fix=fix))
    from featdsl.engines.spark import session

    return session.open_engine(url, project.root)


class Engines:
    """The engines of one command: each opens on its first use, and all close together."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._opened: dict[Dialect, ExternalEngine] = {}

    def of(self, dialect: Dialect) -> ExternalEngine:
        """Return the engine that computes tables in a dialect. Raises UnreachableError."""
        if dialect not in self._opened:
            self._opened[dialect] = open_engine(self._project, dialect)
        return self._opened[dialect]

    def close(self) -> None:
        """End the sessions."""
        for engine in self._opened.values():
            engine.close()
        self._opened.clear()
