"""Trying and testing what is derived from features of another project in the same store."""

from __future__ import annotations

from featdsl import testing
from tests.project.test_pull import Company, company

__all__ = ["company"]

SPINE = """SELECT * FROM (VALUES (3, TIMESTAMP '2026-01-18'), (2, TIMESTAMP '2026-01-18'), (9, TIMESTAMP '2026-01-18')) t(user_id, "at")"""
NAMES = ["monthly", "loans.debt", "user_profile.age"]


def test_features_of_another_project_are_read_from_the_store(company: Company) -> None:
    """Those of the own project are computed; after the apply, a training set has the same values."""
    tried = company.risk.store.try_features(NAMES, SPINE, timestamp="at")
    # User 3 had 15,000 from day 15 on, user 2 had 14,000 and signed a loan of 500.
    assert [(row["monthly"], row["debt"], row["age"]) for row in tried.rows()] == [
        (1250.0, None, 33), (14000 / 12, 500.0, 34), (None, None, None),
    ]  # fmt: skip
    assert tried.differing == {"age": 0}
    company.risk.apply()
    training = company.risk.store.training_set(NAMES, SPINE, timestamp="at").arrow().to_pylist()
    assert [{name: row[name] for name in training[0]} for row in tried.rows()] == training


def test_a_command_tries_them_too(company: Company) -> None:
    """The entities are those of the other project's table."""
    done = company.risk.run("try", "affordability", "--key", "user_id=3", "--at", "2026-01-18", COLUMNS="80")
    assert done.stdout.splitlines()[1].split() == ["3", "2026-01-18", "00:00:00", "1250.0"], done.stderr
    listed = company.risk.run("try", "affordability", "--at", "2026-01-18", COLUMNS="80")
    assert [line.split()[0] for line in listed.stdout.splitlines()[1:5]] == ["0", "1", "2", "3"], listed.stderr


def test_the_consumer_is_valid_offline_and_can_be_tested(company: Company) -> None:
    """With the module that `featdsl pull` wrote."""
    done = company.risk.run("validate", COLUMNS="80")
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "No mistake in 2 groups with 2 features.")
    project = testing.project(company.risk.root)
    given = project.given(user_profile=[{"user_id": 3, "income": 1200.0}])
    assert given.value("affordability.monthly", at="2026-01-18", user_id=3) == 100.0
    project.close()
