"""A project under test, and the rows that a test gives for its sources."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from featdsl.declarations.source import Source
from featdsl.errors import Problem, RequestError
from featdsl.project import settings
from featdsl.trying import in_memory
from featdsl.trying.in_memory import AskedKeys, Memory

if TYPE_CHECKING:
    from featdsl.declarations.feature_set import FeatureSet
    from featdsl.query.latest_values import Request
    from featdsl.query.selection import Selectable


def project(path: str | Path | None = None) -> FeatureProject:
    """Return the project in a folder or above it, by default the current one. Raises DeclarationError if there is none."""
    return FeatureProject(Memory.of(settings.load(Path(path) if path is not None else None)))


def table(columns: str | Sequence[str], *rows: Sequence[Any]) -> list[dict[str, Any]]:
    """Return rows of tuples as dicts: `table("carrier dep_delay", ("UA", 20), ("AA", 0))`.

    `columns` are names in a list, or in a text with spaces or commas between them. Raises RequestError for a row of another
    length.
    """
    names = columns.replace(",", " ").split() if isinstance(columns, str) else list(columns)
    for row in rows:
        if isinstance(row, str) or len(row) != len(names):
            what = f"The row {row!r} does not have a value for each of {', '.join(names)}."
            raise RequestError(
                Problem("Not rows", what, fix="Give a tuple with a value for each column, None for none.")
            )
    return [dict(zip(names, row, strict=True)) for row in rows]


class FeatureProject:
    """A project whose features a test computes over rows of its own, without a store and without the project's data.

    The declarations are imported once, when the object is made.
    """

    def __init__(self, memory: Memory) -> None:
        self._memory = memory

    def given(self, rows: Mapping[Source | str, Any] | None = None, /, **named: Any) -> Given:
        """Return rows for the sources of features: `given(departures=[{"carrier": "UA", "dep_delay": 20}])`.

        Rows are a list of dicts, a dict of lists, `table(...)`, or a frame of pandas, polars or pyarrow. `rows` takes sources
        as objects. A query runs over the rows of the sources that it reads, unless the test gives rows for the query itself.
        A column that is left out is NULL if its type is declared. Texts are read as times in the columns of a source's times.
        Features that are computed over the rows raise RequestError for an unknown source, and for rows that do not fit.
        """
        by_name = {(each if isinstance(each, str) else each.name): some for each, some in (rows or {}).items()}
        return Given(self._memory, {name: _kept(some) for name, some in {**by_name, **named}.items()})

    def with_variables(self, **variables: str | float | bool) -> FeatureProject:
        """Return the project with other values of variables in featproject.toml. Raises RequestError for an unknown one."""
        return FeatureProject(Memory(in_memory.variables_of(self._memory.project, variables), self._memory.loaded))

    def close(self) -> None:
        """Free the memory of the computations."""
        self._memory.close()

    def __repr__(self) -> str:
        return f"<FeatureProject {self._memory.project.name}>"


def _kept(rows: Any) -> Any:
    """Return rows that later changes of a list do not reach, and that can be read twice."""
    return (
        [dict(row) if isinstance(row, Mapping) else row for row in rows] if isinstance(rows, list | Iterator) else rows
    )


class Given:
    """Rows that a test gives for sources, over which features are computed; made by `FeatureProject.given`."""

    def __init__(self, memory: Memory, rows: Mapping[str, Any]) -> None:
        self._memory = memory
        self._rows = rows

    def value(
        self, feature: Selectable, *, at: datetime | date | str | None = None, request: Request = None, **keys: Any
    ) -> Any:
        """Return the value of one feature for an entity at a time: `value(UserProfile.age, at="2026-01-31", user_id=42)`.

        `at` is a time in UTC, or with an offset; it may be left out if no value depends on time. `request` is the request-time
        data. The value is the one of a training set: None for an entity without rows, 0 for a count. Raises RequestError if
        the name stands for several features, and the errors of `values`.
        """
        found = self.values(feature, at=at, request=request, **keys)
        if len(found) != 1:
            what = f"The call names several features: {', '.join(found)}."
            raise RequestError(Problem("Several features", what, fix="Name one of them, or call values(...)."))
        (value,) = found.values()
        return value

    def values(
        self,
        features: FeatureSet | Selectable | Sequence[Selectable],
        *,
        at: datetime | date | str | None = None,
        rows: Sequence[Mapping[str, Any]] | None = None,
        request: Request = None,
        **keys: Any,
    ) -> Any:
        """Return the values of features at a time: a dict for keys given by name, a list of dicts for `rows` of keys.

        `features` is a set, a group, or features by object or name, of the project or of the test itself. Raises
        DeclarationError for mistakes in their declarations, FeatureNotFoundError for an unknown name, RequestError for rows,
        keys and times that do not fit, DataError for rows that apply would refuse, such as two of one entity and time.
        """
        asked = AskedKeys([keys] if rows is None else list(rows), at, request)
        found = self._memory.values(features, self._rows, asked)
        return found[0] if rows is None else found

    def __repr__(self) -> str:
        return f"<Given rows of {', '.join(self._rows) or 'nothing'}>"
