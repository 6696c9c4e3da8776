"""Names of request-time columns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from featdsl.engines.lookups import Want


def columns(wants: Iterable[Want]) -> dict[str, str]:
    """Return the names and types of the request-time data that a call needs."""
    return {column.name: column.dtype for want in wants for column in want.feature.request}


def clash(wants: Sequence[Want]) -> str:
    """Return why the request-time data of these features clash, or an empty text."""
    keys = {column for want in wants for _, column in want.roles}
    outputs = {want.column: want for want in wants}
    first: dict[str, tuple[str, Want]] = {}
    for want in wants:
        for column in want.feature.request:
            dtype, other = first.setdefault(column.name, (column.dtype, want))
            address = want.feature.address
            if dtype != column.dtype:
                return f"the request {column.name} is {dtype} for {other.feature.address}, but {column.dtype} for {address}"
            if column.name in keys:
                return f"{address} needs the request {column.name}, which is a key as well"
            if column.name in outputs:
                other_address = outputs[column.name].feature.address
                return (
                    f"{address} needs the request {column.name}, and {other_address} would be the column {column.name}"
                )
    return ""
