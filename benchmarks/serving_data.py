"""Write what serving.py reads: the same users in every store, and the flights with and without an online store."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import lmdb
import msgpack
import plan
from feast import FEAST_YAML, VENV, output_of
from one_reader import FEATURES
from plan import REPOSITORY, Took

DECLARED = """\
from featdsl import Entity, Feature, FeatureGroup, FeatureSet, Source

user = Entity("user", keys={"user_id": int})
rows = Source("rows", path="rows.parquet", timestamp="event_timestamp")


class Profile(FeatureGroup, entity=user, source=rows):
"""
FEAST = """\
from datetime import timedelta
from feast import Entity, FeatureView, Field, FileSource, ValueType
from feast.types import Float64

user = Entity(name="user", join_keys=["user_id"], value_type=ValueType.INT64)
source = FileSource(name="rows", path="ROWS", timestamp_field="event_timestamp")
"""


def write_users(root: Path, number: int) -> Path:
    """Write a Parquet file with a row of 10 numbers for each user, in no order, and return its path."""
    root.mkdir(parents=True, exist_ok=True)
    values = ", ".join(f"(hash(i * 10 + {j}) % 1000003) / 8 AS {name}" for j, name in enumerate(FEATURES))
    select = f"""SELECT i AS user_id, {values}, TIMESTAMPTZ '2025-01-01 00:00:00+00' + to_seconds(i) AS event_timestamp
                 FROM range({number}) rows(i) ORDER BY hash(i)"""
    path = root / "rows.parquet"
    with duckdb.connect() as connection:
        connection.execute(f"SET TimeZone = 'UTC'; COPY ({select}) TO '{path}' (FORMAT parquet)")
    (root / "users").write_text(str(number))
    return path


def write_featdsl(root: Path, rows: Path, url: str = "embedded") -> None:
    """Declare a set version of the users' numbers, and apply it, which publishes it."""
    (root / "features").mkdir(parents=True)
    (root / "rows.parquet").hardlink_to(rows)
    (root / "featproject.toml").write_text(f'[project]\nname = "bench"\n[serving]\nurl = "{url}"\n')
    text = DECLARED + "".join(f"    {name} = Feature(float)\n" for name in FEATURES)
    text += '\n\nprofile_features_v1 = FeatureSet("profile_features", version=1, features=[Profile])\n'
    (root / "features" / "__init__.py").write_text(text)
    plan.run([*plan.FEATDSL, "apply", "--yes"], root)


def write_feast(root: Path, rows: Path) -> None:
    """Declare the same in Feast, and apply it; the online store is still empty."""
    root.mkdir(parents=True)
    (root / "feature_store.yaml").write_text(FEAST_YAML)
    schema = ", ".join(f'Field(name="{name}", dtype=Float64)' for name in FEATURES)
    view = f'FeatureView(name="profile", entities=[user], source=source, ttl=timedelta(days=0), schema=[{schema}])'
    (root / "definitions.py").write_text(f"{FEAST.replace('ROWS', str(rows))}profile = {view}\n")
    output_of([str(VENV / "bin" / "feast"), "apply"], root)


def values(rows: Path) -> list[tuple[Any, ...]]:
    """Return the key and the numbers of each user."""
    with duckdb.connect() as connection:
        return connection.execute(f"SELECT user_id, {', '.join(FEATURES)} FROM '{rows}'").fetchall()


def write_sqlite(path: Path, rows: Path) -> None:
    """Write a plain table with the key as its primary key."""
    with sqlite3.connect(path) as connection:
        connection.execute(f"CREATE TABLE wide (user_id INTEGER PRIMARY KEY, {', '.join(FEATURES)})")
        connection.executemany(f"INSERT INTO wide VALUES ({', '.join('?' * (1 + len(FEATURES)))})", values(rows))


def write_lmdb(path: Path, rows: Path) -> None:
    """Write a packed list for each key."""
    with lmdb.open(str(path), map_size=1 << 32) as environment, environment.begin(write=True) as transaction:
        transaction.cursor().putmulti((b"%d" % row[0], msgpack.packb(row[1:])) for row in values(rows))


def write_redis(url: str, rows: Path) -> None:
    """Write a packed list for each key."""
    import redis

    client = redis.Redis.from_url(url)
    with client.pipeline(transaction=False) as pipeline:
        for row in values(rows):
            pipeline.set(b"raw:%d" % row[0], msgpack.packb(row[1:]))
        pipeline.execute()


def write_postgres(url: str, rows: Path) -> None:
    """Write a plain table with the key as its primary key."""
    import psycopg

    listed = ", ".join(f"{name} DOUBLE PRECISION" for name in FEATURES)
    with psycopg.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE TABLE wide (user_id BIGINT PRIMARY KEY, {listed})")
        with cursor.copy("COPY wide FROM STDIN") as copy:
            for row in values(rows):
                copy.write_row(row)


def write_flights(root: Path) -> tuple[Path, Path]:
    """Apply the example with an online store; return it, and a project that reads the same tables without one."""
    online, tables = root / "online", root / "tables"
    for folder in (online, tables):
        shutil.copytree(REPOSITORY / "features", folder / "features")
        (folder / "data").symlink_to(REPOSITORY / "data")
        shutil.copy(REPOSITORY / "featproject.toml", folder)
    settings = (online / "featproject.toml").read_text().partition("[serving]")[0]
    (online / "featproject.toml").write_text(f'{settings}\n[serving]\nurl = "embedded"\n')
    (tables / "featproject.toml").write_text(f'{settings}\n[store]\npath = "{online}/.featdsl"\n')
    plan.run([*plan.FEATDSL, "apply", "--yes"], online)
    query = (
        f"SELECT DISTINCT tailnum, carrier, origin, dest FROM '{REPOSITORY}/data/flights.parquet' WHERE tailnum != ''"
    )
    with duckdb.connect() as connection:
        flights = connection.execute(f"{query} ORDER BY ALL LIMIT 20000").fetchall()
    rows = [dict(zip(("tailnum", "carrier", "origin", "dest"), row, strict=True)) for row in flights]
    for folder in (online, tables):
        (folder / "rows.json").write_text(json.dumps(rows))
    return online, tables


def records(project: Path) -> list[tuple[bytes, bytes]]:
    """Return what a project has published to its embedded store, each record with its key in the file."""
    (file,) = (project / ".featdsl" / "online").rglob("data.mdb")
    with lmdb.open(str(file.parent), readonly=True, lock=False) as environment, environment.begin() as transaction:
        return list(transaction.cursor())


def bulk_load(folder: Path, pairs: Sequence[tuple[bytes, bytes]]) -> Took:
    """Write records to a new LMDB file in one transaction, in a process of its own, and return what that took."""
    packed, script = folder / "pairs", folder / "load.py"
    packed.write_bytes(msgpack.packb(list(pairs)))
    script.write_text(
        "import json, sys, time, lmdb, msgpack\n"
        "pairs = msgpack.unpackb(open(sys.argv[1], 'rb').read(), use_list=False)\n"
        "wall, processor = time.perf_counter(), time.process_time()\n"
        "with lmdb.open(sys.argv[2], map_size=1 << 36) as environment, environment.begin(write=True) as transaction:\n"
        "    transaction.cursor().putmulti(pairs)\n"
        "print(json.dumps([time.perf_counter() - wall, time.process_time() - processor]))\n"
    )
    loaded = folder / "loaded"
    shutil.rmtree(loaded, ignore_errors=True)
    wall, processor = json.loads(output_of([plan.FEATDSL[0], str(script), str(packed), str(loaded)], folder))
    return Took(wall, processor, 0)
