"""A server that speaks the part of GitLab's REST API that the kit uses."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote

from tests.ci.forge import Forge, Left, Note, Pull

PROJECT, FORK = 1, 2
WRITE, READ = "write-token", "read-token"
ACCOUNT = "features-bot"
REFUSED = 403, {"message": "403 Forbidden"}
MISSING = 404, {"message": "404 Not found"}
STATES = {"open": "opened", "closed": "closed", "merged": "merged"}


def pull_json(pull: Pull) -> dict[str, Any]:
    """Return a merge request as GitLab writes it."""
    return {
        "iid": pull.number,
        "state": STATES[pull.state],
        "sha": pull.head,
        "merge_commit_sha": pull.merge_commit,
        "squash_commit_sha": None,
        "author": {"username": pull.author},
        "source_project_id": FORK if pull.is_fork else PROJECT,
        "target_project_id": PROJECT,
        "diff_refs": {"base_sha": pull.base, "start_sha": pull.base, "head_sha": pull.head},
    }


def note_json(note: Note) -> dict[str, Any]:
    """Return a note as GitLab writes it."""
    at = note.at.isoformat()
    return {
        "id": note.id,
        "body": note.body,
        "author": {"username": note.author},
        "system": note.system,
        "created_at": at,
    }


class GitLabServer:
    """Answers calls from the state of a forge."""

    def __init__(self, forge: Forge) -> None:
        self.forge = forge
        self.url = ""

    def handle(self, method: str, path: str, query: dict[str, str], body: Any, token: str) -> tuple[int, object]:
        """Answer one call."""
        if token not in {WRITE, READ}:
            return 401, {"message": "401 Unauthorized"}
        inside = path.removeprefix("/api/v4")
        if inside == "/user":
            return 200, {"username": ACCOUNT}
        if found := re.fullmatch(r"/groups/([^/]+)/members/all", inside):
            members = self.forge.teams.get(f"@{unquote(found[1])}")
            return (200, [{"username": each} for each in members]) if members is not None else MISSING
        if found := re.match(r"/projects/(\d+)/(?=pipelines/|jobs/\d)", inside):
            return self._job(int(found[1]), inside[found.end() - 1 :])
        inside = inside.removeprefix(f"/projects/{PROJECT}")
        if method != "GET":
            return self._write(method, inside, body) if token == WRITE else REFUSED
        return self._read(inside, query)

    def _read(self, path: str, query: dict[str, str]) -> tuple[int, object]:
        forge = self.forge
        if not path:
            return 200, {"default_branch": "main"}
        if path == "/merge_requests":
            return 200, [pull_json(each) for each in forge.pulls.values() if each.state == "open"]
        if found := re.fullmatch(r"/merge_requests/(\d+)(/\w+)?", path):
            return self._of_pull(int(found[1]), found[2] or "")
        if found := re.fullmatch(r"/repository/commits/(\w+)/merge_requests", path):
            return 200, [pull_json(each) for each in forge.pulls.values() if found[1] in {each.merge_commit, each.head}]
        if path == "/jobs/artifacts/main/download":
            named = [
                each
                for each in forge.artifacts
                if (each.name, each.branch, each.is_fork) == (query["job"], "main", False)
            ]
            return (200, named[-1].zipped) if named else MISSING
        return MISSING

    def _of_pull(self, number: int, part: str) -> tuple[int, object]:
        forge, pull = self.forge, self.forge.pulls.get(number)
        if pull is None:
            return MISSING
        if part == "/notes":
            return 200, [note_json(each) for each in forge.notes if each.number == number]
        if part == "/approvals":
            approving = {account for of, account, state, _ in forge.reviews if of == number and state == "APPROVED"}
            return 200, {"approved_by": [{"user": {"username": each}} for each in sorted(approving)]}
        if part == "/versions":
            found = [{"head_commit_sha": sha, "created_at": at.isoformat()} for at, sha in pull.versions]
            return 200, found[::-1]
        if part == "/pipelines":
            project = FORK if pull.is_fork else PROJECT
            own = [each for each in forge.artifacts if each.is_fork == pull.is_fork]
            left = [each for each in own if each.commit in {sha for _, sha in pull.versions}]
            return 200, [{"id": each.id, "sha": each.commit, "project_id": project} for each in left[::-1]]
        return 200, pull_json(pull)

    def _job(self, project: int, path: str) -> tuple[int, object]:
        """Answer calls about pipelines and jobs, which lie in the project that they ran in."""
        left: dict[int, Left] = {each.id: each for each in self.forge.artifacts}
        found = re.fullmatch(r"/(pipelines|jobs)/(\d+)/(jobs|artifacts)", path)
        if not found or project != (FORK if left[int(found[2])].is_fork else PROJECT):
            return MISSING
        one = left[int(found[2])]
        if found[1] == "jobs":
            return 200, one.zipped
        other = {"id": one.id + 1000, "name": "test"}
        return 200, [other, {"id": one.id, "name": one.name, "artifacts_file": {"filename": "artifacts.zip"}}]

    def _write(self, method: str, path: str, body: Any) -> tuple[int, object]:
        forge = self.forge
        if found := re.fullmatch(r"/merge_requests/(\d+)/notes", path):
            return 201, note_json(forge.comment(int(found[1]), ACCOUNT, body["body"]))
        if found := re.fullmatch(r"/merge_requests/(\d+)/notes/(\d+)", path):
            note = next((each for each in forge.notes if each.id == int(found[2])), None)
            if note is None:
                return MISSING
            if method == "DELETE":
                forge.notes.remove(note)
                return 204, None
            note.body = body["body"]
            return 200, note_json(note)
        if found := re.fullmatch(r"/statuses/(\w+)", path):
            return self._status(found[1], body)
        return MISSING

    def _status(self, commit: str, body: Any) -> tuple[int, object]:
        before = [state for sha, name, state, _ in self.forge.statuses if (sha, name) == (commit, body["name"])]
        if before and before[-1] == body["state"] == "pending":
            return 400, {"message": "Cannot transition status via :enqueue from :pending"}
        self.forge.statuses.append((commit, body["name"], body["state"], body["description"]))
        return 201, {}
