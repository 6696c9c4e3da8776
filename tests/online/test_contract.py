"""What every online store does: one suite, over the store in memory, the embedded one, a Valkey and a PostgreSQL."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Iterable
from typing import Any

import pytest

from featdsl.errors import OnlineStoreError
from featdsl.online import Lookup, OnlineStore, Publication
from tests.online import actor
from tests.online.conftest import Place


def publish(store: OnlineStore, tables: dict[str, dict[bytes, bytes]], manifest: bytes = b"m") -> Publication:
    """Put records into tables, and commit."""
    with store.publishing() as publisher:
        for table, records in tables.items():
            publisher.put(table, records.items())
        return publisher.commit(manifest)


def found(store: OnlineStore, table: str, keys: Iterable[bytes]) -> list[bytes | None]:
    """Return the records of keys in one table."""
    return list(store.read([Lookup(table, list(keys))]).found[0])


class Failing(dict[bytes, bytes]):
    """Records that cannot be made to the end."""

    def items(self) -> Any:
        """Yield the records, and fail."""
        yield from super().items()
        yield b"1", b"%d" % (1 // len(b""))


def test_before_the_first_publication_there_is_nothing(store: OnlineStore) -> None:
    """A new store has no publication, and a read of it has no token and no records."""
    records = store.read([Lookup("user", [b"1", b"2"])])
    assert (store.newest(), records.token, [list(each) for each in records.found]) == (None, None, [[None, None]])


def test_what_is_committed_is_read(store: OnlineStore) -> None:
    """Records come back by key, with the token and the manifest of their publication."""
    publication = publish(store, {"user": {b"1": b"one"}}, b"manifest")
    records = store.read([Lookup("user", [b"1"])])
    assert store.newest() == publication == Publication(publication.token, b"manifest")
    assert (records.token, [list(each) for each in records.found]) == (publication.token, [[b"one"]])


def test_records_come_in_the_order_of_the_keys(store: OnlineStore) -> None:
    """Each lookup has its own list, in the order asked, repeated keys and missing ones included."""
    publish(store, {"user": {b"1": b"one", b"2": b"two"}, "card": {b"1": b"card"}})
    lookups = [
        Lookup("card", [b"1"]),
        Lookup("user", [b"2", b"9", b"1", b"2"]),
        Lookup("user", []),
        Lookup("none", [b"1"]),
    ]
    assert [list(each) for each in store.read(lookups).found] == [[b"card"], [b"two", None, b"one", b"two"], [], [None]]


def test_a_read_of_no_lookups_has_the_token(store: OnlineStore) -> None:
    """A read that asks for nothing still says which publication is the newest."""
    publication = publish(store, {})
    assert store.read([]).token == publication.token


@pytest.mark.parametrize(
    "key",
    [b"", b"\x00", b"\x00\xff\n", b"k" * 400, b"k" * 502, b"k" * 503, b"k" * 60_000],
    ids=lambda key: str(len(key)),
)
def test_any_bytes_are_a_key(store: OnlineStore, key: bytes) -> None:
    """Keys are any bytes of any length, and are listed, read and deleted as they are."""
    publish(store, {"user": {key: b"record", key + b"2": b"other"}})
    with store.publishing() as publisher:
        listed = sorted(publisher.keys("user"))
        got = publisher.get("user", [key + b"2", key])
        publisher.delete("user", [key])
        publisher.commit(b"m")
    assert (listed, got) == (sorted([key, key + b"2"]), [b"other", b"record"])
    assert found(store, "user", [key, key + b"2"]) == [None, b"other"]


def test_long_keys_that_differ_at_the_end_are_different(store: OnlineStore) -> None:
    """A long key is compared as a whole."""
    publish(store, {"user": {b"k" * 1000 + b"1": b"one", b"k" * 1000 + b"2": b"two"}})
    assert found(store, "user", [b"k" * 1000 + each for each in (b"1", b"2", b"3")]) == [b"one", b"two", None]


@pytest.mark.parametrize(
    "record", [b"", b"\x00", b"-", b"+", os.urandom(3_000_000)], ids=["none", "zero", "minus", "plus", "3MB"]
)
def test_any_bytes_are_a_record(store: OnlineStore, record: bytes) -> None:
    """Records are any bytes, none of them and millions included, in a first publication and in a later one."""
    publish(store, {"user": {b"1": record}})
    first = found(store, "user", [b"1"])
    publish(store, {"user": {b"2": record}})
    assert (first, found(store, "user", [b"1", b"2"])) == ([record], [record, record])


def test_a_put_keeps_the_other_records(store: OnlineStore) -> None:
    """A later publication replaces the records that it writes, and no others."""
    publish(store, {"user": {b"1": b"one", b"2": b"two"}, "card": {b"1": b"card"}})
    publish(store, {"user": {b"2": b"zwei", b"3": b"drei"}})
    records = store.read([Lookup("user", [b"1", b"2", b"3"]), Lookup("card", [b"1"])])
    assert [list(each) for each in records.found] == [[b"one", b"zwei", b"drei"], [b"card"]]


def test_the_last_write_of_a_key_wins(store: OnlineStore) -> None:
    """Writes of one publication count in their order: within a put, between puts, and deletions."""
    with store.publishing() as publisher:
        publisher.put("user", [(b"1", b"a"), (b"1", b"b"), (b"2", b"a"), (b"3", b"a")])
        publisher.put("user", [(b"2", b"b")])
        publisher.delete("user", [b"3", b"4"])
        publisher.put("user", [(b"4", b"b")])
        publisher.commit(b"m")
    assert found(store, "user", [b"1", b"2", b"3", b"4"]) == [b"b", b"b", None, b"b"]


def test_a_cleared_table_has_only_what_is_put_after(store: OnlineStore) -> None:
    """`clear` deletes all records of one table, also those put before it."""
    publish(store, {"user": {b"1": b"one", b"2": b"two"}, "card": {b"1": b"card"}})
    with store.publishing() as publisher:
        publisher.put("user", [(b"3", b"three")])
        publisher.clear("user")
        publisher.put("user", [(b"2", b"zwei")])
        publisher.commit(b"m")
    records = store.read([Lookup("user", [b"1", b"2", b"3"]), Lookup("card", [b"1"])])
    assert [list(each) for each in records.found] == [[None, b"zwei", None], [b"card"]]
    with store.publishing() as publisher:
        assert list(publisher.keys("user")) == [b"2"]


def test_a_table_that_is_cleared_and_not_filled_is_empty(store: OnlineStore) -> None:
    """A table may be cleared for good."""
    publish(store, {"user": {b"1": b"one"}})
    with store.publishing() as publisher:
        publisher.clear("user")
        publisher.clear("none")
        publisher.commit(b"m")
    assert found(store, "user", [b"1"]) == [None]


def test_a_publisher_reads_what_is_published_and_not_what_it_writes(store: OnlineStore) -> None:
    """`get`, `keys` and `newest` tell of the publication before."""
    before = publish(store, {"user": {b"1": b"one", b"2": b"two"}})
    with store.publishing() as publisher:
        publisher.put("user", [(b"1", b"eins"), (b"3", b"drei")])
        publisher.delete("user", [b"2"])
        got = publisher.get("user", [b"3", b"2", b"1"])
        assert (publisher.newest, got, sorted(publisher.keys("user"))) == (before, [None, b"two", b"one"], [b"1", b"2"])
        assert (publisher.get("none", [b"1"]), list(publisher.keys("none"))) == ([None], [])


def test_readers_see_nothing_before_the_commit(place: Place) -> None:
    """Another reader sees the publication before until the commit, and then the new one."""
    publisher_store, reader = place.open(), place.open()
    before = publish(publisher_store, {"user": {b"1": b"one"}})
    with publisher_store.publishing() as publisher:
        publisher.put("user", ((b"%d" % number, b"new") for number in range(5_000)))
        publisher.put("card", [(b"1", b"card")])
        assert (reader.newest(), found(reader, "user", [b"1", b"2"])) == (before, [b"one", None])
        after = publisher.commit(b"m")
        assert (reader.newest(), found(reader, "user", [b"1", b"2"])) == (after, [b"new", b"new"])


def test_without_a_commit_everything_is_undone(store: OnlineStore) -> None:
    """A publisher whose body ends or fails before the commit leaves the publication before, and the next one works."""
    before = publish(store, {"user": {b"1": b"one"}})
    with store.publishing() as publisher:
        publisher.put("user", ((b"%d" % number, b"lost") for number in range(20_000)))
        publisher.clear("card")
    with pytest.raises(ZeroDivisionError):
        publish(
            store, {"card": {b"1": b"lost"}, "user": Failing((b"%d" % number, b"lost") for number in range(20_000))}
        )
    assert (store.newest(), found(store, "user", [b"1", b"2"])) == (before, [b"one", None])
    with store.publishing() as publisher:
        assert list(publisher.keys("user")) == [b"1"]


def test_a_publication_has_a_token_of_its_own(store: OnlineStore) -> None:
    """Equal content published twice has two tokens."""
    assert publish(store, {}, b"m").token != publish(store, {}, b"m").token


def test_a_publisher_is_of_no_use_after_its_commit(store: OnlineStore) -> None:
    """Writing after the commit is an error, not a write that is lost."""
    with store.publishing() as publisher:
        publisher.commit(b"m")
        for late in (
            lambda: publisher.put("user", [(b"1", b"1")]),
            lambda: publisher.clear("user"),
            lambda: publisher.commit(b"n"),
        ):
            with pytest.raises(OnlineStoreError, match="has committed"):
                late()


def test_large_changes_of_a_table_are_published_whole(store: OnlineStore) -> None:
    """Thousands of changes to a table with thousands of records: written, deleted and kept ones."""
    publish(store, {"user": {b"%d" % number: b"old" for number in range(30_000)}})
    with store.publishing() as publisher:
        publisher.put("user", ((b"%d" % number, b"new") for number in range(10_000, 20_000)))
        publisher.delete("user", (b"%d" % number for number in range(15_000, 25_000)))
        publisher.commit(b"m")
        within = found(store, "user", [b"1", b"10000", b"15000", b"20000", b"25000"])
    assert within == [b"old", b"new", None, None, b"old"]
    assert found(store, "user", [b"1", b"10000", b"15000", b"20000", b"25000"]) == within
    with store.publishing() as publisher:
        assert len(list(publisher.keys("user"))) == 20_000


def test_many_tables_are_published_together(store: OnlineStore) -> None:
    """Hundreds of tables are no trouble."""
    publish(store, {f"table {number} é": {b"1": b"%d" % number} for number in range(300)})
    lookups = [Lookup(f"table {number} é", [b"1"]) for number in range(300)]
    assert [list(each) for each in store.read(lookups).found] == [[b"%d" % number] for number in range(300)]


def test_namespaces_are_apart(place: Place) -> None:
    """Stores of two environments share a place and nothing else; a publisher of one does not wait for the other."""
    prod, dev = place.open("lineage/prod", lock_timeout=0.3), place.open("lineage/dev", lock_timeout=0.3)
    with prod.publishing() as publisher:
        publisher.put("user", [(b"1", b"prod")])
        publish(dev, {"user": {b"1": b"dev", b"2": b"dev"}})
        publisher.commit(b"m")
    with prod.publishing() as publisher:
        assert list(publisher.keys("user")) == [b"1"]
        publisher.clear("user")
        publisher.commit(b"m")
    assert (found(prod, "user", [b"1"]), found(dev, "user", [b"1"])) == ([None], [b"dev"])


def test_an_asynchronous_read_is_the_same(store: OnlineStore) -> None:
    """`aread` returns what `read` does, in several event loops one after the other, and in many tasks of one."""
    publish(store, {"user": {b"1": b"one"}})
    lookups = [Lookup("user", [b"1", b"2"]), Lookup("user", [])]

    async def reads() -> list[object]:
        return list(await asyncio.gather(*(store.aread(lookups) for _ in range(100))))

    for _ in range(2):
        assert asyncio.run(reads()) == [store.read(lookups)] * 100


def test_a_second_publisher_waits_for_the_first(place: Place) -> None:
    """Two publishers come one after the other, and the second sees what the first has published."""
    store, other, begun = place.open(), place.open(), threading.Event()
    seen = []

    def second() -> None:
        begun.wait()
        with other.publishing() as publisher:
            seen.append((time.monotonic(), publisher.newest))

    thread = threading.Thread(target=second)
    thread.start()
    with store.publishing() as publisher:
        begun.set()
        time.sleep(0.3)
        publication = publisher.commit(b"m")
        ended = time.monotonic()
    thread.join()
    assert seen[0][0] >= ended
    assert seen[0][1] == publication


def test_a_publisher_that_waits_too_long_gives_up(place: Place) -> None:
    """Waiting ends with an error that says so, and names no secret."""
    first, second = place.open(), place.open(lock_timeout=0.2)
    with first.publishing(), pytest.raises(OnlineStoreError, match="is publishing to") as raised:
        publish(second, {})
    assert "raise lock_timeout" in str(raised.value)
    _tells_no_password(place, raised.value)


@pytest.mark.slow
def test_threads_share_a_store(store: OnlineStore) -> None:
    """Eight threads read at once, while a publisher replaces what they read: each sees whole publications."""
    actor.publish(store)
    with actor.Readers(store, threads=8) as readers:
        for _ in range(12):
            actor.publish(store)
    assert (readers.wrong, readers.errors, readers.reads > 100) == ([], [], True)


def test_a_store_says_where_it_is_without_its_password(place: Place) -> None:
    """The text of a store is for messages."""
    text = str(place.open())
    assert text
    assert ":" not in text.partition("://")[2].rpartition("@")[0]
    assert not (place.server and place.server.password in text)


def _tells_no_password(place: Place, error: OnlineStoreError) -> None:
    assert not (place.server and place.server.password in str(error))


def test_a_closed_store_opens_again(store: OnlineStore) -> None:
    """`close` ends the connections, and the next call makes new ones."""
    publish(store, {"user": {b"1": b"one"}})
    store.close()
    store.close()
    assert found(store, "user", [b"1"]) == [b"one"]
