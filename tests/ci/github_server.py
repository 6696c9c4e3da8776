# ruff: noqa: PLR0911 - a table of calls reads best as one list
"""A server that speaks the part of GitHub's REST API that the kit uses."""

from __future__ import annotations

import re
from typing import Any

from tests.ci.forge import BOT, Forge, Left, Note, Pull

REPOSITORY = "bank/features"
WRITE, READ, TEAMS = "write-token", "read-token", "teams-token"
REFUSED = 403, {"message": "Resource not accessible by integration", "status": "403"}
MISSING = 404, {"message": "Not Found", "status": "404"}


def pull_json(pull: Pull) -> dict[str, Any]:
    """Return a pull request as GitHub writes it."""
    repository = {"id": 2, "full_name": "stranger/features"} if pull.is_fork else {"id": 1, "full_name": REPOSITORY}
    return {
        "number": pull.number,
        "state": "open" if pull.state == "open" else "closed",
        "merged_at": "2026-01-02T00:00:00Z" if pull.state == "merged" else None,
        "merge_commit_sha": pull.merge_commit,
        "user": {"login": pull.author},
        "head": {"sha": pull.head, "ref": f"branch-{pull.number}", "repo": repository},
        "base": {"sha": pull.base, "ref": "main", "repo": {"id": 1, "full_name": REPOSITORY}},
    }


def comment_json(note: Note) -> dict[str, Any]:
    """Return a comment as GitHub writes it."""
    return {"id": note.id, "body": note.body, "user": {"login": note.author, "type": "Bot"}}


def artifact_json(left: Left) -> dict[str, Any]:
    """Return an artifact as GitHub writes it."""
    run = {
        "id": left.id,
        "repository_id": 1,
        "head_repository_id": 2 if left.is_fork else 1,
        "head_branch": left.branch,
        "head_sha": left.commit,
    }
    return {"id": left.id, "name": left.name, "expired": False, "workflow_run": run}


class GitHubServer:
    """Answers calls from the state of a forge."""

    def __init__(self, forge: Forge) -> None:
        self.forge = forge
        self.url = ""

    def handle(self, method: str, path: str, query: dict[str, str], body: Any, token: str) -> tuple[int, object]:
        """Answer one call."""
        if path.startswith("/download/"):
            assert not token, "the token followed a redirect"
            return 200, self._artifact(int(path.rpartition("/")[2])).zipped
        if token not in {WRITE, READ, TEAMS}:
            return 401, {"message": "Bad credentials"}
        if team := re.fullmatch(r"/orgs/([^/]+)/teams/([^/]+)/members", path):
            members = self.forge.teams.get(f"@{team[1]}/{team[2]}")
            return (200, [{"login": each} for each in members]) if members and token == TEAMS else MISSING
        inside = path.removeprefix(f"/repos/{REPOSITORY}")
        if inside == path:
            return MISSING
        if method != "GET" and token != WRITE:
            return REFUSED
        return self._write(method, inside, body) if method != "GET" else self._read(inside, query)

    def _read(self, path: str, query: dict[str, str]) -> tuple[int, object]:
        forge = self.forge
        if not path:
            return 200, {"default_branch": "main"}
        if path == "/pulls":
            return 200, [pull_json(each) for each in forge.pulls.values() if each.state == "open"]
        if found := re.fullmatch(r"/pulls/(\d+)(/reviews)?", path):
            number = int(found[1])
            if number not in forge.pulls:
                return MISSING
            return 200, self._reviews(number) if found[2] else pull_json(forge.pulls[number])
        if found := re.fullmatch(r"/commits/(\w+)/pulls", path):
            return 200, [pull_json(each) for each in forge.pulls.values() if found[1] in {each.merge_commit, each.head}]
        if found := re.fullmatch(r"/issues/(\d+)/comments", path):
            return 200, [comment_json(each) for each in forge.notes if each.number == int(found[1])]
        if path == "/actions/artifacts":
            named = [artifact_json(each) for each in forge.artifacts if each.name == query["name"]]
            return 200, {"total_count": len(named), "artifacts": named}
        if found := re.fullmatch(r"/actions/artifacts/(\d+)/zip", path):
            return 302, f"{self.url}/download/{found[1]}"
        return MISSING

    def _reviews(self, number: int) -> list[dict[str, Any]]:
        return [
            {"user": {"login": account}, "state": state, "commit_id": commit}
            for of, account, state, commit in self.forge.reviews
            if of == number
        ]

    def _write(self, method: str, path: str, body: Any) -> tuple[int, object]:
        forge = self.forge
        if found := re.fullmatch(r"/issues/(\d+)/comments", path):
            if len(body["body"]) > 65_536:
                return 422, {"message": "Validation Failed", "errors": [{"code": "too_long", "field": "body"}]}
            return 201, comment_json(forge.comment(int(found[1]), BOT, body["body"]))
        if found := re.fullmatch(r"/issues/comments/(\d+)", path):
            note = next((each for each in forge.notes if each.id == int(found[1])), None)
            if note is None:
                return MISSING
            if method == "DELETE":
                forge.notes.remove(note)
                return 204, None
            note.body = body["body"]
            return 200, comment_json(note)
        if found := re.fullmatch(r"/statuses/(\w+)", path):
            if body["state"] not in {"error", "failure", "pending", "success"} or len(body["description"]) > 140:
                return 422, {"message": "Validation Failed"}
            forge.statuses.append((found[1], body["context"], body["state"], body["description"]))
            return 201, {}
        return MISSING

    def _artifact(self, number: int) -> Left:
        return next(each for each in self.forge.artifacts if each.id == number)
