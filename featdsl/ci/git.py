"""Ask git about the repository of a job: its commit, its files at another commit, and where the project lies in it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from featdsl.errors import Problem, ProviderError

_COMMIT = re.compile("[0-9a-f]{40,64}")


def commit_of(folder: Path) -> str:
    """Return the commit that is checked out. Raises ProviderError if the folder is in no repository."""
    return _git(folder, "rev-parse", "--verify", "HEAD")


def is_of(folder: Path, commit: str) -> bool:
    """Whether the checked-out commit is a commit, or a merge of it with the target branch.

    A clone of one commit has no parents, but the commit still names them.
    """
    head = commit_of(folder)
    lines = _git(folder, "cat-file", "commit", head).split("\n\n", 1)[0].splitlines()
    return commit in {head, *(line.removeprefix("parent ") for line in lines if line.startswith("parent "))}


def prefix(folder: Path) -> str:
    """Return the path of a folder in its repository, with a slash at its end; `""` for the top."""
    return _git(folder, "rev-parse", "--show-prefix")


def file_at(folder: Path, commit: str, path: str) -> str | None:
    """Return a file's text at a commit, by its path from the top; None if the commit has no such file.

    Raises ProviderError if the clone does not have the commit.
    """
    if not _COMMIT.fullmatch(commit) or _run(folder, "cat-file", "-e", f"{commit}^{{commit}}").returncode:
        what = f"The clone does not have the commit {commit[:12] or 'that the pull request starts from'}."
        fix = "Fetch the whole history: fetch-depth: 0 of actions/checkout, GIT_DEPTH: 0 of GitLab CI."
        raise ProviderError(Problem("Commit is missing", what, fix=fix))
    done = _run(folder, "show", f"{commit}:{path}")
    return None if done.returncode else done.stdout


def _git(folder: Path, *words: str) -> str:
    done = _run(folder, *words)
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["it gave no reason"])[-1]
        what = f"{folder}: git {words[0]} ended with {done.returncode}: {said}."
        raise ProviderError(Problem("Not a repository", what, fix="Check the repository out in the job first."))
    return done.stdout.strip()


def _run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(  # noqa: S603 - git, without a shell
            ["git", *words],  # noqa: S607 - the git of the job
            cwd=folder, capture_output=True, text=True, encoding="utf-8", errors="replace", check=False,
        )  # fmt: skip
    except OSError as error:
        what = f"git cannot be run: {error.strerror}."
        raise ProviderError(Problem("No git", what, fix="Install git in the image of the job.")) from None
