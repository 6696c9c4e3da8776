"""What `featdsl validate --definitions` tells orchestrators of a project."""

from __future__ import annotations

import json
from typing import Any

from featdsl.integrations.declared import (
    DeclaredColumn,
    DeclaredGroup,
    DeclaredProject,
    DeclaredRule,
    DeclaredSource,
    from_json,
)
from tests.conftest import Workspace
from tests.integrations.lineage_events import SHOP


def definitions(workspace: Workspace) -> Any:
    """Return what the command prints."""
    done = workspace.run("validate", "--format", "json", "--definitions")
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)["definitions"]


def test_groups_and_sources_of_a_project(bank: Workspace) -> None:
    """Read back as what was printed, without a store and without data."""
    (bank.root / "data/accounts.parquet").unlink()
    user = DeclaredColumn(name="user_id", dtype="BIGINT")
    assert from_json(definitions(bank)) == DeclaredProject(
        name="bank",
        groups=(
            DeclaredGroup(
                name="user_profile",
                owner="accounts",
                description="Who the account holder is.",
                tags=(),
                entity="user",
                file="features/accounts/__init__.py",
                line=8,
                sources=("accounts",),
                upstream=(),
                columns=(
                    user,
                    DeclaredColumn(name="age", dtype="BIGINT", description="Age in whole years."),
                    DeclaredColumn(name="income", dtype="DOUBLE", description="Gross income, USD per year."),
                ),
                rules=(
                    DeclaredRule(
                        address="user_profile.age",
                        kind="expect",
                        rule="age BETWEEN 0 AND 120",
                        name="",
                        severity="error",
                    ),
                ),
            ),
            DeclaredGroup(
                name="affordability",
                owner="lending",
                description="What an account holder can pay.",
                tags=(),
                entity="user",
                file="features/lending/__init__.py",
                line=6,
                sources=(),
                upstream=("user_profile",),
                columns=(
                    user,
                    DeclaredColumn(name="monthly", dtype="DOUBLE", description="Gross income, USD per month."),
                ),
                rules=(),
            ),
        ),
        sources=(
            DeclaredSource(
                name="accounts", owner="accounts", description="", format="parquet", location=("data/accounts.parquet",)
            ),
        ),
    )


def test_a_query_is_told_by_what_it_reads(workspace: Workspace) -> None:
    """Groups come after the groups that they read."""
    found = from_json(definitions(workspace.write(SHOP)))
    told = [(each.name, each.sources, each.upstream) for each in found.groups]
    assert told == [("orders", ("orders",), ()), ("paid", ("orders",), ()), ("share", (), ("orders", "paid"))]


REQUESTED = """
from featdsl import Request


class Asked(FeatureGroup, entity=customer, inputs=[Orders.last, Request(amount=float)]):
    over = Feature(bool, sql="amount > last")
"""


def test_a_group_without_stored_values_is_left_out(workspace: Workspace) -> None:
    """What is computed when read has no table to refresh."""
    workspace.write({**SHOP, "features/__init__.py": SHOP["features/__init__.py"] + REQUESTED})
    assert [each.name for each in from_json(definitions(workspace)).groups] == ["orders", "paid", "share"]


def test_definitions_are_json_only(bank: Workspace) -> None:
    """The text is for people."""
    done = bank.run("validate", "--definitions")
    assert (done.returncode, "add --format json" in done.stderr) == (1, True)
