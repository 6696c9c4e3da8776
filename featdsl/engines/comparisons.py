"""The seam to engines that compare two definitions of features over the same rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from featdsl.definitions.kinds import FeatureDefinition, GroupDefinition
from featdsl.definitions.sources import SourceDefinition
from featdsl.engines.lookups import Versions

if TYPE_CHECKING:
    from featdsl.definitions.value_shifts import Shift  # it loads pydantic, which `featdsl --help` does without

Pair = tuple[FeatureDefinition, FeatureDefinition]
"""A feature before a change and after it."""
AT = '"#at"'
"""The column with the event time of an entity's newest row."""


@dataclass(frozen=True, kw_only=True)
class RowSelection:
    """The rows at which features are compared: every row of the entities in the table `sample`, or of all if it is empty.

    `entities` is the number of entities that the sample was drawn from. `sparse` says that the stored tables have many more
    entities than the sample. The rows are those of `rows_of`, or of both definitions if it is None. `note` names limits of the
    comparison.
    """

    sample: str
    entities: int
    sparse: bool = False
    rows_of: FeatureDefinition | None = None
    note: str = ""


@dataclass(frozen=True)
class SideSource:
    """The source of a group, in the definition of one side. `keys_of` is a feature of the group, which has its keys."""

    side: str
    group: GroupDefinition
    keys_of: FeatureDefinition
    source: SourceDefinition


class Comparisons(Protocol):
    """Compares definitions of features in one session. Methods raise EngineError for a statement that fails.

    Two sides may have different sources of one name: those that are opened in the context of `side` belong to that side only.
    """

    def side(self, name: str) -> AbstractContextManager[None]:
        """Open sources, in the body, for one side only."""
        ...

    def entities(self, source: SideSource) -> str:
        """Return the query of the entities that a source of a side has rows of."""
        ...

    def newest(self, source: SideSource, given: Mapping[str, str], upto: str | None) -> str:
        """Return the query of the entities of a source of a side, with the event time of their newest row in `#at`.

        `given` has the values of some keys as text. Rows after `upto`, an SQL timestamp in UTC, do not count.
        """
        ...

    def open_rows(self, source: SideSource, kept: str = "") -> None:
        """Let SQL read a source of a side as `source.<name>`: all rows, or those of the entities in the query `kept`."""
        ...

    def create_table(self, name: str, query: str) -> None:
        """Compute a query, and let SQL read its rows as `tables.<name>`."""
        ...

    def change_rows(self, features: Sequence[FeatureDefinition], versions: Versions) -> str:
        """Return the query of the keys and times at which the values of a derived group may change."""
        ...

    def draw(self, sample: str, keys: Sequence[str], queries: Iterable[str], size: int | None) -> int:
        """Put up to `size` entities of the queries into the table `sample`, and return the number of all.

        The keys alone decide which entities are drawn. Without keys there is one entity, and no table.
        """
        ...

    def shifts(self, pairs: Sequence[Pair], versions: Versions, selection: RowSelection) -> Iterator[Shift]:
        """Yield how the values of each feature shift. The pairs have the same tables before and the same tables after."""
        ...
