"""Pull requests on GitHub, by its REST API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote

from featdsl.ci import Comment, CommitStatus, PullRequest, Review
from featdsl.ci.artifacts import unzipped
from featdsl.ci.http import Client, understood
from featdsl.errors import ProviderError

_VERDICTS: Mapping[str, Literal["approved", "rejected", "withdrawn"]] = {
    "APPROVED": "approved",
    "CHANGES_REQUESTED": "rejected",
    "DISMISSED": "withdrawn",
}
_MISSING = 404
_READ = "pull-requests: read"
_WRITE = "pull-requests: write"
_ARTIFACTS = "actions: read"


@dataclass(frozen=True)
class GitHub:
    """A repository on GitHub. `teams` is a client that may list the members of teams; `account` writes the comments."""

    client: Client
    teams: Client
    repository: str
    account: str = "github-actions[bot]"

    @property
    def comment_limit(self) -> int:
        """The longest comment in bytes; GitHub counts 65,536 characters."""
        return 65_000

    @property
    def _path(self) -> str:
        return f"/repos/{self.repository}"

    @understood
    def pull_request(self, number: int) -> PullRequest:
        """Return a pull request."""
        return self._read(self.client.get(f"{self._path}/pulls/{number}", need=_READ))

    @understood
    def open_pull_requests(self) -> Sequence[PullRequest]:
        """Return the open pull requests."""
        return [self._read(each) for each in self.client.pages(f"{self._path}/pulls", need=_READ, state="open")]

    @understood
    def merged_as(self, commit: str) -> PullRequest | None:
        """Return the pull request whose merge made a commit, by any of GitHub's three ways to merge."""
        for each in self.client.pages(f"{self._path}/commits/{commit}/pulls", need=_READ):
            if each.get("merged_at") and each.get("merge_commit_sha") == commit:
                return self._read(each)
        return None

    @understood
    def comments(self, number: int) -> Sequence[Comment]:
        """Return the comments of the kit's own account, the oldest first."""
        found = self.client.pages(f"{self._path}/issues/{number}/comments", need=_READ)
        own = [each for each in found if _login(each).casefold() == self.account.casefold()]
        return sorted((Comment(each["id"], each.get("body") or "") for each in own), key=lambda each: each.id)

    def post(self, number: int, body: str) -> None:
        """Write a new comment."""
        self.client.send("POST", f"{self._path}/issues/{number}/comments", {"body": body}, need=_WRITE)

    def edit(self, number: int, comment: int, body: str) -> bool:
        """Replace the text of a comment; return False if somebody deleted it."""
        del number  # ids of comments are unique in a repository
        return self._changed("PATCH", comment, {"body": body})

    def delete(self, number: int, comment: int) -> None:
        """Delete a comment; do nothing if somebody else did."""
        del number
        self._changed("DELETE", comment, None)

    def _changed(self, method: str, comment: int, body: Mapping[str, object] | None) -> bool:
        try:
            self.client.send(method, f"{self._path}/issues/comments/{comment}", body, need=_WRITE)
        except ProviderError as error:
            if error.status != _MISSING:
                raise
            return False
        return True

    def set_status(self, commit: str, status: CommitStatus) -> None:
        """Set a check of a commit."""
        body = {"state": status.state, "context": status.context, "description": status.text[:140]}
        body |= {"target_url": status.url} if status.url else {}
        self.client.send("POST", f"{self._path}/statuses/{commit}", body, need="statuses: write")

    @understood
    def reviews(self, pull: PullRequest) -> Sequence[Review]:
        """Return the newest verdict of each account; a mere comment changes no verdict."""
        newest: dict[str, Review] = {}
        for each in self.client.pages(f"{self._path}/pulls/{pull.number}/reviews", need=_READ):
            verdict = _VERDICTS.get(each["state"])
            if verdict:
                account = _login(each)
                newest[account.casefold()] = Review(account, verdict, each.get("commit_id") or "")
        return list(newest.values())

    @understood
    def members(self, owner: str) -> frozenset[str]:
        """Return the accounts of an owner: `@name`, or the members of `@organisation/team`."""
        organisation, _, team = owner.removeprefix("@").casefold().partition("/")
        if not team:
            return frozenset({organisation})
        path = f"/orgs/{quote(organisation)}/teams/{quote(team, safe='')}/members"
        need = "members: read of the organisation, by a token in FEATDSL_TEAMS_TOKEN"
        return frozenset(each["login"].casefold() for each in self.teams.pages(path, need=need))

    @understood
    def planned_files(self, pull: PullRequest, name: str) -> Mapping[str, str] | None:
        """Return the files of the newest artifact of the pull request's head, from the repository of its branch."""

        def is_of_head(run: Mapping[str, Any]) -> bool:
            same = not pull.source or str(run.get("head_repository_id")) == pull.source
            return run.get("head_sha") == pull.head and same

        return self._artifact(name, is_of_head)

    @understood
    def newest_files(self, name: str) -> Mapping[str, str] | None:
        """Return the files of the newest artifact of the default branch."""
        branch = self.client.get(self._path, need="contents: read")["default_branch"]

        def is_of_branch(run: Mapping[str, Any]) -> bool:
            same = run.get("head_repository_id") == run.get("repository_id")
            return run.get("head_branch") == branch and same

        return self._artifact(name, is_of_branch)

    def _artifact(self, name: str, wanted: Any) -> Mapping[str, str] | None:
        found = self.client.pages(f"{self._path}/actions/artifacts", need=_ARTIFACTS, name=name)
        fitting = [each for each in found if not each.get("expired") and wanted(each.get("workflow_run") or {})]
        if not fitting:
            return None
        newest = max(fitting, key=lambda each: each["id"])
        archive = self.client.content(f"{self._path}/actions/artifacts/{newest['id']}/zip", need=_ARTIFACTS)
        return None if archive is None else unzipped(archive, name)

    def _read(self, found: Mapping[str, Any]) -> PullRequest:
        head = found["head"]
        repository = head.get("repo") or {}
        return PullRequest(
            number=found["number"],
            head=head["sha"],
            base=found["base"]["sha"],
            author=_login(found),
            is_fork=repository.get("full_name", "").casefold() != self.repository.casefold(),
            state="merged" if found.get("merged_at") else "open" if found["state"] == "open" else "closed",
            source=str(repository.get("id") or ""),
        )


def _login(found: Mapping[str, Any]) -> str:
    """Return the account of a pull request, comment or review; a deleted one is `ghost`, as GitHub calls it."""
    return (found.get("user") or {}).get("login") or "ghost"
