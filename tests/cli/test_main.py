"""Tests of the command line: help, documentation, exit codes and JSON output."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from featdsl.cli.main import main
from featdsl.project import output
from tests.conftest import Workspace

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
COMMANDS = sorted(main.commands)


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_help_with_an_example(name: str) -> None:
    """`featdsl COMMAND --help` describes the command and shows an example to copy."""
    command = main.commands[name]
    text = command.get_help(click.Context(command, info_name=f"featdsl {name}"))
    assert f"\n  featdsl {name}" in text.split("Options:")[0].replace("Usage: ", "")


@pytest.mark.parametrize("name", COMMANDS)
def test_each_option_says_what_it_does(name: str) -> None:
    """Every option is described, except the choice of a format."""
    options = [each for each in main.commands[name].params if isinstance(each, click.Option)]
    assert [each.name for each in options if not each.help and each.name != "format_"] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_is_in_the_readme(name: str) -> None:
    """Undocumented commands are not allowed."""
    assert f"`featdsl {name}" in README


def test_a_usage_error_exits_with_1(workspace: Workspace) -> None:
    """Exit code 2 means that changes are pending, so a typo must not give it."""
    done = workspace.run("plan", "--chekc")
    assert (done.returncode, done.stdout) == (1, "")
    assert "No such option" in done.stderr


def test_an_unknown_command_exits_with_1(workspace: Workspace) -> None:
    """A misspelled command exits with 1, like a misspelled option."""
    assert workspace.run("aply").returncode == 1


def test_a_folder_without_a_project_is_told_what_to_do(workspace: Workspace) -> None:
    """This is a new user's most likely first error."""
    done = workspace.run("plan")
    assert done.returncode == 1
    assert done.stderr == (
        "No project found\n"
        f"  Neither {workspace.root} nor its parents contain featproject.toml.\n"
        "  Go to your project's folder, or start a project: featdsl init\n"
    )


def test_check_exits_with_2_until_applied(bank: Workspace) -> None:
    """CI uses `plan --check` to find out whether changes are pending."""
    assert bank.run("plan", "--check").returncode == 2
    bank.apply()
    done = bank.run("plan", "--check")
    assert (done.returncode, done.stdout) == (
        0,
        "Plan for bank, against state 1 of its store\nNothing to do: the store matches the code.\n",
    )


def test_apply_without_a_terminal_asks_for_a_plan_or_yes(bank: Workspace) -> None:
    """Without a terminal, --yes is required."""
    done = bank.run("apply")
    assert done.returncode == 1
    assert done.stderr == (
        "Not confirmed\n"
        "  Standard input is no terminal, so there is nobody to confirm.\n"
        "  Save the plan for review (featdsl plan --out plan.json), then: featdsl apply plan.json\n"
        "  Or apply without asking: featdsl apply --yes\n"
    )
    assert not (bank.root / ".featdsl").exists()


def test_output_in_a_pipe_has_no_colours(bank: Workspace) -> None:
    """Escape codes are written only to terminals."""
    done = bank.run("apply", "--yes")
    assert "\x1b" not in done.stdout + done.stderr
    assert done.stderr == ""


def test_a_project_elsewhere_is_reached_by_its_folder(
    bank: Workspace, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """`-C` runs the command in that directory."""
    elsewhere = Workspace(tmp_path_factory.mktemp("elsewhere"))
    assert elsewhere.run("-C", str(bank.root), "apply", "--yes").returncode == 0
    assert elsewhere.run("-C", str(bank.root), "plan", "--check").returncode == 0


def test_apply_tells_machines_what_it_did(bank: Workspace) -> None:
    """`--format json` prints lines; the last one is the summary."""
    done = bank.run("apply", "--yes", "--format", "json")
    steps = 1 + 2 + 3 + 5 + 10  # a source, tables, checks, views, records
    last = json.loads(done.stdout.splitlines()[-1])
    assert {name: last[name] for name in ("serial", "changes", "steps")} == {"serial": 1, "changes": 10, "steps": steps}


PRINTING = """
import atexit, os, subprocess, sys
import pyarrow as pa
from featdsl import Entity, Feature, FeatureGroup, Source, python_feature

print("loading")
sys.stdout.write("written\\n")
os.write(1, b"by descriptor\\n")
subprocess.run(["echo", "by a program"])
atexit.register(print, "at exit")
user = Entity("user", keys={"user_id": int})


def rows():
    print("in a source")
    return [{"user_id": 1, "day": "2026-01-01", "x": 1.0}]


class G(FeatureGroup, entity=user, source=Source("s", function=rows, columns={"user_id": int, "day": str, "x": float})):
    y = Feature(float, sql="x")

    @python_feature(float)
    def z(x):
        print("in a feature")
        return x
"""
COMMANDS_OF_JSON = [
    ("plan", "--format", "json"), ("plan", "--preview", "--format", "json"), ("apply", "--yes", "--format", "json"),
    ("refresh", "--full", "--format", "json"), ("list", "--format", "json"), ("get", "z", "--key", "user_id=1", "--format", "json"),
    ("check", "--format", "json"), ("show", "g.z", "--format", "json"),
]  # fmt: skip


@pytest.mark.slow
def test_what_users_code_prints_is_no_result(workspace: Workspace) -> None:
    """Prints of modules, sources and features go to standard error, for every way of printing."""
    workspace.write({"featproject.toml": '[project]\nname = "odd"\n', "features/__init__.py": PRINTING})
    told = {}
    for command in COMMANDS_OF_JSON:
        done = workspace.spawn(*command)
        assert done.returncode == 0, done.stderr
        lines = done.stdout.splitlines() if command[0] in {"apply", "refresh"} else [done.stdout]
        assert [json.loads(line) is not None for line in lines] == [True] * max(1, len(lines)), command
        told[command[0]] = done.stderr.split("\n")
    loading = {"loading", "written", "by descriptor", "by a program", "at exit"}
    assert loading <= {*told["plan"]}
    assert {*loading, "in a source", "in a feature"} <= {*told["apply"]}


def test_what_users_code_prints_in_a_program_is_no_result(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    """A command within another program gives it back its standard output."""
    workspace.write({"featproject.toml": '[project]\nname = "odd"\n', "features/__init__.py": "print('loading')\n"})
    done = workspace.run("plan", "--format", "json")
    assert json.loads(done.stdout)["project"] == "odd"
    assert done.stderr == "loading\n"
    sys.stdout.write("afterwards\n")
    assert capsys.readouterr().out == "afterwards\n"


def test_what_threads_print_meanwhile_reaches_the_terminal_again(capsys: pytest.CaptureFixture[str]) -> None:
    """Two commands at once replace and restore standard output in any order."""
    first, second = output.aside(), output.aside()
    first.__enter__()
    second.__enter__()
    sys.stdout.write("user\n")
    output.line("result")
    first.__exit__(None, None, None)
    sys.stdout.write("user again\n")
    second.__exit__(None, None, None)
    sys.stdout.write("after\n")
    assert capsys.readouterr() == ("result\nafter\n", "user\nuser again\n")


def test_values_from_the_command_line(bank: Workspace) -> None:
    """`featdsl get` prints the values that a model would be served."""
    bank.apply()
    done = bank.run("get", "age", "income", "--key", "user_id=3", "--format", "json")
    assert json.loads(done.stdout) == {"age": 33, "income": 19000.0}
    assert bank.run("get", "age", "income", "--key", "user_id=3").stdout == "age     33\nincome  19000.0\n"


def test_a_key_that_is_no_pair_is_refused(bank: Workspace) -> None:
    """The error names the option."""
    bank.apply()
    done = bank.run("get", "age", "--key", "3")
    assert done.returncode == 1
    assert "'3' is not COLUMN=VALUE" in done.stderr


def test_history_tells_who_applied_what(bank: Workspace, edit: Callable[[str, str, str], None]) -> None:
    """The newest apply comes first."""
    bank.apply()
    edit("features/accounts/__init__.py", "annual_income", "2 * annual_income")
    bank.apply()
    newest, oldest = json.loads(bank.run("history", "--format", "json").stdout)
    assert (newest["serial"], newest["summary"]) == (2, "1 changed, 1 recomputed")
    assert [(each["action"], each["address"], each["change_class"]) for each in newest["changes"]] == [
        ("recompute", "affordability.monthly", "upstream"),
        ("change", "user_profile.income", "definition"),
    ]
    assert (oldest["serial"], oldest["summary"], oldest["rows"]) == (1, "10 created", 40)
    assert "1 changed, 1 recomputed" in bank.run("history").stdout


def test_history_before_the_first_apply(bank: Workspace) -> None:
    """An empty list is no error."""
    assert bank.run("history").stdout == "Nothing has been applied yet.\n"


def test_json_holds_values_that_it_has_no_type_for(workspace: Workspace) -> None:
    """Values and map keys become text that DuckDB can read back."""
    values = {
        "days": ("MAP(DATE, INTEGER)", "MAP {DATE '2026-01-02': 1}"),
        "numbers": ("MAP(BIGINT, INTEGER)", "MAP {5::BIGINT: 1}"),
        "points": ("MAP(FLOAT[2], INTEGER)", "MAP {[1, 2]::FLOAT[2]: 1}"),
        "raw": ("BLOB", r"'a\x5C\x00'::BLOB"),
        "none": ("DOUBLE", "'nan'::DOUBLE"),
        "all": ("DOUBLE[]", "['-inf'::DOUBLE, 1.5]"),
        "price": ("DECIMAL(4, 2)", "1.50::DECIMAL(4, 2)"),
    }
    features = "".join(f"    {name} = Feature({dtype!r}, sql={sql!r})\n" for name, (dtype, sql) in values.items())
    text = "from featdsl import Feature, FeatureGroup, Source\n\n\n"
    text += 'class Odd(FeatureGroup, entity=None, source=Source("odd", path="odd.parquet")):\n' + features
    workspace.write({"featproject.toml": '[project]\nname = "odd"\n', "features/__init__.py": text})
    workspace.parquet("odd.parquet", "SELECT 1 AS one").apply()

    done = workspace.run("get", *values, "--format", "json")

    assert json.loads(done.stdout, parse_constant=pytest.fail) == {
        "days": {"2026-01-02": 1},
        "numbers": {"5": 1},
        "points": {"key": [[1.0, 2.0]], "value": [1]},
        "raw": r"a\x5C\x00",
        "none": "nan",
        "all": ["-inf", 1.5],
        "price": "1.50",
    }
