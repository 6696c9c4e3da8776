"""The comment with a plan: one for each project and environment of a pull request, found again by its marks.

The first line and the last line are marks that no reader sees. The last one names the commit and the plan, and has a digest of the
text between, so that an edited comment is noticed.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass

from featdsl.ci import Comment, Provider
from featdsl.plan.document import Plan
from featdsl.render import markdown

_FOLDED = 6_000
"""From this length in bytes on, all below the verdict is collapsed."""
_FRAME = 400
"""Bytes reserved for marks and for the lines around the plan."""
_SEAL = re.compile(r"<!-- featdsl seal: (\{.*?\}) -->")


@dataclass(frozen=True, kw_only=True)
class PlanComment:
    """What the comment says of a plan: its commit, its digest and the page of its run. `outcome` leads it after the merge."""

    plan: Plan
    digest: str
    commit: str
    url: str = ""
    outcome: str = ""

    def body(self, limit: int) -> str:
        """Return the comment's text of at most `limit` bytes."""
        room = limit - _FRAME - len(self.url.encode()) - len(self.outcome.encode())
        shown = _folded(markdown(self.plan, room - _FRAME))
        page = f"[The whole plan and its run]({self.url})" if self.url else "The run has the whole plan."
        lead = f"{self.outcome}\n\n" if self.outcome else ""
        text = f"{lead}{shown}\n---\nPlan of the commit {self.commit[:12]}. {page}"
        mark = _mark(self.plan.project, self.plan.environment)
        seal = {
            "project": self.plan.project,
            "environment": self.plan.environment,
            "commit": self.commit,
            "plan": self.digest,
            "text": _digest(text),
        }
        return f"{mark}\n{text}\n<!-- featdsl seal: {json.dumps(seal)} -->"


@dataclass(frozen=True)
class SealedPlan:
    """What the last mark of a comment says. `is_edited` tells that the comment's text was changed since."""

    commit: str
    digest: str
    is_edited: bool


def sealed(body: str) -> SealedPlan | None:
    """Return what a comment's last mark says, None if it is gone or damaged."""
    found = _seal(body)
    if found is None:
        return None
    text = _SEAL.sub("", body.replace("\r\n", "\n")).partition("\n")[2].rstrip("\n")
    return SealedPlan(str(found.get("commit")), str(found.get("plan")), _digest(text) != found.get("text"))


def own(provider: Provider, number: int, project: str, environment: str) -> list[Comment]:
    """Return the comments on a plan of a project and environment, the oldest first: one, unless two runs met."""
    mark = _mark(project, environment)
    return [
        each
        for each in provider.comments(number)
        if mark in each.body or _names(_seal(each.body)) == (project, environment)
    ]


def put(provider: Provider, number: int, said: PlanComment) -> None:
    """Write the comment, in place of an earlier one.

    After writing, look again: of two runs that met, each deletes all but the oldest comment, and writes its own text there.
    """
    body = said.body(provider.comment_limit)
    place = (provider, number, said.plan.project, said.plan.environment)
    found = own(*place)
    if not found or not _update(provider, number, found[0], body):
        provider.post(number, body)
    oldest, *younger = own(*place) or [Comment(0, body)]  # none if somebody deleted it at once
    for each in younger:
        provider.delete(number, each.id)
    _update(provider, number, oldest, body)


def _update(provider: Provider, number: int, comment: Comment, body: str) -> bool:
    """Replace a comment's text where it differs; return False if somebody deleted the comment."""
    return comment.body == body or provider.edit(number, comment.id, body)


def _mark(project: str, environment: str) -> str:
    return f"<!-- featdsl plan: {project} {environment} -->"


def _seal(body: str) -> dict[str, object] | None:
    found = _SEAL.findall(body)
    try:
        values = json.loads(found[-1]) if found else None
    except ValueError:
        return None
    return values if isinstance(values, dict) else None


def _names(seal: dict[str, object] | None) -> tuple[object, object] | None:
    return (seal.get("project"), seal.get("environment")) if seal else None


def _digest(text: str) -> str:
    plain = "\n".join(line.rstrip() for line in text.replace("\r\n", "\n").strip().splitlines())
    return hashlib.sha256(plain.encode()).hexdigest()[:16]


def _folded(text: str) -> str:
    """Return a long plan with everything below its verdict collapsed."""
    title, verdict, rest = [*text.split("\n\n", 2), "", ""][:3]
    if len(text.encode()) < _FOLDED or not rest:
        return text
    return f"{title}\n\n{verdict}\n\n<details><summary>The plan</summary>\n\n{rest.rstrip()}\n\n</details>\n"
