"""What others wrote in names of owners, descriptions, tags and values acts nowhere: not in Markdown, a terminal or JSON."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from featdsl.inert import in_json, in_markdown, shown
from tests.conftest import Workspace
from tests.test_guards import TEAM, Edit

HOSTILE = (
    "see [docs](https://evil.example/x) ![p](https://evil.example/p.png) <img src=x> @admin closes #1 GH-2 o/r#3 "
    "www.evil.example \\u202egnp.exe\\u2066 \\x1b[2J\\x1b]0;owned\\x07 \\x9b31m &#64;root \\u2028next a@b.example | cell"
)
"""As it stands in a Python string."""
ACTING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]")


@pytest.fixture
def hostile(bank: Workspace, edit: Edit) -> Workspace:
    """The small project with such texts wherever a declaration takes one."""
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
    """No control, and nothing that turns text round or hides it, whatever is printed."""
    done = hostile.run(*command)
    assert done.returncode == 0, done.stderr
    assert ACTING.findall(done.stdout + done.stderr) == []


def test_markdown_links_and_mentions_nothing(hostile: Workspace) -> None:
    """Outside code no link, image, HTML, mention or reference is left."""
    text = hostile.run("plan", "--format", "markdown").stdout
    plain = re.sub(r"(`+)(?:(?!\1).)*?\1", "", re.sub(r"```.*?```", "", text, flags=re.DOTALL)).replace(
        "<!-- -->", "\0"
    )
    assert "look at" in text
    for acting in (r"(?<!\\)\]\(", r"<img", r"(?<!\w)@\w", r"#\d", r"GH-\d", r"https?://", r"www\.\w", r"&#\d"):
        assert not re.search(acting, plain), acting


def test_what_machines_read_is_what_was_written(hostile: Workspace) -> None:
    """JSON escapes: whoever reads it gets the same text."""
    listed = json.loads(hostile.run("list", "--format", "json").stdout)
    (found,) = [each for each in listed if each["address"] == "user_profile.income"]
    assert found["description"] == HOSTILE.encode().decode("unicode_escape")


def test_an_error_shows_names_as_text(applied: Workspace) -> None:
    """Also what was typed."""
    done = applied.run("show", "a\x1b[2J\u202eb")
    assert ACTING.findall(done.stderr) == []
    assert "a\\x1b[2J\\u202eb" in done.stderr


def test_colours_of_our_own_stay() -> None:
    """And no others."""
    assert shown("\x1b[31mred\x1b[0m \x1b[8mhidden") == "\x1b[31mred\x1b[0m \\x1b[8mhidden"


@given(st.text())
def test_json_keeps_every_value(text: str) -> None:
    """Whatever is in it."""
    whole = in_json(json.dumps({"a": text}, ensure_ascii=False))
    assert json.loads(whole) == {"a": text}
    assert ACTING.findall(whole) == []


@given(st.text())
def test_nothing_acts_in_what_is_shown(text: str) -> None:
    """Plain text stays as it is."""
    assert ACTING.findall(re.sub("\x1b\\[(?:0|1|31|32|33|36)m", "", shown(text))) == []
    if text.isascii() and text.isprintable():
        assert shown(text) == text


@given(st.text(alphabet="a1@#:/.[]()<>|\\&;!wGH-` \n"))
def test_markdown_shows_the_text(text: str) -> None:
    """Taken back, the escapes give the text; no bar ends a cell."""
    made = in_markdown(text)
    assert not re.search(r"(?<!\\)(?:\\\\)*\|", made)
    back = made.replace("<!-- -->", "").replace("&lt;", "<").replace("&amp;", "&")
    assert re.sub(r"\\([\\|\]])", r"\1", back) == text
