"""Which reviews count, by the APIs of both providers, and answers that are of another form."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from featdsl.ci import Provider, PullRequest, Review, owners, reviews
from featdsl.ci.github import GitHub
from featdsl.ci.gitlab import GitLab
from featdsl.ci.http import Client
from featdsl.errors import ProviderError
from tests.ci import github_server, gitlab_server
from tests.ci.forge import Answer, Forge, Left, Pull, serving

OLD, HEAD = "1" * 40, "2" * 40


def client(url: str, header: str, token: str) -> Client:
    """Return a client that does not wait."""
    return Client("Provider", url, {header: token}, sleep=lambda _: None)


@contextmanager
def a_github(forge: Forge) -> Iterator[Provider]:
    """Serve a GitHub, and return its provider."""
    server = github_server.GitHubServer(forge)
    with serving(forge, server.handle, "Authorization") as url:
        server.url = url
        writes, teams = (client(url, "Authorization", f"Bearer {each}") for each in ("write-token", "teams-token"))
        yield GitHub(writes, teams, github_server.REPOSITORY)


@contextmanager
def a_gitlab(forge: Forge) -> Iterator[Provider]:
    """Serve a GitLab, and return its provider."""
    with serving(forge, gitlab_server.GitLabServer(forge).handle, "PRIVATE-TOKEN") as url:
        yield GitLab(client(f"{url}/api/v4", "PRIVATE-TOKEN", "write-token"), "1")


@pytest.fixture
def forge() -> Forge:
    """A pull request with two commits, of ann."""
    made = Forge(teams={"@bank/lenders": ["Lena", "lou"], "@everyone": ["bob"]})
    made.pulls[1] = Pull(1, "0" * 40, "ann", False, [(made.now(), OLD)])  # noqa: FBT003 - no fork
    return made


def pushed(forge: Forge) -> None:
    """Move the pull request to its second commit."""
    forge.pulls[1].versions.append((forge.now(), HEAD))


def approved(forge: Forge, account: str) -> None:
    """Approve the newest commit."""
    forge.reviews.append((1, account, "APPROVED", forge.pulls[1].head))
    forge.comment(1, account, "approved this merge request", system=True)


@pytest.mark.parametrize("serve", [a_github, a_gitlab])
def test_an_approval_is_of_the_commit_at_its_time(serve: Callable[[Forge], Iterator[Provider]], forge: Forge) -> None:
    """GitHub says which, GitLab when."""
    approved(forge, "lena")
    pushed(forge)
    approved(forge, "bob")
    with serve(forge) as provider:  # type: ignore[attr-defined]
        found = provider.reviews(provider.pull_request(1))
    assert {(each.account, each.commit) for each in found} == {("lena", OLD), ("bob", HEAD)}


def test_an_account_that_asks_for_changes_does_not_approve(forge: Forge, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though it approved the same commit before."""
    monkeypatch.setattr(owners, "at", lambda *_: owners.TeamOwners({"codeowners": {"lending": "@lena"}}, "", ""))
    pull = PullRequest(number=1, head=OLD, base=OLD, author="ann", is_fork=False, state="open")
    found = []
    with a_github(forge) as provider:
        for verdict in ("APPROVED", "CHANGES_REQUESTED"):
            forge.reviews.append((1, "lena", verdict, OLD))
            found.append(reviews.approving(["lending"], pull, provider, Path()))
    assert found == [("lending",), ()]


@pytest.mark.parametrize("serve", [a_github, a_gitlab])
def test_artifacts_of_other_repositories_do_not_count(
    serve: Callable[[Forge], Iterator[Provider]], forge: Forge
) -> None:
    """A fork has a branch main too, and may have the same commit."""
    pushed(forge)
    for commit, is_fork, branch, text in (
        (HEAD, False, "topic", "own"), (HEAD, True, "topic", "forked"), (OLD, False, "topic", "older"),
        (OLD, False, "main", "published"), (OLD, True, "main", "forged"),
    ):  # fmt: skip
        forge.artifacts.append(Left(forge.next_id(), "x", commit, is_fork, branch, {"file": text}))
    with serve(forge) as provider:  # type: ignore[attr-defined]
        planned = provider.planned_files(provider.pull_request(1), "x")
        assert provider.planned_files(provider.pull_request(1), "y") is None
        newest = provider.newest_files("x")
    assert (planned, newest) == ({"file": "own"}, {"file": "published"})


def test_the_newest_verdict_of_an_account_counts(forge: Forge) -> None:
    """A comment after an approval changes nothing; a request for changes, or a dismissal, does."""
    for account, states in {
        "a": ["APPROVED", "COMMENTED"],
        "b": ["APPROVED", "CHANGES_REQUESTED"],
        "c": ["APPROVED", "DISMISSED"],
    }.items():
        forge.reviews += [(1, account, state, OLD) for state in states]
    with a_github(forge) as provider:
        found = provider.reviews(provider.pull_request(1))
    assert [each.verdict for each in found] == ["approved", "rejected", "withdrawn"]


def test_an_approval_at_an_unknown_time_is_of_no_commit(forge: Forge) -> None:
    """A GitLab whose notes are gone."""
    forge.reviews.append((1, "lena", "APPROVED", OLD))
    with a_gitlab(forge) as provider:
        assert provider.reviews(provider.pull_request(1)) == [Review("lena", "approved", "")]


@pytest.mark.parametrize(
    ("serve", "owner", "members"),
    [
        (a_github, "@bank/lenders", {"lena", "lou"}),
        (a_github, "@Bob", {"bob"}),
        (a_gitlab, "@bank/lenders", {"lena", "lou"}),
        (a_gitlab, "@everyone", {"bob"}),
        (a_gitlab, "@Bob", {"bob"}),
        (a_gitlab, "@no/group", set()),
    ],
)
def test_the_members_of_an_owner(
    serve: Callable[[Forge], Iterator[Provider]], owner: str, members: set[str], forge: Forge
) -> None:
    """An account, a team of an organisation, or a group."""
    with serve(forge) as provider:  # type: ignore[attr-defined]
        assert provider.members(owner) == members


def test_a_team_that_the_token_may_not_see(forge: Forge) -> None:
    """The error names the variable that helps."""
    with a_github(forge) as provider, pytest.raises(ProviderError, match="by a token in FEATDSL_TEAMS_TOKEN"):
        provider.members("@bank/other")


@pytest.mark.parametrize(
    ("accounts", "author", "teams"),
    [
        ([("Lena", HEAD)], "ann", ("lending",)),
        ([("lena", OLD)], "ann", ()),
        ([("lena", HEAD)], "LENA", ()),
        ([("bob", HEAD)], "ann", ("accounts",)),
        ([("bob", HEAD), ("lou", HEAD)], "ann", ("accounts", "lending")),
        ([("eve", HEAD)], "ann", ()),
    ],
    ids=["owner", "older commit", "author", "account", "both", "stranger"],
)
def test_an_account_speaks_for_the_teams_that_it_owns(
    accounts: list[tuple[str, str]], author: str, teams: tuple[str, ...], forge: Forge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Accounts are compared without regard to case. A team without owners, and one owned by an address, is never approved."""
    settings = {"codeowners": {"lending": ["@bank/lenders"], "accounts": ["@Bob"], "risk": ["eve@example.com"]}}
    monkeypatch.setattr(owners, "at", lambda *_: owners.TeamOwners(settings, "", ""))
    forge.reviews += [(1, account, "APPROVED", commit) for account, commit in accounts]
    pull = PullRequest(number=1, head=HEAD, base=OLD, author=author, is_fork=False, state="open")
    with a_github(forge) as provider:
        assert reviews.approving(["risk", "lending", "accounts", "other"], pull, provider, Path()) == teams


CALLS: dict[str, Callable[[Provider], object]] = {
    "pull_request": lambda provider: provider.pull_request(1),
    "open_pull_requests": lambda provider: provider.open_pull_requests(),
    "merged_as": lambda provider: provider.merged_as(HEAD),
    "comments": lambda provider: provider.comments(1),
    "members": lambda provider: provider.members("@bank/lenders"),
    "newest_files": lambda provider: provider.newest_files("x"),
    "reviews": lambda provider: provider.reviews(
        PullRequest(number=1, head=HEAD, base=OLD, author="ann", is_fork=False, state="open")
    ),
    "planned_files": lambda provider: provider.planned_files(
        PullRequest(number=1, head=HEAD, base=OLD, author="ann", is_fork=False, state="open"), "x"
    ),
}


@pytest.mark.parametrize("serve", [a_github, a_gitlab])
@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("body", [{}, [], None, "text", 3, [1], [{}], {"artifacts": [{}]}, {"approved_by": 3}], ids=str)
def test_an_answer_of_another_form(
    serve: Callable[[Forge], Iterator[Provider]], name: str, body: object, forge: Forge
) -> None:
    """A proxy answers with other JSON: a plain error, or nothing found."""
    forge.scripted += [Answer("GET", "", 200, body) for _ in range(5)]
    with serve(forge) as provider:  # type: ignore[attr-defined]
        try:
            found = CALLS[name](provider)
        except ProviderError as error:
            assert "answered strangely" in str(error)  # noqa: PT017 - nothing found is as good
        else:
            assert not found
