"""A feature that reads another one of its group is refused with a derived group that works when pasted."""

from __future__ import annotations

import re

import pytest

from tests.conftest import Workspace

HEAD = """
from featdsl import Entity, Feature, FeatureGroup, Source

user = Entity("user", keys={"user_id": int})
paid = Source("paid", path="data/paid.parquet", timestamp="ts")

"""
GROUPS = {
    "windows": (
        """class Payments(FeatureGroup, entity=user, source=paid):
    spend = Feature(float, sql="sum(amount)", windows=["7 days", "30 days"])
    n_30d = Feature(int, sql="count(*)", window="30 days")
""",
        '    mean = Feature(float, sql="spend_30d / nullif(n_30d, 0)")\n',
    ),
    "windows, and a window on the quotient": (
        """class Payments(FeatureGroup, entity=user, source=paid):
    spend = Feature(float, sql="sum(amount)", windows=["7 days", "30 days"])
    n_30d = Feature(int, sql="count(*)", window="30 days")
""",
        '    mean = Feature(float, sql="spend_30d / nullif(n_30d, 0)", window="30 days")\n',
    ),
    "a column beside": (
        """class LastPayment(
    FeatureGroup,
    entity=user,
    source=paid,
):
    kilo = Feature(float, sql="amount / 1000")
""",
        '    both = Feature(float, sql="kilo + amount")\n',
    ),
    "a column that is a feature": (
        """class LastPayment(FeatureGroup, entity=user, source=paid):
    amount = Feature(float)
    kilo = Feature(float, sql="amount / 1000")
""",
        "    both = Feature(float, sql='kilo + amount + length(\\'\"\\')')\n",
    ),
    "derived": (
        """class LastPayment(FeatureGroup, entity=user, source=paid):
    amount = Feature(float)


class Derived(FeatureGroup, entity=user, inputs=[LastPayment.amount]):
    kilo = Feature("DECIMAL(18, 4)", sql="CAST(amount / 1000 AS DECIMAL(18, 4))")
""",
        '    both = Feature("DECIMAL(18, 4)", sql="CAST(kilo + amount AS DECIMAL(18, 4))")\n',
    ),
}


@pytest.fixture
def payments(workspace: Workspace) -> Workspace:
    """A project with the payments of one user, and no features."""
    workspace.write({"featproject.toml": '[project]\nname = "p"\n'})
    rows = "(1::BIGINT, now()::TIMESTAMP - INTERVAL 2 DAY, 10.5::DOUBLE), (1, now()::TIMESTAMP - INTERVAL 1 DAY, 4.5)"
    return workspace.parquet("data/paid.parquet", f"FROM (VALUES {rows}) t(user_id, ts, amount)")


@pytest.mark.parametrize("name", GROUPS)
def test_the_group_that_is_printed_works_when_pasted(payments: Workspace, name: str) -> None:
    """The message names the feature that is read; the suggested group plans, applies and gives the value."""
    group, line = GROUPS[name]
    payments.write({"features/__init__.py": HEAD + group + line})
    planned = payments.run("plan")
    assert planned.returncode == 1, planned.stdout
    assert "of its own group. A group's features cannot read each other." in planned.stderr, planned.stderr
    assert "features/__init__.py:" in planned.stderr
    printed = re.sub(r"^  ", "", planned.stderr, flags=re.MULTILINE)
    code = printed[printed.index("\nclass ") :]
    further = re.search(r"add there:\n(.*?)\nThen add", printed, flags=re.DOTALL)
    text = HEAD + group + (f"{further[1]}\n" if further else "") + "\n" + code
    payments.write({"features/__init__.py": text})
    payments.apply()
    value = line.split("=")[0].strip()
    right = {"mean": 7.5, "both": 4.5 / 1000 + 4.5}[value] + ("length" in line)
    assert float(payments.store.get_features([value], user_id=1)[value]) == pytest.approx(right, abs=1e-9)


def test_a_column_of_that_name_is_the_column(payments: Workspace) -> None:
    """If the source has the column, a feature reads the column, whatever other features are named."""
    group = """class LastPayment(FeatureGroup, entity=user, source=paid):
    amount = Feature(float, sql="amount / 1000")
    twice = Feature(float, sql="amount * 2")
"""
    payments.write({"features/__init__.py": HEAD + group})
    payments.apply()
    assert payments.store.get_features(["twice"], user_id=1) == {"twice": 9.0}


def test_an_unknown_name_is_still_reported(payments: Workspace) -> None:
    """An unknown name is reported even beside a feature of the same group."""
    group = """class LastPayment(FeatureGroup, entity=user, source=paid):
    kilo = Feature(float, sql="amount / 1000")
    both = Feature(float, sql="kilo + amuont")
"""
    payments.write({"features/__init__.py": HEAD + group})
    planned = payments.run("plan")
    assert (planned.returncode, "reads the column" in planned.stderr) == (1, True), planned.stderr
