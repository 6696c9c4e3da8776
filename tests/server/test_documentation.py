"""The page of the server lists what the server has."""

from __future__ import annotations

import re
from pathlib import Path

from featdsl.server import json_values
from featdsl.server.refusals import CODES
from tests.server.conftest import Served

PAGE = (Path(__file__).parents[2] / "docs" / "http.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    """Return a section of the page."""
    return PAGE.partition(f"## {title}\n")[2].partition("\n## ")[0]


def test_every_code_is_documented_with_its_status() -> None:
    """And no other."""
    rows = re.findall(r"^\| \d+ \| (.*) \|$", section("Errors"), flags=re.MULTILINE)
    documented = [code for row in rows for code in re.findall(r"`(\w+)`", row)]

    assert sorted({*documented}) == sorted(CODES)


def test_every_metric_is_documented(served: Served) -> None:
    """Under the name that Prometheus has."""
    documented = re.findall(r"^\| `(\w+)` \|", section("Operation"), flags=re.MULTILINE)
    kinds = re.findall(r"^# TYPE (\w+) (\w+)$", served.client.get("/metrics").text, flags=re.MULTILINE)

    assert sorted(documented) == sorted(name for name, _ in kinds if not name.endswith("_created"))


def test_every_path_is_documented(served: Served) -> None:
    """Those of the OpenAPI document, and the document itself."""
    paths = served.client.get("/openapi.json").json()["paths"]
    listed = [f"{method.upper()} {path}" for path, methods in paths.items() for method in methods]

    assert re.findall(r"^\| `((?:GET|POST) \S+)` \|", PAGE, flags=re.MULTILINE) == sorted(
        [*listed, "GET /openapi.json"], key=[*listed, "GET /openapi.json"].index
    )


def test_the_table_of_types_is_that_of_the_code() -> None:
    """The page has the table of the module that writes the values."""
    rows = [line for line in (json_values.__doc__ or "").splitlines() if line.startswith("| ")]
    assert [row for row in rows if row.rstrip(" |") not in PAGE] == []
