"""Collect what an import from Feast leaves out, and what its reader should check."""

from __future__ import annotations

from dataclasses import dataclass, field

from featdsl.importers.declarations import ImportNote, LeftOut
from featdsl.importers.feast_objects import FeastObject

_KINDS = {
    "FeatureView": "feature view", "OnDemandFeatureView": "on-demand feature view", "StreamFeatureView": "stream feature view",
    "BatchFeatureView": "batch feature view", "LabelView": "label view", "FeatureService": "feature service",
    "Entity": "entity", "Permission": "permission",
}  # fmt: skip


@dataclass(frozen=True)
class FeastFindings:
    """The findings of one import. Each step of the import adds its own."""

    left_out: list[LeftOut] = field(default_factory=list)
    notes: list[ImportNote] = field(default_factory=list)

    def leave_out(self, each: FeastObject, reason: str, *, name: str = "", where: str = "") -> None:
        """Add an object, or one of its parts by its `name`, that is not carried over."""
        kind = "feature" if name else _KINDS.get(each.kind, "data source")
        shown = f"{each.name}:{name}" if name else each.name
        self.left_out.append(LeftOut(kind, shown, reason, where or each.where))

    def note(self, name: str, text: str) -> None:
        """Add a note once."""
        note = ImportNote(name, text)
        if note not in self.notes:
            self.notes.append(note)
