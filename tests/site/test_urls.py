"""The file names of pages."""

from __future__ import annotations

import pytest

from featdsl.site.urls import file_name, page_path


@pytest.mark.parametrize("address", ["user_profile.age", "credit_risk@1", "a", "x" * 120])
def test_a_plain_address_is_the_name(address: str) -> None:
    """People read it in the address bar."""
    assert file_name(address) == address


ODD = [
    "Team", "team ", "TEAM", "con", "con.fig", "nul", "lpt1", ".hidden", "..", "../../etc/passwd", "a/b", "a\\b", "a:b", "a?b#c%20",
    "Straße", "STRASSE", "日本語", "\u202egpj", "x" * 5000, "x" * 5001, "", "-", "a b", "a~b", "\ud800", "e\u0301", "\u00e9",
]  # fmt: skip


@pytest.mark.parametrize("address", ODD)
def test_an_odd_address_has_a_name_for_every_file_system(address: str) -> None:
    """Short, without upper case, and with letters that no system or URL gives a meaning."""
    name = file_name(address)
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789_.@~-")
    assert len(name) <= 120
    assert name.partition(".")[0] not in {"", "con", "nul", "lpt1"}


def test_names_are_unique_where_case_does_not_count() -> None:
    """Two addresses never share a page."""
    addresses = [*ODD, "team", "straße", "x" * 120, "a", "a-b"]
    assert len({file_name(each).casefold() for each in addresses}) == len(addresses)


def test_a_name_that_looks_like_one_with_a_hash_is_another() -> None:
    """A plain name has no `~`."""
    assert file_name(file_name("Team")) != file_name("Team")


def test_each_kind_has_a_folder() -> None:
    """A group and a team may have the same name."""
    assert page_path("team", "weather") == "teams/weather.html"
    assert page_path("group", "weather") == "groups/weather.html"
