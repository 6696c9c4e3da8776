"""Read features by key with one tool, in a process of its own: a request as a line of JSON in, what it took as a line out.

serving.py starts it: one_reader.py TOOL PLACE. A request {"keys": 100, "calls": 50, "seed": 1} reads 100 keys 50 times; the answer
has the seconds of each call. {"check": true} answers the values of the first keys; {"materialize": true} lets Feast load its
online store.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FEATURES = [f"f{j}" for j in range(10)]
Row = dict[str, Any]


@dataclass(frozen=True)
class Opened:
    """A tool that is open: how it reads rows of keys, the rows to choose from, and how an answer becomes a list of dicts."""

    read: Callable[[list[Row]], Any]
    rows: Sequence[Row]
    listed: Callable[[Any], list[Row]] = lambda answer: answer if isinstance(answer, list) else [answer]


def users(place: str) -> list[Row]:
    """Return the keys of the users that a place has."""
    number = int((Path(place).parent / "users").read_text())
    return [{"user_id": i} for i in range(number)]


def open_featdsl(place: str) -> Opened:
    """Read a set version by `get_features`: the users, or what `rows.json` in the project has."""
    from featdsl import FeatureStore

    store, own = FeatureStore(place), Path(place) / "rows.json"
    rows = json.loads(own.read_text()) if own.exists() else users(place)
    features = "departure_delay@1" if own.exists() else "profile_features@1"

    def read(keys: list[Row]) -> Any:
        return store.get_features(features, **keys[0]) if len(keys) == 1 else store.get_features(features, rows=keys)

    return Opened(read, rows)


def open_feast(place: str) -> Opened:
    """Read the same by `get_online_features`."""
    from feast import FeatureStore

    store, names = FeatureStore(repo_path=place), [f"profile:{name}" for name in FEATURES]

    def listed(answer: dict[str, list[Any]]) -> list[Row]:
        return [dict(zip(FEATURES, row, strict=True)) for row in zip(*(answer[name] for name in FEATURES), strict=True)]

    return Opened(
        lambda keys: store.get_online_features(features=names, entity_rows=keys).to_dict(), users(place), listed
    )


def open_sqlite(place: str) -> Opened:
    """Read one row for each key from a plain table."""
    import sqlite3

    connection, listed = sqlite3.connect(place), ", ".join(FEATURES)

    def read(keys: list[Row]) -> Any:
        wanted = [row["user_id"] for row in keys]
        marks = ",".join("?" * len(wanted))
        found = connection.execute(f"SELECT user_id, {listed} FROM wide WHERE user_id IN ({marks})", wanted).fetchall()
        by_key = {row[0]: dict(zip(FEATURES, row[1:], strict=True)) for row in found}
        return [by_key.get(key) for key in wanted]

    return Opened(read, users(place))


def open_lmdb(place: str) -> Opened:
    """Read one packed list for each key."""
    import lmdb
    import msgpack

    environment, unpack = lmdb.open(place, readonly=True, lock=False), msgpack.unpackb

    def read(keys: list[Row]) -> Any:
        with environment.begin() as transaction:
            found = [transaction.get(b"%d" % row["user_id"]) for row in keys]
        return [dict(zip(FEATURES, unpack(each), strict=True)) if each else None for each in found]

    return Opened(read, users(place))


def open_redis(place: str) -> Opened:
    """Read one packed list for each key, all by one MGET."""
    import msgpack
    import redis

    client, unpack = redis.Redis.from_url((Path(place) / "url").read_text()), msgpack.unpackb

    def read(keys: list[Row]) -> Any:
        found = client.mget([b"raw:%d" % row["user_id"] for row in keys])
        return [dict(zip(FEATURES, unpack(each), strict=True)) if each else None for each in found]

    return Opened(read, users(place))


def open_postgres(place: str) -> Opened:
    """Read one row for each key from a plain table, by one prepared statement."""
    import psycopg

    connection = psycopg.connect((Path(place) / "url").read_text(), autocommit=True)
    sql = f"SELECT user_id, {', '.join(FEATURES)} FROM wide WHERE user_id = ANY(%s)"

    def read(keys: list[Row]) -> Any:
        wanted = [row["user_id"] for row in keys]
        found = connection.execute(sql, [wanted], prepare=True).fetchall()
        by_key = {row[0]: dict(zip(FEATURES, row[1:], strict=True)) for row in found}
        return [by_key.get(key) for key in wanted]

    return Opened(read, users(place))


OPEN: dict[str, Callable[[str], Opened]] = {
    "featdsl": open_featdsl,
    "feast": open_feast,
    "sqlite": open_sqlite,
    "lmdb": open_lmdb,
    "redis": open_redis,
    "postgres": open_postgres,
}


def measured(opened: Opened, keys: int, calls: int, seed: int) -> list[float]:
    """Return the seconds of each call, for keys that only the seed chooses."""
    choose, taken = random.Random(seed), []  # noqa: S311 - a load, no secret
    for _ in range(calls):
        rows = choose.choices(opened.rows, k=keys)
        started = time.perf_counter()
        opened.read(rows)
        taken.append(time.perf_counter() - started)
    return taken


def materialized(place: str) -> dict[str, float]:
    """Return the seconds in which Feast loads its online store, of the wall and of the processor."""
    import contextlib
    import io
    from datetime import UTC, datetime

    from feast import FeatureStore

    store = FeatureStore(repo_path=place)
    wall, processor = time.perf_counter(), time.process_time()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        store.materialize(datetime(2024, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC))
    return {"wall": time.perf_counter() - wall, "processor": time.process_time() - processor}


def main() -> None:
    """Answer each request."""
    tool, place = sys.argv[1:]
    opened: Opened | None = None
    for line in sys.stdin:
        asked = json.loads(line)
        answer: Any
        if asked.get("materialize"):
            answer = materialized(place)
        else:
            opened = opened or OPEN[tool](place)
            if asked.get("check"):
                answer = opened.listed(opened.read(list(opened.rows[:20])))
            else:
                answer = measured(opened, **asked)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
