"""Tell what an import has carried over, changed and left out."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from featdsl.importers.declarations import ImportedProject
from featdsl.importers.writing import WrittenFiles


def text(project: ImportedProject, written: WrittenFiles, *, next_command: str) -> str:
    """Return the report of an import for people."""
    return "\n".join(_lines(project, written, next_command)) + "\n"


def data(project: ImportedProject, written: WrittenFiles) -> dict[str, object]:
    """Return the report of an import as plain data, for JSON."""
    return {
        "origin": project.origin,
        "files": [*written.files],
        "carried_over": {
            "entities": [each.name for each in project.entities],
            "sources": [each.name for each in project.sources],
            "features": [f"{group.name}.{each.name}" for group in project.groups for each in group.features],
            "sets": [f"{each.name}@{each.version}" for each in project.sets],
        },
        "notes": [{"name": each.name, "text": each.text} for each in project.notes],
        "left_out": [
            {"kind": each.kind, "name": each.name, "reason": each.reason, "where": each.where}
            for each in project.left_out
        ],
    }


def _lines(project: ImportedProject, written: WrittenFiles, next_command: str) -> Iterator[str]:
    yield f"Imported from {project.origin}: {_counts(project)}."
    yield from (f"  {written.root / name}" for name in written.files)
    if project.notes:
        yield from ("", "Please check:")
        yield from (f"  {each.name}: {each.text}" for each in project.notes)
    if project.left_out:
        yield from ("", f"Left out: {len(project.left_out)}")
        for reason, group in groupby(sorted(project.left_out, key=lambda each: each.reason), lambda each: each.reason):
            yield f"  {reason}"
            yield from (f"    {each.kind} {each.name}{f'  {each.where}' if each.where else ''}" for each in group)
    yield from ("", f"Next: {next_command}")


def _counts(project: ImportedProject) -> str:
    features = sum(len(each.features) for each in project.groups)
    counts = [
        (len(project.entities), "entity", "entities"), (len(project.sources), "source", "sources"),
        (len(project.groups), "group", "groups"), (features, "feature", "features"),
        (len(project.sets), "feature set", "feature sets"),
    ]  # fmt: skip
    listed = [f"{number:,} {one if number == 1 else many}" for number, one, many in counts if number]
    return ", ".join(listed) or "nothing"
