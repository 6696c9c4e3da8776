"""Render tried features, and the mistakes in declarations, as text and as JSON."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

from featdsl.definitions.json_format import versioned
from featdsl.render.phrases import counted
from featdsl.render.reports import table

if TYPE_CHECKING:
    from featdsl.errors import Problem
    from featdsl.trying.tried import TriedFeatures
    from featdsl.trying.validation import Validation


def tried_text(result: TriedFeatures, width: int) -> str:
    """Return tried values as a table of at most `width` columns, or row by row, and how they differ from the applied ones.

    The applied values of a feature are shown if any differs.
    """
    columns, rows = result.texts()
    same = {f"{name}_applied" for name, differing in result.differing.items() if not differing}
    shown = [i for i, name in enumerate(columns) if name not in same]
    titles = [columns[i] for i in shown]
    listed = [["NULL" if row[i] is None else str(row[i]) for i in shown] for row in rows]
    needed = sum(max(len(each) for each in column) + 2 for column in zip(titles, *listed, strict=True)) - 2
    if needed <= width:
        text = table(titles, listed, width)
    else:
        wide = max(len(title) for title in titles)
        blocks = [
            "\n".join(f"{title.ljust(wide)}  {value}" for title, value in zip(titles, row, strict=True))
            for row in listed
        ]
        text = "\n\n".join(blocks) + "\n"
    summary = [textwrap.fill(line, width, subsequent_indent="  ") for line in _summary(result, len(rows))]
    return "\n".join([text if rows else "No entity has rows.\n", *summary, ""])


def _summary(result: TriedFeatures, rows: int) -> list[str]:
    new = [name for name in result.features if name not in result.differing]
    same = [name for name, differing in result.differing.items() if not differing]
    lines = [
        f"{name}: {differing} of {counted(rows, 'row')} differ from what is applied"
        for name, differing in result.differing.items()
        if differing
    ]
    lines += [f"as applied: {', '.join(same)}"] if same else []
    lines += [f"not applied yet: {', '.join(new)}"] if new else []
    return lines


def tried_json(result: TriedFeatures) -> dict[str, Any]:
    """Return tried values as a JSON object: for each feature the number of differing rows, null if it is not applied."""
    differing = {name: result.differing.get(name) for name in result.features}
    return versioned({"differing": differing, "rows": result.rows()})


def validation_text(result: Validation, width: int) -> str:
    """Return every mistake with its place and its fix, or what was checked."""
    if result.problems:
        found = counted(len(result.problems), "problem")
        return "\n\n".join([*map(str, result.problems), f"{found} found."]) + "\n"
    lines = [f"No mistake in {counted(result.groups, 'group')} with {counted(result.features, 'feature')}."]
    if result.unread:
        lines.append(f"Not read, so their columns were not checked: {', '.join(result.unread)}.")
    return "\n".join([*(textwrap.fill(line, width) for line in lines), ""])


def validation_json(result: Validation) -> dict[str, Any]:
    """Return the mistakes as a JSON object."""
    return versioned({"problems": [_problem(each) for each in result.problems], "unread": list(result.unread)})


def _problem(problem: Problem) -> dict[str, Any]:
    where = problem.where
    return {
        "file": where.file if where else None,
        "line": where.line if where else None,
        "summary": problem.summary,
        "message": problem.what,
        "fix": problem.fix,
    }
