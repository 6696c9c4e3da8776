"""Rows of the shop in `feast_shop/`, and a spine that asks for them where it is hard: at ties, at the edges of a ttl, between NULLs."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

START = datetime(2026, 3, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
_TIME = pa.timestamp("us", tz="UTC")
_LOCAL = pa.timestamp("us")
TTL = {"profile": timedelta(days=3), "spending": timedelta(days=2)}
SOURCE_VIEWS = ("profile", "spending", "exchange")


def write(folder: Path, *, ties: bool) -> None:
    """Write the files of the shop's sources, with or without rows of one entity and time."""
    (folder / "data").mkdir()
    pq.write_table(profiles(ties=ties), folder / "data" / "profiles.parquet")
    pq.write_table(payments(ties=ties), folder / "data" / "payments.parquet")
    days = pa.array([START + timedelta(days=day) for day in range(16)], _TIME)
    pq.write_table(
        pa.table({"day": days, "usd": [1 + 0.1 * day for day in range(16)]}), folder / "data" / "rates.parquet"
    )


def profiles(*, ties: bool = True) -> pa.Table:
    """Return changes of 12 customers, without time zones; some came twice, and the one loaded last is true."""
    seeded = random.Random(1)  # noqa: S311 - rows, not secrets
    rows = []
    for customer in range(1, 13):
        for change in range(seeded.randrange(1, 6)):
            at = START + timedelta(hours=seeded.randrange(300))
            rows += [_profile(seeded, customer, at, at + timedelta(hours=load)) for load in range(1 + change % 3)]
    rows = rows if ties else _first(rows, "customer_id", "valid_from")
    seeded.shuffle(rows)
    return pa.Table.from_pylist(rows, pa.schema([
        ("customer_id", pa.int64()), ("valid_from", _LOCAL), ("loaded_at", _LOCAL), ("age", pa.int32()), ("score", pa.float32()),
        ("limit", pa.float64()), ("segment", pa.string()), ("active", pa.bool_()), ("Joined", _TIME),
        ("history", pa.list_(pa.int64())),
    ]))  # fmt: skip


def _profile(seeded: random.Random, customer: int, at: datetime, loaded: datetime) -> dict[str, object]:
    return {
        "customer_id": customer,
        "valid_from": at.replace(tzinfo=None),
        "loaded_at": loaded.replace(tzinfo=None),
        "age": seeded.choice([None, seeded.randrange(18, 90)]),
        "score": seeded.choice([None, seeded.random()]),
        "limit": seeded.choice([None, 0.0, round(seeded.uniform(10, 500), 2)]),
        "segment": seeded.choice(["new", "old", "gone", None]),
        "active": seeded.choice([True, False, None]),
        "Joined": at - timedelta(days=seeded.randrange(1000)),
        "history": [seeded.randrange(9) for _ in range(seeded.randrange(3))],
    }


def payments(*, ties: bool = True) -> pa.Table:
    """Return payments of pairs of customers and merchants, under other names than the views have."""
    seeded = random.Random(2)  # noqa: S311 - rows, not secrets
    rows = []
    for _ in range(150):
        at = START + timedelta(hours=seeded.randrange(300))
        customer, merchant = seeded.randrange(1, 13), seeded.choice("abc")
        rows += [
            {
                "cust": customer, "merchant": merchant, "paid_at": at, "loaded_at": at + timedelta(minutes=len(rows) + copy),
                "amt": round(seeded.uniform(1, 900), 2), "Curr-Code": seeded.choice(["EUR", "USD", None]), "number": len(rows) + copy,
            }
            for copy in range(seeded.choice([1, 1, 2]))
        ]  # fmt: skip
    rows = rows if ties else _first(rows, "cust", "merchant", "paid_at")
    return pa.Table.from_pylist(rows, pa.schema([
        ("cust", pa.int64()), ("merchant", pa.string()), ("paid_at", _TIME), ("loaded_at", _TIME), ("amt", pa.float64()),
        ("Curr-Code", pa.string()), ("number", pa.int64()),
    ]))  # fmt: skip


def _first(rows: list[dict[str, object]], *names: str) -> list[dict[str, object]]:
    """Return the first of all rows that are equal in some columns."""
    return list({tuple(row[name] for name in names): row for row in reversed(rows)}.values())


def spine() -> pa.Table:
    """Return rows at, just before and long after events, and around the ends of both ttls; never exactly at the end of one.

    No two rows have one time: for a view without an entity, Feast's Dask keeps one of them only.
    """
    seeded = random.Random(3)  # noqa: S311 - rows, not secrets
    events = [*profiles().column("valid_from").to_pylist(), *payments().column("paid_at").to_pylist()]
    shifts = [
        timedelta(0), -MICROSECOND, timedelta(minutes=7), timedelta(days=40),
        *(ttl + sign * MICROSECOND for ttl in TTL.values() for sign in (-1, 1)),
    ]  # fmt: skip
    rows = [
        {
            "row": number,
            "event_timestamp": seeded.choice(events).replace(tzinfo=UTC) + seeded.choice(shifts),
            "customer_id": seeded.randrange(1, 15),
            "merchant": seeded.choice("abcd"),
            "sender_id": seeded.randrange(1, 15),
            "receiver_id": seeded.randrange(1, 15),
            "amount": round(seeded.uniform(0, 300), 2),
            "items": seeded.randrange(5),
            "voucher": seeded.choice(["A1", "B2", None]),
        }
        for number in range(800)
    ]
    rows = _first(rows, "event_timestamp")
    schema = pa.schema([
        ("row", pa.int64()), ("event_timestamp", _TIME), ("customer_id", pa.int64()), ("merchant", pa.string()),
        ("sender_id", pa.int64()), ("receiver_id", pa.int64()), ("amount", pa.float64()), ("items", pa.int64()),
        ("voucher", pa.string()),
    ])  # fmt: skip
    return pa.Table.from_pylist(rows, schema)
