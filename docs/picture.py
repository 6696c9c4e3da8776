"""Draw the README's picture: a real plan of the example, as a terminal shows it.

Run in the repository: python docs/picture.py docs/plan.svg
"""

from __future__ import annotations

import io
import re
import shutil
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import SVG_EXPORT_THEME
from rich.text import Text

from featdsl import pipeline, render
from featdsl.apply.events import ignore
from featdsl.apply.execute import apply
from featdsl.project.settings import load
from featdsl.stores import open_store

ROOT = Path(__file__).parents[1]
WIDTH = 96


def draw(edited: tuple[str, str, str]) -> str:
    """Return the picture of the plan for an edit (file, old text, new text) of the applied example, as SVG."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for name in ("features", "data", "featproject.toml"):
            source = ROOT / name
            shutil.copytree(source, copy / name) if source.is_dir() else shutil.copy(source, copy / name)
        project = load(copy)
        store = open_store(project)
        apply(pipeline.make_plan(project, store).plan, project, store, listen=ignore)
        file, old, new = edited
        (copy / file).write_text((copy / file).read_text().replace(old, new))
        plan = pipeline.make_plan(project, store).plan
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi(render.text(plan, width=WIDTH, paint=render.ansi).rstrip()))
    drawn = console.export_svg(title="featdsl plan", theme=SVG_EXPORT_THEME, unique_id="plan")
    # A picture should not fetch a font from somewhere: any monospaced one will do.
    return re.sub(r"@font-face \{.*?\}\s*", "", drawn, flags=re.DOTALL)


if __name__ == "__main__":
    weather = "features/weather/__init__.py"
    Path(sys.argv[1]).write_text(draw((weather, "wind_speed < 200 THEN", "wind_speed < 30 THEN")))
