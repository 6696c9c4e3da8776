"""Shell completion of names: in process with click's classes, and in a bash of its own."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete

from featdsl.cli import completion
from featdsl.cli.main import main
from tests.conftest import Workspace
from tests.waiting import PATIENCE


def completed(workspace: Workspace, *words: str) -> dict[str, str | None]:
    """Return the completions of the last word, with the help that zsh and fish show."""
    *before, typed = words
    with chdir(workspace.root):
        found = ShellComplete(main, {}, "featdsl", completion.VARIABLE).get_completions(before, typed)
    return {each.value: each.help for each in found}


def test_names_of_definitions_complete_with_their_type_and_description(applied: Workspace) -> None:
    """A feature by its address, a set by its version."""
    assert completed(applied, "show", "user_profile.") == {
        "user_profile.age": "BIGINT Age in whole years.",
        "user_profile.income": "DOUBLE Gross income, USD per year.",
    }
    assert list(completed(applied, "lineage", "credit")) == ["credit_risk@1", "credit_risk@2"]
    assert list(completed(applied, "show", "")) == [
        "affordability.monthly", "user_profile.age", "user_profile.income", "affordability", "user_profile",
        "credit_risk@1", "credit_risk@2", "loan_default", "accounts", "user",
    ]  # fmt: skip
    assert list(completed(applied, "show", "incom")) == ["user_profile.income"]
    assert completed(applied, "show", "zzz") == {}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["get", "age", "user_profile.a"], ["user_profile.age"]),
        (["get", "credit_risk@"], ["credit_risk@1", "credit_risk@2"]),
        (["plan", "--select", "l"], ["loan_default", "lending"]),
        (["apply", "--select=user_p"], ["user_profile"]),
        (["apply", "--approved-by", ""], ["accounts", "lending"]),
        (["check", "--select", "user_profile.i"], ["user_profile.income"]),
        (["history", "loan"], ["loan_default"]),
        (["list", "--owner", ""], ["accounts", "lending"]),
        (["list", "--entity", ""], ["user"]),
        (["list", "--tag", ""], ["kyc", "money"]),
        (["search", "x", "--set", ""], ["credit_risk@1", "credit_risk@2"]),
        (["show", "--env", ""], ["pr_7", "prod"]),
        (["env", "drop", "pr"], ["pr_7", "prod"]),
        (["diff", "pr_"], ["pr_7"]),
        (["diff", "pr_7", "pro"], ["prod"]),
        (["show", "--env", "pr_7", "user_profile.a"], ["user_profile.age"]),
    ],
)
def test_each_command_completes_what_it_takes(applied: Workspace, words: list[str], expected: list[str]) -> None:
    """Arguments and options, also those of an environment."""
    assert applied.run("apply", "--env", "pr_7", "--yes").returncode == 0
    assert list(completed(applied, *words)) == expected


def test_names_follow_the_store_and_are_kept_beside_it(applied: Workspace) -> None:
    """The file is used as long as the store is unchanged, and made again after an apply."""
    kept = applied.root / ".featdsl" / "names.json"
    assert "user_profile.age" in completed(applied, "show", "user")
    text = kept.read_text(encoding="utf-8")
    kept.write_text(text.replace("user_profile.age", "user_profile.kept"), encoding="utf-8")
    assert "user_profile.kept" in completed(applied, "show", "user")
    file = applied.root / "features/accounts/__init__.py"
    file.write_text(file.read_text(encoding="utf-8").replace("Age in whole years.", "Years."), encoding="utf-8")
    assert applied.run("apply", "--yes").returncode == 0
    assert completed(applied, "show", "user_profile.a") == {"user_profile.age": "BIGINT Years."}
    assert json.loads(kept.read_text(encoding="utf-8"))["environments"].keys() == {"prod"}
    kept.unlink()
    assert "user_profile.age" in completed(applied, "show", "user")


def test_no_database_is_opened_while_the_store_is_unchanged(applied: Workspace) -> None:
    """A key press loads neither DuckDB nor pydantic."""
    completed(applied, "show", "")
    script = (
        "import sys\nfrom featdsl.cli.main import main\nfrom click.shell_completion import ShellComplete\n"
        "found = ShellComplete(main, {}, 'featdsl', '_X').get_completions(['show'], 'user_profile.a')\n"
        "print([each.value for each in found], *{name.partition('.')[0] for name in sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=applied.root, capture_output=True, text=True, check=True, timeout=PATIENCE
    )
    names, _, loaded = done.stdout.partition("]")
    assert names == "['user_profile.age'"
    assert not {"duckdb", "pydantic", "sqlglot", "networkx", "jinja2"} & set(loaded.split())


def test_every_error_is_silent(bank: Workspace, tmp_path: Path) -> None:
    """No project, broken settings, no apply, a damaged file and a damaged store complete nothing."""
    nothing: dict[str, str] = {}
    assert completed(Workspace(tmp_path), "show", "") == nothing
    assert completed(bank, "show", "") == nothing
    assert completed(bank, "-C", str(bank.root / "nowhere"), "show", "") == nothing
    bank.apply()
    assert "user" in completed(Workspace(tmp_path), "-C", str(bank.root), "show", "")
    assert completed(bank, "show", "--env", "nowhere", "") == nothing
    kept = bank.root / ".featdsl" / "names.json"
    for damage in ("{", "[]", '{"format": 1}', '{"format": 1, "stamp": 3, "read_at": 1.0, "environments": {}}'):
        kept.write_text(damage, encoding="utf-8")
        assert "user" in completed(bank, "show", "")
    settings = bank.root / "featproject.toml"
    settings.write_text("[project", encoding="utf-8")
    assert completed(bank, "show", "") == nothing
    settings.write_text('[project]\nname = "bank"\n', encoding="utf-8")
    catalogue = bank.root / ".featdsl" / "store.duckdb"
    catalogue.chmod(0o644)
    catalogue.write_bytes(b"damaged")
    assert completed(bank, "show", "") == nothing


def test_texts_cannot_act_on_the_terminal(applied: Workspace) -> None:
    """A description with codes of terminals is shown as text of one line."""
    file = applied.root / "features/accounts/__init__.py"
    text = file.read_text(encoding="utf-8").replace("Age in whole years.", "Age\\x1b[2J\\u202e\\tof\\nall.")
    file.write_text(text, encoding="utf-8")
    assert applied.run("apply", "--yes").returncode == 0
    assert completed(applied, "show", "user_profile.a") == {"user_profile.age": "BIGINT Age\\x1b[2J\\u202e of"}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_its_script(workspace: Workspace, shell: str) -> None:
    """It names the command and the variable."""
    done = workspace.run(**{completion.VARIABLE: f"{shell}_source"})
    assert done.returncode == 0, done.stderr
    assert completion.VARIABLE in done.stdout
    assert "featdsl" in done.stdout


class _Terminal:
    """A bash in a terminal of its own, in which keys are typed."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._end, inner = pty.openpty()
        self.process = subprocess.Popen(
            [shutil.which("bash") or "bash", "--norc", "--noprofile", "-i"],
            cwd=folder, env=environment, stdin=inner, stdout=inner, stderr=inner, start_new_session=True,
        )  # fmt: skip
        os.close(inner)

    def type(self, keys: str, until: str) -> str:
        """Type keys, and return what is shown up to a text."""
        os.write(self._end, keys.encode())
        shown, last = "", time.monotonic() + PATIENCE
        while not re.search(until, shown):
            assert time.monotonic() < last, shown
            if select.select([self._end], [], [], 1)[0]:
                shown += os.read(self._end, 4096).decode(errors="replace")
        return shown

    def close(self) -> None:
        """End the shell."""
        self.process.kill()
        self.process.wait()
        os.close(self._end)


@contextmanager
def _bash(folder: Path) -> Iterator[_Terminal]:
    """Start a bash in which `featdsl` is this code, and completes."""
    programs = folder / "programs"
    programs.mkdir()
    command = programs / "featdsl"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m featdsl "$@"\n', encoding="utf-8")
    command.chmod(0o755)
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    code = str(Path(completion.__file__).parents[2])
    terminal = _Terminal(folder, {**os.environ, "PATH": path, "PS1": "ready> ", "TERM": "dumb", "PYTHONPATH": code})
    try:
        terminal.type(f'eval "$({completion.VARIABLE}=bash_source featdsl)"; echo d""one\n', "done\r?\n")
        yield terminal
    finally:
        terminal.close()


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
@pytest.mark.slow
def test_a_real_bash_completes_names(applied: Workspace) -> None:
    """A unique name is written out; several are listed, also behind the @ of a set version."""
    with _bash(applied.root) as bash:
        assert "user_profile.age " in bash.type("featdsl show user_profile.a\t", "age ")
        bash.type("\x15", "")
        shown = bash.type("featdsl show credit_risk@\t\t", r"credit_risk@2\s")
        assert "credit_risk@1" in shown
        bash.type("\x15", "")
        assert "--env prod " in bash.type("featdsl show --env pr\t", "prod ")
