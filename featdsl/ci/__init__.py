"""The pull-request kit: what a job of a CI does with plans, approvals, environments and the catalogue.

A provider is where pull requests live. `github`, `gitlab` and `files` implement the protocol of this module; the jobs know no
provider.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol


@dataclass(frozen=True, kw_only=True)
class PullRequest:
    """A pull request, or a merge request of GitLab.

    `head` is its newest commit, `base` a commit of the target branch that it starts from. `source` identifies the repository of
    its branch.
    """

    number: int
    head: str
    base: str
    author: str
    is_fork: bool
    state: Literal["open", "merged", "closed"]
    source: str = ""


@dataclass(frozen=True)
class Review:
    """The newest verdict of an account on a pull request, and the commit that the account looked at."""

    account: str
    verdict: Literal["approved", "rejected", "withdrawn"]
    commit: str


@dataclass(frozen=True)
class Comment:
    """A comment of the account that the kit writes with."""

    id: int
    body: str


@dataclass(frozen=True)
class CommitStatus:
    """A check of a commit: it is named `context`, and `url` shows its details."""

    state: Literal["success", "pending", "failure"]
    context: str
    text: str
    url: str = ""


class Provider(Protocol):
    """Where pull requests live. Every method raises ProviderError if the provider refuses or does not answer."""

    @property
    def comment_limit(self) -> int:
        """The longest comment in bytes."""

    def pull_request(self, number: int) -> PullRequest:
        """Return a pull request."""

    def open_pull_requests(self) -> Sequence[PullRequest]:
        """Return the open pull requests."""

    def merged_as(self, commit: str) -> PullRequest | None:
        """Return the pull request whose merge made a commit of the target branch."""

    def comments(self, number: int) -> Sequence[Comment]:
        """Return the comments that the kit's own account wrote, the oldest first."""

    def post(self, number: int, body: str) -> None:
        """Write a new comment."""

    def edit(self, number: int, comment: int, body: str) -> bool:
        """Replace the text of a comment; return False if somebody deleted it."""

    def delete(self, number: int, comment: int) -> None:
        """Delete a comment; do nothing if somebody else did."""

    def set_status(self, commit: str, status: CommitStatus) -> None:
        """Set a check of a commit."""

    def reviews(self, pull: PullRequest) -> Sequence[Review]:
        """Return the newest verdict of each reviewing account."""

    def members(self, owner: str) -> frozenset[str]:
        """Return the accounts, in lower case and without `@`, of an owner in CODEOWNERS: one account, or a team's."""

    def planned_files(self, pull: PullRequest, name: str) -> Mapping[str, str] | None:
        """Return the files of the newest artifact `name` that a run of the pull request's head left, None if there is none."""

    def newest_files(self, name: str) -> Mapping[str, str] | None:
        """Return the files of the newest artifact `name` that a run of the default branch left, None if there is none."""


@dataclass(frozen=True)
class JobRun:
    """What a job runs for: a pull request, a commit, or both; `url` shows the run."""

    provider: Provider
    number: int | None = None
    commit: str = ""
    url: str = ""
