"""PostgreSQL connection strings: read and written as libpq does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from featdsl.definitions import postgres_url

NAMES = st.sampled_from(["host", "port", "user", "password", "dbname", "options"])


@given(named=st.dictionaries(NAMES, st.text(min_size=1)))
@pytest.mark.property
def test_what_is_written_is_read_back(named: dict[str, str]) -> None:
    """Quotes, backslashes, spaces and line breaks survive."""
    text = postgres_url.connection_string(named.items())
    assert (postgres_url.parameters(text), postgres_url.fault(text)) == (named, "")


def read_as_libpq_does(text: str) -> dict[str, str] | None:
    """Read a list one character at a time, as `conninfo_parse` of libpq does; None where it reports an error."""
    found: dict[str, str] = {}
    at = 0
    while at < len(text):
        if text[at] == " ":
            at += 1
            continue
        start = at
        while at < len(text) and text[at] not in "= ":
            at += 1
        name = text[start:at]
        while at < len(text) and text[at] == " ":
            at += 1
        if at == len(text) or text[at] != "=" or not name.isalpha():
            return None
        at += 1
        while at < len(text) and text[at] == " ":
            at += 1
        is_quoted = text[at : at + 1] == "'"
        at += is_quoted
        value = ""
        while at < len(text) and text[at] != ("'" if is_quoted else " "):
            at += text[at] == "\\"
            value += text[at : at + 1]
            at += 1
        if is_quoted and at >= len(text):
            return None
        at += 1
        found[name] = value
    return {name: value for name, value in found.items() if value}


@given(text=st.text(alphabet="ab= '\\", max_size=12))
@pytest.mark.property
def test_a_list_means_what_it_means_to_libpq(text: str) -> None:
    """Spaces around =, values with and without quotes, escapes; the same texts are refused."""
    assert (None if postgres_url.fault(text) else postgres_url.parameters(text)) == read_as_libpq_does(text)


def test_a_password_is_found_in_a_list_that_libpq_refuses() -> None:
    """Text around it, or a missing quote, hides no password."""
    assert [postgres_url.parameters(text) for text in ("hm password=pw", "password='p w")] == [
        {"password": "pw"},
        {"password": "p w"},
    ]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://db/f?options=a+b%20c", {"host": "db", "dbname": "f", "options": "a+b c"}),
        ("postgres://a:1,b:2/f", {"host": "a,b", "port": "1,2", "dbname": "f"}),
        ("postgres://ann:p#w@Db/f", {"host": "Db", "user": "ann", "password": "p#w", "dbname": "f"}),
    ],
)
def test_a_url_means_what_it_means_to_libpq(url: str, expected: dict[str, str]) -> None:
    """A plus is no space, several hosts are a list, and a # is part of a password."""
    assert (postgres_url.parameters(url), postgres_url.fault(url)) == (expected, "")
