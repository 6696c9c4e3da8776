"""Names, descriptions, tags and values written by users have no effect in Markdown, terminals or JSON."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from featdsl.definitions.escaping import in_json, in_markdown, shown
from tests.conftest import Workspace
from tests.plan.test_guards import TEAM, Edit

HOSTILE = (
    "see [docs](https://evil.example/x) ![p](https://evil.example/p.png) <img src=x> @admin closes #1 GH-2 o/r#3 "
    "www.evil.example \\u202egnp.exe\\u2066 \\x1b[2J\\x1b]0;owned\\x07 \\x9b31m &#64;root \\u2028next a@b.example | cell"
)
"""Hostile text, as a Python string literal."""
ACTING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]")


@pytest.fixture
def hostile(bank: Workspace, edit: Edit) -> Workspace:
    """Return the small project with hostile text in all descriptions and tags."""
    edit(TEAM, "Gross income, USD per year.", HOSTILE)
    edit(TEAM, 'tags={"money", "kyc"}', f'tags={{"{HOSTILE}"}}')
    edit(TEAM, '"""Who the account holder is."""', f'"""{HOSTILE}"""')
    bank.apply()
    edit(TEAM, 'sql="annual_income"', 'sql="annual_income * 2"')
    edit(TEAM, "see [docs]", "look at [docs]")
    return bank


@pytest.mark.parametrize(
    "command",
    [
        ("plan",), ("plan", "--sql"), ("plan", "--format", "markdown"), ("plan", "--format", "json"), ("list",),
        ("list", "--kind", "group"), ("list", "--format", "json"), ("search", "docs"), ("search", "docs", "--format", "json"),
        ("show", "user_profile.income"), ("show", "user_profile"), ("show", "user_profile.income", "--format", "json"),
        ("lineage", "user_profile.income"), ("history",), ("diff", "credit_risk@1", "credit_risk@2"),
        ("sql", "SELECT chr(27) || '[2J' || chr(8238) AS x"), ("sql", "SELECT chr(27) AS x", "--format", "json"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_no_character_acts(hostile: Workspace, command: tuple[str, ...]) -> None:
    """No output contains control or bidirectional characters."""
    done = hostile.run(*command)
    assert done.returncode == 0, done.stderr
    assert ACTING.findall(done.stdout + done.stderr) == []


def test_markdown_links_and_mentions_nothing(hostile: Workspace) -> None:
    """Outside of code there are no links, images, HTML, mentions or references."""
    text = hostile.run("plan", "--format", "markdown").stdout
    plain = re.sub(r"(`+)(?:(?!\1).)*?\1", "", re.sub(r"```.*?```", "", text, flags=re.DOTALL)).replace(
        "<!-- -->", "\0"
    )
    assert "look at" in text
    for acting in (r"(?<!\\)\]\(", r"<img", r"(?<!\w)@\w", r"#\d", r"GH-\d", r"https?://", r"www\.\w", r"&#\d"):
        assert not re.search(acting, plain), acting


def test_what_machines_read_is_what_was_written(hostile: Workspace) -> None:
    """JSON output parses to the original text."""
    listed = json.loads(hostile.run("list", "--format", "json").stdout)
    (found,) = [each for each in listed if each["address"] == "user_profile.income"]
    assert found["description"] == HOSTILE.encode().decode("unicode_escape")


def test_an_error_shows_names_as_text(applied: Workspace) -> None:
    """Text from the command line is escaped too."""
    done = applied.run("show", "a\x1b[2J\u202eb")
    assert ACTING.findall(done.stderr) == []
    assert "a\\x1b[2J\\u202eb" in done.stderr


def test_colours_of_our_own_stay() -> None:
    """Colour codes of featdsl stay; others are escaped."""
    assert shown("\x1b[31mred\x1b[0m \x1b[8mhidden") == "\x1b[31mred\x1b[0m \\x1b[8mhidden"


@given(st.text())
def test_json_keeps_every_value(text: str) -> None:
    """Escaped JSON parses to the same value."""
    escaped = in_json(json.dumps({"a": text}, ensure_ascii=False))
    assert json.loads(escaped) == {"a": text}
    assert ACTING.findall(escaped) == []


@given(st.text())
def test_nothing_acts_in_what_is_shown(text: str) -> None:
    """No text keeps acting characters, and plain text is unchanged."""
    assert ACTING.findall(re.sub("\x1b\\[(?:0|1|31|32|33|36)m", "", shown(text))) == []
    if text.isascii() and text.isprintable():
        assert shown(text) == text


@given(st.text(alphabet="a1@#:/.[]()<>|\\&;!wGH-` \n"))
def test_markdown_shows_the_text(text: str) -> None:
    """Reversing the escapes gives the text; no bar ends a table cell."""
    escaped = in_markdown(text)
    assert not re.search(r"(?<!\\)(?:\\\\)*\|", escaped)
    back = escaped.replace("<!-- -->", "").replace("&lt;", "<").replace("&amp;", "&")
    assert re.sub(r"\\([\\|\]])", r"\1", back) == text
