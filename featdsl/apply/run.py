"""One run of an apply or of a refresh: its settings, its sources, and the results so far."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Literal

from featdsl.apply.external_tables import ExternalTables
from featdsl.apply.run_errors import Subject, reported
from featdsl.apply.run_sources import RunSources
from featdsl.definitions import udfs
from featdsl.definitions.dialects import EXTERNAL
from featdsl.definitions.history import CheckResult
from featdsl.plan.document import BuildTable

if TYPE_CHECKING:
    from featdsl.engines.external import Computed
    from featdsl.engines.session import Session
    from featdsl.project.settings import Project
    from featdsl.stores import Store, Writer

Progress = Callable[[int, int], None]
"""Receives the number of rows done, and of all rows."""
SMALL = 122_880
"""DuckDB reads this many rows with one core, so smaller tables are built in parallel."""


@dataclass
class Results:
    """The results of a run so far.

    `built` are the tables that it has built, `made_of` identifies the data of each table where they are known, `checks` are the
    results of declared rules.
    """

    built: set[str] = field(default_factory=set)
    made_of: dict[str, str] = field(default_factory=dict)
    checks: list[CheckResult] = field(default_factory=list)


@dataclass(frozen=True)
class Run:
    """The settings of a run, its sources and its results.

    `builds` are the tables that an apply builds, in order; `identity_checks` has, for each of them, the query that must return no
    rows before another table is made of it.
    """

    project: Project
    store: Store
    writer: Writer
    functions: udfs.Functions
    environment: str
    during: Literal["apply", "refresh"]
    sources: RunSources
    external: ExternalTables
    builds: Mapping[str, BuildTable] = field(default_factory=dict)
    identity_checks: Mapping[str, str] = field(default_factory=dict)
    results: Results = field(default_factory=Results)

    @property
    def session(self) -> Session:
        """The writer's session."""
        return self.writer.session

    def reported(self, subject: Subject) -> AbstractContextManager[None]:
        """Report errors of the engine in the body as errors of a source, a group, a table or a check."""
        return reported(subject, self.session)

    def is_external(self, step: BuildTable) -> bool:
        """Return whether another engine than the store's own computes a table."""
        return step.dialect in EXTERNAL

    def taken_over(self, step: BuildTable, computed: Computed) -> int:
        """Make the rows that another engine has written the table of a step; return their number."""
        return self.writer.take_over(step.table, computed, step.columns, step.keys)

    def calling(self, step: BuildTable) -> AbstractContextManager[None]:
        """Let SQL of the store's session call the Python functions of a table."""
        if self.is_external(step):
            return nullcontext()
        return self.session.calling(step.functions, self.functions)


@contextmanager
def running(  # noqa: PLR0913 - a run's whole start
    project: Project,
    store: Store,
    writer: Writer,
    functions: udfs.Functions,
    environment: str,
    *,
    during: Literal["apply", "refresh"],
    builds: Mapping[str, BuildTable] | None = None,
    identity_checks: Mapping[str, str] | None = None,
) -> Iterator[Run]:
    """Yield a run that is about to begin, and close the engines that it opens."""
    sources = RunSources(writer.session, project, store, functions, partial(reported, session=writer.session))
    with closing(ExternalTables(project, sources, writer, functions)) as external:
        yield Run(
            project,
            store,
            writer,
            functions,
            environment,
            during,
            sources,
            external,
            builds or {},
            identity_checks or {},
        )
