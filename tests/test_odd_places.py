"""Folders with odd names, outputs that take nothing, texts that nest, passwords in code: told clearly, and no other data are read."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from featdsl.errors import Problem
from tests.conftest import ACCOUNTS, BANK, Workspace
from tests.plan.test_guards import TEAM, Edit

FRAME = """
import pyarrow as pa
from featdsl import Feature, FeatureGroup, Source
from features.accounts import user

rows = Source("rows", frame=pa.table({"user_id": [3], "score": [0.5]}))


class Scores(FeatureGroup, entity=user, source=rows):
    score = Feature(float)
"""


@pytest.mark.parametrize(
    ("name", "sibling"),
    [
        ("v[12]", "v1"), ("it's", "its"), pytest.param("br[0]", "br0", marks=pytest.mark.slow),
        pytest.param("st*r", "star", marks=pytest.mark.slow), pytest.param("a[!b]", "ac", marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_a_folder_is_no_pattern(tmp_path: Path, name: str, sibling: str) -> None:
    """The data of a sibling that its name would match are not read, by no command."""
    Workspace(tmp_path / sibling).parquet("data/accounts.parquet", ACCOUNTS.replace("1000.0", "5.0"))
    odd = Workspace(tmp_path / name).write({**BANK, "features/scores.py": FRAME})
    odd.parquet("data/accounts.parquet", ACCOUNTS) if "'" not in name else (odd.root / "data").mkdir(parents=True)
    if "'" in name:
        Workspace(tmp_path / "made").parquet("accounts.parquet", ACCOUNTS)
        (tmp_path / "made" / "accounts.parquet").rename(odd.root / "data" / "accounts.parquet")
    odd.apply()
    assert odd.store.get_features(["income", "score"], user_id=3) == {"income": 19000.0, "score": 0.5}
    assert odd.published("SELECT max(income) FROM prod.user_profile") == [(19000.0,)]
    assert odd.run("plan", "--check").returncode == 0
    assert "up to date" in odd.run("refresh").stdout
    assert odd.run("doctor", "--deep").stdout == "No problems found.\n"
    assert odd.run("sql", "SELECT max(income) AS most FROM user_profile").stdout == "most\n19000.0\n"


@pytest.mark.parametrize("name", ["back\\slash", "que?stion"])
def test_a_folder_that_duckdb_reads_otherwise_is_refused(tmp_path: Path, name: str) -> None:
    """Before anything is written."""
    odd = Workspace(tmp_path / name).write(BANK)
    done = odd.run("plan")
    assert done.returncode == 1
    assert done.stderr.startswith("Folder cannot be used\n")
    assert not (odd.root / ".featdsl").exists()


@pytest.mark.parametrize(
    "command",
    [
        ("list", "--format", "json"),
        *(
            pytest.param(command, marks=pytest.mark.slow)
            for command in (("plan",), ("plan", "--format", "json"), ("sql", "SELECT 1"))
        ),
    ],
    ids=" ".join,
)
def test_an_output_that_takes_nothing_is_told(applied: Workspace, command: tuple[str, ...]) -> None:
    """In a line, with a code that is not 0."""
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "featdsl", *command], cwd=applied.root, stdout=full, stderr=subprocess.PIPE,
            text=True, check=False,
        )  # fmt: skip
    assert (done.returncode, done.stderr) == (1, "Error: The output cannot be written: No space left on device.\n")


@pytest.mark.parametrize("encoding", ["latin-1", pytest.param("cp1252", marks=pytest.mark.slow)])
def test_a_terminal_without_the_letters_shows_their_codes(applied: Workspace, edit: Edit, encoding: str) -> None:
    """And JSON stays JSON."""
    edit(TEAM, "Gross income", "Größe – 漢字 😀 income")
    applied.apply()

    def printed(*arguments: str) -> str:
        environment = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0", "LC_ALL": "C"}
        command = [sys.executable, "-m", "featdsl", *arguments]
        done = subprocess.run(command, cwd=applied.root, capture_output=True, env=environment, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.decode(encoding)

    assert "\\u6f22" in printed("show", "user_profile.income")
    found = json.loads(printed("show", "user_profile.income", "--format", "json"))
    assert found["description"].startswith("Größe – 漢字 😀 income")


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("(" * 600 + "annual_income" + ")" * 600, "Syntax error"),
        ("abs(" * 600 + "annual_income" + ")" * 600, "The SQL is nested too deeply."),
        ("annual_income" + " + 1" * 5000, ""),
    ],
    ids=["parentheses", "calls", "a long sum"],
)  # fmt: skip
def test_sql_that_nests_without_end_is_told(applied: Workspace, edit: Edit, sql: str, said: str) -> None:
    """With file and line, and no traceback."""
    edit(TEAM, '"annual_income"', f'"{sql}"')
    done = applied.run("plan")
    assert "Traceback" not in done.stderr
    if done.returncode:
        assert done.stderr.startswith("Invalid SQL\n")
        assert said in done.stderr
        assert f"{TEAM}:" in done.stderr


@pytest.mark.parametrize(
    "source",
    [
        "Source('t', sql=\"SELECT * FROM postgres_scan('host=h password=hunter2', 'a', 'b')\")",
        "Source('t', table='t', database='host=h password=hunter2')",
        "Source('t', table='t', database='postgresql://u:hunter2@h/db')",
        "Source('t', path='https://u:hunter2@h/x.csv')",
        "Source('t', sql=\"SELECT 'secret_key=hunter2' FROM nothing WHERE (\")",
    ],
)  # fmt: skip
def test_a_password_in_code_is_not_repeated(applied: Workspace, source: str) -> None:
    """By whatever way it comes into an error."""
    module = f"from featdsl import Feature, FeatureGroup, Source\nfrom features.accounts import user\n\n\nclass T(FeatureGroup, entity=user, source={source}):\n    z = Feature(int)\n"
    applied.write({"features/t.py": module})
    for command in (("plan",), ("apply", "--yes"), ("apply", "--yes", "--format", "json")):
        done = applied.run(*command)
        assert done.returncode == 1
        assert "hunter2" not in done.stdout + done.stderr


@pytest.mark.parametrize("text", ["PASSWORD => 'a b'", "x_token=abc", "api_key: abc", "s3://k:abc@b", 'pwd="a b"'])
def test_secrets_of_every_spelling_are_masked(text: str) -> None:
    """And nothing else."""
    said = str(Problem("s", f"{text}, after"))
    assert "abc" not in said
    assert "a b" not in said
    assert "***" in said
    assert (
        str(Problem("s", "the token of a password holds 3 secrets")) == "s\n  the token of a password holds 3 secrets"
    )


def test_a_planted_link_is_not_followed(applied: Workspace) -> None:
    """A plan is written in the place of the link, and what it leads to stays as it was; a device is written to."""
    victim = applied.root / "victim"
    victim.write_text("mine", encoding="utf-8")
    for link in ("plan.json", ".plan.json.partial"):
        (applied.root / link).symlink_to(victim)
    assert applied.run("plan", "--out", "plan.json").returncode == 0
    assert victim.read_text(encoding="utf-8") == "mine"
    assert not (applied.root / "plan.json").is_symlink()
    assert applied.run("plan", "--out", "/dev/null").returncode == 0
    assert Path("/dev/null").is_char_device()


def test_what_writers_have_left_is_seen(applied: Workspace) -> None:
    """Also files that are not whole, once they are old enough to be nobody's."""
    store = applied.root / ".featdsl"
    (store / "frames").mkdir()
    left = [store / "store.0a.partial", store / "frames" / "a.1.partial", store / "memory-bank.json.7.partial"]
    for path in left:
        path.touch()
        os.utime(path, (1, 1))
    told = applied.run("doctor").stdout
    assert all(f"{path} belongs to no table" in told for path in left)
    assert applied.run("doctor", "--fix").returncode == 0
    assert not any(path.exists() for path in left)
