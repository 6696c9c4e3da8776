"""The whole life of a pull request, on every provider: from the fork's push to the published catalogue."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from featdsl.featurestore import FeatureStore
from tests.ci.worlds import UNSET, World, a_world, git

pytestmark = pytest.mark.slow

ACCOUNTS = "features/accounts/__init__.py"
LENDING = "features/lending/__init__.py"
NO_CI = dict.fromkeys(UNSET, "")


def incomes(world: World) -> object:
    """Return the applied income of the first user and what depends on it."""
    store = FeatureStore(world.checkout(world.main).root)
    return store.get_features(["user_profile.income", "affordability.monthly"], user_id=0)


def test_the_life_of_a_pull_request_from_a_fork(world: World) -> None:
    """It is planned without credentials, reviewed, and applied as reviewed after the merge."""
    assert incomes(world) == {"income": 16_000, "monthly": 16_000 / 12}
    head = world.push("topic", {ACCOUNTS: lambda text: text.replace('"annual_income"', '"annual_income * 2"')})
    number = world.open(head, author="stranger", is_fork=True)

    # Planned and commented on
    world.plan(number)
    assert world.comment(number).returncode == 0
    ((first, body),) = world.comments(number)
    assert "**Needs approval:** lending" in body
    assert "annual\\_income \\* 2" in body or "annual_income * 2" in body
    assert world.status(head) == ("pending", "Waits for the approval of lending.")

    # Updated in place
    newer = world.push("topic", {ACCOUNTS: lambda text: text.replace("income * 2", "income * 3")})
    world.update(number, newer)
    world.plan(number)
    assert world.comment(number).returncode == 0
    ((again, body),) = world.comments(number)
    assert again == first
    assert "annual_income * 3" in body.replace("\\", "")
    assert newer[:12] in body

    # Reviewed: an author's approval, and that of an older commit, count for nothing
    world.approve(number, "stranger")
    assert world.comment(number).returncode == 0
    assert world.status(newer)[0] == "pending"
    world.approve(number, "lena")
    assert world.comment(number).returncode == 0
    assert world.status(newer) == ("success", "Approved by lending.")
    assert len(world.comments(number)) == 1

    # Not applied to an environment: that would run the fork's code
    refused = world.job(world.checkout(newer), "preview", number=number, token=world.read)
    assert (refused.returncode, refused.stderr.splitlines()[0]) == (3, "Pull request of a fork")

    # Merged and applied
    merge = world.merge(number)
    done = world.apply(merge)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"Applied the reviewed plan of #{number}."
    assert incomes(world) == {"income": 48_000, "monthly": 4_000}
    ((again, body),) = world.comments(number)
    assert again == first
    assert body.splitlines()[1].startswith("**Applied** as state ")

    # Published
    clone = world.publish()
    assert "user_profile" in (clone.root / "public" / "index.html").read_text(encoding="utf-8")
    exported = json.loads((clone.root / "out" / "registry.json").read_text(encoding="utf-8"))
    assert "annual_income * 3" in json.dumps(exported)


def test_the_life_of_an_environment(world: World) -> None:
    """A branch of the repository gets an environment, which is dropped when the pull request is closed."""
    head = world.push("topic", {ACCOUNTS: lambda text: text.replace('"annual_income"', '"annual_income * 2"')})
    number = world.open(head)

    done = world.job(world.checkout(head, merged=True), "preview", number=number, token=world.read)
    assert done.returncode == 0, done.stderr
    shown = FeatureStore(world.checkout(world.main).root, env="pr_1_bank").get_features(
        "user_profile.income", user_id=0
    )
    assert shown == {"income": 32_000}
    assert incomes(world) == {"income": 16_000, "monthly": 16_000 / 12}

    world.close(number)
    clone = world.checkout(world.main)
    dropped = world.job(clone, "close", number=number, token=world.read)
    assert dropped.returncode == 0, dropped.stderr
    assert "Dropped pr_1_bank." in dropped.stdout
    again = world.job(clone, "close", number=number, token=world.read)
    assert (again.returncode, again.stdout) == (0, "There is no environment pr_1_bank.\n")


def test_a_stale_plan_that_says_the_same_is_applied(world: World) -> None:
    """The store has moved on through another pull request; the plan is made again, and applied."""
    one = world.open(world.push("one", {ACCOUNTS: lambda text: text.replace("Age in whole years.", "Full years.")}))
    other = world.open(world.push("other", {LENDING: lambda text: text.replace("income / 12", "income / 24")}))
    for number in (one, other):
        world.plan(number)
        assert world.comment(number).returncode == 0
    first = world.apply(world.merge(one))
    assert first.returncode == 0, first.stderr

    done = world.apply(world.merge(other))

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"Applied the reviewed plan of #{other}, planned again."
    assert incomes(world) == {"income": 16_000, "monthly": 16_000 / 24}


def test_a_stale_plan_that_says_something_else_stops(world: World) -> None:
    """Two pull requests change what the same feature is computed from: the second one is not what was reviewed."""
    one = world.open(world.push("one", {ACCOUNTS: lambda text: text.replace('"annual_income"', '"annual_income * 2"')}))
    other = world.open(world.push("other", {LENDING: lambda text: text.replace("income / 12", "income / 24")}))
    for number in (one, other):
        world.plan(number)
        assert world.comment(number).returncode == 0
    world.approve(one, "lena")
    first = world.apply(world.merge(one))
    assert first.returncode == 0, first.stderr
    before = incomes(world)

    done = world.apply(world.merge(other))

    assert done.returncode == 4, done.stdout + done.stderr
    assert "Plan was not reviewed" in done.stderr
    assert incomes(world) == before
    ((_, body),) = world.comments(other)
    assert body.splitlines()[1].startswith("**Not applied.** Plan was not reviewed")
    assert "```diff" in body


def test_a_blocked_plan_fails_the_check(world: World) -> None:
    """The plan job fails as well, and keeps its plan; merged by force, it is not applied."""
    guard = world.push(
        "main", {ACCOUNTS: lambda text: text.replace("source=accounts)", "source=accounts, protect=True)")}
    )
    applied = world.checkout(guard).run("apply", "--yes", **NO_CI)
    assert applied.returncode == 0, applied.stderr
    head = world.push("gone", {ACCOUNTS: lambda text: text.partition("class ")[0], LENDING: ""})
    number = world.open(head)
    clone = world.checkout(head, merged=True)

    done = world.job(clone, "plan", "--out", "plan", number=number, token=None)
    assert done.returncode == 3, done.stderr
    world.keep("featdsl-plan-bank", clone.root / "plan", head)
    assert world.comment(number).returncode == 0

    assert world.status(head)[0] in {"failure", "failed"}  # as GitHub and as GitLab say it
    ((_, body),) = world.comments(number)
    assert "#### Blocked" in body
    world.approve(number, "lena")
    forced = world.apply(world.merge(number))
    assert forced.returncode == 3
    assert incomes(world) == {"income": 16_000, "monthly": 16_000 / 12}


def test_a_pull_request_that_changes_no_feature(world: World) -> None:
    """The check succeeds, and no comment disturbs."""
    head = world.push("topic", {"NOTES": "more"})
    number = world.open(head)
    world.plan(number)
    assert world.comment(number).returncode == 0
    assert world.status(head)[0] == "success"
    assert world.comments(number) == []


def test_a_fork_with_a_new_source_waits(world: World) -> None:
    """Nobody without credentials can read it, so the plan is not whole."""
    source = (
        "from featdsl import Feature, FeatureGroup, Source\nfrom features.accounts import user\n"
        'logins = Source("logins", path="data/logins.parquet")\n'
        'class Logins(FeatureGroup, entity=user, source=logins):\n    count = Feature(int, sql="n")\n'
    )
    head = world.push("topic", {"features/logins.py": source})
    number = world.open(head, author="stranger", is_fork=True)
    world.plan(number)
    assert world.comment(number).returncode == 0
    assert world.status(head) == ("pending", "A new source was not read: plan it with the store.")


def test_a_project_in_a_folder_whose_owners_are_in_codeowners(tmp_path: Path) -> None:
    """The file at the top of the repository names them; the pull request is merged as one new commit."""
    with a_world("github", tmp_path, "teams/bank") as world:
        without = world.push(
            "main",
            {
                "featproject.toml": lambda text: text.replace('lending = ["@bank/lenders"]', ""),
                "../../.github/CODEOWNERS": "* @ann\n/teams/bank/features/lending/ @bob\n",
            },
        )
        head = world.push("topic", {ACCOUNTS: lambda text: text.replace('"annual_income"', '"annual_income * 2"')})
        number = world.open(head)
        world.plan(number)
        world.approve(number, "lena")
        assert world.comment(number).returncode == 0
        assert world.status(head)[0] == "pending"
        world.approve(number, "bob")
        assert world.comment(number).returncode == 0
        assert world.status(head) == ("success", "Approved by lending.")

        merge = world.merge(number, squashed=True)
        assert git(world.origin, "rev-parse", f"{merge}^@") == without
        done = world.apply(merge)
        assert done.returncode == 0, done.stderr
        assert incomes(world) == {"income": 32_000, "monthly": 32_000 / 12}
