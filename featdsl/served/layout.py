"""The columns, the description and the folder of the log files of one selection of features."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any

from featdsl.definitions.names import quote
from featdsl.definitions.snapshot import Snapshot
from featdsl.engines.lookups import Want
from featdsl.query.selection import Selection

FORMAT = 1
METADATA = "featdsl"
"""The key of the description in the metadata of a log file."""
TIME = "served_at"
VALUES = "served"
ORIGIN = "serving"
TIME_TYPE = "TIMESTAMP WITH TIME ZONE"
ORIGIN_TYPE = "STRUCT(state BIGINT, published_at TIMESTAMP WITH TIME ZONE, from_tables VARCHAR[])"


@dataclass(frozen=True)
class LoggedFeature:
    """A column of served values: its feature at one fingerprint, its type, and the keys that are read from other columns."""

    feature: str
    fingerprint: str
    dtype: str
    keys: tuple[tuple[str, str], ...] = ()

    def want(self, column: str, snapshot: Snapshot) -> Want | None:
        """Return the logged feature as one to read, None if the registry has no feature with its fingerprint."""
        feature = snapshot.versions.get((self.feature, self.fingerprint))
        return None if feature is None else Want(column, feature, self.keys)


@dataclass(frozen=True)
class Layout:
    """The columns of log files: the time, the keys, the request-time data, the values and their origin.

    `name` is the set version, or empty for a list of features. `keys` and `request` are types by column. A file with other
    columns or other definitions has another folder.
    """

    name: str
    features: Mapping[str, LoggedFeature]
    keys: Mapping[str, str]
    request: Mapping[str, str]

    @classmethod
    def of(cls, selection: Selection) -> Layout:
        """Return the layout of the features of a selection."""
        features = {
            want.column: LoggedFeature(want.feature.address, want.feature.fingerprint, want.feature.dtype, want.keys)
            for want in selection.wants
        }
        return cls(selection.name, features, selection.keys, selection.request)

    @classmethod
    def from_json(cls, text: str) -> Layout:
        """Return the layout that a file's metadata describes. Raises ValueError, KeyError or TypeError for any other text."""
        document = json.loads(text)
        features = {
            column: LoggedFeature(
                each["feature"], each["fingerprint"], each["dtype"], tuple(sorted(each["keys"].items()))
            )
            for column, each in document["features"].items()
        }
        return cls(document["set"] or "", features, document["keys"], document["request"])

    def to_json(self) -> str:
        """Return the description that a file keeps in its metadata."""
        features = {
            column: {
                "feature": each.feature,
                "fingerprint": each.fingerprint,
                "dtype": each.dtype,
                "keys": dict(each.keys),
            }
            for column, each in self.features.items()
        }
        return json.dumps(
            {
                "format": FORMAT,
                "set": self.name or None,
                "features": features,
                "keys": dict(self.keys),
                "request": dict(self.request),
            }
        )

    @property
    def family(self) -> PurePosixPath:
        """The folder of the set version, or of the list of features, below the folder of the environment."""
        if self.name:
            return PurePosixPath(f"set={self.name}")
        return PurePosixPath(f"features={_digest({column: each.feature for column, each in self.features.items()})}")

    @cached_property
    def folder(self) -> PurePosixPath:
        """The folder of files with these columns and definitions, below the folder of the environment."""
        return self.family / f"definitions={_digest(json.loads(self.to_json()))}"

    @cached_property
    def values_type(self) -> str:
        """The type of the column of values: a struct with a field for each feature."""
        return f"STRUCT({', '.join(f'{quote(column)} {each.dtype}' for column, each in self.features.items())})"

    @property
    def dtypes(self) -> dict[str, str]:
        """The types of the columns, with one for each feature."""
        features = {column: each.dtype for column, each in self.features.items()}
        return {self.time: TIME_TYPE, **self.keys, **self.request, **features, self.origin: ORIGIN_TYPE}

    @property
    def time(self) -> str:
        """The column with the times of the reads."""
        return self._free(TIME)

    @property
    def values(self) -> str:
        """The column with the struct of values."""
        return self._free(VALUES)

    @property
    def origin(self) -> str:
        """The column with the state of the registry, the publication, and the features that were read from the tables."""
        return self._free(ORIGIN)

    def _free(self, name: str) -> str:
        """Return a name that no key, no request-time data and no feature has: `name`, with underscores if need be."""
        taken = {each.lower() for each in (*self.keys, *self.request, *self.features)}
        while name in taken:
            name += "_"
        return name


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]
