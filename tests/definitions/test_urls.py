"""Paths and database URLs of sources."""

from __future__ import annotations

import pytest

from featdsl.definitions import urls
from featdsl.definitions.urls import Server

SERVERS = {
    "postgresql://ann:pw@wh:5433/shop": Server(
        (("host", "wh"), ("port", "5433"), ("user", "ann"), ("dbname", "shop")), "pw"
    ),
    "postgres://wh/shop?sslmode=require": Server((("host", "wh"), ("dbname", "shop"), ("sslmode", "require"))),
    "postgresql://ann:p%40ss%2F@wh/shop": Server((("host", "wh"), ("user", "ann"), ("dbname", "shop")), "p@ss/"),
    "postgresql://ann:p@ss:/w@wh/shop": Server((("host", "wh"), ("user", "ann"), ("dbname", "shop")), "p@ss:/w"),
    "postgresql://a:1,b:2/shop?password=pw": Server((("host", "a,b"), ("port", "1,2"), ("dbname", "shop")), "pw"),
    "postgresql://[::1]:5433/shop": Server((("host", "::1"), ("port", "5433"), ("dbname", "shop"))),
    "postgres:postgresql://wh": Server((("host", "wh"),)),
    "postgresql:///shop?host=/run/pg": Server((("host", "/run/pg"), ("dbname", "shop"))),
    r"postgres:host=wh password='a b\'c' dbname=shop": Server((("host", "wh"), ("dbname", "shop")), "a b'c"),
    "postgres:": Server(()),
}


@pytest.mark.parametrize("text", SERVERS)
def test_a_server_is_known_by_its_url_or_its_list(text: str) -> None:
    """The password is separate from the other parameters."""
    assert urls.server(text) == SERVERS[text]


def test_a_server_is_shown_without_its_password() -> None:
    """The password is not in the representation."""
    assert "geheim" not in repr(urls.server("postgresql://ann:geheim@wh/shop"))


def test_what_is_no_server() -> None:
    """Files and variables are not servers."""
    assert [urls.server(text) for text in ("warehouse.duckdb", "env:WAREHOUSE_URL", "sqlite:shop.db")] == [None] * 3


def test_a_connection_string_keeps_odd_values_whole() -> None:
    """The connection string parses to the same parameters."""
    server = Server((("host", "wh"), ("user", r"o'neil \ sons")), "pw")
    assert server.connection_string == r"connect_timeout='10' host='wh' user='o\'neil \\ sons'"
    read = urls.server(f"postgres:{server.connection_string}")
    assert read == Server((("connect_timeout", "10"), *server.parameters))


def test_how_long_to_wait_can_be_said() -> None:
    """A given timeout overrides the default."""
    server = urls.server("postgresql://wh/shop?connect_timeout=3")
    assert server is not None
    assert server.connection_string == "connect_timeout='3' host='wh' dbname='shop'"


FAULTS = {
    "database": {
        "postgresql://ann:pw@wh/shop": "contains a password",
        "postgres:host=wh password=pw": "contains a password",
        "postgresql://wh/shop?password=pw": "contains a password",
        "postgresql://wh/shop?sslpassword=pw": "contains a password",
        "mysql://ann:pw@wh/shop": "contains a password",
        "mysql://wh/shop": "databases of the kind mysql: are not supported",
        "mysql:shop": "databases of the kind mysql: are not supported",
    },
    "path": {
        "gs://bucket/a.parquet": "gs:// is not supported",
        "file:///data/a.parquet": "file:// is not supported",
        "https://ann:pw@host/a.parquet": "contains a password or a key",
        "https://host/a.parquet?X-Amz-Signature=abc": "contains a password or a key",
        "s3://bucket/a.parquet?s3_secret_access_key=abc": "contains a password or a key",
    },
}
RIGHT = {
    "database": [
        "warehouse.duckdb",
        "../a b.duckdb",
        "C:\\data\\warehouse.duckdb",
        "sqlite:shop.db",
        "postgresql://wh/shop",
        "postgresql://ann@wh/shop",
        "postgres:dbname=shop",
        "env:WAREHOUSE_URL",
    ],
    "path": ["data/*.parquet", "s3://bucket/*/a.parquet", "https://host/a.parquet?version=3", "C:\\data\\a.parquet"],
}


@pytest.mark.parametrize(("place", "text"), [(place, text) for place, texts in FAULTS.items() for text in texts])
def test_what_cannot_stand_in_code_is_told(place: str, text: str) -> None:
    """Secrets and unsupported schemes are refused; the reason repeats no secret."""
    fault = urls.fault(**{place: text})
    assert FAULTS[place][text] in fault
    assert "pw" not in fault
    assert "abc" not in fault


@pytest.mark.parametrize(("place", "text"), [(place, text) for place, texts in RIGHT.items() for text in texts])
def test_what_can_be_read_has_no_fault(place: str, text: str) -> None:
    """Files and URLs without secrets are accepted."""
    assert urls.fault(**{place: text}) == ""
