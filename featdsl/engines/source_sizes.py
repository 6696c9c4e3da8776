"""How much a source holds, from its files alone: no row is read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from featdsl.definitions.sources import SourceDefinition
from featdsl.engines.file_states import FileState
from featdsl.engines.session import EngineError
from featdsl.engines.sources import Sources
from featdsl.errors import FeatdslError

_COUNTED = 64
"""The most files of a source whose footers are read; the rest is expected to have as many rows for each byte."""


@dataclass(frozen=True)
class SourceSize:
    """The rows of a source, and the bytes of its files."""

    rows: int
    bytes: int


def measure(sources: Sources, wanted: Iterable[SourceDefinition], frames: Path | str) -> Mapping[str, SourceSize]:
    """Return the sizes of sources by name. Only files of Parquet tell their rows; leaves out what cannot be listed or read.

    `frames` is the folder or URL of kept dataframes.
    """
    listed = {each.name: _listed(sources, each, frames) for each in wanted if each.format == "parquet"}
    counted = {name: files[:_COUNTED] for name, files in listed.items() if files}
    try:
        rows = sources.count_file_rows(sorted({file.path for files in counted.values() for file in files}))
        return {name: _whole(listed[name], files, rows) for name, files in counted.items()}
    except (EngineError, FeatdslError, LookupError):
        return {}


def _listed(sources: Sources, source: SourceDefinition, frames: Path | str) -> list[FileState]:
    try:
        return sources.list_files(source, frames) or []
    except (EngineError, FeatdslError):
        return []


def _whole(files: list[FileState], counted: list[FileState], rows: Mapping[str, int]) -> SourceSize:
    known, size = sum(rows[file.path] for file in counted), sum(file.size for file in files)
    return SourceSize(round(known * size / max(sum(file.size for file in counted), 1)), size)
