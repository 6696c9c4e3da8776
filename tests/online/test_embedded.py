"""What only the embedded store shows: full disks, limits of a process, readers that die."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import lmdb
import pytest

from featdsl.errors import OnlineStoreError
from featdsl.online import Lookup, OnlineStore
from featdsl.online.connect import open_store
from featdsl.online.embedded import open_files
from featdsl.online.options import OnlineOptions
from tests.disks import Disk, disk
from tests.online import actor

__all__ = ["disk"]


def embedded(folder: Path) -> OnlineStore:
    """Return an embedded store."""
    return open_store("embedded", OnlineOptions("prod", path=folder, lock_timeout=5.0))


def test_a_full_disk_keeps_the_publication_before(disk: Disk) -> None:
    """A publication that does not fit is an error that says so; readers keep theirs, and the next one that fits works."""
    store = embedded(disk.folder / "online")
    actor.publish(store)
    with store.publishing() as publisher:
        publisher.put("user", ((b"%d" % number, os.urandom(1000)) for number in range(10_000)))
        with pytest.raises(OnlineStoreError, match="the disk is full") as raised:
            publisher.commit(b"lost")
    assert "Readers keep the publication before." in str(raised.value)
    assert actor.number_of(store.read(actor.LOOKUPS)) == 1
    assert actor.publish(store) == 2
    assert actor.number_of(store.read(actor.LOOKUPS)) == 2
    store.close()


def test_a_store_that_is_too_large_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the limit of address space, a publication is refused, and the one before stays."""
    monkeypatch.setattr(open_files, "_SIZES", (1 << 20,))
    store = embedded(tmp_path)
    actor.publish(store)
    with pytest.raises(OnlineStoreError, match="it has reached its largest size"), store.publishing() as publisher:
        publisher.put("user", ((b"%d" % number, bytes(1000)) for number in range(10_000)))
    assert actor.number_of(store.read(actor.LOOKUPS)) == 1
    store.close()


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
from pathlib import Path
from tests.online import actor, test_embedded
store = test_embedded.embedded(Path(sys.argv[1]))
print(actor.publish(store), actor.number_of(store.read(actor.LOOKUPS)))
"""


@pytest.mark.slow
def test_a_process_with_little_address_space_publishes_and_reads(tmp_path: Path) -> None:
    """A limit such as a batch system sets (ulimit -v) makes the map smaller, and nothing fails."""
    store = embedded(tmp_path)
    actor.publish(store)
    command = [sys.executable, "-c", LIMITED, str(tmp_path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert (done.stdout, actor.number_of(store.read(actor.LOOKUPS))) == ("2 2\n", 2)
    assert resource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY
    store.close()


READER = """
import sys, time
from pathlib import Path
from tests.online import actor, test_embedded
from featdsl.online.embedded import open_files
store = test_embedded.embedded(Path(sys.argv[1]))
transaction = open_files.opened(store.file, store).environment.begin()
print(transaction.get(b"token") is not None, flush=True)
time.sleep(60)
"""


@pytest.mark.slow
def test_a_reader_that_was_killed_holds_no_old_pages(tmp_path: Path) -> None:
    """The next publisher frees the slot of a dead reader: the file does not grow with every publication after it."""
    store = embedded(tmp_path)
    file = tmp_path / "prod" / "data.mdb"
    actor.publish(store)
    command = [sys.executable, "-c", READER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as reader:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "True\n"
        reader.send_signal(signal.SIGKILL)
    for _ in range(12):
        actor.publish(store)
    size = file.stat().st_size
    for _ in range(36):
        actor.publish(store)
    assert file.stat().st_size < 1.2 * size
    store.close()


def test_more_reads_at_once_than_there_are_slots_are_an_error(tmp_path: Path) -> None:
    """Slots that readers hold are not waited for; the error says how many there are."""
    store = embedded(tmp_path)
    actor.publish(store)
    found = open_files.opened(str(tmp_path / "prod" / "data.mdb"), store)
    assert found is not None
    held: list[lmdb.Transaction] = []
    with contextlib.suppress(lmdb.ReadersFullError):
        while True:
            held.append(found.environment.begin())
    with pytest.raises(OnlineStoreError, match="more than 1024 reads run at the same time"):
        store.read([Lookup("user", [b"1"])])
    held.clear()
    assert actor.number_of(store.read(actor.LOOKUPS)) == 1
    store.close()


def test_stores_of_one_folder_share_its_file(tmp_path: Path) -> None:
    """Two stores of a process read and publish beside each other, and closing one leaves the other open."""
    one, two = embedded(tmp_path), embedded(tmp_path)
    actor.publish(one)
    assert actor.number_of(two.read(actor.LOOKUPS)) == 1
    one.close()
    assert actor.publish(two) == 2
    assert actor.number_of(one.read(actor.LOOKUPS)) == 2
    one.close()
    two.close()


def test_a_file_without_its_free_pages_is_whole(tmp_path: Path) -> None:
    """LMDB does not write a last page that a publication took and gave back: a file that ends before it is not damaged."""
    store = embedded(tmp_path)
    for number in range(1, 13):
        actor.publish(store)
        store.close()
        assert actor.number_of(store.read(actor.LOOKUPS)) == number
    store.close()
