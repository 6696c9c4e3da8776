"""A repository with a store, and a provider beside it: what the whole life of a pull request needs."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.ci import github_server, gitlab_server
from tests.ci.forge import Answer, Forge, Left, Pull, serving
from tests.conftest import ACCOUNTS, BANK, Workspace

Edits = Mapping[str, Callable[[str], str] | str]

UNSET = {
    "GITHUB_ACTIONS", "GITLAB_CI", "FEATDSL_CI_FOLDER", "GITHUB_TOKEN", "FEATDSL_TEAMS_TOKEN", "FEATDSL_GITLAB_TOKEN",
    "FEATDSL_ENV", "GITHUB_STEP_SUMMARY", "FEATDSL_CI_ACCOUNT", "CI_MERGE_REQUEST_IID", "CI_MERGE_REQUEST_SOURCE_BRANCH_SHA",
}  # fmt: skip
"""The variables of a CI that tests themselves may run in."""
SETTINGS = """[project]
name = "bank"
[store]
path = "{store}"
[teams]
accounts = "features/accounts"
lending = "features/lending"
[codeowners]
lending = ["@bank/lenders"]
[policy]
approvals = "affected-teams"
"""
PLAN, REGISTRY = "featdsl-plan-bank", "featdsl-registry-bank"


def git(folder: Path, *words: str) -> str:
    """Return the output of git."""
    author = ["-c", "user.name=dev", "-c", "user.email=dev@example.com", "-c", "init.defaultBranch=main"]
    done = subprocess.run(["git", *author, *words], cwd=folder, capture_output=True, text=True, check=False)  # noqa: S607
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


class World:
    """A bare repository, a store outside of it, and the state of a provider; subclasses speak as the provider does."""

    write, read = github_server.WRITE, github_server.READ

    def __init__(self, root: Path, inside: str = "") -> None:
        self.root, self.inside = root, inside
        self.store = root / "store"
        self.origin = root / "origin.git"
        self.forge = Forge(teams={"@bank/lenders": ["lena"]})
        self.url = ""
        self._made = 0
        git(root, "init", "-q", "--bare", str(self.origin))
        first = self._folder()
        git(root, "clone", "-q", str(self.origin), str(first))
        project = Workspace(first / inside).write(BANK).parquet("data/accounts.parquet", ACCOUNTS)
        project.write({"featproject.toml": SETTINGS.format(store=self.store), ".gitignore": "__pycache__/\n"})
        git(first, "add", ".")
        git(first, "commit", "-q", "-m", "Start")
        git(first, "push", "-q", "origin", "HEAD:main")

    def _folder(self) -> Path:
        self._made += 1
        return self.root / f"clone{self._made}"

    # Git

    @property
    def main(self) -> str:
        """The newest commit of main."""
        return git(self.origin, "rev-parse", "main")

    def push(self, branch: str, edits: Edits, *, start: str = "main") -> str:
        """Commit edits on a branch, which starts at another one if it is new, and return the commit."""
        folder = self._folder()
        git(self.root, "clone", "-q", str(self.origin), str(folder))
        existing = git(folder, "branch", "-r", "--list", f"origin/{branch}")
        git(folder, "checkout", "-q", "-B", branch, f"origin/{branch}" if existing else f"origin/{start}")
        for name, edit in edits.items():
            path = folder / self.inside / name
            path.parent.mkdir(parents=True, exist_ok=True)
            before = path.read_text(encoding="utf-8") if path.exists() else ""
            path.write_text(edit if isinstance(edit, str) else edit(before), encoding="utf-8")
        git(folder, "add", ".")
        git(folder, "commit", "-q", "-m", f"Change {', '.join(edits)}")
        git(folder, "push", "-q", "origin", branch)
        return git(folder, "rev-parse", "HEAD")

    def checkout(self, commit: str, *, merged: bool = False) -> Workspace:
        """Return a new clone at a commit, or at its merge with main."""
        folder = self._folder()
        git(self.root, "clone", "-q", str(self.origin), str(folder))
        git(folder, "checkout", "-q", "origin/main" if merged else commit)
        if merged:
            git(folder, "merge", "-q", "--no-ff", "-m", "Merge", commit)
        return Workspace(folder / self.inside)

    # The provider

    def open(self, head: str, *, author: str = "ann", is_fork: bool = False) -> int:
        """Open a pull request, and return its number."""
        number = len(self.forge.pulls) + 1
        self.forge.pulls[number] = Pull(number, self.main, author, is_fork, [(self.forge.now(), head)])
        return number

    def update(self, number: int, head: str) -> None:
        """Move a pull request to another commit."""
        self.forge.pulls[number].versions.append((self.forge.now(), head))

    def approve(self, number: int, account: str, *, commit: str | None = None) -> None:
        """Approve a pull request, at its head unless another commit is named."""
        head = commit or self.forge.pulls[number].head
        self.forge.reviews.append((number, account, "APPROVED", head))
        self.forge.comment(number, account, "approved this merge request", system=True)

    def merge(self, number: int, *, squashed: bool = False) -> str:
        """Merge a pull request, by a merge commit or by one new commit, and return it."""
        pull = self.forge.pulls[number]
        clone = self.checkout(pull.head, merged=True)
        if squashed:
            git(clone.root, "reset", "-q", "--soft", "origin/main")
            git(clone.root, "commit", "-q", "-m", "Squashed")
        git(clone.root, "push", "-q", "origin", "HEAD:main")
        pull.state, pull.merge_commit = "merged", self.main
        return self.main

    def close(self, number: int) -> None:
        """Close a pull request without a merge."""
        self.forge.pulls[number].state = "closed"

    def keep(self, name: str, folder: Path, commit: str, *, is_fork: bool = False, branch: str = "topic") -> None:
        """Upload the files of a folder as an artifact."""
        files = {each.name: each.read_text(encoding="utf-8") for each in folder.iterdir() if each.is_file()}
        self.forge.artifacts.append(Left(self.forge.next_id(), name, commit, is_fork, branch, files))

    def comments(self, number: int) -> list[tuple[int, str]]:
        """Return the comments on a pull request that no person wrote."""
        people = {"ann", "bob", "lena", "stranger"}
        return [(n.id, n.body) for n in self.forge.notes if n.number == number and n.author not in people]

    def status(self, commit: str) -> tuple[str, str]:
        """Return the state and the text of the check of a commit."""
        found = [
            (state, text) for sha, name, state, text in self.forge.statuses if (sha, name) == (commit, "featdsl: bank")
        ]
        return found[-1]

    def rewrite(self, number: int, edit: Callable[[str], str]) -> None:
        """Let somebody edit the kit's comment."""
        note = next(each for each in self.forge.notes if (each.id, each.body) == self.comments(number)[0])
        note.body = edit(note.body)

    def script(self, method: str, path: str, status: int, **rest: object) -> None:
        """Answer the next fitting call with a status."""
        self.forge.scripted.append(Answer(method, path, status, **rest))  # type: ignore[arg-type]

    def variables(self, number: int | None, commit: str, token: str | None) -> dict[str, str]:
        """Return the environment of a job for a pull request, or for a commit."""
        raise NotImplementedError

    # Jobs

    def job(
        self, clone: Workspace, *words: str, number: int | None = None, commit: str = "", token: str | None = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run a job in a clone, with the token that writes unless another one is given; None is no token at all."""
        own = self.variables(number, commit, self.write if token == "" else token)
        unset: dict[str, str] = dict.fromkeys(UNSET, "")
        return clone.run("ci", *words, **{**unset, **own})

    def plan(self, number: int) -> None:
        """Run the plan job of a pull request, and keep its artifact."""
        pull = self.forge.pulls[number]
        clone = self.checkout(pull.head, merged=True)
        if pull.is_fork:
            with self.without_store():
                done = self.job(clone, "registry", "--out", "registry.json", number=number, token=self.read)
                assert done.returncode == 0, done.stderr
                done = self.job(clone, "plan", "--against", "registry.json", "--out", "plan", number=number, token=None)
        else:
            done = self.job(clone, "plan", "--out", "plan", number=number, token=None)
        assert done.returncode in {0, 3}, done.stderr
        self.keep(PLAN, clone.root / "plan", pull.head, is_fork=pull.is_fork)

    def comment(self, number: int) -> subprocess.CompletedProcess[str]:
        """Run the comment job of a pull request, on main."""
        return self.job(self.checkout(self.main), "comment", number=number)

    def apply(self, commit: str) -> subprocess.CompletedProcess[str]:
        """Run the job that follows a merge."""
        return self.job(self.checkout(commit), "apply", commit=commit)

    def publish(self) -> Workspace:
        """Run the job that publishes, keep the export of the registry, and return the clone."""
        clone = self.checkout(self.main)
        done = self.job(clone, "publish", "--site", "public", "--registry", "out/registry.json", commit=self.main)
        if done.returncode:
            raise AssertionError(done.stdout + done.stderr)
        self.keep(REGISTRY, clone.root / "out", self.main, branch="main")
        return clone

    @contextmanager
    def without_store(self) -> Iterator[None]:
        """Take the store away: the job of a fork reaches none."""
        away = self.root / "away"
        self.store.rename(away)
        try:
            yield
        finally:
            assert not self.store.exists(), "the job opened a store"
            away.rename(self.store)


class GitHubWorld(World):
    """The provider is GitHub."""

    def variables(self, number: int | None, commit: str, token: str | None) -> dict[str, str]:
        """A pull request's event names it, and a push names a commit; a comment job follows another run."""
        event: dict[str, object] = {"after": commit}
        if number is not None:
            event = {"pull_request": github_server.pull_json(self.forge.pulls[number])}
            if token == self.write:
                event = {
                    "workflow_run": {"head_sha": self.forge.pulls[number].head, "html_url": "https://ci.example/1"}
                }
        return self.with_event(event, token)

    def with_event(self, event: object, token: str | None) -> dict[str, str]:
        """Return the environment of a job for an event."""
        file = self.root / "event.json"
        file.write_text(json.dumps(event), encoding="utf-8")
        return {
            "GITHUB_ACTIONS": "true",
            "GITHUB_EVENT_PATH": str(file),
            "GITHUB_API_URL": self.url,
            "GITHUB_REPOSITORY": github_server.REPOSITORY,
            "GITHUB_SHA": self.main,
            "GITHUB_TOKEN": token or "",
            "FEATDSL_TEAMS_TOKEN": github_server.TEAMS,
        }


class GitLabWorld(World):
    """The provider is GitLab."""

    write, read = gitlab_server.WRITE, gitlab_server.READ

    def variables(self, number: int | None, commit: str, token: str | None) -> dict[str, str]:
        """A job of a merge request has its number, and that of a push only the commit."""
        own = {
            "GITLAB_CI": "true",
            "CI_API_V4_URL": f"{self.url}/api/v4",
            "CI_PROJECT_ID": str(gitlab_server.PROJECT),
            "CI_COMMIT_SHA": commit if number is None else self.forge.pulls[number].head,
            "CI_JOB_URL": "https://ci.example/1",
            "FEATDSL_GITLAB_TOKEN": token or "",
        }
        if number is not None:
            own |= {"CI_MERGE_REQUEST_IID": str(number), "CI_MERGE_REQUEST_PROJECT_ID": str(gitlab_server.PROJECT)}
            own |= {"CI_PROJECT_ID": str(gitlab_server.FORK)} if self.forge.pulls[number].is_fork else {}
        return own


class FilesWorld(World):
    """The provider is a folder of plain files, into which the forge's state is written before each job."""

    @property
    def folder(self) -> Path:
        """The folder of the provider."""
        return self.root / "provider"

    def variables(self, number: int | None, commit: str, token: str | None) -> dict[str, str]:  # noqa: ARG002 - files know no tokens
        """The event is a file beside the others."""
        files: dict[str, object] = {"event.json": {"number": number, "commit": commit, "url": "https://ci.example/1"}}
        if number is not None and not commit:
            files["event.json"] = {
                "number": number,
                "commit": self.forge.pulls[number].head,
                "url": "https://ci.example/1",
            }
        for pull in self.forge.pulls.values():
            files[f"pull_requests/{pull.number}.json"] = {
                "head": pull.head, "base": pull.base, "author": pull.author, "is_fork": pull.is_fork,
                "state": pull.state, "merge_commit": pull.merge_commit,
            }  # fmt: skip
            own = [each for each in self.forge.reviews if each[0] == pull.number]
            files[f"reviews/{pull.number}.json"] = [
                {"account": account, "verdict": "approved", "commit": head} for _, account, _, head in own
            ]
        files["teams.json"] = self.forge.teams
        for name, value in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(value), encoding="utf-8")
        return {"FEATDSL_CI_FOLDER": str(self.folder)}

    def keep(self, name: str, folder: Path, commit: str, *, is_fork: bool = False, branch: str = "topic") -> None:
        """Copy the files of a folder as an artifact; nothing says whose it is."""
        del is_fork
        place = self.folder / "artifacts" / ("default" if branch == "main" else commit) / name
        shutil.copytree(folder, place, dirs_exist_ok=True)

    def comments(self, number: int) -> list[tuple[int, str]]:
        """Return the files of the pull request's comments."""
        found = (self.folder / "comments" / str(number)).glob("*.md")
        return sorted((int(each.stem), each.read_text(encoding="utf-8")) for each in found)

    def status(self, commit: str) -> tuple[str, str]:
        """Return the state and the text of the check of a commit."""
        found = json.loads((self.folder / "statuses" / f"{commit}.json").read_text(encoding="utf-8"))["featdsl: bank"]
        return found["state"], found["text"]

    def rewrite(self, number: int, edit: Callable[[str], str]) -> None:
        """Let somebody edit the kit's comment."""
        (path,) = (self.folder / "comments" / str(number)).glob("*.md")
        path.write_text(edit(path.read_text(encoding="utf-8")), encoding="utf-8")


WORLDS = {"github": GitHubWorld, "gitlab": GitLabWorld, "files": FilesWorld}


@contextmanager
def a_world(kind: str, root: Path, inside: str = "") -> Iterator[World]:
    """Serve a provider beside a new repository, whose main is applied and published; the project may lie inside of it."""
    world = WORLDS[kind](root, inside)
    clone = world.checkout(world.main)
    done = clone.run("apply", "--yes", **dict.fromkeys(UNSET, ""))
    assert done.returncode == 0, done.stderr
    if kind == "files":
        world.publish()
        yield world
        return
    server = (github_server.GitHubServer if kind == "github" else gitlab_server.GitLabServer)(world.forge)
    with serving(world.forge, server.handle, "Authorization" if kind == "github" else "PRIVATE-TOKEN") as url:
        server.url = world.url = url
        world.publish()
        yield world
