"""Killed publishers, feature servers and online stores: no answer is mixed or wrong, and the next run publishes."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from tests import torture
from tests.online import served_states
from tests.online.feature_server import FeatureServer
from tests.online.served_states import Seen
from tests.online.torture_serving import Kill, ServingTorture
from tests.servers import Postgres, Valkey, postgres, postgres_server, valkey, valkey_server

__all__ = ["postgres", "postgres_server", "valkey", "valkey_server"]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="Linux lists the processes")
@pytest.mark.parametrize("kind", ["embedded", "redis", "postgres"])
def test_publishers_and_servers_may_be_killed_at_any_time(
    kind: str,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Every answer has the values of one publication, none goes back, and reads fail only while a server is away."""
    store: Postgres | Valkey | None = None
    if kind != "embedded":
        store = request.getfixturevalue({"redis": "valkey"}.get(kind, kind))
        monkeypatch.setenv("ONLINE_URL", store.url(store.database()) if isinstance(store, Postgres) else store.url())
    root = tmp_path / "project"
    served_states.make(root, "env:ONLINE_URL" if store else "embedded")
    server = FeatureServer(root, tmp_path / "server.log")
    tortured = ServingTorture(root, server, store, random.Random(f"{torture.seed()} {kind}"))  # noqa: S311
    tortured.begin()
    server.start()
    try:
        with served_states.reading(root, server.url, pause=0.05):
            while len(tortured.kills) < torture.kills(8) and not tortured.faults:
                tortured.round()
            tortured.settle()
    finally:
        server.stop()
    tortured.judge(served_states.seen(root))
    with capsys.disabled():
        torture.tell(f"Serving from {kind}: {tortured.report()}", tortured.faults)
    assert tortured.faults == []
    assert tortured.counts["reads"] > 10 * len(tortured.kills)


ANSWER = {
    "newest": 2_000_003,
    "total": 2_000_003,
    "counted": 2_000_003,
    "offer": 2_000_003,
    "pair": 4_000_006,
    "plus": 2_000_010,
}


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({}, [2_000_003]),
        ({"offer": 2_000_004}, [2_000_003, 2_000_004]),
        ({"pair": 4_000_007}, [None, 2_000_003]),
        ({"total": None}, [None, 2_000_003]),
        ({"plus": 1_000_010}, [1_000_003, 2_000_003]),
    ],
)
def test_a_mixed_answer_has_several_numbers(changed: dict[str, int | None], found: list[int | None]) -> None:
    """Whichever of its values is of another publication."""
    assert served_states.numbers([ANSWER, {**ANSWER, **changed}], amount=7) == found


READ = Seen("store-0", "names", begun=10.5, ended=10.6, numbers=(2_000_003,))
DOWN = "OnlineStoreError: Online store cannot be reached"


@pytest.mark.parametrize(
    ("reads", "fault"),
    [
        ([READ], ""),
        ([replace(READ, numbers=(2_000_003, 2_000_004))], "mixed reads"),
        ([replace(READ, numbers=(2_000_004,))], "wrong values"),
        ([replace(READ, numbers=(3_000_003,))], "wrong values"),
        ([replace(READ, numbers=(1_000_003,))], "wrong values"),
        ([replace(READ, request="fixed")], "wrong values"),
        ([replace(READ, request="fixed", numbers=(1_000_003,))], ""),
        ([replace(READ, begun=9.5, numbers=(1_000_003,))], ""),
        ([replace(READ, begun=9.5), replace(READ, begun=9.7, numbers=(1_000_003,))], "reads that went back"),
        ([replace(READ, numbers=(), error=DOWN)], "failed reads"),
        ([replace(READ, begun=20.1, ended=20.2, numbers=(), error=DOWN)], ""),
        ([replace(READ, begun=30.1, ended=30.2, numbers=(), error=DOWN)], "failed reads"),
    ],
)
def test_reads_are_held_against_publications(reads: list[Seen], fault: str, tmp_path: Path) -> None:
    """Version 2 was made at 9 and published at 10; the store was away from 20 to 25."""
    server = FeatureServer(tmp_path, tmp_path / "server.log", port=1)
    server.log.touch()
    tortured = ServingTorture(tmp_path, server, None, random.Random(1))  # noqa: S311
    tortured.note(9.0, 2, 3)
    tortured.note(10.0, 2, 3, published=True)
    tortured.kills.append(Kill("online store", 20.0, until=25.0, readers="*"))

    tortured.judge(reads)

    assert [each.partition(":")[0] for each in tortured.faults] == ([fault] if fault else [])
