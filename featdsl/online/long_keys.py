"""Keys that are too long for an index: stored as their beginning and their digest, with the whole key before the record."""

from __future__ import annotations

from hashlib import sha256

LONGEST = 502
"""The longest key, in bytes, that is stored as it is. LMDB indexes 511 bytes, eight of which name the table."""


def stored_key(key: bytes) -> bytes:
    """Return the key to store: at most LONGEST + 1 bytes, and that many exactly for a long key."""
    return key if len(key) <= LONGEST else key[: LONGEST - 31] + sha256(key).digest()


def stored_record(key: bytes, record: bytes) -> bytes:
    """Return the record to store under `stored_key(key)`."""
    return record if len(key) <= LONGEST else len(key).to_bytes(4, "big") + key + record


def record_of(key: bytes, stored: bytes | None) -> bytes | None:
    """Return the record of a key from what is stored under `stored_key(key)`."""
    if stored is None or len(key) <= LONGEST:
        return stored
    found, record = _split(stored)
    return record if found == key else None


def key_of(stored: bytes, record: bytes) -> bytes:
    """Return the key of a stored key and a stored record."""
    return stored if len(stored) <= LONGEST else _split(record)[0]


def _split(stored: bytes) -> tuple[bytes, bytes]:
    end = 4 + int.from_bytes(stored[:4], "big")
    return stored[4:end], stored[end:]
