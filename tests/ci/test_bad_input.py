"""What goes wrong: an error that says so, the comment never doubled, and nothing applied that was not reviewed."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from featdsl import pipeline
from featdsl.apply.events import ignore
from featdsl.apply.execute import apply
from featdsl.ci import event, git
from featdsl.ci.artifacts import unzipped
from featdsl.ci.files import PlainFiles
from featdsl.ci.merging import MergeJob
from featdsl.errors import ProviderError, StalePlanError
from featdsl.plan import planfile
from featdsl.project.settings import load
from featdsl.stores import open_store
from tests.ci import worlds
from tests.ci.worlds import PLAN, UNSET, World
from tests.conftest import Workspace

ACCOUNTS = "features/accounts/__init__.py"
LENDING = "features/lending/__init__.py"
ONE = """from featdsl import Entity, Feature, FeatureGroup, Source
class One(FeatureGroup, entity=Entity("one", keys={"user_id": int}), source=SOURCE):
    n = Feature(int, sql="n")
"""
PULL = '{"head": "a", "base": "b", "author": "ann", "is_fork": false, "state": "open"}'
NO_CI = dict.fromkeys(UNSET, "")


def commented(world: World, *, approved: bool = True) -> int:
    """Return a pull request that is planned, commented on and approved."""
    number = world.open(world.push("topic", {ACCOUNTS: lambda t: t.replace('"annual_income"', '"annual_income * 2"')}))
    world.plan(number)
    done = world.comment(number)
    assert done.returncode == 0, done.stderr
    if approved:
        world.approve(number, "lena")
    return number


def state(world: World) -> int:
    """Return the state of the store."""
    done = world.checkout(world.main).run("history", "--format", "json", **NO_CI)
    found: list[dict[str, int]] = json.loads(done.stdout)
    return found[0]["serial"]


# Without a world


def test_no_ci(bank: Workspace) -> None:
    """The command says what it needs."""
    done = bank.run("ci", "comment", **NO_CI)
    assert done.returncode == 1
    assert done.stderr.startswith(
        "Not a job of a CI\n  None of the variables FEATDSL_CI_FOLDER, GITHUB_ACTIONS, GITLAB_CI is set"
    )


def test_a_folder_that_is_no_repository(bank: Workspace) -> None:
    """As where the job forgot to check out."""
    bank.write({"provider/event.json": '{"number": 1, "commit": "a"}'})
    done = bank.run("ci", "plan", "--out", "plan", **{**NO_CI, "FEATDSL_CI_FOLDER": "provider"})
    assert done.returncode == 1
    assert done.stderr.startswith("Not a repository\n")
    assert done.stderr.endswith("Check the repository out in the job first.\n")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "Event cannot be read\n  {file}: No such file or directory."),
        ("", "Event cannot be read\n  {file}: it is not JSON."),
        ("[]", "Event cannot be read\n  {file}: it is not a JSON object."),
        (
            '{"pull_request": {"number": 1}}',
            "Not an event of GitHub\n  The event names a pull request or a run, but not its commit.",
        ),
        (
            '{"workflow_run": null}',
            "Not an event of GitHub\n  The event names a pull request or a run, but not its commit.",
        ),
    ],
)
def test_an_event_that_is_none(text: str | None, said: str, tmp_path: Path) -> None:
    """The error names the file."""
    file = tmp_path / "event.json"
    if text is not None:
        file.write_text(text, encoding="utf-8")
    with pytest.raises(ProviderError) as caught:
        event.read({"GITHUB_ACTIONS": "true", "GITHUB_EVENT_PATH": str(file), "GITHUB_REPOSITORY": "a/b"})
    assert str(caught.value).startswith(said.format(file=file))
    assert caught.value.problems[0].fix


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"GITHUB_ACTIONS": "true"}, "GITHUB_EVENT_PATH is not set"),
        ({"GITLAB_CI": "true"}, "CI_API_V4_URL is not set"),
        ({"GITLAB_CI": "true", "CI_API_V4_URL": "file:///etc", "CI_PROJECT_ID": "1"}, "does not begin with https://"),
        ({"GITLAB_CI": "true", "CI_API_V4_URL": "https://x", "CI_PROJECT_ID": "1", "CI_MERGE_REQUEST_IID": "x"}, "is no number"),
    ],
)  # fmt: skip
def test_variables_that_are_missing_or_wrong(variables: dict[str, str], said: str) -> None:
    """The error names the variable."""
    with pytest.raises(ProviderError, match=said):
        event.read(variables)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("pull_requests/1.json", None, "File cannot be read"),
        ("pull_requests/1.json", "nothing", "File cannot be read"),
        ("pull_requests/1.json", "[]", "File cannot be read"),
        ("pull_requests/1.json", "{}", "Not a pull request"),
        ("pull_requests/1.json", PULL.replace('"ann"', "3"), "Not a pull request"),
        ("pull_requests/1.json", PULL.replace('"open"', '"ajar"'), "Not a pull request"),
        ("reviews/1.json", '[{"account": "x"}]', "Not reviews"),
        ("reviews/1.json", "3", "Not reviews"),
        ("teams.json", "3", "File cannot be read"),
    ],
)
def test_plain_files_of_another_form(name: str, text: str | None, said: str, tmp_path: Path) -> None:
    """The error names the file."""
    for each, content in {"pull_requests/1.json": PULL, name: text}.items():
        (tmp_path / each).parent.mkdir(exist_ok=True)
        if content is not None:
            (tmp_path / each).write_text(content, encoding="utf-8")
        else:
            (tmp_path / each).unlink(missing_ok=True)
    provider = PlainFiles(tmp_path)

    def everything() -> None:
        provider.reviews(provider.pull_request(1))
        provider.members("@x")

    with pytest.raises(ProviderError, match=said) as caught:
        everything()
    assert str(tmp_path / name) in str(caught.value)


def test_an_archive_that_is_none() -> None:
    """A stranger made it."""
    with pytest.raises(ProviderError, match="Artifact is damaged\n  The artifact x cannot be read: "):
        unzipped(b"PK nothing", "x")


def test_the_head_is_found_in_a_clone_of_one_commit(tmp_path: Path) -> None:
    """A merge names its parents, even where the clone has none of them."""
    full, shallow = tmp_path / "full", tmp_path / "shallow"
    full.mkdir()
    worlds.git(full, "init", "-q")
    heads = []
    for name in ("one", "two"):
        worlds.git(full, "checkout", "-q", "--orphan", name)
        worlds.git(full, "commit", "-q", "--allow-empty", "-m", name)
        heads.append(worlds.git(full, "rev-parse", "HEAD"))
    worlds.git(full, "merge", "-q", "--allow-unrelated-histories", "-m", "Merge", "one")
    worlds.git(tmp_path, "clone", "-q", "--depth", "1", full.as_uri(), str(shallow))

    assert [git.is_of(shallow, each) for each in [*heads, git.commit_of(full), "f" * 40]] == [True, True, True, False]
    with pytest.raises(ProviderError, match="Commit is missing"):
        git.file_at(shallow, heads[0], "x")
    with pytest.raises(ProviderError, match="Commit is missing"):
        git.file_at(shallow, "--help", "x")


# Plans and comments


@pytest.mark.slow
def test_a_plan_of_another_commit(world: World) -> None:
    """The pull request got a commit after the plan: the comment stays as it is."""
    number = commented(world)
    before = world.comments(number)
    old = world.checkout(world.main)
    old.write({"plan/plan.json": "{}", "plan/commit": "0" * 40})
    world.update(number, world.push("topic", {"NOTES": "more"}))

    done = world.job(old, "comment", "--plan", "plan", number=number)
    assert done.returncode == 1
    assert done.stderr.startswith("Not a plan\n")
    unplanned = world.comment(number)
    assert unplanned.returncode == 1
    assert unplanned.stderr.startswith("Not planned\n")
    assert world.comments(number) == before


@pytest.mark.slow
def test_an_artifact_of_another_commit(github: World) -> None:
    """A fork's artifact may say anything of itself."""
    number = commented(github)
    pull, left = github.forge.pulls[number], github.forge.artifacts[-1]
    newer = github.push("topic", {"NOTES": "more"})
    github.update(number, newer)
    left.commit = newer
    done = github.comment(number)
    assert done.returncode == 1
    head = pull.versions[0][1][:12]
    assert f"Plan of another commit\n  The plan is of the commit {head}; the head of #1 is {newer[:12]}." in done.stderr


@pytest.mark.slow
def test_a_checkout_of_another_commit(github: World) -> None:
    """Neither a plan nor an apply is made of it."""
    head = github.push("topic", {"NOTES": "more"})
    number = github.open(head)
    plan = github.job(github.checkout(github.main), "plan", "--out", "plan", number=number, token=github.read)
    applied = github.job(github.checkout(github.main), "apply", commit=head)
    for done in (plan, applied):
        assert done.returncode == 1
        assert done.stderr.startswith("Other commit checked out\n")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "path", "status", "said"),
    [
        ("GET", "/pulls", 404, "GitHub does not find it"),
        ("GET", "/comments", 403, "GitHub refuses"),
        ("POST", "/comments", 422, "GitHub does not accept it"),
        ("POST", "/comments", 500, "GitHub fails"),
        ("POST", "/statuses", 403, "this permission: statuses: write"),
        ("GET", "/reviews", 403, "this permission: pull-requests: read"),
    ],
)
def test_a_refusal_of_the_provider(method: str, path: str, status: int, said: str, github: World) -> None:
    """The error names the call; there is never more than one comment, and the next run mends it."""
    number = github.open(
        github.push("topic", {ACCOUNTS: lambda t: t.replace('"annual_income"', '"annual_income * 2"')})
    )
    github.plan(number)
    github.script(method, path, status, body={"message": "no"})
    done = github.comment(number)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert len(github.comments(number)) <= 1
    assert github.comment(number).returncode == 0
    assert len(github.comments(number)) == 1


@pytest.mark.slow
def test_a_comment_that_failed_but_was_written(github: World) -> None:
    """The answer was lost; the next run finds the comment."""
    number = github.open(
        github.push("topic", {ACCOUNTS: lambda t: t.replace('"annual_income"', '"annual_income * 2"')})
    )
    github.plan(number)
    assert github.comment(number).returncode == 0
    body = github.forge.notes.pop().body
    github.script("POST", "/comments", 502, then=lambda: github.forge.comment(number, "github-actions[bot]", body))
    assert github.comment(number).returncode == 1
    assert github.comment(number).returncode == 0
    assert len(github.comments(number)) == 1


@pytest.mark.slow
@pytest.mark.parametrize(("method", "before"), [("GET", 0), ("POST", 0), ("PATCH", 1)])
def test_two_comment_jobs_at_once(method: str, before: int, github: World) -> None:
    """The other run does all of its work in the midst of this one; one comment is left."""
    number = github.open(
        github.push("topic", {ACCOUNTS: lambda t: t.replace('"annual_income"', '"annual_income * 2"')})
    )
    github.plan(number)
    if before:
        assert github.comment(number).returncode == 0
        github.update(number, github.push("topic", {"NOTES": "more"}))
        github.plan(number)
    inner: list[int] = []
    github.script(method, "/comments", 0, then=lambda: inner.append(github.comment(number).returncode))
    assert github.comment(number).returncode == 0
    assert inner == [0]
    assert len(github.comments(number)) == 1


@pytest.mark.slow
def test_a_comment_of_a_stranger_is_not_ours(github: World) -> None:
    """Somebody copies the marks: the kit neither edits that comment, nor takes it for the reviewed plan."""
    number = github.open(
        github.push("topic", {ACCOUNTS: lambda t: t.replace('"annual_income"', '"annual_income * 2"')})
    )
    github.plan(number)
    github.comment(number)
    copied = github.comments(number)[0][1]
    note = github.forge.notes.pop()
    note.author = "stranger"
    github.forge.notes.append(note)
    github.approve(number, "lena")
    done = github.apply(github.merge(number))
    assert done.returncode == 3
    assert "#1 has no comment with a plan of bank." in done.stderr
    assert note.body == copied


# Applies


@pytest.mark.slow
def test_a_comment_that_somebody_edited(world: World) -> None:
    """What the reviewers saw is unknown, so nothing is applied; a new plan writes the comment anew."""
    number = commented(world)
    before = state(world)
    world.rewrite(number, lambda body: body.replace("lending", "nobody"))
    done = world.apply(world.merge(number))
    assert done.returncode == 3
    assert "The comment with the plan of #1 was edited." in done.stderr
    assert state(world) == before
    assert len(world.comments(number)) == 1


@pytest.mark.slow
def test_an_approval_that_is_missing(world: World) -> None:
    """The merge was forced; the comment says why nothing was applied."""
    number = commented(world, approved=False)
    before = state(world)
    done = world.apply(world.merge(number))
    assert done.returncode == 3
    assert "Approval missing\n  lending has not approved the changes to: feature affordability.monthly." in done.stderr
    assert state(world) == before
    ((_, body),) = world.comments(number)
    assert body.splitlines()[1].startswith("**Not applied.** Approval missing: lending has not approved")


@pytest.mark.slow
def test_a_push_without_a_pull_request(world: World) -> None:
    """Nobody reviewed it."""
    before = state(world)
    commit = world.push("main", {ACCOUNTS: lambda text: text.replace("Age in whole years.", "Full years.")})
    done = world.apply(commit)
    assert done.returncode == 3
    assert f"No merge of a pull request made the commit {commit[:12]}." in done.stderr
    assert state(world) == before


@pytest.mark.slow
def test_a_push_that_changes_no_feature(github: World) -> None:
    """There is nothing to apply, so nobody need review it."""
    done = github.apply(github.push("main", {"NOTES": "more"}))
    assert (done.returncode, done.stdout) == (0, "The merged code changes nothing: nothing to apply.\n")


@pytest.mark.slow
def test_commits_after_the_comment(github: World) -> None:
    """A commit was pushed and merged before its plan was commented on."""
    number = commented(github)
    github.update(number, github.push("topic", {ACCOUNTS: lambda t: t.replace("income * 2", "income * 9")}))
    github.plan(number)
    github.approve(number, "lena")
    done = github.apply(github.merge(number))
    assert done.returncode == 3
    assert "The comment on #1 shows another plan than the newest one of" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("moved", ["head", "main"])
def test_another_plan_than_the_one_in_the_comment(moved: str, github: World) -> None:
    """A new commit with the same plan, or a new plan of the same commit, was never shown."""
    number = commented(github)
    if moved == "head":
        github.update(number, github.push("topic", {"NOTES": "more"}))
    else:
        commit = github.push("main", {ACCOUNTS: lambda text: text.replace("Age in whole years.", "Full years.")})
        assert github.checkout(commit).run("apply", "--yes", **NO_CI).returncode == 0
    github.plan(number)
    github.approve(number, "lena")
    done = github.apply(github.merge(number))
    assert done.returncode == 3
    assert "The comment on #1 shows another plan than the newest one of" in done.stderr


@pytest.mark.slow
def test_a_forged_plan_of_a_fork_is_not_applied(github: World) -> None:
    """The fork uploads the plan of harmless code; the merged code does something else."""
    harmless = github.push("harmless", {ACCOUNTS: lambda text: text.replace("Age in whole years.", "Full years.")})
    other = github.open(harmless)
    github.plan(other)
    evil = github.push("evil", {ACCOUNTS: lambda t: t.replace('"annual_income"', '"annual_income * 2"')})
    number = github.open(evil, author="stranger", is_fork=True)
    clone = github.checkout(harmless)
    clone.write({f"plan/{each}": text for each, text in github.forge.artifacts[-1].files.items()})
    clone.write({"plan/commit": evil})
    github.keep(PLAN, clone.root / "plan", evil, is_fork=True)
    assert github.comment(number).returncode == 0
    before = state(github)

    done = github.apply(github.merge(number))

    assert done.returncode == 4
    assert "annual_income * 2" in done.stderr
    assert state(github) == before


@pytest.mark.slow
def test_the_comment_fails_after_an_apply_that_was_refused(github: World) -> None:
    """Both are told, and the exit code is that of the first."""
    number = commented(github, approved=False)
    merge = github.merge(number)
    github.script("PATCH", "/comments", 403, body={"message": "no"})
    done = github.apply(merge)
    assert done.returncode == 3
    assert [line for line in done.stderr.splitlines() if not line.startswith(" ")] == [
        "Approval missing",
        "",
        "GitHub refuses",
        "",
        "2 problems found.",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("times", [1, 3])
def test_the_store_moves_on_between_plan_and_apply(times: int, github: World) -> None:
    """Another project applies meanwhile: the plan is made again, three times at most."""
    number = commented(github)
    merge = github.merge(number)
    clone, before = github.checkout(merge), state(github)
    other = Workspace(github.root / "other").write(
        {"featproject.toml": f'[project]\nname = "other"\n[store]\npath = "{github.store}"\n'}
    )
    made: list[int] = []

    def carry_out(planned: pipeline.Planned, teams: Sequence[str]) -> None:
        if len(made) < times:
            made.append(len(made))
            source = f'Source("s", sql="SELECT 1::BIGINT AS user_id, {len(made)} AS n")'
            other.write({"features/__init__.py": ONE.replace("SOURCE", source)})
            assert other.run("apply", "--yes", **NO_CI).returncode == 0
        apply(
            planned.plan,
            project,
            store,
            listen=ignore,
            rows=planned.rows,
            functions=planned.functions,
            approved_by=teams,
        )

    project = load(clone.root)
    store = open_store(project)
    job = MergeJob(project, store, event.read(github.variables(None, merge, github.write)))
    if times == 1:
        assert job.apply(carry_out) == "Applied the reviewed plan of #1, planned again."
        assert state(github) > before + 1
    else:
        with pytest.raises(StalePlanError, match="there was an apply since"):
            job.apply(carry_out)
        assert github.comments(number)[0][1].splitlines()[1].startswith("**Not applied.** Stale plan: ")


@pytest.mark.slow
def test_a_plan_that_contradicts_itself(github: World) -> None:
    """A stranger wrote it, with a digest that fits: it is not shown, and the error is plain."""
    number = github.open(github.push("topic", {ACCOUNTS: lambda text: f'{text}    pay = Feature(int, sql="1")\n'}))
    github.plan(number)
    left = github.forge.artifacts[-1]
    plan = planfile.from_json(left.files["plan.json"], name="plan.json")
    forged = replace(plan, steps=tuple(step for step in plan.steps if step.step != "record"))
    left.files = {**left.files, "plan.json": planfile.to_json(forged)}
    done = github.comment(number)
    assert "Traceback" not in done.stderr
    assert (done.returncode, len(github.comments(number))) in {(0, 1), (1, 0)}


@pytest.mark.slow
def test_the_page_of_the_run_has_the_plan(github: World) -> None:
    """Also if the plan is blocked; a second plan in the same folder replaces the first one."""
    number = github.open(github.push("topic", {ACCOUNTS: lambda text: text.partition("class ")[0], LENDING: ""}))
    guard = github.push(
        "main", {ACCOUNTS: lambda text: text.replace("source=accounts)", "source=accounts, protect=True)")}
    )
    assert github.checkout(guard).run("apply", "--yes", **NO_CI).returncode == 0
    page = github.root / "summary.md"
    clone = github.checkout(github.forge.pulls[number].head, merged=False)
    unset = {**NO_CI, **github.variables(number, "", None), "GITHUB_STEP_SUMMARY": str(page)}
    assert clone.run("ci", "plan", "--out", "plan", **unset).returncode == 3
    assert "#### Blocked" in page.read_text(encoding="utf-8")
    clone.write({"featproject.toml": "broken"})
    assert clone.run("ci", "plan", "--out", "plan", **unset).returncode == 1
    assert page.read_text(encoding="utf-8").count("#### Blocked") == 1


@pytest.mark.slow
def test_approvals_that_apply_asks_for(github: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `approvals_command = "featdsl ci approvals"` apply proves them itself, in a process of its own."""
    bin_folder = Path(sys.executable).parent
    monkeypatch.setenv("PATH", str(bin_folder), prepend=":")
    settings = "featproject.toml"
    github.push("main", {settings: lambda text: f'{text}approvals_command = "featdsl ci approvals"\n'})
    number = commented(github, approved=False)
    merge = github.merge(number)
    refused = github.apply(merge)
    assert refused.returncode == 3
    github.approve(number, "lena")
    done = github.apply(merge)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_a_command_of_the_project_is_asked_by_the_check(github: World) -> None:
    """As apply asks it."""
    github.push("main", {"featproject.toml": lambda text: f'{text}approvals_command = "echo lending"\n'})
    number = commented(github, approved=False)
    assert github.status(github.forge.pulls[number].head) == ("success", "Approved by lending.")
    done = github.apply(github.merge(number))
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_nightly_job(github: World) -> None:
    """It drops environments of closed pull requests only, refreshes, and checks."""
    for branch in ("one", "two"):
        number = github.open(github.push(branch, {ACCOUNTS: lambda text: text.replace("whole", "full")}))
        clone = github.checkout(github.forge.pulls[number].head, merged=True)
        assert github.job(clone, "preview", number=number, token=github.read).returncode == 0
    github.close(1)
    clone = github.checkout(github.main)
    done = github.job(clone, "maintain", commit=github.main)
    assert done.returncode == 0, done.stderr
    assert "Dropped pr_1_bank." in done.stdout
    left = json.loads(clone.run("env", "list", "--format", "json", **NO_CI).stdout)
    assert [each["name"] for each in left] == ["pr_2_bank", "prod"]


@pytest.mark.slow
def test_all_open_pull_requests_at_once(world: World) -> None:
    """A schedule comments on every planned one, and its error names what could not be read."""
    for factor in (2, 3, 4):
        number = world.open(
            world.push(
                f"x{factor}", {ACCOUNTS: lambda t, by=factor: t.replace('annual_income"', f'annual_income * {by}"')}
            )
        )  # type: ignore[misc]
        if factor != 3:
            world.plan(number)
    done = world.job(world.checkout(world.main), "comment", "--open", commit=world.main)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "#1: pending: Waits for the approval of lending.",
        "#2: not planned yet",
        "#3: pending: Waits for the approval of lending.",
    ]
    assert [len(world.comments(number)) for number in (1, 2, 3)] == [1, 0, 1]
