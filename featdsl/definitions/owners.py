"""Say which team owns a file of a project."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

PROJECT_FILE = "featproject.toml"
"""The settings of a project; its folder is the project's root."""


@dataclass(frozen=True)
class Ownership:
    """The team folders of a project, the folder of its features, and its name, which owns the rest."""

    folders: Mapping[Path, str]
    features: Path
    project: str

    def team_of(self, file: Path) -> str:
        """Return the team of the nearest team folder, else the name of the file's top folder among the features."""
        for parent in file.parents:
            if parent in self.folders:
                return self.folders[parent]
        if file.is_relative_to(self.features) and len(inside := file.relative_to(self.features).parts) > 1:
            return inside[0]
        return self.project
