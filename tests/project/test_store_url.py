"""The URL of a team store: every way to write it, and the password that is never shown."""

from __future__ import annotations

import pytest

from featdsl.project.store_url import Place, holds_secret, parse


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("host=db dbname=f user=ann", Place((("host", "db"), ("dbname", "f"), ("user", "ann")))),
        (r"host = db password='it\'s \\ one' dbname='a b'", Place((("host", "db"), ("dbname", "a b")), "it's \\ one")),
        (
            "postgresql://ann:p%40ss@db:5433/f?sslmode=require",
            Place((("host", "db"), ("port", "5433"), ("user", "ann"), ("dbname", "f"), ("sslmode", "require")), "p@ss"),
        ),
        ("postgres:///f?host=/run/db", Place((("host", "/run/db"), ("dbname", "f")))),
    ],
)
def test_an_address_is_read_as_postgresql_reads_it(written: str, expected: Place) -> None:
    """Pairs and URLs are parsed; the password is kept separately."""
    assert parse(f"ducklake:postgres:{written}") == expected


def test_what_is_shown_has_no_password() -> None:
    """Neither the text form nor the connection string contains it."""
    place = parse("ducklake:postgres:postgresql://ann:hush@db/f")
    assert (str(place), place.conninfo) == ("f on db", "host='db' user='ann' dbname='f'")
    assert "hush" not in repr(place)
    assert parse(f"ducklake:postgres:{place.conninfo}") == Place(place.options)


@pytest.mark.parametrize(
    ("written", "holds"),
    [
        ("host=db dbname=f", False),
        ("dbname=f password=x", True),
        ("postgresql://a:x@db/f", True),
        ("sslpassword=x", True),
    ],
)
def test_a_secret_is_noticed(written: str, *, holds: bool) -> None:
    """In pairs and in URLs, also as sslpassword."""
    assert holds_secret(f"ducklake:postgres:{written}") is holds


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("postgresql://a:hush@db/f", "write a team store as"),
        ("ducklake:postgres:", "names no database"),
        ("ducklake:postgres:hush", "name=value"),
        ("ducklake:postgres:postgresql://a:hush@db:port/f", "not a valid PostgreSQL URL"),
    ],
)
def test_what_is_no_address_is_refused_without_repeating_it(written: str, said: str) -> None:
    """The refused text may contain a password."""
    with pytest.raises(ValueError, match=said) as raised:
        parse(written)
    assert "hush" not in str(raised.value)
