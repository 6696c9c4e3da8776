"""Check features over a source that is not read: their types, their functions, and their SQL over columns of declared types."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from featdsl.catalog import feature_sql
from featdsl.catalog.bind_context import Binding, canonical_type, has_type, sql_problem
from featdsl.definitions import udfs as function_references
from featdsl.definitions.dtypes import gives
from featdsl.definitions.kinds import FeatureDefinition, GroupDefinition
from featdsl.definitions.names import quote
from featdsl.definitions.sources import Column
from featdsl.engines.session import EngineError

_UNKNOWN = '"NULL"'
"""The type of a column whose type is not declared: a function takes it for any type."""


@dataclass(frozen=True)
class _Unread:
    """The columns that features read of an unread source, and the names in lower case of those whose types are declared."""

    columns: Sequence[Column]
    declared: frozenset[str]

    @property
    def relation(self) -> str:
        """A relation with one row of NULLs in these columns, and a column to anchor features that do not aggregate."""
        return feature_sql.nulls([*self.columns, Column(name="#anchor", dtype="INTEGER")])

    def knows(self, feature: FeatureDefinition) -> bool:
        """Return whether the types of all columns that a feature reads are declared."""
        return set(feature.reads) <= self.declared


def has_types(binding: Binding, members: Sequence[FeatureDefinition]) -> bool:
    """Return whether the engine has the type of every feature; refuses those that it does not have."""
    known = [has_type(binding, f"feature {each.address}", each.dtype, each.origin) for each in members]
    return all(known)


def check_features(binding: Binding, group: GroupDefinition, members: Sequence[FeatureDefinition]) -> None:
    """Collect the problems of features that do not depend on the columns of their unread source."""
    source = binding.catalog.sources[str(group.source)]
    types = {column.name.lower(): column.dtype for column in source.schema}
    names = sorted({name for each in members for name in each.reads})
    unread = _Unread([Column(name=name, dtype=types.get(name, _UNKNOWN)) for name in names], frozenset(types))
    with binding.session.declaring(function_references.of(members, source)):
        for together in ([each for each in members if not each.window], [each for each in members if each.window]):
            if together and not _all_bind(binding, together, unread):
                for feature in together:
                    _check(binding, feature, unread)


def _all_bind(binding: Binding, members: Sequence[FeatureDefinition], unread: _Unread) -> bool:
    """Return whether all features bind in one statement and have their types. It is quick, and finds no reasons."""
    try:
        columns = binding.session.columns(_query(members, unread))
    except EngineError:
        return False
    return all(_fits(binding, each, found.dtype, unread) for each, found in zip(members, columns, strict=False))


def _query(members: Sequence[FeatureDefinition], unread: _Unread) -> str:
    listed = [f"(\n{feature_sql.bindable(each)}\n) AS {quote(f'#{i}')}" for i, each in enumerate(members)]
    listed += [] if members[0].window else ['"#anchor"']  # beside it, an aggregate without a window fails
    return f"SELECT {', '.join(listed)} FROM {unread.relation}"


def _fits(binding: Binding, feature: FeatureDefinition, dtype: str, unread: _Unread) -> bool:
    return not unread.knows(feature) or gives(dtype, canonical_type(binding, feature.dtype))


def _check(binding: Binding, feature: FeatureDefinition, unread: _Unread) -> None:
    """Bind one feature; without the types of its columns, only an unknown function is certain to be a mistake."""
    address = f"feature {feature.address}"
    if feature_sql.is_misused(feature):
        binding.problems.append(feature_sql.aggregate_problem(address, feature))
        return
    try:
        found = binding.session.columns(_query([feature], unread))[0]
    except EngineError as error:
        if unread.knows(feature) or error.detail.lacks == "function":
            names = [column.name for column in unread.columns]
            binding.problems.append(sql_problem(address, error, names, feature.origin))
        return
    if not _fits(binding, feature, found.dtype, unread):
        declared = canonical_type(binding, feature.dtype)
        what = f"{address} is declared {declared}, but its SQL gives {found.dtype}."
        binding.refuse("Wrong type", what, feature.origin, f"Declare that type, or cast: CAST(... AS {declared}).")
