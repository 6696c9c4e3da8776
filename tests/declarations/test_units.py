"""The unit of a feature: declared, shown, changed without a recomputation, and pulled."""

from __future__ import annotations

import re

from tests.conftest import Workspace

DECLARED = """
from featdsl import Entity, Feature, FeatureGroup, Source

user = Entity("user", keys={"user_id": int})
rows = Source("rows", path="rows.parquet")


class Profile(FeatureGroup, entity=user, source=rows):
    income = Feature(float, sql="income", description="Gross income.", unit="USD per year")
"""


def project(workspace: Workspace, text: str = DECLARED) -> Workspace:
    """Return a project with one feature, which has a unit."""
    workspace.parquet("rows.parquet", "SELECT 1 AS user_id, 5e4 AS income")
    return workspace.write(
        {"featproject.toml": '[project]\nname = "bank"\n', "features/__init__.py": "", "features/accounts.py": text}
    )


def test_a_unit_is_shown(workspace: Workspace) -> None:
    """`featdsl show` has the unit beside the type."""
    project(workspace).run("apply", "--yes")
    shown = workspace.run("show", "profile.income")
    assert re.search(r"unit +USD per year", shown.stdout)


def test_a_new_unit_recomputes_nothing(workspace: Workspace) -> None:
    """Another unit is a change of metadata: the fingerprint and the table stay."""
    project(workspace).run("apply", "--yes")
    project(workspace, DECLARED.replace("USD per year", "EUR per year"))
    planned = workspace.run("plan")
    assert "~ income  metadata" in planned.stdout
    assert "USD per year" in planned.stdout
    assert "EUR per year" in planned.stdout
    assert "to build" not in planned.stdout
