"""Say in plain words what psycopg reports."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import errors
from psycopg_pool import PoolTimeout, TooManyRequests

from featdsl.errors import FeatdslError, OnlineStoreError
from featdsl.online.options import unreachable, unusable

SCHEMA = "featdsl_online"
"""The schema of the tables."""


class NoAnswerError(psycopg.OperationalError):
    """The server has not answered within the timeout; the connection is of no more use."""


_RIGHTS = (
    f"To publish, the account needs CREATE on the database, or must own the schema {SCHEMA}: CREATE SCHEMA {SCHEMA} AUTHORIZATION account\n"
    f"To read: GRANT USAGE ON SCHEMA {SCHEMA} TO account; GRANT SELECT ON ALL TABLES IN SCHEMA {SCHEMA} TO account"
)

_EXPLAINED: tuple[tuple[type[Exception] | tuple[type[Exception], ...], str, str], ...] = (
    (errors.InsufficientPrivilege, "the account may not do this", _RIGHTS),
    (
        (errors.InvalidPassword, errors.InvalidAuthorizationSpecification),
        "it refuses this account or password",
        "Correct the account in the URL, or set PGPASSWORD.",
    ),
    (errors.InvalidCatalogName, "it has no database of this name", "Correct the database in the URL, or create it."),
    (errors.ReadOnlySqlTransaction, "it is a replica, which takes no writes", "Name the primary in the URL."),
    (errors.DiskFull, "its disk is full", "Free some space on the server, and publish again."),
    (errors.OutOfMemory, "it is out of memory", "Look into the log of the server."),
)


@contextmanager
def explained(store: object) -> Iterator[None]:
    """Turn the errors of psycopg into an OnlineStoreError."""
    try:
        yield
    except FeatdslError:
        raise
    except (psycopg.Error, OSError) as error:
        raise plain(store, error) from None


_REFUSALS = (
    (re.compile("password|authentication|pg_hba|role .* does not exist"), errors.InvalidPassword()),
    (re.compile("database .* does not exist"), errors.InvalidCatalogName()),
    (re.compile("too many clients|connection limit|remaining connection slots"), errors.TooManyConnections()),
)
"""What a server says that refuses a connection: psycopg reports all of it as one kind of error."""


def plain(store: object, error: Exception) -> OnlineStoreError:
    """Return the OnlineStoreError of an error of psycopg."""
    if type(error) is psycopg.OperationalError:
        error = next((kind for pattern, kind in _REFUSALS if pattern.search(str(error))), error)
    for kind, why, fix in _EXPLAINED:
        if isinstance(error, kind):
            return unusable(store, why, fix)
    if isinstance(error, TooManyRequests | errors.TooManyConnections):
        return unreachable(store, "it has no connection left")
    if isinstance(error, PoolTimeout | NoAnswerError | errors.QueryCanceled | psycopg.errors.ConnectionTimeout):
        return unreachable(store, "it does not answer within the timeout")
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError | OSError):
        return unreachable(store, "no connection can be made, or it was lost")
    return unusable(store, f"it answers {type(error).__name__}", "Look into the log of the server.")
