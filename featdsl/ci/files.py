"""Pull requests as plain files, for a CI that has no client here: other scripts fill the folder and carry its comments on."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from featdsl.ci import Comment, CommitStatus, PullRequest, Review
from featdsl.errors import Problem, ProviderError

_FORMS = "Let the script that fills the folder write it: docs/ci.md lists the files and their content."
_STATES = {"open", "merged", "closed"}


@dataclass(frozen=True)
class PlainFiles:
    """A folder of pull requests, comments, reviews, statuses and artifacts."""

    folder: Path

    @property
    def comment_limit(self) -> int:
        """The longest comment in bytes, so that it also fits where a script carries it."""
        return 65_000

    def pull_request(self, number: int) -> PullRequest:
        """Return `pull_requests/NUMBER.json`."""
        name = f"pull_requests/{number}.json"
        found = self._read(name)
        texts = {key: found.get(key) for key in ("head", "base", "author")}
        is_fork, state = found.get("is_fork"), found.get("state")
        if (
            not all(isinstance(text, str) for text in texts.values())
            or not isinstance(is_fork, bool)
            or state not in _STATES
        ):
            what = f"{self.folder}/{name}: write head, base and author as texts, is_fork, and state: open, merged or closed."
            raise ProviderError(Problem("Not a pull request", what, fix=_FORMS))
        return PullRequest(number=number, is_fork=is_fork, state=state, **texts)  # type: ignore[arg-type]

    def open_pull_requests(self) -> Sequence[PullRequest]:
        """Return the pull requests whose state is open."""
        return [each for each in map(self.pull_request, self._numbers()) if each.state == "open"]

    def merged_as(self, commit: str) -> PullRequest | None:
        """Return the pull request whose `merge_commit` is a commit."""
        for number in self._numbers():
            found = self._read(f"pull_requests/{number}.json")
            if found.get("merge_commit") == commit and found.get("state") == "merged":
                return self.pull_request(number)
        return None

    def _numbers(self) -> list[int]:
        found = (self.folder / "pull_requests").glob("*.json")
        return sorted(int(each.stem) for each in found if each.stem.isdigit())

    def comments(self, number: int) -> Sequence[Comment]:
        """Return the files of `comments/NUMBER/`, the oldest first."""
        found = sorted(self._comments(number).glob("*.md"), key=lambda each: int(each.stem))
        return [Comment(int(each.stem), each.read_text(encoding="utf-8")) for each in found]

    def _comments(self, number: int) -> Path:
        return self.folder / "comments" / str(number)

    def post(self, number: int, body: str) -> None:
        """Write a new file; its number is one after the last."""
        folder = self._comments(number)
        folder.mkdir(parents=True, exist_ok=True)
        new = max((each.id for each in self.comments(number)), default=0) + 1
        while True:
            try:
                with (folder / f"{new}.md").open("x", encoding="utf-8") as file:
                    file.write(body)
            except FileExistsError:  # another run was faster
                new += 1
            else:
                return

    def edit(self, number: int, comment: int, body: str) -> bool:
        """Replace the text of a comment; return False if somebody deleted it."""
        path = self._comments(number) / f"{comment}.md"
        if not path.exists():
            return False
        _write(path, body)
        return True

    def delete(self, number: int, comment: int) -> None:
        """Delete a comment; do nothing if somebody else did."""
        (self._comments(number) / f"{comment}.md").unlink(missing_ok=True)

    def set_status(self, commit: str, status: CommitStatus) -> None:
        """Write the check into `statuses/COMMIT.json`, by its name."""
        name = f"statuses/{commit}.json"
        found = self._read(name) if (self.folder / name).exists() else {}
        (self.folder / "statuses").mkdir(parents=True, exist_ok=True)
        _write(self.folder / name, json.dumps({**found, status.context: asdict(status)}, indent=2) + "\n")

    def reviews(self, pull: PullRequest) -> Sequence[Review]:
        """Return the verdicts in `reviews/NUMBER.json`: objects with account, verdict and commit."""
        name = f"reviews/{pull.number}.json"
        if not (self.folder / name).exists():
            return []
        found = self._parsed(name)
        fields = ("account", "verdict", "commit")
        if not isinstance(found, list) or not all(
            isinstance(each, dict) and all(isinstance(each.get(field), str) for field in fields) for each in found
        ):
            what = f"{self.folder}/{name}: write a list of objects with account, verdict and commit."
            raise ProviderError(Problem("Not reviews", what, fix=_FORMS))
        return [Review(*(each[field] for field in fields)) for each in found]

    def members(self, owner: str) -> frozenset[str]:
        """Return the accounts of an owner: the members in `teams.json`, or else `@name` itself."""
        teams = self._read("teams.json") if (self.folder / "teams.json").exists() else {}
        return frozenset(str(each).removeprefix("@").casefold() for each in teams.get(owner, [owner]))

    def planned_files(self, pull: PullRequest, name: str) -> Mapping[str, str] | None:
        """Return the files of `artifacts/HEAD/NAME/`."""
        return self._texts(self.folder / "artifacts" / pull.head / name)

    def newest_files(self, name: str) -> Mapping[str, str] | None:
        """Return the files of `artifacts/default/NAME/`."""
        return self._texts(self.folder / "artifacts" / "default" / name)

    def _texts(self, folder: Path) -> Mapping[str, str] | None:
        if not folder.is_dir():
            return None
        return {each.name: each.read_text(encoding="utf-8") for each in folder.iterdir() if each.is_file()}

    def _read(self, name: str) -> dict[str, Any]:
        found = self._parsed(name)
        if not isinstance(found, dict):
            raise ProviderError(
                Problem("File cannot be read", f"{self.folder}/{name} is not a JSON object.", fix=_FORMS)
            )
        return found

    def _parsed(self, name: str) -> Any:
        try:
            return json.loads((self.folder / name).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not JSON"
            raise ProviderError(
                Problem("File cannot be read", f"{self.folder}/{name}: {reason}.", fix=_FORMS)
            ) from None


def _write(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
