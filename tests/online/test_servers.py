"""What only a Redis or a PostgreSQL shows: locks that are lost, leftovers, clusters, accounts with few rights."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis

from featdsl.errors import OnlineStoreError
from featdsl.online import Lookup, OnlineStore
from featdsl.online.connect import open_store
from featdsl.online.options import OnlineOptions
from featdsl.online.postgres.connections import BoundedConnection
from featdsl.online.postgres.statements import READ
from tests.online import actor
from tests.servers import Postgres, Valkey, free_port
from tests.waiting import wait_until

OPTIONS = OnlineOptions("lineage/prod", timeout=5.0, lock_timeout=5.0, lease=1.0)


def large(value: bytes, count: int = 6_000) -> Iterator[tuple[bytes, bytes]]:
    """Yield more records than a commit writes by itself."""
    return ((b"%d" % number, value) for number in range(count))


def user(store: OnlineStore, *keys: bytes) -> list[bytes | None]:
    """Return the records of some users."""
    return list(store.read([Lookup("user", keys)]).found[0])


def names(client: redis.Redis, namespace: str) -> set[str]:
    """Return the kinds of a namespace's names."""
    return {name.decode().split("}:")[1].split(":")[0] for name in client.keys(f"*{{{namespace}}}*")}


@pytest.fixture
def namespace() -> str:
    """A namespace of one test."""
    return secrets.token_hex(4)


def test_a_publisher_without_its_lock_commits_nothing(valkey: Valkey, namespace: str) -> None:
    """A publisher that stood still for longer than its lease finds another one at work, and harms nothing."""
    options = replace(OPTIONS, namespace=namespace, lease=60.0)
    client = redis.Redis.from_url(valkey.url())
    slow, quick = open_store(valkey.url(), options), open_store(valkey.url(), options)
    with slow.publishing() as late:
        late.put("user", large(b"late"))
        client.delete(f"featdsl:{{{namespace}}}:lock")
        with quick.publishing() as publisher:
            publisher.put("user", large(b"quick"))
            late.put("user", large(b"late"))
            with pytest.raises(OnlineStoreError, match="another publisher has taken over"):
                late.commit(b"late")
            publication = publisher.commit(b"quick")
    assert (quick.newest(), user(quick, b"1", b"5999")) == (publication, [b"quick", b"quick"])
    with quick.publishing():
        pass
    assert names(client, namespace) == {"token", "manifest", "table"}
    for each in (slow, quick, client):
        each.close()


def test_a_lock_is_renewed_while_its_publisher_works(valkey: Valkey, namespace: str) -> None:
    """A publication may take longer than the lease; another publisher still waits."""
    options = replace(OPTIONS, namespace=namespace, lease=0.3, lock_timeout=0.2)
    store, other = open_store(valkey.url(), options), open_store(valkey.url(), options)
    with store.publishing() as publisher:
        time.sleep(0.8)
        with pytest.raises(OnlineStoreError, match="is publishing to"), other.publishing():
            pass
        publisher.commit(b"m")
    with other.publishing():
        pass
    store.close()
    other.close()


def test_staged_records_that_the_server_has_lost_are_noticed(valkey: Valkey, namespace: str) -> None:
    """A server that came back without some of the records gets no commit over the rest."""
    store = open_store(valkey.url(), replace(OPTIONS, namespace=namespace))
    client = redis.Redis.from_url(valkey.url())
    with store.publishing() as publisher:
        publisher.put("user", large(b"one"))
        (staged,) = client.keys(f"*{{{namespace}}}:staged:*")
        client.hdel(staged, "17")
        with pytest.raises(OnlineStoreError, match="lost records of this publication"):
            publisher.commit(b"m")
    assert store.newest() is None
    assert names(client, namespace) == set()
    store.close()
    client.close()


def test_what_a_publication_leaves_is_removed(valkey: Valkey, namespace: str) -> None:
    """After every kind of publication, and after one that was given up, the server holds the tables and nothing else."""
    store = open_store(valkey.url(), replace(OPTIONS, namespace=namespace))
    client = redis.Redis.from_url(valkey.url())
    for _ in range(12):
        actor.publish(store)
        assert names(client, namespace) == {"token", "manifest", "table"}
    with store.publishing() as publisher:
        publisher.put("user", large(b"given up"))
        assert "staged" in names(client, namespace)
    assert names(client, namespace) == {"token", "manifest", "table"}
    store.close()
    client.close()


def test_an_overlay_that_a_dead_publisher_left_is_read_and_then_merged(valkey: Valkey, namespace: str) -> None:
    """A publisher that died after its commit has published; the next one writes its changes to the table."""
    store = open_store(valkey.url(), replace(OPTIONS, namespace=namespace))
    client = redis.Redis.from_url(valkey.url())
    with store.publishing() as publisher:
        publisher.put("user", large(b"one"))
        publisher.commit(b"m")
    with store.publishing() as publisher:
        publisher.put("user", large(b"two", 5_000))
        publisher.delete("user", [b"1"])
        publisher.commit(b"m")
        publisher.end = lambda: None  # type: ignore[attr-defined]
    assert names(client, namespace) == {"token", "manifest", "table", "overlay", "overlays", "leftovers"}
    assert user(store, b"1", b"2", b"5500") == [None, b"two", b"one"]
    with store.publishing() as publisher:
        assert publisher.get("user", [b"1", b"2", b"5500"]) == [None, b"two", b"one"]
        assert len(list(publisher.keys("user"))) == 5_999
    assert names(client, namespace) == {"token", "manifest", "table"}
    assert user(store, b"1", b"2", b"5500") == [None, b"two", b"one"]
    store.close()
    client.close()


def test_accounts_need_few_rights(valkey: Valkey, namespace: str) -> None:
    """The documented categories are enough to publish and to serve, and an account that only serves cannot publish."""
    stores = []
    for rights in ("+@read +@transaction +@connection", "+@read +@transaction +@connection +@write +@scripting"):
        name, password = f"account-{secrets.token_hex(4)}", secrets.token_hex(8)
        valkey.execute("ACL", "SETUSER", name, "on", f">{password}", "~featdsl:*", *rights.split())
        url = f"redis://{name}:{password}@127.0.0.1:{valkey.port}"
        stores.append(open_store(url, replace(OPTIONS, namespace=namespace)))
    reader, publisher = stores
    for _ in range(4):
        actor.publish(publisher)
    assert actor.number_of(reader.read(actor.LOOKUPS)) == 4
    with pytest.raises(OnlineStoreError, match=r"\+@read \+@write \+@transaction \+@scripting \+@connection"):
        actor.publish(reader)
    reader.close()
    publisher.close()


@pytest.mark.slow
def test_a_namespace_is_on_one_node_of_a_cluster(tmp_path: Path) -> None:
    """A server in cluster mode refuses commands over names of several slots: none is sent."""
    server = Valkey(tmp_path, options=("--cluster-enabled", "yes", "--cluster-port", str(free_port())))
    server.start()
    try:
        server.execute("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
        wait_until(lambda: "cluster_state:ok" in server.execute("CLUSTER", "INFO"))
        store = open_store(server.url(), OPTIONS)
        for _ in range(12):
            actor.publish(store)
        assert actor.number_of(store.read(actor.LOOKUPS)) == 12
        store.close()
    finally:
        server.stop(crash=True)


@pytest.mark.slow
def test_a_server_without_memory_keeps_the_publication_before(tmp_path: Path) -> None:
    """A server that is full refuses the records, and what was published stays."""
    server = Valkey(tmp_path, options=("--maxmemory", "4mb"))
    server.start()
    try:
        store = open_store(server.url(), OPTIONS)
        actor.publish(store)
        with pytest.raises(OnlineStoreError, match="it is out of memory"), store.publishing() as publisher:
            publisher.put("user", large(b"x" * 1000, 20_000))
        assert actor.number_of(store.read(actor.LOOKUPS)) == 1
        store.close()
    finally:
        server.stop(crash=True)


@pytest.fixture
def account(postgres: Postgres) -> tuple[str, str]:
    """A database of its own, by the URL of its owner and by that of an account without rights."""
    name, database, password = f"reader_{secrets.token_hex(4)}", postgres.database(), secrets.token_hex(8)
    postgres.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{password}'")
    return postgres.url(database), f"postgresql://{name}:{password}@127.0.0.1:{postgres.port}/{database}"


def test_an_account_that_may_only_read_reads(account: tuple[str, str]) -> None:
    """SELECT on the two tables is all that a reader needs; publishing says which right is missing."""
    owner, reader = (open_store(url, OPTIONS) for url in account)
    actor.publish(owner)
    with pytest.raises(OnlineStoreError, match="the account may not do this") as raised:
        reader.read(actor.LOOKUPS)
    assert "GRANT SELECT ON ALL TABLES IN SCHEMA featdsl_online TO account" in str(raised.value)
    name = account[1].split("//")[1].split(":")[0]
    with psycopg.connect(account[0]) as connection:
        connection.execute(f"GRANT USAGE ON SCHEMA featdsl_online TO {name}")
        connection.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA featdsl_online TO {name}")
    assert actor.number_of(reader.read(actor.LOOKUPS)) == 1
    with pytest.raises(OnlineStoreError, match="the account may not do this"):
        actor.publish(reader)
    assert actor.number_of(owner.read(actor.LOOKUPS)) == 1
    owner.close()
    reader.close()


def test_an_account_that_may_not_make_tables_says_so(account: tuple[str, str]) -> None:
    """The first publication makes the tables; reading before that finds nothing, without an error."""
    store = open_store(account[1], OPTIONS)
    assert (store.newest(), store.read(actor.LOOKUPS).token) == (None, None)
    with pytest.raises(OnlineStoreError, match="needs CREATE on the database"):
        actor.publish(store)
    store.close()


def test_a_database_that_is_not_there_is_named_as_that(postgres: Postgres) -> None:
    """A wrong name in the URL is no server that is down."""
    store = open_store(postgres.url("nowhere"), replace(OPTIONS, timeout=1.0))
    with pytest.raises(OnlineStoreError, match="it has no database of this name"):
        store.newest()
    with pytest.raises(OnlineStoreError, match="it has no database of this name"):
        actor.publish(store)
    store.close()


def test_many_keys_are_one_statement(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    """A read of a thousand keys of ten tables is one statement, and so one round trip."""
    store = open_store(postgres.url(postgres.database()), OPTIONS)
    actor.publish(store)
    store.read(actor.LOOKUPS)
    statements: list[str] = []

    def execute(connection: psycopg.Connection[Any], query: Any, *arguments: Any, **options: Any) -> Any:
        # The pool may make another connection meanwhile.
        statements.extend([query] if "SELECT" in query else [])
        return psycopg.Connection.execute(connection, query, *arguments, **options)

    monkeypatch.setattr(BoundedConnection, "execute", execute, raising=False)
    found = store.read([Lookup(f"t{each}", [b"%d" % key for key in range(100)]) for each in range(10)])
    assert ([len(each) for each in found.found], statements) == ([100] * 10, [READ])
    store.close()


def test_a_closed_store_has_no_connections(valkey: Valkey, namespace: str) -> None:
    """Closing a store ends its connections at once: those of reads and those of publications."""
    store = open_store(valkey.url(), replace(OPTIONS, namespace=namespace))
    client = redis.Redis.from_url(valkey.url())

    def connections() -> int:
        return sum(each["name"] == f"featdsl-{os.getpid()}" for each in client.client_list())

    before = connections()
    actor.publish(store)
    store.newest()
    while_open = connections() - before
    store.close()
    for _ in range(100):  # the server notices the end of a connection a moment later
        if connections() == before:
            break
        time.sleep(0.01)
    assert (while_open, connections() - before) == (1, 0)
    client.close()
