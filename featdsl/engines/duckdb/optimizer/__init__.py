"""Choose the physical operator of each lookup of a training set by its cost.

Costs are in microseconds of DuckDB on two cores; only their ratios matter. Rows are counted for a sample of the spine:
averages over all entities are wrong by a factor of 100 if a few entities have most of the rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from featdsl.definitions.snapshot import Snapshot
from featdsl.engines import lookups
from featdsl.engines.duckdb.lookups import Operators, Spans
from featdsl.engines.duckdb.optimizer import joins
from featdsl.engines.duckdb.optimizer import windows as window_operators
from featdsl.engines.duckdb.optimizer.sampling import SpineLookup
from featdsl.engines.duckdb.windows import WindowOperator, families
from featdsl.engines.lookups import Key, Spine, Want
from featdsl.engines.session import Session


@dataclass(frozen=True)
class Choice:
    """The operators for the features of one table and one entity of the spine, with the reasons."""

    lookup: Key
    features: tuple[str, ...]
    reasons: tuple[str, ...]
    windows: tuple[WindowOperator, ...] = ()
    spans: Spans | None = None

    def __str__(self) -> str:
        keys = ", ".join(str(target) for _, target in self.lookup[1])
        title = f"{', '.join(self.features)}{f' by {keys}' if keys else ''}"
        return "\n".join([title, *(f"  {reason}" for reason in self.reasons)])


def choose(session: Session, spine: Spine, wants: Sequence[Want], snapshot: Snapshot) -> tuple[Choice, ...]:
    """Return the choice for each lookup of a training set."""
    ((spine_rows,),) = session.rows(f"SELECT count(*) FROM {spine.sql}")
    choices = []
    for key, features in lookups.lookups_of(wants, snapshot.versions).items():
        lookup = SpineLookup(session, spine, spine_rows, key[1], snapshot.tables[key[0]])
        chosen = [window_operators.choose(lookup, family) for family in families(features)]
        names = tuple(feature.address for feature in features)
        if chosen:
            windows, reasons = tuple(each for each, _ in chosen), tuple(reason for _, reason in chosen)
            choices.append(Choice(key, names, reasons, windows))
        else:
            spans, reason = joins.choose(lookup, features[0])
            choices.append(Choice(key, names, (reason,), spans=spans))
    return tuple(choices)


def operators_of(choices: Iterable[Choice]) -> Operators:
    """Return the operators of a query."""
    listed = list(choices)
    return Operators(
        {choice.lookup: choice.windows for choice in listed if choice.windows},
        {choice.lookup: choice.spans for choice in listed if choice.spans},
    )
