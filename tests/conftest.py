"""Projects in temporary folders, run as people run them."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import chdir
from dataclasses import dataclass
from functools import cache
from inspect import signature
from pathlib import Path
from typing import Any

import duckdb
import pytest
from click.testing import CliRunner
from hypothesis import settings

from featdsl.cli.main import main
from featdsl.featurestore import FeatureStore
from tests.applies import Applies
from tests.budgets import examples
from tests.waiting import PATIENCE

pytest_plugins = ["featdsl.testing.plugin"]  # an installed featdsl has it as an entry point

# Whoever runs the tests in the background of a shell has them ignore Ctrl-C, and so would each process that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes says more of what else the machine does than of the code.
settings.register_profile("no deadline", deadline=None, max_examples=examples(25, 100))
settings.load_profile("no deadline")

# Before 8.2, click mixed both streams unless it was told not to.
_STREAMS_APART: dict[str, Any] = {"mix_stderr": False} if "mix_stderr" in signature(CliRunner).parameters else {}

MYPY_CACHE = Path(__file__).parents[1] / ".mypy_cache" / "tests"
"""What mypy knows of the standard library and of featdsl, for all tests that run it: to find it out takes seconds."""


@dataclass(frozen=True)
class Workspace:
    """A project folder, and the command line run in it."""

    root: Path
    applies: Applies | None = None
    """The applies of this run that need not be run again."""

    def write(self, files: Mapping[str, str]) -> Workspace:
        """Write text files by path."""
        for name, text in files.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return self

    def parquet(self, name: str, query: str) -> Workspace:
        """Write the rows of a query as a Parquet file."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        _writer().cursor().execute(f"COPY ({query}) TO '{path}' (FORMAT parquet)")
        return self

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run featdsl here, within this process: a process of its own costs ten times the command."""
        with chdir(self.root):
            done = CliRunner(**_STREAMS_APART).invoke(main, arguments, env=environment, prog_name="featdsl")
        raised = done.exception is not None and not isinstance(done.exception, SystemExit)
        told = "".join(traceback.format_exception(*done.exc_info)) if raised and done.exc_info else ""
        return subprocess.CompletedProcess(arguments, done.exit_code, done.stdout, done.stderr + told)

    def spawn(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run featdsl here as a process of its own, for tests of what only a process shows."""
        return subprocess.run(
            [sys.executable, "-m", "featdsl", *arguments],
            cwd=self.root,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            check=False,
            timeout=PATIENCE,
        )

    def apply(self) -> None:
        """Apply what a test starts from: restored if a test did so before. Fail the test if that does not work."""
        if self.applies is None:
            self._apply()
        else:
            self.applies.apply(self.root, self._apply)

    def _apply(self) -> None:
        done = self.run("apply", "--yes")
        assert done.returncode == 0, done.stdout + done.stderr

    @property
    def store(self) -> FeatureStore:
        """What model code would use here."""
        return FeatureStore(self.root)

    def forge(self, file: Path, sql: str) -> None:
        """Change a data file by hand, with the catalogue made to say that it was written so."""
        file.chmod(0o644)
        with duckdb.connect(str(file)) as connection:
            connection.execute(sql)
        catalogue = self.root / ".featdsl" / "store.duckdb"
        catalogue.chmod(0o644)
        with duckdb.connect(str(catalogue)) as connection:
            said = [file.stat().st_size, hashlib.sha256(file.read_bytes()).hexdigest(), f"data/{file.name}"]
            connection.execute("UPDATE registry.files SET bytes = ?, digest = ? WHERE name = ?", said)

    def published(self, query: str) -> list[tuple[object, ...]]:
        """Return the rows of a query that an analyst runs on the store file."""
        connection = duckdb.connect(str(self.root / ".featdsl" / "store.duckdb"), read_only=True)
        try:
            return connection.execute(query).fetchall()
        finally:
            connection.close()


@cache
def _writer() -> duckdb.DuckDBPyConnection:
    """Return the session that writes test data: a new one costs ten times a small file."""
    return duckdb.connect()


BANK = {
    "featproject.toml": '[project]\nname = "bank"\n',
    "features/__init__.py": "",
    "features/accounts/__init__.py": '''
from featdsl import Entity, Feature, FeatureGroup, Source

user = Entity("user", keys={"user_id": int})
accounts = Source("accounts", path="data/accounts.parquet", timestamp="updated_at")


class UserProfile(FeatureGroup, entity=user, source=accounts):
    """Who the account holder is."""

    age = Feature(int, sql="date_diff('year', birth_date, updated_at)", description="Age in whole years.",
                  expect="age BETWEEN 0 AND 120")
    income = Feature(float, sql="annual_income", description="Gross income, USD per year.", tags={"money", "kyc"})
''',
    "features/lending/__init__.py": '''
from featdsl import Feature, FeatureGroup, FeatureSet, Model
from features.accounts import UserProfile, user


class Affordability(FeatureGroup, entity=user, inputs=[UserProfile.income]):
    """What an account holder can pay."""

    monthly = Feature(float, sql="income / 12", description="Gross income, USD per month.")


credit_risk_v1 = FeatureSet("credit_risk", version=1, features=[UserProfile.age, UserProfile.income])
credit_risk_v2 = credit_risk_v1.evolve(version=2, add=[Affordability.monthly])
loan_default = Model("loan_default", features=credit_risk_v1)
''',
}
"""A small project: two teams, one source, a derived group, two set versions, a model."""

ACCOUNTS = """
    SELECT i % 4 AS user_id, TIMESTAMP '2026-01-01' + INTERVAL (i) DAY AS updated_at,
           DATE '1990-06-15' + 400 * (i % 4)::INT AS birth_date, 1000.0 * i AS annual_income
    FROM range(20) t(i)
"""
"""Five rows for each of four users, a day apart: user i % 4 has income 1000 i from day i on."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of a property, for the run with full budgets."""
    for item in items:
        if getattr(getattr(item, "obj", None), "is_hypothesis_test", False):
            item.add_marker("property")


@pytest.fixture(scope="session")
def applies(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Applies]:
    """The applies of this worker's tests."""
    copies = tmp_path_factory.mktemp("applies")
    yield Applies(tmp_path_factory.getbasetemp() / "project", copies)
    shutil.rmtree(copies)


@pytest.fixture
def workspace(request: pytest.FixtureRequest, applies: Applies, tmp_path: Path) -> Iterator[Workspace]:
    """An empty folder to work in, which moves to the folder of the test in the end."""
    applies.folder.mkdir()
    # An apply with patched code may leave other files.
    yield Workspace(applies.folder, None if "monkeypatch" in request.fixturenames else applies)
    if applies.folder.exists():
        applies.folder.chmod(0o700)
        applies.folder.rename(tmp_path / "project")


@pytest.fixture
def bank(workspace: Workspace) -> Workspace:
    """The small project, not applied yet."""
    return workspace.write(BANK).parquet("data/accounts.parquet", ACCOUNTS)


@pytest.fixture
def applied(bank: Workspace) -> Workspace:
    """The small project, applied."""
    bank.apply()
    return bank


@pytest.fixture
def edit(workspace: Workspace) -> Callable[[str, str, str], None]:
    """Replace a text in a file of the workspace; the text must be there."""

    def replace(name: str, old: str, new: str) -> None:
        path = workspace.root / name
        text = path.read_text(encoding="utf-8")
        assert old in text, f"{old!r} is not in {name}"
        path.write_text(text.replace(old, new), encoding="utf-8")

    return replace


@pytest.fixture
def recomputed(applied: Workspace, edit: Callable[[str, str, str], None]) -> Workspace:
    """The small project in its third state, with another income; nothing pins the one before, and nothing reads it."""
    (applied.root / "features" / "lending" / "__init__.py").write_text("", encoding="utf-8")
    applied.apply()
    edit("features/accounts/__init__.py", "annual_income", "annual_income * 2")
    applied.apply()
    return applied
