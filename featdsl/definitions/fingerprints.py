"""Hash everything that decides values, and nothing else, to the same bytes on every machine.

A fingerprint is the SHA-256 of a canonical JSON text, cut to 128 bits. It includes upstream fingerprints, but no names,
descriptions, owners, file positions or formatting.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType

from featdsl.definitions.kinds import Input, Member, Moments
from featdsl.definitions.sources import Column
from featdsl.definitions.windows import Window

_MEANING = 1
"""The version of the semantics: incremented when the same declaration gives other values."""
_LAYOUT = 2
"""The version of the table layout: incremented when the same values are stored in another form."""
_NOTHING: Mapping[str, str] = MappingProxyType({})
_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True)
"""One shared encoder, because `json.dumps` creates a new one per call."""


def of(parts: Mapping[str, object]) -> str:
    """Return the fingerprint of a JSON-like mapping."""
    return hashlib.sha256(_CANONICAL.encode(parts).encode()).hexdigest()[:32]


def of_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def source(  # noqa: PLR0913 - every part counts
    *,
    format: str,  # noqa: A002 - the field's word
    location: Iterable[str],
    options: Iterable[tuple[str, str]],
    sql: str,
    inputs: Mapping[str, str],
    time: tuple[str | None, str | tuple[str, ...] | None],
    available_at: str | None,
    reading: Mapping[str, str] = _NOTHING,
    function: str = "",
    columns: Iterable[Column] = (),
) -> str:
    """Return a source's fingerprint. `inputs` maps upstream sources to their fingerprints, `reading` has options of times."""
    # Unset options are left out, so that new options do not change existing fingerprints.
    known: dict[str, object] = {"available_at": available_at} if available_at else {}
    known |= reading
    if function:
        known |= {"function": function, "columns": sorted((column.name, column.dtype) for column in columns)}
    return of({
        "meaning": _MEANING, "format": format, "location": list(location), "options": sorted(options), "sql": sql,
        "inputs": dict(inputs), "time": time, **known,
    })  # fmt: skip


def in_dialects(sql: str, variants: Iterable[tuple[str, str]]) -> str:
    """Return what stands for SQL in a fingerprint: its canonical text, with the texts that engines of other dialects run."""
    others = "".join(f"\n-- {dialect}\n{text}" for dialect, text in variants)
    return f"{sql}{others}"


def base_feature(  # noqa: PLR0913 - every part counts
    *,
    dtype: str,
    sql: str,
    keys: Iterable[tuple[str, str, str]],
    source: str,
    ttl: int | None,
    window: Window | None = None,
) -> str:
    """Return the fingerprint of a feature over a source; `keys` are triples (key, type, source column)."""
    ends = {"window": asdict(window)} if window else {}
    return of({
        "meaning": _MEANING, "dtype": dtype, "sql": sql, "keys": sorted(keys), "source": source, "ttl": ttl, **ends,
    })  # fmt: skip


def input_name(item: Input) -> str:
    """Return the name of an input in canonical SQL: a hash of its fingerprint and its roles."""
    roles = [(role.key, role.column, role.fingerprint) for role in item.keys]
    return f"#{of({'input': item.fingerprint, 'roles': roles})}"


def derived_feature(*, dtype: str, sql: str, keys: Iterable[Column], asks: Iterable[Column]) -> str:
    """Return the fingerprint of a derived feature; `asks` is its request-time data.

    The SQL names the inputs by `input_name`.
    """
    return of({
        "meaning": _MEANING, "dtype": dtype, "sql": sql, "keys": sorted((key.name, key.dtype) for key in keys),
        "ttl": None, "request": {column.name: column.dtype for column in asks},
    })  # fmt: skip


def events(columns: Iterable[str], *, keys: Iterable[tuple[str, str, str]], source: str) -> str:
    """Return the fingerprint of the table that stores source rows for windows; `keys` are as in `base_feature`."""
    return of({"layout": _LAYOUT, "events": sorted(columns), "keys": sorted(keys), "source": source})


def renamed(table: str, totals: Iterable[str], clock: str) -> str:
    """Return the name of a table of source rows, extended by a hash of its running totals and the precision of its times."""
    name, _, start = table.rpartition("_")
    return f"{name}_{of({'table': start, 'totals': list(totals), 'clock': clock})[:8]}"


def table(members: Iterable[Member], *, keys: Iterable[Column], timed: bool, moments: Moments = "every change") -> str:
    """Return the fingerprint of a group's table."""
    return of({
        "layout": _LAYOUT, "timed": timed, "keys": sorted((key.name, key.dtype) for key in keys),
        "members": sorted((member.column, member.fingerprint) for member in members),
        **({} if moments == "every change" else {"moments": moments}),
    })  # fmt: skip
