"""Who speaks for a team: by featproject.toml, and by CODEOWNERS."""

from __future__ import annotations

from pathlib import Path

import pytest

from featdsl.ci.owners import TeamOwners, at, file_owners
from tests.ci.worlds import git

FILE = "features/accounts/__init__.py"


@pytest.mark.parametrize(
    ("codeowners", "owners"),
    [
        ("* @all", ["@all"]),
        ("* @all\n/features/accounts/ @a @b", ["@a", "@b"]),
        ("/features/accounts/ @a\n* @all", ["@all"]),
        ("/features/accounts/ @a\n/features/accounts/", []),
        ("/features/acc/ @a", []),
        ("features @a", ["@a"]),
        ("/features @a", ["@a"]),
        ("accounts/ @a", ["@a"]),
        ("/accounts/ @a", []),
        ("features/* @a", []),
        ("features/** @a", ["@a"]),
        ("**/accounts/ @a", ["@a"]),
        ("*.py @a # the code", ["@a"]),
        ("*.sql @a", []),
        ("/features/*/__init__.py @a", ["@a"]),
        ("# * @a", []),
        ("* @all\n[Docs]\n* @writers", ["@all"]),
        ("* @all\n^[Docs][2] @writers\n/features/", ["@all"]),
        ("/features/accounts/ a@example.com @o/t", ["a@example.com", "@o/t"]),
        ("(.+)+$ @a", []),
    ],
)
def test_the_last_matching_line_names_the_owners(codeowners: str, owners: list[str]) -> None:
    """As GitHub reads the file; sections of GitLab do not count."""
    assert list(file_owners(codeowners, FILE)) == owners


def test_a_pattern_with_a_space() -> None:
    """It is escaped."""
    assert file_owners("/my\\ features/ @a", "my features/x.py") == ("@a",)


def test_the_settings_come_first() -> None:
    """`[codeowners]` names a team's owners; the file is for teams without an entry."""
    settings = {
        "teams": {"accounts": "features/accounts", "lending": ["features/loans", "features/lending"]},
        "codeowners": {"accounts": ["@ann"]},
    }
    owners = TeamOwners(settings, "/x/features/ @all\n/x/features/loans/ @lena @all\n", "x/")
    assert (owners.of("accounts"), owners.of("lending"), owners.of("other")) == (("@ann",), ("@all",), ())


def test_owners_are_read_at_the_commit_that_a_pull_request_starts_from(tmp_path: Path) -> None:
    """A pull request names itself as the owner: that does not count. The project lies in a folder of the repository."""
    git(tmp_path, "init", "-q")
    project, codeowners = tmp_path / "shop", tmp_path / ".github" / "CODEOWNERS"
    for folder in (project, codeowners.parent):
        folder.mkdir()
    settings = '[teams]\nlending = "features/lending"\nrisk = "features/risk"\n[codeowners]\nlending = "@lena"\n'
    commits = []
    for lending, risk in (("@lena", "@rita"), ("@eve", "@eve")):
        (project / "featproject.toml").write_text(settings.replace("@lena", lending), encoding="utf-8")
        codeowners.write_text(f"/shop/features/risk/ {risk}\n", encoding="utf-8")
        git(tmp_path, "add", ".")
        git(tmp_path, "commit", "-q", "-m", "Own")
        commits.append(git(tmp_path, "rev-parse", "HEAD"))

    owners = [[at(project, commit).of(team) for team in ("lending", "risk")] for commit in commits]

    assert owners == [[("@lena",), ("@rita",)], [("@eve",), ("@eve",)]]
