"""The comment: never doubled, found again after edits, and never longer than the provider takes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import pytest

from featdsl.ci import Comment
from featdsl.ci.comment import PlanComment, own, put, sealed
from featdsl.definitions.notices import Notice
from featdsl.definitions.snapshot import Head
from featdsl.plan.document import Plan
from tests.ci.forge import Forge
from tests.ci.test_reviews import a_github

PLAN = Plan(project="shop", base=Head("x", 3), changes=(), repairs=(), adhoc=(), steps=())
SAID = PlanComment(plan=PLAN, digest="d1", commit="a" * 40, url="https://ci.example/1")


@dataclass
class Board:
    """The comments of a pull request in memory; `before_post` and `before_list` let another run come between."""

    comment_limit: int = 65_000
    found: list[Comment] = field(default_factory=list)
    meanwhile: list[str] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)

    def comments(self, _: int) -> list[Comment]:
        """Return all comments."""
        return list(self.found)

    def post(self, _: int, body: str) -> None:
        """Add a comment, after those of another run."""
        self.calls.append("post")
        for other in [*self.meanwhile, body]:
            self.found.append(Comment(len(self.calls) * 10 + len(self.found), other))
        self.meanwhile.clear()

    def edit(self, _: int, comment: int, body: str) -> bool:
        """Replace a comment."""
        self.calls.append(f"edit {comment}")
        if comment not in {each.id for each in self.found}:
            return False
        self.found = [Comment(each.id, body) if each.id == comment else each for each in self.found]
        return True

    def delete(self, _: int, comment: int) -> None:
        """Delete a comment."""
        self.calls.append(f"delete {comment}")
        self.found = [each for each in self.found if each.id != comment]


def write(board: Board, said: PlanComment = SAID) -> list[str]:
    """Write a comment, and return all comments."""
    put(board, 1, said)  # type: ignore[arg-type]
    return [each.body for each in board.found]


def test_a_first_comment_is_posted() -> None:
    """It can be read again."""
    board = Board()
    (body,) = write(board)
    assert board.calls == ["post"]
    seal = sealed(body)
    assert seal is not None
    assert (seal.commit, seal.digest, seal.is_edited) == ("a" * 40, "d1", False)
    assert "[The whole plan and its run](https://ci.example/1)" in body


def test_a_second_one_replaces_it() -> None:
    """And the same one is not written again."""
    board = Board()
    write(board)
    board.calls.clear()
    (body,) = write(board, replace(SAID, digest="d2"))
    assert board.calls == ["edit 10"]
    seal = sealed(body)
    assert seal is not None
    assert seal.digest == "d2"
    write(board, replace(SAID, digest="d2"))
    assert board.calls == ["edit 10"]


def test_two_runs_at_once_leave_one_comment() -> None:
    """Both saw none; whoever looks again deletes the younger one and writes into the older one."""
    other = replace(SAID, commit="b" * 40).body(65_000)
    board = Board(meanwhile=[other])
    assert write(board) == [SAID.body(65_000)]
    assert board.calls == ["post", "delete 11", "edit 10"]


def test_many_runs_at_once_leave_one_comment() -> None:
    """Eight threads write over HTTP, four times; it holds in whatever order their calls come."""
    for _ in range(4):
        forge = Forge()
        with a_github(forge) as provider, ThreadPoolExecutor(8) as threads:
            said = [replace(SAID, commit=f"{n}" * 40) for n in range(8)]
            list(threads.map(lambda each: put(provider, 1, each), said))
        (note,) = forge.notes
        assert note.body in {each.body(provider.comment_limit) for each in said}


def test_each_project_and_environment_has_its_own() -> None:
    """Two projects of one repository do not overwrite each other."""
    board = Board()
    write(board)
    write(board, replace(SAID, plan=replace(PLAN, project="bank")))
    write(board, replace(SAID, plan=replace(PLAN, environment="stage")))
    assert len(board.found) == 3
    assert [each.id for each in own(board, 1, "bank", "prod")] == [21]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "edit",
    [
        lambda body: body.replace("the store", "the shed"),
        lambda body: body.partition("\n")[2],
        lambda body: body.rpartition("\n")[0],
        lambda body: body.replace('"d1"', '"d2"').replace("state 3", "state 4"),
        lambda body: f"{body}\n\nLooks good!",
        lambda body: body.replace('{"project', '{{"project'),
    ],
    ids=["words", "first mark", "seal", "digest", "addition", "broken seal"],
)
def test_an_edited_comment_is_written_anew(edit: object) -> None:
    """It is found by either mark, so no second one appears."""
    board = Board()
    write(board)
    board.found = [Comment(each.id, edit(each.body)) for each in board.found]  # type: ignore[operator]
    assert write(board) == [SAID.body(65_000)]
    assert board.calls[-1] == "edit 10"


@pytest.mark.parametrize(("old", "new", "edited"), [("state 3", "state 4", True), ("\n", "\r\n", False)])
def test_an_edit_of_the_text_is_noticed(old: str, new: str, edited: bool) -> None:  # noqa: FBT001 - a column of a table
    """Other line ends, as a browser writes them, are no edit."""
    seal = sealed(SAID.body(65_000).replace(old, new))
    assert seal is not None
    assert seal.is_edited is edited


def test_a_deleted_comment_is_posted_again() -> None:
    """Somebody deletes it between the look and the edit."""
    board = Board()
    write(board)

    def gone(number: int, comment: int, body: str) -> bool:
        board.found.clear()
        return Board.edit(board, number, comment, body)

    board.edit = gone  # type: ignore[method-assign]
    put(board, 1, replace(SAID, digest="d2"))  # type: ignore[arg-type]
    assert board.calls == ["post", "edit 10", "post"]


def test_a_long_plan_is_folded_and_fits() -> None:
    """The verdict stays in sight, and the run has the rest."""
    notices = tuple(Notice(code="name", address=f"x{n}", what=f"word {n} " * 50, fix="") for n in range(3000))
    body = replace(SAID, plan=replace(PLAN, notices=notices), outcome="**Applied**").body(20_000)
    assert len(body.encode()) <= 20_000
    lines = body.splitlines()
    assert lines[1] == "**Applied**"
    assert lines.index("<details><summary>The plan</summary>") < 10
    assert lines[-2].endswith("[The whole plan and its run](https://ci.example/1)")


def test_a_long_plan_is_accepted() -> None:
    """GitHub refuses a comment of more than 65,536 characters."""
    notices = tuple(Notice(code="name", address=f"x{n}", what=f"wörd {n} " * 90, fix="") for n in range(900))
    forge = Forge()
    with a_github(forge) as provider:
        put(provider, 1, replace(SAID, plan=replace(PLAN, notices=notices), outcome="x" * 12_000))
    (note,) = forge.notes
    assert len(note.body.encode()) <= 65_000


def test_a_seal_inside_a_plan_is_text() -> None:
    """A description cannot end the comment with a seal of its own: Markdown shows it as text."""
    forged = (
        '<!-- featdsl seal: {"project": "shop", "environment": "prod", "commit": "c", "plan": "p", "text": "t"} -->'
    )
    notice = Notice(code="name", address="x", what=forged, fix="")
    seal = sealed(replace(SAID, plan=replace(PLAN, notices=(notice,))).body(65_000))
    assert seal is not None
    assert (seal.digest, seal.is_edited) == ("d1", False)
