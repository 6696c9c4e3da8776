"""Render the comparison of logged values with training values as text."""

from __future__ import annotations

from featdsl.render.phrases import counted
from featdsl.served.parity import ServedParity


def served_parity(compared: ServedParity) -> str:
    """Return each logged value that differs from training, and how many values were compared."""
    lines = [
        f"{each.feature} of {each.keys} at {each.at} UTC: served {each.served!r}, trained on {each.trained!r}"
        f"{'; rows were written after the read' if each.late else ''}"
        for each in compared.differences
    ]
    late = sum(each.late for each in compared.differences)
    text = [f"{counted(compared.values, 'logged value')} compared, {len(lines):,} differ."]
    if late:
        text.append(
            f"Rows that arrived after the read may explain {counted(late, 'difference')}: training has these rows."
        )
    if compared.skipped:
        text.append(f"Not compared because the logged definitions are gone: {', '.join(compared.skipped)}.")
    return "\n".join([*lines, *text]) + "\n"
