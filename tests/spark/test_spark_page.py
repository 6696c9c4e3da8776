"""What docs/spark.md shows is what happens."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from featdsl.project.settings import Settings
from tests.conftest import Workspace

PAGE = (Path(__file__).parents[2] / "docs" / "spark.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
HEAD = """
from featdsl import Entity, Feature, FeatureGroup, Source

user = Entity("user", keys={"user_id": int})
clicks = Source("clicks", path="data/clicks.parquet", timestamp="at")


"""
ROWS = """
    SELECT i % 5 AS user_id, TIMESTAMP '2026-01-01' + INTERVAL (i) HOUR AS at, i * 10 AS amount,
           strftime(DATE '2026-01-01' + i::INT, '%d.%m.%Y') AS d
    FROM range(100) t(i)
"""


def blocks(language: str) -> list[str]:
    """Return the blocks of a language on the page."""
    return [text for found, text in BLOCKS if found == language]


def project(workspace: Workspace, more: str, url: str) -> Workspace:
    """Write the project of the page, with a further line in its group."""
    (group, *_) = blocks("python")
    settings = f'[project]\nname = "clicks"\n\n[engine]\nurl = "{url}"\n'
    files = {
        "featproject.toml": settings,
        "features/__init__.py": "",
        "features/clicks/__init__.py": f"{HEAD}{group}{more}",
    }
    return workspace.write(files).parquet("data/clicks.parquet", ROWS)


def test_the_settings_are_settings() -> None:
    """The table of the page is one that featdsl reads."""
    (written,) = blocks("toml")
    found = Settings.model_validate({"project": {"name": "x"}, **tomllib.loads(written)})
    assert found.engine.url == "sc://spark.example:15002"


def test_the_group_is_applied_and_the_text_for_spark_gives_the_same(workspace: Workspace, spark_url: str) -> None:
    """The group of the page works, and its text for Spark has the values of its text for DuckDB."""
    own = blocks("python")[1]
    bank = project(workspace, "\n    " + own.strip() + "\n", spark_url)
    done = bank.run("apply", "--yes")
    assert done.returncode == 0, done.stderr
    days = bank.published("SELECT DISTINCT typeof(day), min(day), max(day) FROM prod.clicks GROUP BY 1")
    assert [str(each) for each in days[0]] == ["DATE", "2026-01-01", "2026-04-10"]


def test_the_refusal_is_printed_so(workspace: Workspace, spark_url: str) -> None:
    """The plan says what the page shows, word for word."""
    shown = next(text for text in blocks("") if text.startswith("Not computed on Spark"))
    own = """\n    day = Feature("DATE", sql="strptime(d, '%d.%m.%Y')::DATE")\n"""
    done = project(workspace, own, spark_url).run("plan")
    assert done.returncode == 1
    assert done.stderr == shown
