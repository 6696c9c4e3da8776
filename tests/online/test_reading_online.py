"""Reading latest values from the online store: how often it is asked, what is kept between calls, and what comes from elsewhere."""

from __future__ import annotations

import asyncio
import gc
import os
import pickle
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from featdsl import Entity, Feature, FeatureGroup, FeatureNotFoundError, FeatureSet, RequestError, Source
from featdsl.definitions.moments import moment
from featdsl.errors import OnlineStoreError
from featdsl.online import Lookup, Records
from featdsl.online.connect import open_online
from featdsl.online.fetch import LatestRequest
from featdsl.online.memory import InMemoryOnlineStore
from featdsl.online.read import OnlineReads
from featdsl.project import settings
from featdsl.serving import StoredTables
from tests.conftest import ACCOUNTS, Workspace
from tests.online.worlds import DAY, ENTITIES, HOUR, START, Place, Row, Shape, World

NOW = moment(START)
WORLD = World(
    Shape(ttl="2 days"),
    tuple(Row(i, 1 + i, "a", -24 - i, value=i) for i in range(3)),
    tuple(Row(i, 1, "a", -i, value=i) for i in range(3)),
    (Row(0, None, "a", -24, value=4),),
)


class CountingStore(InMemoryOnlineStore):
    """Keeps the lookups of each read."""

    def __init__(self) -> None:
        super().__init__()
        self.lookups: list[list[tuple[str, int]]] = []
        self.newest_calls = 0

    def read(self, lookups: Sequence[Lookup]) -> Records:
        """Return the records, and keep the tables with the number of keys."""
        self.lookups.append([(lookup.table, len(lookup.keys)) for lookup in lookups])
        return super().read(lookups)

    def newest(self) -> Any:
        """Return the newest publication, and count the call."""
        self.newest_calls += 1
        return super().newest()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A world, applied."""
    found = Place(tmp_path_factory.mktemp("world"))
    found.write(WORLD)
    found.apply(WORLD)
    return found


@pytest.fixture
def online(place: Place) -> CountingStore:
    """The world, published to a store that counts."""
    store = CountingStore()
    place.publish(NOW, online=store)
    store.newest_calls = 0
    return store


@pytest.fixture
def reads(place: Place, online: CountingStore) -> OnlineReads:
    """Reads from the store that counts."""
    return OnlineReads(online, StoredTables(place.project, place.states))


def ask(reads: OnlineReads, features: Any, rows: list[dict[str, Any]], **more: Any) -> Any:
    """Return the answer of one call."""
    answer = reads.read(features, str(features), LatestRequest(rows, **{"at": NOW, **more}))
    assert answer is not None
    return answer


# Round trips


def test_a_thousand_keys_are_one_round_trip(online: CountingStore, reads: OnlineReads) -> None:
    """And one lookup with each key once."""
    answer = ask(reads, "some@1", [{"user_id": i % 500} for i in range(1000)])

    assert len(answer.rows) == 1000
    assert online.lookups == [[("some@1/user_id", 500)]]


def test_a_set_is_one_lookup_by_entity_and_another_for_each_role(online: CountingStore, reads: OnlineReads) -> None:
    """Keys that a feature gives need a second round, of the shop of the user and not of every shop."""
    ask(reads, ["state.value", "acts.n_left", "both.combined", "everyone.newest"], [{"user_id": 1}])
    ask(reads, "all@1", ENTITIES, request={"amount": 1})

    assert [sorted(each) for each in online.lookups] == [
        [("all@1/", 1), ("some@1/user_id", 1)],
        sorted([("all@1/user_id", 4), ("all@1/shop", 3), ("all@1/shop,user_id", 3), ("all@1/", 1), ("all@1/shop", 2)]),
        [("all@1/shop", 1)],
    ]


def test_a_call_without_rows_is_answered(reads: OnlineReads) -> None:
    """With no rows."""
    assert ask(reads, "some@1", []).rows == []


# What is kept


def test_a_compiled_request_is_kept_until_a_publication(
    place: Place, online: CountingStore, reads: OnlineReads
) -> None:
    """The newest publication is asked for once before it, and once after it; its values are those of the very next call."""
    for _ in range(3):
        ask(reads, "some@1", [{"user_id": 1}])
    assert online.newest_calls == 1

    place.publish(NOW + HOUR, online=online)
    online.newest_calls = 0
    answers = [ask(reads, "some@1", [{"user_id": 1}], at=NOW + HOUR) for _ in range(3)]

    assert online.newest_calls == 1
    assert {moment(answer.published_at) for answer in answers} == {NOW + HOUR}


def test_an_unknown_feature_is_an_error_each_time(reads: OnlineReads) -> None:
    """Nothing is kept of it."""
    for _ in range(2):
        with pytest.raises(FeatureNotFoundError):
            ask(reads, ["state.valeu"], [{"user_id": 1}])


@pytest.mark.parametrize(
    ("rows", "summary"),
    [
        ([{"user": 1}], "Unknown key"), ([{}], "Missing key"), ([{"user_id": "x"}], "Wrong type of key"), ([7], "Not keys"),
        ([{"user_id": 1}, {"user_id": 1, "shop": "a"}], "Unknown key"),
    ],
)  # fmt: skip
def test_keys_that_do_not_fit_are_an_error(reads: OnlineReads, rows: list[Any], summary: str) -> None:
    """The error that the tables give."""
    with pytest.raises(RequestError, match=summary):
        ask(reads, "some@1", rows)


# From elsewhere


def test_values_that_are_computed_at_the_call_are_online_values(reads: OnlineReads) -> None:
    """Of request-time data, of the time of the read, and of a shop that a feature gives; columns keep their order."""
    answer = ask(reads, "all@1", ENTITIES, request={"amount": 1})

    assert answer.from_tables == {}
    assert list(answer.rows[0]) == list(answer.dtypes)


def test_a_window_that_reads_the_time_is_read_from_the_tables(tmp_path: Path) -> None:
    """It has another value at each moment; the rest of the set is online, and the answer says so."""

    def declare() -> None:
        user = Entity("user", keys={"user_id": int})
        acts = Source("acts", sql="SELECT 1 AS user_id, TIMESTAMP '2026-02-28' AS ts", timestamp="ts")

        class Acts(FeatureGroup, entity=user, source=acts):
            n = Feature(int, sql="count(*)", window="30 days")
            hours = Feature(int, sql="date_diff('hour', max(ts), as_of_timestamp)", window="30 days")

        FeatureSet("all", version=1, features=[Acts])

    place = Place(tmp_path).of(declare)
    place.publish(NOW)
    request = LatestRequest([{"user_id": 1}, {"user_id": 2}], with_status=True, at=NOW + HOUR)
    online, tables = place.read("all@1", request)

    assert online.rows == tables.rows == [{"n": 1, "hours": 25}, {"n": 0, "hours": None}]
    assert online.statuses == tables.statuses
    assert online.from_tables == {"hours": "its value depends on more than the published values"}


def test_rows_that_the_publication_does_not_reach_are_read_from_the_tables(reads: OnlineReads) -> None:
    """Two days after it user 2's value has expired long ago, and user 9 never had any."""
    rows = [{"user_id": 1}, {"user_id": 9}]
    answer = ask(reads, "some@1", rows, at=NOW + 300 * DAY)

    assert [row["value"] for row in answer.rows] == [None, None]
    assert [row["n_left"] for row in answer.rows] == [0, 0]


def test_a_reader_whose_clock_is_behind_has_the_values_of_the_publication(reads: OnlineReads) -> None:
    """An hour before it, as at its time."""
    before = ask(reads, "some@1", [{"user_id": 1}], at=NOW - HOUR)

    assert before.rows == ask(reads, "some@1", [{"user_id": 1}]).rows
    assert before.from_tables == {}


# The project's own calls


SERVED = '[project]\nname = "bank"\n\n[serving]\nurl = "embedded"\n'


@pytest.fixture
def served(bank: Workspace) -> Workspace:
    """The bank, applied and published."""
    bank.write({"featproject.toml": SERVED})
    done = bank.run("apply", "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    return bank


def raise_income(workspace: Workspace, income: float) -> None:
    """Add a row of user 3 and refresh, which publishes."""
    more = f"SELECT 3, TIMESTAMP '2026-02-01' + INTERVAL ({int(income)}) SECOND, DATE '1990-06-15', {income}"
    workspace.parquet("data/accounts.parquet", f"{ACCOUNTS} UNION ALL {more}")
    done = workspace.run("refresh")
    assert done.returncode == 0, done.stdout + done.stderr


def test_explain_says_which_way_was_taken(served: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    """For each column."""
    served.store.get_features(["age"], user_id=3, explain=True)
    assert capsys.readouterr().out.startswith("online store (state 1, published 20")

    served.write({"featproject.toml": '[project]\nname = "bank"\n'})
    served.store.get_features(["age"], user_id=3, explain=True)
    assert capsys.readouterr().out == "tables (there is no online store): age\n"


def test_nothing_is_published_before_the_first_publication(applied: Workspace) -> None:
    """Values come from the tables."""
    applied.write({"featproject.toml": SERVED})
    answer = applied.store.serve(["age"], user_id=3)

    assert (answer.rows, answer.from_tables) == ([{"age": 33}], {"age": "nothing is published yet"})


def test_a_publication_is_followed_at_once(served: Workspace, edit: Callable[[str, str, str], None]) -> None:
    """By a store that has read before: new rows, then another definition."""
    store = served.store
    assert store.get_features("credit_risk@2", user_id=3)["income"] == 19000.0
    raise_income(served, 5.0)
    assert store.get_features("credit_risk@2", user_id=3)["income"] == 5.0

    assert store.get_features(["income"], user_id=3) == {"income": 5.0}
    edit("features/accounts/__init__.py", "annual_income", "annual_income * 2")
    assert served.run("apply", "--yes").returncode == 0
    assert store.get_features(["income"], user_id=3) == {"income": 10.0}
    assert store.get_features("credit_risk@2", user_id=3)["income"] == 5.0


def test_a_store_is_pickled_and_used_after_a_fork(served: Workspace) -> None:
    """A copy and a child read the values, computed ones too."""
    store = served.store
    first = store.get_features("credit_risk@2", user_id=3)
    assert pickle.loads(pickle.dumps(store)).get_features("credit_risk@2", user_id=3) == first  # noqa: S301 - our own

    gc.collect()
    gc.freeze()  # what other tests have left is not for the child to collect
    child = os.fork()
    if not child:
        os._exit(0 if store.get_features("credit_risk@2", user_id=3) == first else 1)
    gc.unfreeze()
    assert os.waitpid(child, 0)[1] == 0


def test_async_reads_equal_the_others(served: Workspace) -> None:
    """Many at once, of one key and of several."""
    store = served.store

    async def read() -> list[Any]:
        return await asyncio.gather(*(store.aget_features("credit_risk@2", user_id=i % 5) for i in range(20)))

    assert asyncio.run(read()) == [store.get_features("credit_risk@2", user_id=i % 5) for i in range(20)]


def test_a_store_that_is_down_is_an_error_or_read_around(bank: Workspace) -> None:
    """As [serving] when_down says; once it is up again, it is read again."""
    memory = SERVED.replace("embedded", "memory://down")
    bank.write({"featproject.toml": memory}).run("apply", "--yes")
    lineage = bank.store._states.newest().snapshot.head.lineage
    online = open_online(settings.load(bank.root), f"{lineage}/prod")
    assert isinstance(online, InMemoryOnlineStore)
    online.down = True
    with pytest.raises(OnlineStoreError, match="switched off"):
        bank.store.get_features(["income"], user_id=3)

    bank.write({"featproject.toml": f'{memory}when_down = "tables"\n'})
    store = bank.store
    answers = [store.serve(["income"], user_id=3), asyncio.run(store.aserve(["income"], user_id=3))]
    assert [answer.rows for answer in answers] == [[{"income": 19000.0}]] * 2
    assert [answer.from_tables for answer in answers] == [{"income": "the online store is down"}] * 2

    online.down = False
    assert store.serve(["income"], user_id=3).from_tables == {}


@pytest.mark.slow
def test_sixteen_threads_read_beside_a_publisher(served: Workspace) -> None:
    """Each sees whole publications, never older than one that it has seen."""
    store = served.store
    stop = threading.Event()

    def read(_: int) -> list[tuple[float, float]]:
        seen = []
        while not stop.wait(0.01):  # without a pause, sixteen threads leave the publisher of this process no time
            row = store.get_features("credit_risk@2", user_id=3)
            seen.append((row["income"], row["monthly"] * 12))
        return seen

    with ThreadPoolExecutor(16) as pool:
        running = [pool.submit(read, i) for i in range(16)]
        for income in range(20_001, 20_006):
            raise_income(served, float(income))
        stop.set()
        for each in running:
            seen = each.result()
            assert all(one == pytest.approx(other) for one, other in seen)
            assert [one for one, _ in seen] == sorted(one for one, _ in seen)
            assert seen[-1][0] in {20_004.0, 20_005.0}
