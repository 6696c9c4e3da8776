"""Merge requests on GitLab, by its REST API."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any
from urllib.parse import quote

from featdsl.ci import Comment, CommitStatus, PullRequest, Review
from featdsl.ci.artifacts import unzipped
from featdsl.ci.http import Client, understood
from featdsl.errors import ProviderError

_STATES = {"success": "success", "pending": "pending", "failure": "failed"}
_MISSING, _INVALID = 404, 400
_READ = "read_api scope and the role Reporter"
_WRITE = "api scope and the role Developer"
_SAME_STATE = "Cannot transition status"
"""What GitLab says when a status is set to the state that it has."""
_APPROVED = "approved this merge request"
"""The note that GitLab itself writes with each approval."""


@dataclass(frozen=True)
class GitLab:
    """A project on GitLab."""

    client: Client
    project: str

    @property
    def comment_limit(self) -> int:
        """The longest comment in bytes; GitLab counts a million characters."""
        return 900_000

    @property
    def _path(self) -> str:
        return f"/projects/{quote(self.project, safe='')}"

    @understood
    def pull_request(self, number: int) -> PullRequest:
        """Return a merge request."""
        return self._read(self.client.get(f"{self._path}/merge_requests/{number}", need=_READ))

    @understood
    def open_pull_requests(self) -> Sequence[PullRequest]:
        """Return the open merge requests; the list lacks their base commits, so each is read by itself."""
        found = self.client.pages(f"{self._path}/merge_requests", need=_READ, state="opened")
        return [self.pull_request(each["iid"]) for each in found]

    @understood
    def merged_as(self, commit: str) -> PullRequest | None:
        """Return the merge request whose merge made a commit: a merge commit, a squashed one, or a fast-forward."""
        for each in self.client.pages(f"{self._path}/repository/commits/{commit}/merge_requests", need=_READ):
            made = {each.get(name) for name in ("merge_commit_sha", "squash_commit_sha", "sha")}
            if each["state"] == "merged" and commit in made:
                return self.pull_request(each["iid"])
        return None

    @cached_property
    def _account(self) -> str:
        found: str = self.client.get("/user", need=_READ)["username"]
        return found

    @understood
    def comments(self, number: int) -> Sequence[Comment]:
        """Return the comments of the token's account, the oldest first."""
        own = [each for each in self._notes(number) if each["author"]["username"] == self._account]
        found = [Comment(each["id"], each["body"]) for each in own if not each.get("system")]
        return sorted(found, key=lambda each: each.id)

    def _notes(self, number: int) -> Iterator[Any]:
        return self.client.pages(f"{self._path}/merge_requests/{number}/notes", need=_READ, sort="asc")

    def post(self, number: int, body: str) -> None:
        """Write a new comment."""
        self.client.send("POST", f"{self._path}/merge_requests/{number}/notes", {"body": body}, need=_WRITE)

    def edit(self, number: int, comment: int, body: str) -> bool:
        """Replace the text of a comment; return False if somebody deleted it."""
        return self._changed("PUT", f"{self._path}/merge_requests/{number}/notes/{comment}", {"body": body})

    def delete(self, number: int, comment: int) -> None:
        """Delete a comment; do nothing if somebody else did."""
        self._changed("DELETE", f"{self._path}/merge_requests/{number}/notes/{comment}", None)

    def _changed(self, method: str, path: str, body: Mapping[str, object] | None) -> bool:
        try:
            self.client.send(method, path, body, need=_WRITE)
        except ProviderError as error:
            if error.status != _MISSING:
                raise
            return False
        return True

    def set_status(self, commit: str, status: CommitStatus) -> None:
        """Set a check of a commit. GitLab refuses the state that the check has, which is as good."""
        body = {"state": _STATES[status.state], "name": status.context, "description": status.text[:250]}
        body |= {"target_url": status.url} if status.url else {}
        try:
            self.client.send("POST", f"{self._path}/statuses/{commit}", body, need=_WRITE)
        except ProviderError as error:
            if error.status != _INVALID or _SAME_STATE not in str(error):
                raise

    @understood
    def reviews(self, pull: PullRequest) -> Sequence[Review]:
        """Return the approvals that stand, each with the head at its time.

        GitLab keeps no commit with an approval, so its time tells which version of the merge request was approved. An approval
        without a known time is of no commit.
        """
        path = f"{self._path}/merge_requests/{pull.number}"
        found = self.client.get(f"{path}/approvals", need=_READ).get("approved_by") or []
        if not found:
            return []
        noted = self._approval_times(pull.number)
        versions = sorted(
            (_time(each["created_at"]), each["head_commit_sha"])
            for each in self.client.pages(f"{path}/versions", need=_READ)
        )
        reviews = []
        for each in found:
            account = each["user"]["username"]
            at = _time(each["approved_at"]) if each.get("approved_at") else noted.get(account)
            seen = [head for since, head in versions if at is not None and since <= at]
            reviews.append(Review(account, "approved", seen[-1] if seen else ""))
        return reviews

    def _approval_times(self, number: int) -> dict[str, datetime]:
        """Return when each account approved last, by the notes of GitLab itself."""
        return {
            each["author"]["username"]: _time(each["created_at"])
            for each in self._notes(number)
            if each.get("system") and each["body"] == _APPROVED
        }

    @understood
    def members(self, owner: str) -> frozenset[str]:
        """Return the accounts of an owner: the members of a group, or else `@name` itself."""
        name = owner.removeprefix("@")
        try:
            found = list(self.client.pages(f"/groups/{quote(name, safe='')}/members/all", need=_READ))
        except ProviderError as error:
            if error.status != _MISSING:
                raise
            return frozenset() if "/" in name else frozenset({name.casefold()})
        return frozenset(each["username"].casefold() for each in found)

    @understood
    def planned_files(self, pull: PullRequest, name: str) -> Mapping[str, str] | None:
        """Return the files that the newest job `name` of the head left; pipelines of a fork run in the fork's project."""
        for pipeline in self.client.pages(f"{self._path}/merge_requests/{pull.number}/pipelines", need=_READ):
            if pipeline["sha"] != pull.head:
                continue
            project = f"/projects/{pipeline.get('project_id') or pull.source}"
            jobs = self.client.pages(f"{project}/pipelines/{pipeline['id']}/jobs", need=_READ)
            fitting = [each["id"] for each in jobs if each["name"] == name and each.get("artifacts_file")]
            archive = self.client.content(f"{project}/jobs/{max(fitting)}/artifacts", need=_READ) if fitting else None
            if archive is not None:
                return unzipped(archive, name)
        return None

    @understood
    def newest_files(self, name: str) -> Mapping[str, str] | None:
        """Return the files that the newest job `name` of the default branch left."""
        branch = self.client.get(self._path, need=_READ)["default_branch"]
        path = f"{self._path}/jobs/artifacts/{quote(branch, safe='')}/download?job={quote(name)}"
        archive = self.client.content(path, need=_READ)
        return None if archive is None else unzipped(archive, name)

    def _read(self, found: Mapping[str, Any]) -> PullRequest:
        commits = found.get("diff_refs") or {}
        source = found.get("source_project_id")
        return PullRequest(
            number=found["iid"],
            head=found["sha"],
            base=commits.get("start_sha") or commits.get("base_sha") or "",
            author=found["author"]["username"],
            is_fork=source != found["target_project_id"],
            state="open" if found["state"] in {"opened", "locked"} else found["state"],
            source=str(source or ""),
        )


def _time(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)
