"""Tests of impact by column, against independent searches over random projects."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from featdsl.cli.main import main
from featdsl.definitions.catalog import Catalog
from featdsl.definitions.snapshot import Snapshot
from featdsl.definitions.sources import Column
from featdsl.engines import Compilers
from featdsl.engines.duckdb.compiler import COMPILER
from featdsl.plan import planner
from featdsl.plan.document import Plan
from tests.budgets import examples
from tests.conftest import ACCOUNTS as ACCOUNT_ROWS
from tests.conftest import Workspace
from tests.test_properties import NOWHERE, Described, desired, projects

Edit = Callable[[str, str, str], None]
ACCOUNTS = "features/accounts/__init__.py"
LENDING = "features/lending/__init__.py"
searched = settings(max_examples=examples(15, 60), deadline=None)


def snapshot_of(catalog: Catalog) -> Snapshot:
    """Return a snapshot in which this catalogue is applied."""
    return Snapshot(catalog=catalog, versions={(f.address, f.fingerprint): f for f in catalog.features.values()})


def following(described: Described, starts: set[str]) -> set[str]:
    """Return these features and everything derived from them, by repeated search (an oracle)."""
    found = set(starts)
    while more := {name for name, inputs in described.derived.items() if found.intersection(inputs)} - found:
        found |= more
    return found


def sets_with(described: Described, catalog: Catalog, features: set[str]) -> set[str]:
    """Return the sets and models with one of these features."""
    sets = {each.address for each in catalog.sets.values() if features & {member.feature for member in each.members}}
    return {f"set {name}" for name in sets} | {
        f"model {model.name}" for model in catalog.models.values() if model.features in sets
    }


@searched
@given(projects(), st.data())
def test_what_is_named_as_not_hit_is_what_a_look_at_tables_adds(described: Described, data: st.DataObject) -> None:
    """A change affects what derives from the feature; everything else near it is listed as not affected."""
    changed = data.draw(st.sampled_from(sorted(described.base)))
    sql, *rest = described.base[changed]
    other = {"a": "a % 3", "a % 3": "a", "b": "coalesce(b, 0)", "coalesce(b, 0)": "b", "a + b": "b"}[sql]
    after = replace(described, base={**described.base, changed: (other, *rest)})
    old, new = desired(described, NOWHERE), desired(after, NOWHERE)

    plan = planner.build(planner.State(snapshot_of(old)), new, planner.PlanRequest("random"), Compilers(COMPILER))

    hit = following(described, {changed})
    groups = {name.partition(".")[0] for name in hit}
    everything = {**dict.fromkeys(described.base, ()), **described.derived}
    while (
        more := {
            name.partition(".")[0]
            for name, inputs in described.derived.items()
            if {upstream.partition(".")[0] for upstream in inputs} & groups
        }
        - groups
    ):
        groups |= more
    near = {name for name in everything if name.partition(".")[0] in groups}
    spared = {f"feature {name}" for name in near - hit}
    spared |= sets_with(described, new, near) - sets_with(described, new, hit)
    assert {f"{each.kind} {each.address}" for each in plan.untouched} == spared
    assert {each.effect for each in plan.untouched} <= {"keeps"}


@searched
@given(projects(), st.sampled_from(["a", "b"]), st.booleans())
def test_a_column_of_another_type_reaches_those_who_read_it(described: Described, column: str, gone: bool) -> None:  # noqa: FBT001 - hypothesis gives it
    """Readers of other columns are not affected, and nothing is rebuilt."""
    catalog = desired(described, NOWHERE)
    before = with_columns(catalog, {"a": "INTEGER", "b": "DOUBLE"})
    types = {"a": "INTEGER", "b": "DOUBLE", column: "VARCHAR"}
    after = with_columns(catalog, {name: types[name] for name in types if name != column or not gone})

    plan = planner.build(planner.State(snapshot_of(before)), after, planner.PlanRequest("random"), Compilers(COMPILER))

    (source,) = plan.changes
    readers = {name for name, (sql, *_) in described.base.items() if re.search(rf"\b{column}\b", sql)}
    hit = following(described, readers)
    expected = {f"feature {name}" for name in hit} | sets_with(described, catalog, hit)
    assert {f"{each.kind} {each.address}" for each in source.downstream} == expected
    assert [reason.code for reason in source.change.reasons] == ["column gone" if gone else "column type"]
    assert source.change.change_class == "breaking"
    spared = {f"feature {name}" for name in {*described.base, *described.derived} - hit}
    assert {f"{each.kind} {each.address}" for each in plan.untouched if each.kind == "feature"} == spared


def with_columns(catalog: Catalog, columns: dict[str, str]) -> Catalog:
    """Return a catalogue whose source has these columns."""
    found = tuple(Column(name=name, dtype=dtype) for name, dtype in columns.items())
    return replace(catalog, sources={name: replace(each, columns=found) for name, each in catalog.sources.items()})


@searched
@given(projects())
def test_a_column_more_touches_nobody(described: Described) -> None:
    """The plan names the change."""
    assume(described.base)
    catalog = desired(described, NOWHERE)
    before, after = (with_columns(catalog, dict.fromkeys(names, "BIGINT")) for names in ("ab", "abc"))

    plan = planner.build(planner.State(snapshot_of(before)), after, planner.PlanRequest("random"), Compilers(COMPILER))

    (source,) = plan.changes
    assert (source.change.change_class, source.downstream, plan.untouched) == ("metadata", (), ())
    assert [(reason.code, reason.after) for reason in source.change.reasons] == [("column added", "c BIGINT")]


# In a real project


def run(root: Path, *arguments: str, code: int = 0, errors: bool = False) -> str:
    """Return the output of featdsl in a project's folder, or its errors."""
    done = CliRunner().invoke(main, ["-C", str(root), *arguments], standalone_mode=True)
    assert done.exit_code == code, done.output
    return done.stderr if errors else done.stdout


def planned(workspace: Workspace) -> dict[str, Any]:
    """Return the plan as its JSON."""
    found: dict[str, Any] = json.loads(run(workspace.root, "plan", "--format", "json"))
    return found


def addresses(listed: list[dict[str, Any]]) -> list[str]:
    """Return who is affected, in order."""
    return [f"{each['kind']} {each['address']}" for each in listed]


def test_old_versions_tell_who_holds_them_and_how_many_rows_they_have(bank: Workspace, edit: Edit) -> None:
    """A set keeps its pins, and a pinned derived feature keeps the old version of its input."""
    run(bank.root, "apply", "--yes")
    edit(ACCOUNTS, '"annual_income"', '"annual_income + 1"')

    kept = [(each["feature"], each["held_by"], each["rows"]) for each in planned(bank)["kept"]]

    assert kept == [
        ("affordability.monthly", ["credit_risk@2"], 20),
        ("user_profile.income", ["affordability.monthly", "credit_risk@1", "credit_risk@2"], 20),
    ]


def test_nothing_old_is_kept_that_nobody_holds(bank: Workspace, edit: Edit) -> None:
    """Without sets no old version is kept."""
    text = (bank.root / LENDING).read_text(encoding="utf-8")
    bank.write({LENDING: text[: text.index("credit_risk_v1")]})
    run(bank.root, "apply", "--yes")
    edit(ACCOUNTS, '"annual_income"', '"annual_income + 1"')
    assert planned(bank)["kept"] == []


def test_a_table_that_is_there_already_is_not_built(bank: Workspace, edit: Edit) -> None:
    """Going back to a pinned definition reuses its table, and the plan says so."""
    run(bank.root, "apply", "--yes")
    edit(ACCOUNTS, '"annual_income"', '"annual_income + 1"')
    run(bank.root, "apply", "--yes")
    edit(ACCOUNTS, '"annual_income + 1"', '"annual_income"')

    plan = planned(bank)

    assert [step for step in plan["steps"] if step["step"] == "build_table"] == []
    assert [(each["group"], each["rows"], each["new"]) for each in plan["reused"]] == [
        ("affordability", 20, True),
        ("user_profile", 20, True),
    ]
    assert "already built  affordability, user_profile: nothing to compute" in run(bank.root, "plan")


def test_a_set_reads_by_way_of_what_it_pins(bank: Workspace, edit: Edit) -> None:
    """A removed column that only pinned old versions read affects just their holders."""
    run(bank.root, "apply", "--yes")
    edit(ACCOUNTS, '"annual_income"', '"1.0"')
    run(bank.root, "apply", "--yes")
    bank.parquet("data/accounts.parquet", f"SELECT * EXCLUDE (annual_income) FROM ({ACCOUNT_ROWS})")

    plan = planned(bank)

    (source,) = plan["changes"]
    assert addresses(source["downstream"]) == ["model loan_default", "set credit_risk@1", "set credit_risk@2"]
    assert plan["steps"] == [each for each in plan["steps"] if each["step"] == "record"]
    assert "Touches lending (2 sets and 1 model read changed columns)." in run(bank.root, "plan")


def shop(workspace: Workspace) -> None:
    """Write a project with a query over a query over rows."""
    workspace.write(
        {
            "featproject.toml": '[project]\nname = "shop"\n',
            "features/__init__.py": "",
            "features/shop/__init__.py": '''
from featdsl import Entity, Feature, FeatureGroup, FeatureSet, Source

user = Entity("user", keys={"id": int})
raw = Source("raw", path="raw.parquet", timestamp="seen")
half = Source("half", sql="SELECT id, seen, a / 2 AS x, b FROM {{ raw }}", timestamp="seen")
quarter = Source("quarter", sql="SELECT id, seen, x / 2 AS x, b FROM {{ half }}", timestamp="seen")


class Parts(FeatureGroup, entity=user, source=quarter):
    """Of two columns."""

    x = Feature(float)
    y = Feature(float, sql="b")


ones_v1 = FeatureSet("ones", version=1, features=[Parts.x])
others_v1 = FeatureSet("others", version=1, features=[Parts.y])
''',
        }
    ).parquet("raw.parquet", "SELECT 1 AS id, TIMESTAMP '2026-01-01' AS seen, 1 AS a, 2 AS b")


def test_queries_hand_on_which_columns_they_read(workspace: Workspace) -> None:
    """Through nested queries, only what uses the column is affected."""
    shop(workspace)
    run(workspace.root, "apply", "--yes")
    workspace.parquet("raw.parquet", "SELECT 1 AS id, TIMESTAMP '2026-01-01' AS seen, 1::BIGINT AS a, 2 AS b")

    plan = planned(workspace)

    (raw,) = [each for each in plan["changes"] if each["change"]["address"] == "raw"]
    assert addresses(raw["downstream"]) == ["feature parts.x", "set ones@1", "source half", "source quarter"]
    assert addresses(plan["untouched"]) == ["feature parts.y", "set others@1"]


def test_a_plan_of_before_reads_as_it_was_written(bank: Workspace, edit: Edit) -> None:
    """Kept, reused, unaffected and estimated entries survive the plan file."""
    run(bank.root, "apply", "--yes")
    edit(ACCOUNTS, '"annual_income"', '"annual_income + 1"')
    run(bank.root, "plan", "--out", str(bank.root / "plan.json"))

    from featdsl.plan import planfile

    text = (bank.root / "plan.json").read_text(encoding="utf-8")
    plan = planfile.from_json(text, name="plan.json")
    assert isinstance(plan, Plan)
    assert (len(plan.kept), len(plan.untouched)) == (2, 1)
    assert planfile.to_json(plan) == text


GONE = """\
Unknown column
  feature user_profile.income reads the column 'annual_income', which does not exist.
  It was there, as DECIMAL(24,1), when source accounts was last applied, and is read by:
    affordability.monthly (lending), user_profile.income (accounts), set credit_risk@1 (lending), set credit_risk@2 (lending), model loan_default (lending)
  features/accounts/__init__.py:13
  Its columns are: birth_date, updated_at, user_id.
"""


def test_a_column_that_is_gone_is_told_with_who_read_it(bank: Workspace) -> None:
    """A declared feature still reads it: the error names its old type and every affected definition."""
    run(bank.root, "apply", "--yes")
    bank.parquet("data/accounts.parquet", f"SELECT * EXCLUDE (annual_income) FROM ({ACCOUNT_ROWS})")
    done = bank.run("plan")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", GONE)


@pytest.mark.parametrize(
    ("gone", "told"),
    [
        (
            "updated_at",
            "source accounts has no column 'updated_at', its timestamp=.\n  It was there, as TIMESTAMP, when",
        ),
        ("user_id", "source accounts has no column 'user_id' for its key user_id.\n  It was there, as BIGINT, when"),
    ],
)
def test_a_time_or_a_key_that_is_gone_was_read_by_all(bank: Workspace, gone: str, told: str) -> None:
    """Every feature of the source needs it, and so do the sets that pin one."""
    run(bank.root, "apply", "--yes")
    bank.parquet("data/accounts.parquet", f"SELECT * EXCLUDE ({gone}) FROM ({ACCOUNT_ROWS})")
    said = run(bank.root, "plan", code=1, errors=True)
    assert told in said
    assert "affordability.monthly (lending), user_profile.age (accounts), user_profile.income (accounts)" in said


def test_a_query_over_a_column_that_is_gone_tells_of_it_too(workspace: Workspace, edit: Edit) -> None:
    """The query is what reads it."""
    shop(workspace)
    run(workspace.root, "apply", "--yes")
    workspace.parquet("raw.parquet", "SELECT 1 AS id, TIMESTAMP '2026-01-01' AS seen, 2 AS b")
    said = run(workspace.root, "plan", code=1, errors=True)
    assert (
        "source half reads the column 'a', which does not exist.\n  It was there, as INTEGER, when source raw" in said
    )
    assert "is read by:\n    parts.x (shop), set ones@1 (shop)\n" in said


def test_a_typo_is_no_column_that_is_gone(bank: Workspace, edit: Edit) -> None:
    """The message does not mention the earlier state."""
    run(bank.root, "apply", "--yes")
    edit(ACCOUNTS, '"annual_income"', '"annual_incom"')
    assert "It was there" not in run(bank.root, "plan", code=1, errors=True)
