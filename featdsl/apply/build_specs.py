"""How a stored table was computed, kept as long as the table: the step that built it, and its sources at that time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from featdsl.definitions.dialects import EXTERNAL
from featdsl.definitions.names import SOURCE_SCHEMA, quote
from featdsl.definitions.sources import FunctionDefinition, SourceDefinition
from featdsl.engines.increments import SourceTable
from featdsl.plan.document import BuildTable

if TYPE_CHECKING:
    from pydantic import TypeAdapter


@dataclass(frozen=True, kw_only=True)
class BuildSpec:
    """The step that builds a table over a source, and the sources that it reads, each after its own inputs."""

    build: BuildTable
    sources: tuple[SourceDefinition, ...]

    @property
    def source(self) -> SourceDefinition:
        """The source that the table is computed from."""
        return self.sources[-1]

    @property
    def table(self) -> SourceTable:
        """The table as an engine computes it."""
        step = self.build
        return SourceTable(
            name=step.table,
            sql=step.sql,
            columns=step.columns,
            keys=step.keys,
            source_keys=step.source_keys,
            source=self.source,
        )

    @property
    def functions(self) -> list[FunctionDefinition]:
        """The Python functions that the table and its sources call."""
        return [
            *(use.function for use in self.build.functions),
            *(each.function for each in self.sources if each.function),
        ]

    @property
    def is_incremental(self) -> bool:
        """Whether the rows from a time on can be computed without the source's earlier rows."""
        own_relation = f"FROM {SOURCE_SCHEMA}.{quote(self.build.source)}"
        reads_once = self.build.dialect in EXTERNAL or self.build.sql.count(own_relation) == 1
        return self.build.timed and reads_once

    @property
    def lookback(self) -> int:
        """By how many seconds a row may be late."""
        return self.source.lookback or 0


def to_json(spec: BuildSpec) -> str:
    """Return a build spec as text."""
    return str(_adapter().dump_json(spec).decode())


def from_json(text: str) -> BuildSpec:
    """Return the build spec of a text."""
    spec: BuildSpec = _adapter().validate_json(text)
    return spec


@cache
def _adapter() -> TypeAdapter[Any]:
    from pydantic import TypeAdapter

    return TypeAdapter(BuildSpec)


def with_inputs(source: str, known: Mapping[str, SourceDefinition]) -> tuple[SourceDefinition, ...]:
    """Return a source after all sources that it reads."""
    ordered: dict[str, SourceDefinition] = {}

    def add(name: str) -> None:
        for upstream in known[name].inputs:
            add(upstream)
        ordered.setdefault(name, known[name])

    add(source)
    return tuple(ordered.values())
