"""A feature counts up to the time that is asked for: `as_of_timestamp` in derived features and around aggregates."""

from __future__ import annotations

import random
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from featdsl.errors import RequestError
from tests.conftest import Workspace

PROJECT = '''
import datetime as dt

from featdsl import Entity, Feature, FeatureGroup, FeatureSet, Source

user = Entity("user", keys={"user_id": int})
paid = Source("paid", path="data/paid.parquet", timestamp="ts")
people = Source("people", path="data/people.parquet")


class Payments(FeatureGroup, entity=user, source=paid):
    """What a user pays."""

    last_paid = Feature(dt.datetime, sql="max(ts)", window="lifetime")
    days_since = Feature(int, sql="date_diff('day', max(ts), as_of_timestamp) + 0 * count(*)", window="30 days")
    number = Feature(int, sql="count(*)", window="30 days")


class Person(FeatureGroup, entity=user, source=people):
    """Who a user is."""

    born = Feature(dt.date, sql="born")


class Recency(FeatureGroup, entity=user, inputs=[Payments.last_paid, Person.born]):
    """How long ago things happened."""

    hours = Feature(int, sql="date_diff('hour', last_paid, as_of_timestamp)")
    age = Feature(int, sql="date_sub('year', born, AS_OF_TIMESTAMP)")
    weekday = Feature(int, sql="isodow(as_of_timestamp)")
    seen = Feature(bool, sql="last_paid IS NOT NULL")
    seconds = Feature(int, sql="date_sub('second', last_paid, as_of_timestamp)")


class Further(FeatureGroup, entity=user, inputs=[Recency.hours]):
    days = Feature(float, sql="hours / 24")


everything = FeatureSet("everything", version=1, features=[Payments, Recency.hours, Recency.age, Recency.weekday, Further.days])
'''
BORN = datetime.fromisoformat("1990-06-15")
NAMES = ["number", "days_since", "hours", "age", "weekday", "seconds", "days"]
PLACES = {"number": "payments", "days_since": "payments", "days": "further"}
ADDRESSES = [f"{PLACES.get(name, 'recency')}.{name}" for name in NAMES]
Payments = list[tuple[int, datetime]]


def project(workspace: Workspace, payments: Payments) -> Workspace:
    """Apply the project over payments of users, of whom there are three."""
    workspace.write({"featproject.toml": '[project]\nname = "p"\n', "features/__init__.py": PROJECT})
    rows = ", ".join(f"({user}::BIGINT, TIMESTAMP '{at}')" for user, at in payments)
    workspace.parquet("data/paid.parquet", f"FROM (VALUES {rows}) t(user_id, ts)")
    people = f"SELECT i AS user_id, DATE '{BORN.date()}' AS born FROM range(3) t(i)"
    workspace.parquet("data/people.parquet", f"FROM ({people})")
    workspace.apply()
    return workspace


def some(number: int, seed: int, last: datetime) -> Payments:
    """Return users and times of the 90 days before the last one, some of them at midnight, some of them twice."""
    chance = random.Random(seed)  # noqa: S311
    found = []
    for _ in range(number):
        at = last - timedelta(seconds=chance.randrange(90 * 86_400), microseconds=chance.choice([0, 0, 1, 999_999]))
        if chance.random() < 0.3:
            at = at.replace(hour=0, minute=0, second=0, microsecond=0)
        found.append((chance.randrange(2), at))
    return found


def expected(payments: Payments, user: int, at: datetime) -> dict[str, Any]:
    """Return the values of a user at a time, by loops over the payments before it."""
    before = [ts for who, ts in payments if who == user and ts < at]
    near = [ts for ts in before if at - ts <= timedelta(days=30)]
    last = max(before, default=None)
    started = [each.replace(minute=0, second=0, microsecond=0) for each in (last or at, at)]
    hours = (started[1] - started[0]) // timedelta(hours=1) if last else None
    return {
        "number": len(near),
        "days_since": (at.date() - max(near).date()).days if near else None,
        "hours": hours,
        "age": at.year - BORN.year - ((at.month, at.day) < (BORN.month, BORN.day)),
        "weekday": at.isoweekday(),
        "seconds": int((at - last).total_seconds()) if last else None,
        "days": None if hours is None else hours / 24,
    }


@pytest.mark.parametrize("number", [3, 400], ids=["a few rows", "many rows"])
def test_training_gives_what_loops_give(workspace: Workspace, number: int) -> None:
    """Each row of a spine counts up to its own time, whichever way windows are computed in."""
    payments = some(number, 1, datetime.fromisoformat("2026-04-01"))
    asked = [
        *some(number, 2, datetime.fromisoformat("2026-04-20")),
        *payments,
        (2, datetime.fromisoformat("2026-03-01")),
        (0, datetime.fromisoformat("2024-02-29")),
    ]
    store = project(workspace, payments).store
    rows = ", ".join(f"({user}::BIGINT, TIMESTAMP '{at}', {row})" for row, (user, at) in enumerate(asked))
    spine = f"SELECT * FROM (VALUES {rows}) t(user_id, asked, row)"
    relation = store.training_set(ADDRESSES, spine, timestamp="asked").relation.order("row")
    found = [dict(zip(relation.columns, row, strict=True)) for row in relation.fetchall()]
    assert [{name: row[name] for name in NAMES} for row in found] == [
        expected(payments, user, at) for user, at in asked
    ]


def test_views_and_serving_count_up_to_now(workspace: Workspace) -> None:
    """get_features, the view of a group's values of now and the view of a set agree with the loops."""
    while (now := datetime.now(UTC).replace(tzinfo=None)).minute == 59 and now.second > 40:
        time.sleep(1)  # so that no hour begins between the reads
    payments = some(40, 3, now)
    store = project(workspace, payments).store
    served = [store.get_features(ADDRESSES, user_id=user) for user in range(3)]
    want = [expected(payments, user, datetime.now(UTC).replace(tzinfo=None)) for user in range(3)]
    for got, right in zip(served, want, strict=True):
        seconds = got.pop("seconds"), right.pop("seconds")
        assert seconds == (None, None) or 0 <= seconds[1] - seconds[0] < 60
        assert got == right
    listed = "user_id, hours, age, weekday"
    shown = workspace.published(f"SELECT {listed}, seconds IS NULL FROM prod.recency_now ORDER BY user_id")
    assert shown == [(n, right["hours"], right["age"], right["weekday"], n == 2) for n, right in enumerate(want)]
    shown = workspace.published("SELECT user_id, days FROM prod.further_now ORDER BY user_id")
    assert shown == [(n, want[n]["days"]) for n in range(2)]  # those that have payments
    named = [name for name in NAMES if name != "seconds"]
    shown = workspace.published(f"SELECT user_id, {', '.join(named)} FROM prod.everything_v1 ORDER BY user_id")
    assert shown == [(n, *(want[n][name] for name in named)) for n in range(3)]


def test_stored_rows_have_no_column_of_it(workspace: Workspace) -> None:
    """The view of values at each change leaves out what counts up to a time that nobody has asked for."""
    project(workspace, some(5, 4, datetime.fromisoformat("2026-04-01")))
    columns = workspace.published("SELECT column_name FROM (DESCRIBE prod.recency) ORDER BY ALL")
    assert columns == [("event_timestamp",), ("seen",), ("user_id",)]
    assert ("further",) not in workspace.published("SELECT view_name FROM duckdb_views() WHERE schema_name = 'prod'")
    checked = workspace.run("check", "--parity")
    assert (checked.returncode, ", 0 differ" in checked.stdout) == (0, True), checked.stdout
    again = workspace.run("plan", "--check")
    assert again.returncode == 0, again.stdout + again.stderr


WRONG = {
    "a row": (
        'sql="born"',
        'sql="as_of_timestamp::DATE"',
        ["born", "'as_of_timestamp', which does not exist", "inputs=[...], or around the aggregates"],
    ),
    "a check": (
        '''sql="hours / 24"''',
        '''sql="hours / 24", expect="days >= 0"''',
        ["feature further.days depends on as_of_timestamp, so it has no stored rows", "move it to the inputs"],
    ),
    "inside an aggregate": (
        'number = Feature(int, sql="count(*)',
        'number = Feature(int, sql="count(*) FILTER (WHERE ts > as_of_timestamp)',
        ["'as_of_timestamp', which does not exist"],
    ),
    "its name": (
        "seen = Feature(bool",
        "as_of_timestamp = Feature(bool",
        ["'as_of_timestamp' is the time of the read; rename the feature"],
    ),
    "now()": (
        'last_paid, as_of_timestamp)")\n    age',
        'last_paid, now()::TIMESTAMP)")\n    age',
        [
            "now() gives another value at each run",
            "In a group with inputs=[...], as_of_timestamp is the time of the read.",
        ],
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_where_it_cannot_stand(workspace: Workspace, name: str) -> None:
    """Each wrong place is refused with the right one."""
    old, new, said = WRONG[name]
    project(workspace, some(3, 5, datetime.fromisoformat("2026-04-01")))
    assert PROJECT.count(old) == 1
    workspace.write({"features/__init__.py": PROJECT.replace(old, new)})
    planned = workspace.run("plan")
    told = " ".join(planned.stderr.split())
    assert (planned.returncode, [each for each in said if each not in told]) == (1, []), planned.stderr


def test_it_is_told_where_people_look(workspace: Workspace) -> None:
    """`show` says that values count up to the time asked for, and reading all values says that none are stored."""
    store = project(workspace, some(3, 6, datetime.fromisoformat("2026-04-01"))).store
    shown = workspace.run("show", "recency.hours")
    assert "as_of        the requested time" in shown.stdout, shown.stdout
    with pytest.raises(RequestError, match="depends on the time of the read, so none of its values are stored"):
        store.get_feature("recency.hours")
    with pytest.raises(RequestError, match="timestamp="):
        store.training_set(["recency.age"], "SELECT 1::BIGINT AS user_id")


def test_formatting_is_no_change_and_another_unit_is(workspace: Workspace) -> None:
    """What is around the aggregates counts as the text of any feature does."""
    project(workspace, some(3, 7, datetime.fromisoformat("2026-04-01")))
    loose = PROJECT.replace("max(ts), as_of_timestamp) + 0", "max( ts ), (As_Of_Timestamp)) + 0")
    loose = loose.replace('last_paid, as_of_timestamp)")\n    age', '(last_paid), As_Of_Timestamp)")\n    age')
    workspace.write({"features/__init__.py": loose})
    same = workspace.run("plan", "--check")
    assert (loose != PROJECT, same.returncode) == (True, 0), same.stdout
    workspace.write({"features/__init__.py": PROJECT.replace("'hour', last_paid", "'minute', last_paid")})
    other = workspace.run("plan", "--check")
    assert other.returncode == 2, other.stdout
    assert "recency.hours" in other.stdout
