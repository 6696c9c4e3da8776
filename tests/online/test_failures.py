"""Online stores when something breaks: servers that are down or hang, processes that fork or die, files that are damaged."""

from __future__ import annotations

import asyncio
import gc
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from featdsl.errors import OnlineStoreError
from featdsl.online import Lookup, OnlineStore, Publication
from featdsl.online.connect import open_store
from featdsl.online.options import OnlineOptions
from tests.online import actor
from tests.online.conftest import Place

ONE = [Lookup("user", [b"1"])]


def published(store: OnlineStore, value: bytes = b"one") -> Publication:
    """Publish one record."""
    with store.publishing() as publisher:
        publisher.put("user", [(b"1", value)])
        return publisher.commit(b"m")


def record(store: OnlineStore) -> bytes | None:
    """Read that record."""
    return store.read(ONE).found[0][0]


def publish_one(store: OnlineStore) -> None:
    """Publish, for a table of calls."""
    published(store)


CALLS: dict[str, Callable[[OnlineStore], object]] = {
    "newest": lambda store: store.newest(),
    "read": lambda store: store.read(ONE),
    "aread": lambda store: asyncio.run(store.aread(ONE)),  # type: ignore[arg-type]
    "publishing": publish_one,
}


@pytest.mark.slow
@pytest.mark.parametrize("call", CALLS)
def test_a_server_that_is_down_is_an_error_within_the_timeout(far_place: Place, call: str) -> None:
    """Every call says so in time, without the password, and the same store works again when the server does."""
    store, server = far_place.open(timeout=1.0), far_place.server
    assert server is not None
    published(store)
    CALLS[call](store)
    server.stop(crash=True)
    begun = time.monotonic()
    with pytest.raises(OnlineStoreError, match="Online store cannot be reached") as raised:
        CALLS[call](store)
    took = time.monotonic() - begun
    server.start()
    assert took < 1.5
    assert server.password not in str(raised.value)
    CALLS[call](store)
    assert record(store) == b"one"


@pytest.mark.slow
@pytest.mark.parametrize("call", ["newest", "read", "aread"])
def test_a_server_that_hangs_is_an_error_within_the_timeout(far_place: Place, call: str) -> None:
    """A server that keeps its connections and answers nothing costs no more than the timeout."""
    store, server = far_place.open(timeout=0.5), far_place.server
    assert server is not None
    published(store)
    CALLS[call](store)
    server.freeze()
    try:
        begun = time.monotonic()
        with pytest.raises(OnlineStoreError, match="does not answer within the timeout"):
            CALLS[call](store)
        took = time.monotonic() - begun
    finally:
        server.freeze(on=False)
    assert took < 1.2
    CALLS[call](store)


@pytest.mark.slow
def test_a_server_that_was_restarted_costs_no_read(far_place: Place) -> None:
    """Connections that a restart has closed are replaced within the call."""
    store, server = far_place.open(), far_place.server
    assert server is not None
    published(store)
    with actor.Readers(far_place.open("other"), threads=1):
        assert record(store) == b"one"
    server.stop()
    server.start()
    assert record(store) == b"one"


@pytest.mark.slow
def test_a_wrong_password_is_named_and_not_shown(far_place: Place) -> None:
    """An account that the server refuses is no server that is down."""
    assert far_place.server is not None
    url = far_place.url.replace(far_place.server.password, "s3cret")
    store = open_store(url, far_place.options)
    for call in CALLS.values():
        with pytest.raises(OnlineStoreError, match="refuses this account or password") as raised:
            call(store)
        assert "s3cret" not in str(raised.value)
    store.close()


def in_a_child(work: Callable[[], object]) -> int:
    """Return the exit code of a forked process that does some work: 0, or 1 if that raises."""
    gc.collect()
    gc.freeze()  # what other tests have left is not for the child to collect
    if child := os.fork():
        gc.unfreeze()
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    try:
        work()
    except BaseException:  # noqa: BLE001 - whatever it is, the child ends here
        os._exit(1)
    os._exit(0)


def test_a_child_process_opens_its_own_connections(lasting_place: Place) -> None:
    """Parent and child read and publish after a fork, in turns, and neither disturbs the other."""
    store = lasting_place.open()
    published(store)
    assert record(store) == b"one"

    def child() -> None:
        assert record(store) == b"one"
        published(store, b"child")
        assert record(store) == b"child"
        assert asyncio.run(store.aread(ONE)) == store.read(ONE)  # type: ignore[arg-type]

    assert in_a_child(child) == 0
    assert record(store) == b"child"
    published(store, b"parent")
    assert record(store) == b"parent"


@pytest.mark.slow
def test_forks_do_not_disturb_readers(tmp_path: Path) -> None:
    """Threads read an embedded store while the process forks again and again, and the children read it too."""
    store = open_store("embedded", OnlineOptions("prod", path=tmp_path))
    actor.publish(store)
    with actor.Readers(store, threads=4) as readers:
        codes = {in_a_child(lambda: actor.number_of(store.read(actor.LOOKUPS)) == 1 or os._exit(2)) for _ in range(30)}
    store.close()
    assert (codes, readers.wrong, readers.errors) == ({0}, [], [])


def test_a_fork_while_publishing_is_an_error_in_the_child(tmp_path: Path) -> None:
    """The child of a process that publishes cannot read the file, and says why; the publisher goes on, and frees its lock."""
    store = open_store("embedded", OnlineOptions("prod", path=tmp_path, lock_timeout=1.0))
    published(store)

    def child() -> None:
        with pytest.raises(OnlineStoreError, match="forked while its parent was publishing"):
            store.read(ONE)

    with store.publishing() as publisher:
        publisher.put("user", [(b"1", b"two")])
        assert in_a_child(child) == 0
        publisher.commit(b"m")
    assert record(store) == b"two"
    published(store, b"three")
    store.close()


@pytest.mark.slow
@pytest.mark.parametrize("moment", [0.0, 0.02, 0.1, 0.3])
def test_a_publisher_that_is_killed_leaves_the_publication_before(lasting_place: Place, moment: float) -> None:
    """A killed process shows in no reader, and the next publisher need not wait long."""
    store = lasting_place.open()
    process = actor.start(lasting_place.url, lasting_place.options)
    assert process.stdout is not None
    first = int(process.stdout.readline())
    time.sleep(moment)
    last = max([first, *map(int, actor.kill(process).split())])
    # A commit may have come without the line that tells of it.
    number = actor.number_of(store.read(actor.LOOKUPS))
    assert number in {last, last + 1}
    begun = time.monotonic()
    assert actor.publish(store) == number + 1
    assert time.monotonic() - begun < 3
    assert actor.number_of(store.read(actor.LOOKUPS)) == number + 1


def embedded(folder: Path) -> tuple[OnlineStore, Path]:
    """Return an embedded store with one publication, closed, and its data file."""
    store = open_store("embedded", OnlineOptions("prod", path=folder))
    published(store)
    store.close()
    return store, folder / "prod" / "data.mdb"


@pytest.mark.parametrize("damage", [b"", b"no database", b"\0" * 8192, None], ids=["empty", "text", "zeros", "cut"])
def test_a_damaged_file_says_how_to_fill_it_anew(tmp_path: Path, damage: bytes | None) -> None:
    """A file that is no store any more is named, with what to do; removing it and publishing again mends it."""
    store, file = embedded(tmp_path)
    file.write_bytes(file.read_bytes()[:8192] if damage is None else damage)
    if damage == b"":
        assert store.newest() is None
    else:
        for call in (store.newest, lambda: store.read(ONE), lambda: published(store)):
            with pytest.raises(OnlineStoreError, match="Online store cannot be used") as raised:
                call()
            assert raised.value.problems[0].what == f"{file.parent}: its file is damaged."
            assert (
                raised.value.problems[0].fix
                == f"Remove the folder {file.parent}, and fill it anew: featdsl publish --full"
            )
        shutil.rmtree(file.parent)
    published(store)
    assert record(store) == b"one"
    store.close()


def test_a_folder_that_was_removed_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process with the old file open reads the new one, a second after somebody has removed the folder and published."""
    store, file = embedded(tmp_path)
    assert record(store) == b"one"
    shutil.rmtree(file.parent)
    monkeypatch.setattr("featdsl.online.embedded.open_files._now", lambda: time.monotonic() + 2)
    assert (store.newest(), record(store)) == (None, None)
    published(store, b"two")
    assert record(store) == b"two"
    store.close()


def test_a_publication_into_a_removed_folder_is_an_error(tmp_path: Path) -> None:
    """A commit that nobody could read is not reported as one."""
    store, file = embedded(tmp_path)
    with store.publishing() as publisher:
        shutil.rmtree(file.parent)
        with pytest.raises(OnlineStoreError, match="was removed during the publication"):
            publisher.commit(b"m")
    store.close()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everything")
def test_a_folder_without_rights_is_named(tmp_path: Path) -> None:
    """Publishing where one may not write says so, and how to share the folder."""
    tmp_path.chmod(0o500)
    store = open_store("embedded", OnlineOptions("prod", path=tmp_path / "online"))
    with pytest.raises(OnlineStoreError, match="cannot be written by this user"):
        published(store)


def test_files_are_shared_as_the_folder_is(tmp_path: Path) -> None:
    """In a folder that a group shares, its members can read and publish."""
    tmp_path.chmod(0o2775)
    _, file = embedded(tmp_path)
    modes = {path.name: path.stat().st_mode & 0o060 for path in file.parent.iterdir()}
    assert modes == {"data.mdb": 0o060, "lock.mdb": 0o060, "publisher.lock": 0o060}
