"""The Python UDFs that SQL calls."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import FunctionType

from featdsl.definitions.kinds import FeatureDefinition
from featdsl.definitions.sources import Column, FunctionDefinition, SourceDefinition
from featdsl.errors import Origin


@dataclass(frozen=True, kw_only=True)
class FunctionUse:
    """A Python UDF that SQL calls as `name`: its argument columns, and the type of the feature."""

    name: str
    feature: str
    function: FunctionDefinition
    columns: tuple[Column, ...]
    dtype: str
    origin: Origin


_ANY = "VARCHAR"


def of(features: Iterable[FeatureDefinition], source: SourceDefinition) -> Iterator[FunctionUse]:
    """Yield the UDFs of features over a source, each name once."""
    types = {column.name.lower(): column.dtype for column in source.columns}
    seen: set[str] = set()
    for feature in features:
        name = feature.sql.partition("(")[0]
        if feature.function is None or name in seen:
            continue
        seen.add(name)
        # Binding the SQL reports a missing column; here any type will do.
        arguments = [(each, types.get(each.lower(), _ANY)) for each in feature.function.parameters]
        yield FunctionUse(
            name=name,
            feature=feature.address,
            function=feature.function,
            columns=tuple(Column(name=each, dtype=dtype.replace('"NULL"', "INTEGER")) for each, dtype in arguments),
            dtype=feature.dtype,
            origin=feature.origin,
        )


Functions = Mapping[str, FunctionType]
"""The functions of the project's declarations, by their fingerprints."""
