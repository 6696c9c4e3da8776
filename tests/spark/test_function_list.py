"""The page of functions that are proved on Spark is what its script writes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_page_of_functions_is_current(tmp_path: Path) -> None:
    """The script writes the page as it stands in the repository."""
    written = tmp_path / "functions.md"
    subprocess.run([sys.executable, str(ROOT / "docs" / "spark_functions.py"), str(written)], check=True)
    assert written.read_text(encoding="utf-8") == (ROOT / "docs" / "spark_functions.md").read_text(encoding="utf-8")
