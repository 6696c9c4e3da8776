"""Nothing that is promised goes away without a word: removals stand in the changelog, additions are free."""

from __future__ import annotations

import re

from tests.packaging import changelog
from tests.packaging.promises import MEMBERS, NAMES, current, recorded

_REQUIRED = re.compile(r"(?P<owner>.+)\((?P<name>\w+)\) (?:\d+|keyword)")


def broken(before: list[str], now: list[str], section: changelog.Release) -> list[str]:
    """Return the promises of before that no longer hold, and that a section of the changelog does not name.

    What is gone stands under Removed; a format with another number, under Changed.
    """
    removed, changed = section.part("Removed"), section.part("Changed")
    lost = [line for line in before if line not in set(now)]
    gone = [line for line in lost if f"`{line}`" not in (changed if line.startswith("format ") else removed)]
    known = set(before)
    added = (found for line in now if line not in known and (found := _REQUIRED.fullmatch(line)))
    return gone + [f"{found[0]}: now required" for found in added if found["owner"] in known]


def early(section: changelog.Release, earlier: list[changelog.Release]) -> list[str]:
    """Return what a section removes and no earlier minor release has deprecated. A line begins with what it is about."""
    minor = section.version.rpartition(".")[0]
    before = "\n".join(each.part("Deprecated") for each in earlier if each.version.rpartition(".")[0] != minor)
    names = re.findall(r"^- `([^`]+)`", section.part("Removed"), re.MULTILINE)
    return [name for name in names if f"- `{name}`" not in before]


def section(text: str, version: str = "Unreleased") -> changelog.Release:
    """Return a section of a changelog that is made up."""
    return changelog.Release(version, "", text)


def test_what_was_promised_is_there() -> None:
    """A name, a parameter, a command, an option, a setting, an exit code or a format goes only if the changelog says so."""
    assert broken(recorded(), current(), changelog.newest()) == []


def test_a_removal_breaks_the_promise_unless_the_changelog_names_it() -> None:
    """The comparison finds what it is for."""
    before = ["featdsl plan", "featdsl plan --check"]
    assert broken(before, ["featdsl plan"], section("")) == ["featdsl plan --check"]
    assert broken(before, ["featdsl plan"], section("### Changed\n\n- `featdsl plan --check`")) == [
        "featdsl plan --check"
    ]
    assert (
        broken(before, ["featdsl plan"], section("### Removed\n\n- `featdsl plan --check`: use `--exit-code`.")) == []
    )


def test_another_number_of_a_format_is_a_change_that_the_changelog_names() -> None:
    """Older files are still read, so nothing is removed."""
    before, now = ["format store 3"], ["format store 4"]
    assert broken(before, now, section("")) == before
    assert broken(before, now, section("### Changed\n\n- `format store 3` is read, 4 is written.")) == []


def test_an_addition_keeps_the_promise_unless_it_is_required() -> None:
    """A caller of today passes no parameter of tomorrow."""
    before = ["featdsl.f", "featdsl.f(a) 1"]
    assert broken(before, [*before, "featdsl.f(b) keyword optional", "featdsl.g", "featdsl.g(a) 1"], section("")) == []
    assert broken(before, [*before, "featdsl.f(b) 2"], section("")) == ["featdsl.f(b) 2: now required"]


def test_nothing_was_removed_that_no_earlier_minor_release_deprecated() -> None:
    """In the whole changelog."""
    sections = changelog.releases()
    assert {each.version: names for i, each in enumerate(sections) if (names := early(each, sections[i + 1 :]))} == {}


def test_a_removal_without_a_deprecation_is_early() -> None:
    """Also if only a patch release of the same minor has it."""
    removal = section("### Removed\n\n- `featdsl.old`: use `featdsl.new`.", "0.3.0")
    deprecation = "### Deprecated\n\n- `featdsl.old`: use `featdsl.new`; 0.3 removes it."
    assert early(removal, []) == ["featdsl.old"]
    assert early(section(removal.text, "0.2.1"), [section(deprecation, "0.2.0")]) == ["featdsl.old"]
    assert early(removal, [section(deprecation, "0.2.0")]) == []


def test_the_record_is_sorted_and_has_each_promise_once() -> None:
    """So that a difference of two releases shows what changed."""
    assert recorded() == sorted(set(recorded()))


def test_every_class_with_public_members_is_public() -> None:
    """The two tables of the record agree."""
    names = {f"{module}.{name}" for module, names in NAMES.items() for name in names}
    assert set(MEMBERS) <= names
