"""The JSON documents of commands: objects carry a format number, lists are bare."""

from __future__ import annotations

import json

import pytest

from featdsl.cli.printing import print_json
from featdsl.definitions.history import Touched
from tests.conftest import Workspace

OBJECTS = [
    ("show", "income"), ("lineage", "income"), ("diff", "prod", "prod"), ("diff", "credit_risk@1", "credit_risk@2"),
    ("gc",), ("check", "--parity"), ("token", "scoring", "--team", "lending"),
    ("try", "income"), ("validate",), ("report",), ("report", "--values"),
]  # fmt: skip
LISTS = [
    ("list",), ("list", "--kind", "set"), ("list", "--owner", "nobody"), ("search", "income"), ("search", "zebra"),
    ("history",), ("outdated",), ("env", "list"), ("check",), ("check", "--history"), ("doctor",),
]  # fmt: skip


def test_an_object_begins_with_its_format_and_a_list_is_bare(applied: Workspace) -> None:
    """docs/formats.md promises both for each of these commands."""
    printed = {command: json.loads(applied.run(*command, "--format", "json").stdout) for command in OBJECTS + LISTS}
    assert {command: next(iter(printed[command].items())) for command in OBJECTS} == dict.fromkeys(
        OBJECTS, ("format", 1)
    )
    assert [command for command in LISTS if not isinstance(printed[command], list)] == []


def test_values_keep_the_names_of_features_alone(applied: Workspace) -> None:
    """`get` prints an object whose keys are names of features, so it has no room for a format number."""
    assert json.loads(applied.run("get", "income", "--key", "user_id=3", "--format", "json").stdout) == {
        "income": 19000.0
    }


def test_a_dataclass_is_an_object_of_its_fields(capsys: pytest.CaptureFixture[str]) -> None:
    """Dataclasses are printed by field, also inside lists and objects."""
    print_json(
        {
            "changes": (
                Touched(action="change", kind="feature", address="user_profile.income", change_class="definition"),
            )
        }
    )
    assert json.loads(capsys.readouterr().out) == {
        "changes": [
            {"action": "change", "kind": "feature", "address": "user_profile.income", "change_class": "definition"}
        ]
    }
