"""The SQL of the PostgreSQL store."""

from __future__ import annotations

from hashlib import blake2b

from featdsl.online.postgres.errors import SCHEMA

CREATE = f"""
CREATE SCHEMA IF NOT EXISTS {SCHEMA};
CREATE TABLE IF NOT EXISTS {SCHEMA}.publications (namespace text PRIMARY KEY, token bytea NOT NULL, manifest bytea NOT NULL);
CREATE TABLE IF NOT EXISTS {SCHEMA}.records (key bytea PRIMARY KEY, record bytea NOT NULL);
ALTER TABLE {SCHEMA}.records ALTER record SET STORAGE EXTERNAL;
"""
"""Make the tables. A key starts with the digest of its namespace and table. Records are compact already: compressing costs time."""

SETTINGS = """
SELECT set_config(name, value, false) FROM pg_settings JOIN (VALUES
  ('statement_timeout', '0'), ('idle_in_transaction_session_timeout', '0'), ('client_connection_check_interval', '2s')
) AS wanted(name, value) USING (name)
"""
"""Let a publication take as long as it needs, but end it soon if its process dies. Old servers lack the last setting."""

EXISTS = f"SELECT to_regclass('{SCHEMA}.records') IS NOT NULL AND to_regclass('{SCHEMA}.publications') IS NOT NULL"

NEWEST = f"SELECT token, manifest FROM {SCHEMA}.publications WHERE namespace = %s"

# A subquery for each key, not a join: the planner cannot choose to read the whole table.
GET = f"""ARRAY(
  SELECT (SELECT record FROM {SCHEMA}.records r WHERE r.key = asked.key)
  FROM unnest(%b::bytea[]) WITH ORDINALITY AS asked(key, place) ORDER BY place
)"""

READ = f"SELECT token, {GET} FROM {SCHEMA}.publications WHERE namespace = %s"

_IN_TABLE = "key BETWEEN %(prefix)s AND %(prefix)s || decode(repeat('ff', 512), 'hex')"

KEYS = f"""
SELECT substr(key, 9), CASE WHEN length(key) > %(longest)s + 8 THEN record ELSE '' END FROM {SCHEMA}.records WHERE {_IN_TABLE}
"""

STAGE = (
    "CREATE TEMPORARY TABLE staged (place bigint GENERATED ALWAYS AS IDENTITY, key bytea, record bytea) ON COMMIT DROP"
)

COPY = "COPY staged (key, record) FROM STDIN (FORMAT BINARY)"

UNSTAGE = f"DELETE FROM staged WHERE {_IN_TABLE}"

CLEAR = f"DELETE FROM {SCHEMA}.records WHERE {_IN_TABLE}"

_LAST = "SELECT DISTINCT ON (key) key, record FROM staged ORDER BY key, place DESC"

DELETE = f"DELETE FROM {SCHEMA}.records r USING ({_LAST}) last WHERE last.record IS NULL AND r.key = last.key"

WRITE = f"""
INSERT INTO {SCHEMA}.records (key, record) SELECT key, record FROM ({_LAST}) last WHERE record IS NOT NULL
ON CONFLICT (key) DO UPDATE SET record = EXCLUDED.record
"""

PUBLISH = f"""
INSERT INTO {SCHEMA}.publications (namespace, token, manifest) VALUES (%s, %s, %s)
ON CONFLICT (namespace) DO UPDATE SET token = EXCLUDED.token, manifest = EXCLUDED.manifest
"""

LOCK = "SELECT pg_advisory_lock(%s)"


def prefix_of(namespace: str, table: str) -> bytes:
    """Return the eight bytes that the keys of a table start with."""
    return blake2b(f"{namespace}\0{table}".encode(), digest_size=8).digest()


def lock_of(name: str) -> int:
    """Return the number of an advisory lock."""
    return int.from_bytes(blake2b(f"featdsl\0{name}".encode(), digest_size=8).digest(), "big", signed=True)
