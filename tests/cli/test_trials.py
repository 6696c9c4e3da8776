"""`featdsl try`: the newest entities of a source, with the values that the code declares."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.conftest import Workspace


def test_the_newest_entities_are_tried_before_the_first_apply(bank: Workspace) -> None:
    """At the time of the newest row, each user's last income."""
    done = bank.run("try", "user_profile", "--limit", "2", COLUMNS="80")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        "user_id  at                   age  income\n"
        "3        2026-01-20 00:00:00  33   19000.0\n"
        "2        2026-01-20 00:00:00  34   18000.0\n"
        "\n"
        "not applied yet: age, income\n"
    )
    assert not (bank.root / ".featdsl").exists()


def test_a_time_and_a_key_choose_one_row(applied: Workspace, edit: Callable[[str, str, str], None]) -> None:
    """Values as of then, beside the applied ones where these differ."""
    edit("features/accounts/__init__.py", 'sql="annual_income"', 'sql="annual_income + 1"')
    done = applied.run("try", "user_profile", "--key", "user_id=1", "--at", "2026-01-05", COLUMNS="80")
    assert done.stdout == (
        "user_id  at                   age  income  income_applied\n"
        "1        2026-01-05 00:00:00  35   1001.0  1000.0\n"
        "\n"
        "income: 1 of 1 row differ from what is applied\n"
        "as applied: age\n"
    )


def test_json_has_the_rows_and_what_differs(applied: Workspace) -> None:
    """For scripts and editors."""
    done = applied.run("try", "credit_risk@2", "--key", "user_id=1", "--at", "2026-01-05T00:00:00Z", "--format", "json")
    assert json.loads(done.stdout) == {
        "format": 1,
        "differing": {"age": 0, "income": 0, "monthly": 0},
        "rows": [{
            "user_id": 1, "at": "2026-01-05 00:00:00", "age": 35, "age_applied": 35, "income": 1000.0,
            "income_applied": 1000.0, "monthly": 1000 / 12, "monthly_applied": 1000 / 12,
        }],
    }  # fmt: skip


def test_wide_rows_are_shown_one_below_the_other(bank: Workspace) -> None:
    """No line is wider than the terminal."""
    done = bank.run("try", "credit_risk", "--limit", "2", COLUMNS="40")
    assert done.stdout.startswith("user_id  3\nat       2026-01-20 00:00:00\nage      33\n")
    assert max(map(len, done.stdout.splitlines())) <= 40


def test_request_time_data_are_given_by_name(workspace: Workspace) -> None:
    """Also for features without an entity and without times."""
    text = """
from featdsl import Feature, FeatureGroup, Request, Source
rates = Source("rates", path="rates.csv")
class Rate(FeatureGroup, entity=None, source=rates):
    rate = Feature(float)
class Cost(FeatureGroup, entity=None, inputs=[Rate.rate, Request(amount=float)]):
    cost = Feature(float, sql="rate * amount")
"""
    workspace.write(
        {"featproject.toml": '[project]\nname = "shop"\n', "features/__init__.py": text, "rates.csv": "rate\n0.5\n"}
    )
    done = workspace.run("try", "cost.cost", "--request", "amount=8", "--format", "json")
    assert [row["cost"] for row in json.loads(done.stdout)["rows"]] == [4.0], done.stderr
    missing = workspace.run("try", "cost")
    assert (missing.returncode, "--request amount=..." in missing.stderr) == (1, True)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("user_profle",), 'Did you mean "user_profile"?'),
        (("age", "--key", "user=1"), 'Did you mean "user_id"?'),
        (("age", "--key", "user_id"), "'user_id' is not COLUMN=VALUE"),
        (("age", "--key", "user_id=x"), "the key is BIGINT"),
        (("age", "--at", "yesterday"), "'yesterday' is not a time"),
        (("age", "--request", "amount=1"), "have no request 'amount'"),
        (("age", "--limit", "0"), "0 is not in the range"),
        (("age", "--env", "pr_1"), 'no environment "pr_1"'),
    ],
)
def test_a_wrong_call_is_explained(bank: Workspace, words: tuple[str, ...], told: str) -> None:
    """On standard error, with 1, without a traceback."""
    done = bank.run("try", *words)
    assert (done.returncode, done.stdout, "Traceback" in done.stderr) == (1, "", False)
    assert told in done.stderr, done.stderr


def test_an_entity_without_rows_can_be_tried(bank: Workspace) -> None:
    """Its values are NULL."""
    done = bank.run("try", "income", "--key", "user_id=77", COLUMNS="80")
    assert done.stdout.splitlines()[1].split() == ["77", "2026-01-20", "00:00:00", "NULL"]
