"""What an assistant is told: the tools, called by the SDK's own client in this process."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from mcp.server.mcpserver import MCPServer

from featdsl.assistants import bounds, server
from featdsl.project import settings
from tests.conftest import Workspace


def served(workspace: Workspace) -> MCPServer:
    """Return the server of a project."""
    return server.made(workspace.store, settings.load(workspace.root))


def call(workspace: Workspace, tool: str, **arguments: Any) -> tuple[Any, bool]:
    """Call a tool; return its structured answer or the text of its error, and whether it failed."""

    async def called() -> tuple[Any, bool]:
        async with Client(served(workspace)) as client:
            result = await client.call_tool(tool, arguments)
            texts = [getattr(each, "text", "") for each in result.content]
            if result.is_error:
                return "\n".join(texts), True
            assert json.loads(texts[0]) == result.structured_content
            return result.structured_content, False

    return asyncio.run(called())


def answer(workspace: Workspace, tool: str, **arguments: Any) -> Any:
    """Return the answer of a tool, which must not fail."""
    told, failed = call(workspace, tool, **arguments)
    assert not failed, told
    return told


def error(workspace: Workspace, tool: str, **arguments: Any) -> str:
    """Return the error of a tool, which must fail."""
    told, failed = call(workspace, tool, **arguments)
    assert failed, told
    return str(told)


def test_every_tool_says_that_it_only_reads_and_when_to_call_it(applied: Workspace) -> None:
    """The first description sends an assistant to the search before it writes anything."""

    async def listed() -> Any:
        async with Client(served(applied)) as client:
            return client.instructions, (await client.list_tools()).tools

    instructions, tools = asyncio.run(listed())
    assert {each.name for each in tools} == {
        "search_features", "find_duplicates", "show_definition", "usage_snippet", "lineage", "statistics", "plan",
    }  # fmt: skip
    assert all(each.annotations.read_only_hint and each.annotations.open_world_hint is False for each in tools)
    by_name = {each.name: each for each in tools}
    assert "Call this FIRST" in by_name["search_features"].description
    assert "monthly income" in by_name["search_features"].description
    assert "call search_features" in instructions
    assert by_name["search_features"].input_schema["required"] == ["query"]


def test_who_asks_for_monthly_income_is_led_to_the_feature_that_exists(applied: Workspace) -> None:
    """From the words of the request to the code that uses it."""
    found = answer(applied, "search_features", query="monthly income", kind="feature")
    assert found["matches"][0] == {
        "kind": "feature", "name": "affordability.monthly", "owner": "lending", "type": "DOUBLE", "unit": "",
        "description": "Gross income, USD per month.", "entity": "user", "private": False, "deprecated": None,
    }  # fmt: skip
    assert "usage_snippet" in found["next"]
    snippet = answer(applied, "usage_snippet", name="affordability.monthly")
    assert snippet["import_line"] == "from features.lending import Affordability"
    assert "store.get_features([Affordability.monthly], user_id=42)" in snippet["serving"]
    assert "training_set([Affordability.monthly], spine" in snippet["training"]
    script = snippet["serving"].replace("42)", "1)").replace("store.get_features", "print(store.get_features") + ")"
    done = subprocess.run([sys.executable, "-c", script], cwd=applied.root, capture_output=True, text=True, check=False)
    assert done.stdout == f"{{'monthly': {17000 / 12}}}\n", done.stderr


def test_a_search_is_filtered_and_says_so_when_it_finds_nothing(applied: Workspace) -> None:
    """Filters are those of `featdsl search`."""
    found = answer(applied, "search_features", query="income", owner="accounts", limit=1)
    assert [each["name"] for each in found["matches"]] == ["user_profile.income"]
    nothing = answer(applied, "search_features", query="zzzzzz")
    assert (nothing["matches"], "Try synonyms" in nothing["next"]) == ([], True)


@pytest.mark.parametrize(
    ("proposal", "first"),
    [
        ({"sql": "annual_income", "source": "accounts"}, ("user_profile.income", "same values")),
        ({"sql": "DATE_DIFF( 'year' , birth_date, updated_at )"}, ("user_profile.age", "same values")),
        ({"sql": "income/12 -- monthly"}, ("affordability.monthly", "same values")),
        ({"sql": "income + 12"}, ("affordability.monthly", "same columns")),
        ({"sql": "annual_income / 52", "source": "accounts"}, ("user_profile.income", "same columns")),
        ({"name": "income_monthly", "entity": "user"}, ("affordability.monthly", "similar words")),
        ({"description": "age in years"}, ("user_profile.age", "similar words")),
    ],
)
def test_a_proposed_definition_is_compared_with_the_features_that_exist(
    applied: Workspace, proposal: dict[str, str], first: tuple[str, str]
) -> None:
    """By what it computes, by columns and by words."""
    found = answer(applied, "find_duplicates", **proposal)["existing"]
    assert (found[0]["address"], found[0]["likeness"]) == first


PURCHASES = """
from featdsl import Entity, Feature, FeatureGroup, Source

buyer = Entity("buyer", keys={"buyer_id": int})
purchases = Source("purchases", path="data/purchases.parquet", timestamp="paid_at")
orders = Source("orders", sql="SELECT buyer_id, paid_at, amount AS total, tax FROM {{ purchases }}", timestamp="paid_at")


class Spending(FeatureGroup, entity=buyer, source=purchases):
    \"\"\"What a buyer spends.\"\"\"

    gross = Feature(float, sql="amount + tax")
    spent = Feature(float, sql="sum(amount)", windows=["7 days", "30 days"])


class Orders(FeatureGroup, entity=buyer, source=orders):
    \"\"\"What a buyer orders.\"\"\"

    net = Feature(float, sql="total - tax")
"""


@pytest.mark.parametrize(
    ("proposal", "expected"),
    [
        ({"sql": "tax + amount", "source": "purchases"}, ["spending.gross"]),
        ({"sql": "total + tax", "source": "orders"}, ["spending.gross"]),
        ({"sql": "amount - tax", "source": "purchases"}, ["orders.net"]),
        ({"sql": "tax - amount", "source": "purchases"}, []),
        ({"sql": "sum(amount)", "source": "purchases"}, ["spending.spent_30d", "spending.spent_7d"]),
        ({"sql": "sum(tax)", "source": "purchases"}, []),
        ({"sql": "amount + 2 * tax", "source": "purchases"}, []),
    ],
)
def test_the_same_values_are_found_however_they_are_written(
    workspace: Workspace, proposal: dict[str, str], expected: list[str]
) -> None:
    """With operands in another order and over a source with renamed columns, but no other difference."""
    rows = "SELECT 1 AS buyer_id, TIMESTAMP '2026-01-01' AS paid_at, 10.0::DOUBLE AS amount, 2.0::DOUBLE AS tax"
    workspace.write({
        "featproject.toml": '[project]\nname = "shop"\n', "features/__init__.py": "", "features/buyers/__init__.py": PURCHASES,
    }).parquet("data/purchases.parquet", rows).apply()  # fmt: skip
    found = answer(workspace, "find_duplicates", **proposal)["existing"]
    assert [each["address"] for each in found if each["likeness"] == "same values"] == expected


def test_a_new_definition_repeats_nothing(applied: Workspace) -> None:
    """And the answer says that it may be declared."""
    told = answer(applied, "find_duplicates", sql="shoe_size * 2", source="accounts")
    assert (told["existing"], told["next"]) == ([], "No existing feature is alike: you may declare it.")


def test_a_definition_is_described_without_values_of_people(applied: Workspace) -> None:
    """Sample values stay in the store; what it is made of and who uses it are told."""
    told = answer(applied, "show_definition", name="user_profile.age")
    assert told["definition"]["sql"] == "date_diff('year', birth_date, updated_at)"
    assert told["used_by"][0] == "model loan_default (lending)"
    assert "samples" not in told["data"]
    assert answer(applied, "show_definition", name="credit_risk@2")["definition"]["keys"] == {"user_id": "BIGINT"}


def test_lineage_and_statistics_are_told(applied: Workspace) -> None:
    """Columns upstream, models downstream; rows, NULLs and the newest event."""
    told = answer(applied, "lineage", name="user_profile.income")
    assert "model loan_default" in {each["id"] for each in told["nodes"]}
    assert "source accounts (accounts): annual_income" in told["tree"]
    figures = answer(applied, "statistics", name="user_profile.income")
    (table,) = figures["tables"]
    assert (table["rows"], table["during"], table["newest"]) == (20, "apply", "2026-01-20T00:00:00.000000")
    income = table["columns"]["income"]
    assert (income["nulls"], income["minimum"], income["maximum"], income["mean"]) == (0, "0.0", "19000.0", 9500.0)
    (table,) = answer(applied, "statistics", name="user_profile")["tables"]
    assert table["columns"].keys() == {"age", "income"}
    assert "has no stored values" in error(applied, "statistics", name="credit_risk@1")


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file of a folder."""
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_plan_is_made_and_nothing_is_written(applied: Workspace, edit: Callable[[str, str, str], None]) -> None:
    """As text it is that of `featdsl plan`; as JSON it has the changes and who they reach."""
    assert answer(applied, "plan")["is_empty"]
    edit("features/accounts/__init__.py", 'sql="annual_income"', 'sql="annual_income * 2"')
    edit("features/accounts/__init__.py", "user = Entity", 'print("noise")\nuser = Entity')
    before = contents(applied.root / ".featdsl")
    assert answer(applied, "plan") == {"is_empty": False, "text": applied.run("plan").stdout}
    told = answer(applied, "plan", format="json")
    assert [(each["action"], each["address"]) for each in told["changes"]] == [
        ("recompute", "affordability.monthly"), ("change", "user_profile.income"),
    ]  # fmt: skip
    assert told["changes"][1]["reasons"] == [
        {"code": "sql", "before": "annual_income", "after": "annual_income * 2"},
    ]  # fmt: skip
    assert "model loan_default (lending): keeps" in told["changes"][1]["downstream"]
    del before[str(applied.root / ".featdsl" / "memory-bank.json")]  # `featdsl plan` above has saved its analysis
    after = contents(applied.root / ".featdsl")
    assert {name: after[name] for name in before} == before


def test_mistakes_are_told_with_their_fix(applied: Workspace, edit: Callable[[str, str, str], None]) -> None:
    """An error of featdsl is the answer of the tool, and arguments are validated."""
    assert 'Did you mean "user_profile.income"' in error(applied, "show_definition", name="user_profile.incme")
    assert 'Did you mean "accounts"' in error(applied, "find_duplicates", sql="x", source="acounts")
    assert "Give sql, name or description" in error(applied, "find_duplicates")
    assert "SQL cannot be read" in error(applied, "find_duplicates", sql="SELECT 1")
    assert "which code does not read" in error(applied, "usage_snippet", name="accounts")
    for wrong in (
        {"query": ""},
        {"query": "x" * 301},
        {"query": "x", "limit": 99},
        {"query": "x", "kind": "table"},
        {},
    ):
        assert "search_features" in error(applied, "search_features", **wrong)
    edit("features/accounts/__init__.py", "annual_income", "anual_income")
    told = error(applied, "plan")
    assert "features/accounts/__init__.py" in told
    assert "Traceback" not in told


def test_private_features_are_marked_and_their_values_are_not_told(
    bank: Workspace, edit: Callable[[str, str, str], None]
) -> None:
    """As in `featdsl search`, they can be found; the note says who may use them."""
    edit("features/accounts/__init__.py", "source=accounts):", 'source=accounts, access="private"):')
    (bank.root / "features/lending/__init__.py").write_text("", encoding="utf-8")
    bank.apply()
    assert answer(bank, "search_features", query="income")["matches"][0]["private"] is True
    note = "Private: only team accounts may use it. Ask them to make it public before you use it elsewhere."
    for tool in ("show_definition", "usage_snippet", "statistics"):
        assert answer(bank, tool, name="user_profile.income")["note"] == note
    assert answer(bank, "statistics", name="user_profile.income")["tables"][0]["columns"] == {"income": None}
    assert answer(bank, "find_duplicates", sql="annual_income")["existing"][0]["private"] is True


def test_a_store_without_an_apply_answers(bank: Workspace) -> None:
    """Nothing is found, and the plan creates everything."""
    assert answer(bank, "search_features", query="income")["matches"] == []
    assert "featdsl apply" in error(bank, "show_definition", name="user_profile.age")
    assert answer(bank, "plan")["is_empty"] is False


def test_an_answer_is_bounded() -> None:
    """Long texts, long lists and many of both are cut, and the answer says so."""
    small = {"a": [1, None, True, 0.5, "x"]}
    assert bounds.bounded(small) == small
    assert bounds.bounded({"a": float("nan"), "b": float("inf")}) == {"a": "nan", "b": "inf"}
    long = bounds.bounded({"text": "x" * 2_000_000, "list": list(range(10_000))})
    assert (len(long["text"]), len(long["list"])) == (bounds.MOST_LETTERS + 1, bounds.MOST_ITEMS)
    assert "left out" in long["cut"]
    deep = bounds.bounded({"rows": [{f"column {n}": ["y" * 1_000] * 40 for n in range(40)}] * 40})
    assert len(json.dumps(deep)) < 3 * bounds.MOST_IN_ALL
    assert bounds.cut("abc", 2) == "ab\n… 1 more characters"
