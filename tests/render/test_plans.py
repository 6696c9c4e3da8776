"""Tests of plan texts and Markdown: the verdict, what is folded and cut, and the size limits."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from featdsl import render
from featdsl.definitions.notices import Notice
from featdsl.definitions.readers import Affected
from featdsl.definitions.snapshot import Head
from featdsl.errors import Origin
from featdsl.plan import planfile
from featdsl.plan.diff import Action, Change, ChangeClass, Reason
from featdsl.plan.document import (
    Approval,
    Block,
    BuildTable,
    CheckRows,
    Estimate,
    Kept,
    Plan,
    PlannedChange,
    PutView,
    Reused,
)
from featdsl.render import audience, fold, plan_markdown, sizes
from tests.budgets import examples

GITHUB = 65_536
Effect = Literal["changes", "keeps", "new", "removed"]


def change(
    address: str,
    owner: str = "accounts",
    *,
    kind: Literal["source", "group", "feature", "set", "model"] = "feature",
    action: Action = "change",
    change_class: ChangeClass = "definition",
    reasons: tuple[Reason, ...] = (),
    downstream: tuple[Affected, ...] = (),
) -> PlannedChange:
    """Return a change, by default of how a feature of the accounts team is computed."""
    made = Change(action=action, kind=kind, address=address, owner=owner, change_class=change_class, reasons=reasons)
    return PlannedChange(change=made, downstream=downstream)


def sql(before: str, after: str) -> tuple[Reason, ...]:
    """Return the reason of a change of SQL."""
    return (Reason(code="sql", change_class="definition", before=before, after=after),)


def met(name: str, effect: Effect = "changes", owner: str = "lending") -> Affected:
    """Return a downstream effect on a definition such as `set credit_risk@1`, by default of the lending team."""
    kind, _, address = name.partition(" ")
    return Affected(kind=kind, address=address, owner=owner, effect=effect)


def build(group: str, estimate: Estimate | None = None) -> BuildTable:
    """Return the step that builds a table."""
    return BuildTable(
        group=group,
        table=f"{group}_1",
        sql=f"SELECT {group}",
        keys=(),
        timed=True,
        columns=(),
        reads=(),
        reason="",
        estimate=estimate,
        origin=Origin("", 0),
    )


VIEW = PutView(name="user_profile", sql="SELECT 1")


def plan_of(*changes: PlannedChange) -> Plan:
    """Return a plan of these changes that publishes one view."""
    return Plan(project="bank", base=Head("l", 1), changes=changes, repairs=(), adhoc=(), steps=(VIEW,))


# The verdict

OWN = change("user_profile.age", downstream=(met("feature user_profile.adult", owner="accounts"),))
PINNED = change("user_profile.age", downstream=(met("set credit_risk@1", "keeps"), met("model loan_default", "keeps")))
FELT = change(
    "user_profile.income", downstream=(met("feature affordability.monthly"), met("set credit_risk@1", "keeps"))
)
ADDED = change("user_profile.born", action="create", change_class="additive")
TOLD = change("user_profile.age", change_class="metadata")
REMOVED = change(
    "user_profile.age",
    action="remove",
    change_class="breaking",
    downstream=(met("set offers@1", "removed", "pricing"),),
)
LOST = (Reason(code="column gone", change_class="breaking", before="iban VARCHAR"),)
COLUMN = change("accounts", kind="source", change_class="breaking", reasons=LOST)
READ = change(
    "accounts", kind="source", change_class="breaking", reasons=LOST, downstream=(met("set credit_risk@1", "keeps"),)
)
BLOCKS = tuple(
    Block(
        code="pinned",
        kind="feature",
        address=name,
        owner="accounts",
        what=f"{name} is pinned by credit_risk@1 (lending).",
        fix="Keep it.",
    )
    for name in ("user_profile.income", "user_profile.age")
)
APPROVAL = Approval(team="lending", because=("feature affordability.monthly",))


@pytest.mark.parametrize(
    ("plan", "verdict"),
    [
        (replace(plan_of(), steps=()), "Nothing to do: the store matches the code."),
        (plan_of(TOLD), "Safe: nothing is recomputed."),
        (plan_of(ADDED), "Safe: nothing is recomputed."),
        (replace(plan_of(ADDED), steps=(build("user_profile"),)), "Safe: nobody's values change."),
        (plan_of(OWN), "Safe: nobody outside accounts is affected."),
        (plan_of(PINNED), "Safe: nobody outside accounts is affected."),
        (plan_of(OWN, change("a.b", "risk")), "Safe: nobody outside accounts and risk is affected."),
        (
            replace(plan_of(), steps=(build("user_profile"),), repairs=("table user_profile_1",)),
            "Safe: apply only rebuilds what is missing.",
        ),
        (plan_of(COLUMN), "Safe: nobody reads the removed or retyped columns."),
        (plan_of(READ), "Touches lending (1 set reads changed columns)."),
        (plan_of(FELT), "Touches lending (1 feature changes). Pinned set versions keep their values."),
        (plan_of(REMOVED), "Touches pricing (1 set is removed)."),
        (
            replace(plan_of(FELT), approvals=(APPROVAL,)),
            "Touches lending (1 feature changes). Pinned set versions keep their values.",
        ),
        (
            replace(plan_of(FELT), approvals=(APPROVAL,), policy="affected-teams"),
            "Needs approval: lending (1 feature changes). Pinned set versions keep their values.",
        ),
        (
            replace(plan_of(FELT), blocks=BLOCKS[:1], approvals=(APPROVAL,), policy="affected-teams"),
            "Blocked: user_profile.income is pinned by credit_risk@1 (lending).",
        ),
        (
            replace(plan_of(FELT), blocks=BLOCKS),
            "Blocked: user_profile.income is pinned by credit_risk@1 (lending), and 1 more.",
        ),
        (
            plan_of(change("a.b", downstream=tuple(met(f"feature g.f{n}", owner=f"team{n}") for n in range(9)))),
            "Touches team0 (1 feature changes), team1 (1 feature changes), team2 (1 feature changes), "
            "team3 (1 feature changes) and 5 more.",
        ),
    ],
)
def test_the_verdict_says_in_one_line_whether_and_why(plan: Plan, verdict: str) -> None:
    """It is the second line of both renderings, below the title."""
    assert audience.verdict(plan) == verdict
    assert " ".join(render.text(plan, width=2000).splitlines()[1:2]) == verdict
    assert render.markdown(plan).splitlines()[2].replace("*", "") == verdict


def test_what_stops_a_plan_stands_before_what_it_does() -> None:
    """Blocks with their fixes come first, then required approvals, then notices."""
    notice = Notice(code="deprecated", address="a.b", what="offers@1 uses a.b, which is deprecated.", fix="Use a.c.")
    plan = replace(plan_of(FELT), blocks=BLOCKS[:1], approvals=(APPROVAL,), policy="affected-teams", notices=(notice,))
    lines = render.text(plan).splitlines()[2:]
    assert lines[: lines.index("Changes")] == [
        "",
        "Blocked",
        "  user_profile.income is pinned by credit_risk@1 (lending).",
        "    Keep it.",
        "",
        "Required approvals (--approved-by TEAM)",
        "  lending  feature affordability.monthly",
        "",
        "Notices",
        "  offers@1 uses a.b, which is deprecated.",
        "    Use a.c.",
        "",
    ]
    page = render.markdown(plan)
    assert (
        page.index("#### Blocked")
        < page.index("#### Required approvals")
        < page.index("#### Notices")
        < page.index("#### Changes")
    )


def test_without_a_policy_nobody_is_asked() -> None:
    """The verdict names the team, but no approvals are listed."""
    assert "Required approvals" not in render.text(replace(plan_of(FELT), approvals=(APPROVAL,)))


# Sizes


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (sizes.rows(0), "0 rows"),
        (sizes.rows(1), "1 row"),
        (sizes.rows(9_999), "9,999 rows"),
        (sizes.rows(10_000), "10 k rows"),
        (sizes.rows(999_600), "1 M rows"),
        (sizes.rows(1_234_567), "1.2 M rows"),
        (sizes.rows(12_345_678_901), "12 G rows"),
        (sizes.size(0), ""),
        (sizes.size(999_999), "under 1 MB"),
        (sizes.size(12_300_000), "12 MB"),
        (sizes.size(1_250_000_000_000), "1.2 TB"),
        (sizes.time(0), ""),
        (sizes.time(0.01), "a few seconds"),
        (sizes.time(9.9), "a few seconds"),
        (sizes.time(34), "30 s"),
        (sizes.time(90), "1.5 min"),
        (sizes.time(5400), "1.5 h"),
    ],
)
def test_sizes_are_told_as_coarsely_as_they_are_known(said: str, expected: str) -> None:
    """At most two digits, and an empty text for an unknown size."""
    assert said == expected


def test_a_group_of_two_tables_is_told_once_with_both() -> None:
    """The table of its windows is part of the group."""
    rows = build("spending", Estimate(rows=700, seconds=40, bytes=2_000_000))
    windows = replace(rows, table="spending_windows_1", estimate=Estimate(rows=300, seconds=20, bytes=1_000_000))
    plan = replace(plan_of(change("a.b")), steps=(rows, build("other", Estimate(rows=9, seconds=1, bytes=1)), windows))

    lines = render.text(plan).splitlines()

    start = lines.index("Tables to build")
    assert lines[start : start + 4] == [
        "Tables to build",
        "  spending  about 1,000 rows, 3 MB, 1 min, based on the last build",
        "  other     about 9 rows, under 1 MB, a few seconds, based on the last build",
        "",
    ]


def test_engines_have_totals_of_their_own() -> None:
    """What Spark computes and what DuckDB computes are added up apart."""
    estimate = Estimate(rows=2_000_000, seconds=0, bytes=0, basis="source", source_bytes=30_000_000)
    far = [replace(build(name, estimate), dialect="spark") for name in ("clicks", "views")]
    plan = replace(plan_of(change("a.b")), steps=(build("users", Estimate(rows=5_000, seconds=2, bytes=900)), *far))

    lines = render.text(plan).splitlines()

    start = lines.index("Tables to build")
    assert lines[start : start + 6] == [
        "Tables to build",
        "  clicks           about 2 M rows from 30 MB, on Spark, based on its source",
        "  views            about 2 M rows from 30 MB, on Spark, based on its source",
        "  users            about 5,000 rows, under 1 MB, a few seconds, based on the last build",
        "  total on DuckDB  about 5,000 rows, under 1 MB, a few seconds",
        "  total on Spark   about 4 M rows from 60 MB",
    ]


def test_what_is_computed_kept_and_reused() -> None:
    """Slow builds come first, then first builds, reused tables, and the storage of old versions."""
    steps = (
        build("quick", Estimate(rows=20, seconds=0.1, bytes=900)),
        build("slow", Estimate(rows=1_200_000, seconds=75, bytes=40_000_000)),
        build("unmeasured", Estimate(rows=30, seconds=0, bytes=0, basis="inputs")),
        build("fresh"),
        replace(build("fresh"), table="fresh_windows_1"),
    )
    reused = (
        Reused(group="here", table="here_1", rows=5, new=True),
        Reused(group="same", table="same_1", rows=5, new=False),
    )
    old = Kept(feature="a.b", fingerprint="1", table="a_1", rows=7, bytes=3_000_000, held_by=("s@1", "c.d"))
    other = replace(old, feature="x.y", table="x_1")
    plan = replace(plan_of(change("a.b")), steps=steps, reused=reused, kept=(old, other))
    lines = render.text(plan).splitlines()
    start = lines.index("Tables to build")
    assert lines[start : lines.index("", lines.index("Old versions kept"))] == [
        "Tables to build",
        "  slow           about 1.2 M rows, 40 MB, 1.2 min, based on the last build",
        "  unmeasured     about 30 rows, based on its inputs",
        "  quick          about 20 rows, under 1 MB, a few seconds, based on the last build",
        "  total          about 1.2 M rows",
        "  first build    fresh",
        "  already built  here: nothing to compute",
        "  reused         same",
        "",
        "Old versions kept",
        "  a.b             used by s@1, the old c.d",
        "  stored          1 table, 7 rows, 3 MB",
        "  other features  1 more old version",
    ]


# Many changes


def many(number: int, *, groups: int, teams: int, long: int = 1) -> Plan:
    """Return a plan of `number` changed features over several groups and teams, each with SQL and a reader."""
    changes = []
    for n in range(number):
        group = n % groups
        reader = met(f"feature readers.r{n:05}", owner=f"reader{group % teams}")
        pinned = met(f"set s{n % 300}@1", "keeps", owner=f"reader{group % teams}")
        reasons = sql(
            "\n".join(f"old_{n}_{line}" for line in range(long)), "\n".join(f"new_{n}_{line}" for line in range(long))
        )
        changes.append(
            change(
                f"group{group:04}.feature_{n:05}",
                f"team{group % teams:03}",
                reasons=reasons,
                downstream=(reader, pinned),
            )
        )
    follow = [
        change(
            f"readers.r{n:05}",
            f"reader{n % groups % teams}",
            action="recompute",
            change_class="upstream",
            reasons=(Reason(code="upstream", change_class="upstream", after=f"feature {changes[n].change.address}"),),
        )
        for n in range(number)
    ]
    checks = tuple(
        CheckRows(
            address=f"group{n % groups:04}.f", rule=f"f > {n}", sql="SELECT 1", reads=(), fix="", origin=Origin("", 0)
        )
        for n in range(number)
    )
    steps = (*(build(f"group{g:04}", Estimate(rows=g, seconds=g, bytes=0)) for g in range(groups)), *checks, VIEW)
    spared = tuple(met(f"feature spared.f{n:05}", "keeps", owner=f"far{n % teams}") for n in range(number))
    kept = tuple(
        Kept(
            feature=c.change.address,
            fingerprint="1",
            table="t",
            rows=1,
            bytes=0,
            held_by=tuple(f"s{n}@1" for n in range(20)),
        )
        for c in changes
    )
    return replace(plan_of(*changes, *follow), steps=steps, untouched=spared, kept=kept)


SHAPES = {
    "one group": {"number": 500, "groups": 1, "teams": 1},
    "a group each": {"number": 500, "groups": 500, "teams": 1},
    "many teams": {"number": 500, "groups": 100, "teams": 100},
    "ten groups": {"number": 5000, "groups": 10, "teams": 3},
    "a team each": {"number": 5000, "groups": 5000, "teams": 5000},
    "long diffs": {"number": 500, "groups": 50, "teams": 5, "long": 400},
}


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("width", [80, 100])
def test_a_plan_of_many_changes_still_reads(shape: str, width: int) -> None:
    """The text is a few screens long and within the width; counts are complete, and so is the JSON."""
    plan = many(**SHAPES[shape])
    number = SHAPES[shape]["number"]
    lines = render.text(plan, width=width).splitlines()
    assert max(map(len, lines)) <= width
    assert len(lines) < 500
    assert lines[-1] == f"Plan: {number:,} to change, {number:,} to recompute."
    assert planfile.from_json(planfile.to_json(plan), name="plan.json") == plan


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
def test_markdown_fits_a_comment_whatever_it_tells(shape: str) -> None:
    """It stays below GitHub's limit, names the command for the whole plan, and starts with the verdict."""
    page = render.markdown(many(**SHAPES[shape]))
    assert len(page.encode()) <= GITHUB
    assert "`featdsl plan --format json`" in page
    assert page.splitlines()[2].startswith("**Touches ")
    assert page.count("<details>") == page.count("</details>")
    fences = re.findall(r"^`{3,}", page, flags=re.MULTILINE)
    assert len(fences) % 2 == 0


@settings(max_examples=examples(30, 100), deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["one", "two", "three"]),
            st.integers(0, 12),
            st.sampled_from(["create", "change", "remove"]),
            st.booleans(),
        ),
        max_size=120,
    ),
    st.integers(1, 40),
)
def test_each_change_is_shown_or_counted(described: list[tuple[str, int, Action, bool]], most: int) -> None:
    """Every change is either shown or counted, exactly once."""
    changes = [
        change(f"g{group}.f{n}", owner, action=action)
        if is_feature
        else change(f"g{n}", owner, kind="group", action=action)
        for n, (owner, group, action, is_feature) in enumerate(described)
    ]
    parts, left = fold.parts(plan_of(*changes), most)
    shown: Counter[str] = Counter()
    for part in parts:
        for each in part.shown:
            listed = each.changes if isinstance(each, fold.Rest) else [each]
            assert not isinstance(each, fold.Rest) or f"{len(listed):,} more" in each.text
            shown.update(planned.change.address for planned in listed)
    missing = Counter(each.change.address for each in changes) - shown
    assert not shown - Counter(each.change.address for each in changes)
    assert sum(missing.values()) == (int(left.split()[1].replace(",", "")) if left else 0)


def test_a_new_group_above_its_features_is_shown_as_new() -> None:
    """Only groups without shown features are folded, however many there are."""
    new = [
        each
        for number in range(8)
        for each in (
            change(f"g{number}", kind="group", action="create", change_class="additive"),
            change(f"g{number}.f", action="create", change_class="additive"),
        )
    ]
    moved = [change(f"h{number}", kind="group", change_class="metadata") for number in range(8)]

    shown = render.text(plan_of(*new, *moved)).splitlines()

    groups = [line.split()[:3] for line in shown if " group g" in line]
    assert groups == [["+", "group", f"g{number}"] for number in range(8)]
    assert any("and 5 more groups (metadata)" in line for line in shown)


def test_one_endless_statement_is_cut_and_says_so() -> None:
    """The text cuts it after a screen, Markdown when the room ends; other statements are still shown."""
    endless = "\n".join(f"line_{n} AS column_{n}," for n in range(20_000))
    plan = replace(
        plan_of(change("a.b", reasons=sql(endless, endless.replace("line", "row")))),
        steps=(replace(build("a"), sql=endless), VIEW),
    )
    assert "    … 39,976 more lines: featdsl plan --format json" in render.text(plan)
    page = render.markdown(plan)
    assert len(page.encode()) <= GITHUB
    assert "39,960 more lines: see `featdsl plan --format json`." in page
    assert "1 more statement: see `featdsl plan --format json`." in page
    assert "-- view prod.user_profile\nSELECT 1" in page


def test_sql_goes_before_diffs_and_diffs_before_rows() -> None:
    """The smaller the limit, the less is shown, in this order; the limit is never exceeded."""
    plan = replace(many(60, groups=6, teams=2, long=30), steps=(replace(build("a"), sql="SELECT 1\n" * 800), VIEW))
    pages = {limit: render.markdown(plan, limit) for limit in (60_000, 20_000, 12_000, 6_000, 1_000)}
    assert all(len(page.encode()) <= limit for limit, page in pages.items())
    has = {
        limit: ("SELECT 1\nSELECT 1" in page, "- old_0_20" in page, "| feature `group0000.feature_00000` |" in page)
        for limit, page in pages.items()
    }
    assert has == {
        60_000: (True, True, True),
        20_000: (False, True, True),
        12_000: (False, False, True),
        6_000: (False, False, True),
        1_000: (False, False, False),
    }


def test_rendering_twice_gives_the_same() -> None:
    """Output depends neither on hash order nor on earlier renderings."""
    plan = many(50, groups=7, teams=3)
    assert (render.text(plan), render.markdown(plan)) == (render.text(plan), render.markdown(plan))


# Text of others within ours


def test_what_people_write_cannot_break_the_comment() -> None:
    """Pipes stay in their cell, HTML tags are escaped, and a fence in a function does not end our code block."""
    nasty = 'a | b </details><img src="x"> `c`'
    reasons = (
        Reason(code="description", change_class="metadata", before=nasty, after="fine"),
        Reason(code="function", change_class="definition", before="x = 1", after='"""\n```\n</details>\n"""'),
    )
    plan = replace(plan_of(change("a.b", reasons=reasons)), lost=(nasty,), repairs=("view prod.x",))
    page = render.markdown(plan)
    html = MarkdownIt("commonmark", {"html": True}).enable("table").render(page)
    assert "<img" not in html
    assert html.count("<details>") == html.count("</details>") == 1
    rows = re.findall(r"<tr>(.*?)</tr>", html.partition("Changes")[2], flags=re.DOTALL)
    assert {row.count("<td") for row in rows} <= {0, 4}
    assert html.index("```") < html.index("<details>")


def test_a_long_name_does_not_leave_the_page() -> None:
    """A detail that does not fit beside the name moves to the next line."""
    name = f"group_of_a_long_name.{'feature' * 8}"
    plan = plan_of(change(name, reasons=sql("a", "b" * 300), downstream=(met(f"feature {name}2"),)))
    assert max(map(len, render.text(plan, width=80).splitlines())) <= 80


def test_the_limit_leaves_room_for_a_marker() -> None:
    """The bot that posts the comment may add a line to find it again."""
    assert plan_markdown.LIMIT < GITHUB - 200
