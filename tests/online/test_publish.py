"""Publishing: what is written, when, and how a publication that failed is made up for."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from featdsl.definitions.moments import moment
from featdsl.online import OnlineStore
from featdsl.online.connect import open_online
from featdsl.online.manifest import Manifest, read_manifest
from featdsl.online.memory import InMemoryOnlineStore
from featdsl.online.publish import PublishSummary
from featdsl.online.records import read_record
from featdsl.project import settings
from tests.conftest import ACCOUNTS, Workspace
from tests.online.worlds import HOUR, START, Place, Row, Shape, World
from tests.waiting import PATIENCE

NOW = moment(START)
SERVED = '[project]\nname = "bank"\n\n[serving]\nurl = "embedded"\n'


@pytest.fixture
def served(bank: Workspace) -> Workspace:
    """The bank with an embedded online store, not applied yet."""
    return bank.write({"featproject.toml": SERVED})


def online_of(workspace: Workspace, environment: str = "prod") -> OnlineStore:
    """Return the online store of a workspace."""
    project = settings.load(workspace.root)
    lineage = workspace.store._states.newest().snapshot.head.lineage
    online = open_online(project, f"{lineage}/{environment}")
    assert online is not None
    return online


def manifest(workspace: Workspace, environment: str = "prod") -> Manifest | None:
    """Return what is published of an environment."""
    online = online_of(workspace, environment)
    newest = online.newest()
    online.close()
    return read_manifest(newest.manifest) if newest else None


def tables(workspace: Workspace, environment: str = "prod") -> list[str]:
    """Return the names of the published tables."""
    found = manifest(workspace, environment)
    return sorted(found.tables) if found else []


def events(output: str) -> list[dict[str, object]]:
    """Return the JSON lines of a command."""
    return [json.loads(line) for line in output.splitlines()]


# What is written


USERS = tuple(Row(i, 1 + i % 3, None, -24 - i, value=i) for i in range(6))
"""Two old rows of each of three users."""


def a_world(shape: Shape = Shape(), *more: Row) -> World:  # noqa: B008 - frozen
    """Return a world with old rows of users, and more."""
    return World(shape, (*USERS, *more), (), ())


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A world of three users, published."""
    found = Place(tmp_path)
    found.write(a_world())
    found.apply(a_world())
    found.publish(NOW)
    return found


def written(done: PublishSummary) -> tuple[int, int]:
    """Return the numbers of records written and deleted."""
    return done.records, done.deleted


def test_a_publication_without_changes_writes_nothing(place: Place) -> None:
    """The state and the moment are committed all the same."""
    before = place.online.newest()
    done = place.publish(NOW + HOUR)

    assert (written(done), done.written, done.removed) == ((0, 0), (), ())
    after = place.online.newest()
    assert before is not None
    assert after is not None
    assert after.token != before.token
    assert read_manifest(after.manifest).published_at == NOW + HOUR


def test_only_records_of_entities_with_new_rows_are_written(place: Place) -> None:
    """User 2, in the tables of both sets."""
    place.write(World(Shape(), (Row(99, 2, None, -1, value=7),), (), ()), "b")
    place.refresh()

    assert written(place.publish(NOW + HOUR)) == (2, 0)


def test_entities_that_are_gone_are_deleted(place: Place) -> None:
    """User 1 leaves the file, and so both tables."""
    place.write(World(Shape(), tuple(row for row in USERS if row.user != 1), (), ()))
    place.refresh()

    assert written(place.publish(NOW + HOUR)) == (0, 2)
    _, records = place.online.published
    assert {name: len(own) for name, own in records.items() if own and name.endswith("user_id")} == {
        "all@1/user_id": 2,
        "some@1/user_id": 2,
    }


def test_edited_rows_are_written(place: Place) -> None:
    """One user's newest value changes."""
    edited = tuple(Row(0, 1, None, -24, value=100) if row.number == 0 else row for row in USERS)
    place.write(World(Shape(), edited, (), ()))
    place.refresh()

    assert written(place.publish(NOW + HOUR)) == (2, 0)


def test_full_writes_every_record_again(place: Place) -> None:
    """Three users in two tables, and the value for everyone."""
    assert written(place.publish(NOW + HOUR, full=True)) == (3 + 3 + 1, 0)


def test_values_that_change_by_time_alone_are_published_again_after_half_the_horizon(tmp_path: Path) -> None:
    """A ttl of 2 days ends for each user 25 to 29 hours after the publication; the horizon is 2 days."""
    place, world = Place(tmp_path), a_world(Shape(ttl="2 days"))
    place.write(world)
    place.apply(world)
    place.publish(NOW)

    assert written(place.publish(NOW + 23 * HOUR)) == (0, 0)
    assert written(place.publish(NOW + 24 * HOUR)) == (6, 0)
    assert written(place.publish(NOW + 30 * HOUR)) == (0, 0)


def test_the_end_of_a_row_is_a_step(tmp_path: Path) -> None:
    """A row that ends in 6 hours, and one that has ended: present, then none."""
    place, shape = Place(tmp_path), Shape(ends=True)
    world = World(shape, (Row(0, 1, None, -2, lasts=8, value=3), Row(1, 2, None, -2, lasts=1, value=4)), (), ())
    place.write(world)
    place.apply(world)
    place.publish(NOW)

    _, records = place.online.published
    read = sorted(map(read_record, records["some@1/user_id"].values()), key=len)
    value = [[step[0] for step in (record[1], *record[3::2])] for record in read]
    assert value == [[None], [3, None]]
    assert [record[2] for record in read if len(record) > 2] == [NOW + 6 * HOUR]


def test_a_restored_store_is_published_whole(place: Place) -> None:
    """Its states are counted again, so that those of the publication say nothing."""
    newest = place.online.newest()
    assert newest is not None
    content = json.loads(newest.manifest)
    for table in content["tables"].values():
        table["state"] += 5
    with place.online.publishing() as publisher:
        publisher.put("some@1/user_id", [(b"gone", b"")])
        publisher.commit(json.dumps(content).encode())

    assert written(place.publish(NOW + HOUR)) == (0, 1)


def test_full_replaces_what_another_version_wrote(place: Place) -> None:
    """Whose manifest cannot be read."""
    with place.online.publishing() as publisher:
        publisher.commit(b'{"format": 99}')

    assert place.publish(NOW, full=True).records == 7


# Which set versions and groups


def test_apply_publishes_every_set_version(served: Workspace) -> None:
    """Pinned older versions, too."""
    done = served.run("apply", "--yes")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1].startswith("Online store: 8 records of 2 tables written in ")
    assert tables(served) == ["credit_risk@1/user_id", "credit_risk@2/user_id"]


def test_sets_can_be_left_out_and_groups_taken_in(served: Workspace, edit: Callable[[str, str, str], None]) -> None:
    """By online=False and online=True; a later plan changes that."""
    lending, accounts = "features/lending/__init__.py", "features/accounts/__init__.py"
    edit(lending, "credit_risk_v1.evolve(version=2, ", "credit_risk_v1.evolve(version=2, online=False, ")
    edit(accounts, "class UserProfile(FeatureGroup, entity", "class UserProfile(FeatureGroup, online=True, entity")
    served.run("apply", "--yes")
    assert tables(served) == ["credit_risk@1/user_id", "user_profile/user_id"]

    edit(lending, "online=False, ", "")
    edit(accounts, "online=True, ", "")
    done = served.run("apply", "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    assert tables(served) == ["credit_risk@1/user_id", "credit_risk@2/user_id"]


def test_a_pinned_version_keeps_its_definition_beside_a_new_one(
    served: Workspace, edit: Callable[[str, str, str], None]
) -> None:
    """credit_risk@1 has the former income, credit_risk@3 the new one."""
    served.run("apply", "--yes")
    edit("features/accounts/__init__.py", "annual_income", "annual_income * 2")
    served.write({"features/third.py": "from featdsl import FeatureSet\nfrom features.accounts import UserProfile\n"
                  'third = FeatureSet("credit_risk", version=3, features=[UserProfile.income])\n'})  # fmt: skip
    done = served.run("apply", "--yes")
    assert done.returncode == 0, done.stdout + done.stderr

    store = served.store
    answers = [store.serve(f"credit_risk@{version}", user_id=3) for version in (1, 3)]
    assert [answer.rows[0]["income"] for answer in answers] == [19000.0, 38000.0]
    assert [answer.from_tables for answer in answers] == [{}, {}]


def test_a_removed_version_is_removed_online(served: Workspace, edit: Callable[[str, str, str], None]) -> None:
    """And the rest stays."""
    served.run("apply", "--yes")
    edit("features/lending/__init__.py", "credit_risk_v2 =", "_ = 0 and")
    done = served.run("apply", "--yes")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 table removed" in done.stdout
    assert tables(served) == ["credit_risk@1/user_id"]


def test_a_renamed_feature_is_served_by_its_new_name(served: Workspace, edit: Callable[[str, str, str], None]) -> None:
    """Sets that had it keep the column's name."""
    served.run("apply", "--yes")
    edit("features/accounts/__init__.py", "income = Feature(float,", 'pay = Feature(float, renamed_from="income",')
    for old, new in (("UserProfile.income]):", "UserProfile.pay]):"), ("income / 12", "pay / 12"), ("UserProfile.income])", "UserProfile.pay])")):  # fmt: skip
        edit("features/lending/__init__.py", old, new)
    done = served.run("apply", "--yes")
    assert done.returncode == 0, done.stdout + done.stderr

    answer = served.store.serve("credit_risk@1", user_id=3)
    assert (list(answer.rows[0].values())[1], answer.from_tables) == (19000.0, {})
    answer = served.store.serve(["user_profile.pay"], user_id=3)
    assert (answer.rows, answer.from_tables) == ([{"pay": 19000.0}], {})


def test_a_rollback_is_published(served: Workspace, edit: Callable[[str, str, str], None]) -> None:
    """A group of which a state before had another definition is served as it was then."""
    edit(
        "features/accounts/__init__.py",
        "class UserProfile(FeatureGroup, entity",
        "class UserProfile(FeatureGroup, online=True, entity",
    )
    served.run("apply", "--yes")
    edit("features/accounts/__init__.py", "annual_income", "annual_income * 2")
    served.run("apply", "--yes")
    assert served.store.get_features(["income"], user_id=3) == {"income": 38000.0}

    done = served.run("rollback", "1", "--yes")

    assert done.returncode == 0, done.stdout + done.stderr
    answer = served.store.serve(["income"], user_id=3)
    assert (answer.rows, answer.from_tables) == ([{"income": 19000.0}], {})


# Refreshes


MORE = (
    "SELECT 3 AS user_id, TIMESTAMP '2026-02-01' AS updated_at, DATE '1990-06-15' AS birth_date, 5.0 AS annual_income"
)


def test_a_refresh_publishes(served: Workspace) -> None:
    """Only what changed: one user in two tables. A second one has nothing to say."""
    served.run("apply", "--yes")
    served.parquet("data/accounts.parquet", f"{ACCOUNTS} UNION ALL {MORE}")
    done = served.run("refresh")

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].startswith("Online store: 2 records of 2 tables written in ")
    assert served.store.get_features(["income"], user_id=3) == {"income": 5.0}
    assert "Online store" not in served.run("refresh").stdout


def test_json_lines_have_the_publication_before_the_summary(served: Workspace) -> None:
    """The summary stays the last line, of apply and of refresh; publish itself prints its own event."""
    kinds = [[line["event"] for line in events(served.run(*command, "--format", "json").stdout)][-2:]
             for command in (("apply", "--yes"), ("refresh",))]  # fmt: skip

    assert kinds == [["online_published", "summary"], ["online_published", "summary"]]
    (line,) = events(served.run("publish", "--full", "--format", "json").stdout)
    assert {name: line[name] for name in ("event", "environment", "tables", "records", "deleted", "removed")} == {
        "event": "online_published", "environment": "prod", "tables": 2, "records": 8, "deleted": 0, "removed": 0,
    }  # fmt: skip


# Environments


def test_other_environments_are_published_when_asked_for(served: Workspace) -> None:
    """From then on by each of their runs, until they are dropped."""
    served.run("apply", "--yes")
    served.run("apply", "--yes", "--env", "pr_1")
    assert manifest(served, "pr_1") is None
    assert served.run("publish", "--env", "pr_1").returncode == 0
    assert tables(served, "pr_1") == ["credit_risk@1/user_id", "credit_risk@2/user_id"]

    done = served.run("env", "drop", "pr_1")

    assert done.returncode == 0, done.stdout + done.stderr
    assert tables(served, "pr_1") == []
    served.run("apply", "--yes", "--env", "pr_1")
    assert tables(served, "pr_1") == []


def test_a_refresh_of_an_environment_publishes_prod_whose_tables_it_shares(served: Workspace) -> None:
    """Both read the same rows from the tables, so both have them online."""
    served.run("apply", "--yes")
    served.run("apply", "--yes", "--env", "pr_1")
    served.parquet("data/accounts.parquet", f"{ACCOUNTS} UNION ALL {MORE}")
    done = served.run("refresh", "--env", "pr_1")

    assert done.returncode == 0, done.stdout + done.stderr
    answer = served.store.serve(["income"], user_id=3)
    assert (answer.rows, answer.from_tables) == ([{"income": 5.0}], {})


# Failures


MEMORY = SERVED.replace("embedded", "memory://failing")


def in_memory(workspace: Workspace) -> InMemoryOnlineStore:
    """Return the store in memory that a workspace publishes to."""
    online = online_of(workspace)
    assert isinstance(online, InMemoryOnlineStore)
    return online


@pytest.mark.slow
@pytest.mark.parametrize("command", [("apply", "--yes"), ("refresh",)])
def test_a_run_whose_publication_fails_is_done_and_says_what_is_left(bank: Workspace, command: tuple[str, ...]) -> None:
    """Exit code 1, and the command that publishes. The next run finishes it, although it has nothing else to do."""
    bank.write({"featproject.toml": MEMORY}).run("apply", "--yes")
    online = in_memory(bank)
    bank.parquet("data/accounts.parquet", f"{ACCOUNTS} UNION ALL {MORE}")
    bank.write({"features/more.py": "from featdsl import FeatureSet\nfrom features.accounts import UserProfile\n"
                'more = FeatureSet("more", version=1, features=[UserProfile.income])\n'})  # fmt: skip
    online.down = True
    done = bank.run(*command)

    assert done.returncode == 1
    assert ("Applied. The store is at state 2." in done.stdout) == (command[0] == "apply")
    assert "The tables are at state 2; the online store still has an earlier one." in done.stderr
    assert "Then publish: featdsl publish" in done.stderr
    findings = bank.run("doctor").stdout
    assert "switched off" in findings

    online.down = False
    assert "the online store has state 1 of prod; the tables are at state 2" in bank.run("doctor").stdout
    again = bank.run(*command)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "Online store: " in again.stdout
    assert "the online store has" not in bank.run("doctor").stdout


def test_json_of_a_run_whose_publication_fails_ends_with_the_error(bank: Workspace) -> None:
    """The last line, as for every failure."""
    bank.write({"featproject.toml": MEMORY}).run("apply", "--yes")
    in_memory(bank).down = True
    done = bank.run("refresh", "--full", "--format", "json")
    in_memory(bank).down = False

    assert done.returncode == 1
    assert events(done.stdout)[-1]["event"] == "failed"


def test_doctor_says_that_nothing_is_published(applied: Workspace) -> None:
    """With the command that does it; after it, nothing is wrong."""
    applied.write({"featproject.toml": SERVED})
    done = applied.run("doctor", "--format", "json")
    (finding,) = [each for each in json.loads(done.stdout) if each["code"] == "online"]
    assert finding["what"] == "nothing of prod is published to the online store"
    assert finding["fix"] == "featdsl publish"

    assert applied.run("publish").returncode == 0
    assert "online store" not in applied.run("doctor").stdout


def test_publish_without_an_online_store_is_an_error(applied: Workspace) -> None:
    """With the lines to add."""
    done = applied.run("publish")

    assert done.returncode == 1
    assert "Add to featproject.toml:" in done.stderr
    assert 'url = "embedded"' in done.stderr


KILLED = """
import os, signal, sys
from featdsl.cli.main import main
from featdsl.online import embedded, publish

def dies(*arguments, **more):
    os.kill(os.getpid(), signal.SIGKILL)

{patch}
main(sys.argv[1:], prog_name="featdsl")
"""
"""A featdsl that is killed at one place."""
PLACES = {
    "before anything is published": "publish._publish = dies",
    "while records are computed": "publish._differing = dies",
    "before the commit": "publish.Manifest.to_bytes = dies",
}


@pytest.mark.slow
@pytest.mark.parametrize("place", PLACES)
def test_a_publisher_that_was_killed_is_made_up_for_by_the_next_run(served: Workspace, place: str) -> None:
    """Readers have the values before meanwhile, and those of the refresh after it."""
    served.run("apply", "--yes")
    served.parquet("data/accounts.parquet", f"{ACCOUNTS} UNION ALL {MORE}")
    code = KILLED.format(patch=PLACES[place])
    done = subprocess.run(
        [sys.executable, "-c", code, "refresh"],
        cwd=served.root,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert done.returncode == -signal.SIGKILL, done.stdout + done.stderr
    store = served.store
    assert store.get_features("credit_risk@2", user_id=3)["income"] == 19000.0

    finished = served.run("refresh")

    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "Online store: 2 records of 2 tables written" in finished.stdout
    assert store.get_features("credit_risk@2", user_id=3)["income"] == 5.0


@pytest.mark.slow
def test_publishers_at_the_same_time_wait_for_each_other(served: Workspace) -> None:
    """All succeed, and the last one has the newest state."""
    served.run("apply", "--yes")
    served.parquet("data/accounts.parquet", f"{ACCOUNTS} UNION ALL {MORE}")
    commands = [("publish",), ("publish", "--full"), ("refresh",), ("publish",)]
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "featdsl", *command], cwd=served.root, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for command in commands
    ]
    ended = [(each.wait(timeout=PATIENCE), each.communicate()) for each in running]

    assert [code for code, _ in ended] == [0] * len(commands), ended
    assert served.store.get_features("credit_risk@2", user_id=3)["income"] == 5.0
    assert served.run("check", "--parity").returncode == 0


def test_publish_says_that_nothing_has_changed(served: Workspace) -> None:
    """The command never ends without a word."""
    served.apply()
    assert served.run("publish").stdout == "Online store: up to date with state 1.\n"


def test_before_the_first_apply_there_is_nothing_to_publish(served: Workspace) -> None:
    """A publication of nothing would look like one of everything."""
    done = served.run("publish")
    expected = "Nothing to publish\n  Nothing has been applied yet.\n  Apply first: featdsl apply\n"
    assert (done.returncode, done.stderr) == (1, expected)
