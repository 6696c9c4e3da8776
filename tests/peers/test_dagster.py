"""Assets of Dagster made from a project: their graph, and runs in the test's own process."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from featdsl.errors import FeatdslError
from tests.conftest import Workspace
from tests.integrations.held_store import held
from tests.integrations.lineage_events import SHOP
from tests.waiting import PATIENCE

dg = pytest.importorskip("dagster")
feature_assets = pytest.importorskip("featdsl.integrations.dagster").feature_assets

Edit = Callable[[str, str, str], None]

pytestmark = pytest.mark.filterwarnings("ignore")  # of Dagster itself, and of its own dependencies


@pytest.fixture
def shop(workspace: Workspace) -> Workspace:
    """A source with a query over it, and three groups, applied."""
    workspace.write(SHOP).apply()
    return workspace


def key(text: str) -> Any:
    """Return the key of an asset of the shop."""
    return dg.AssetKey(["shop", *text.split("/")])


def materialized(result: Any) -> dict[str, dict[str, Any]]:
    """Return the metadata of each materialisation, by asset."""
    found = [each.materialization for each in result.get_asset_materialization_events()]
    return {
        each.asset_key.to_user_string(): {name: value.value for name, value in each.metadata.items()} for each in found
    }


def order_of_a_customer(shop: Workspace) -> None:
    """Append an order of one customer."""
    with (shop.root / "data/orders.csv").open("a") as file:
        file.write("2,2026-01-09,8,paid\n")


def test_the_graph_of_assets(shop: Workspace) -> None:
    """An asset for each group and each source, with what it depends on, who owns it, and its checks."""
    definitions = dg.Definitions(assets=feature_assets(shop.root))
    dg.Definitions.validate_loadable(definitions)
    graph = definitions.resolve_asset_graph()
    nodes = {each.to_user_string(): graph.get(each) for each in graph.get_all_asset_keys()}

    parents = {name: sorted(each.to_user_string() for each in node.parent_keys) for name, node in nodes.items()}
    assert parents == {
        "shop/sources/orders": [],
        "shop/orders": ["shop/sources/orders"],
        "shop/paid": ["shop/sources/orders"],
        "shop/share": ["shop/orders", "shop/paid"],
    }
    assert {name for name, node in nodes.items() if node.is_executable} == {"shop/orders", "shop/paid", "shop/share"}
    orders = nodes["shop/orders"]
    assert (orders.description, orders.owners, orders.kinds) == ("What a customer orders.", ["team:shop"], {"featdsl"})
    (place,) = orders.metadata["dagster/code_references"].code_references
    assert (place.file_path, place.line_number) == (str(shop.root / "features/__init__.py"), 10)
    columns = orders.metadata["dagster/column_schema"].columns
    assert [(each.name, each.type) for each in columns] == [
        ("customer_id", "BIGINT"), ("last", "DOUBLE"), ("total", "DOUBLE"), ("twice", "DOUBLE"),
    ]  # fmt: skip
    assert {(each.asset_key, each.name) for each in graph.asset_check_keys} == {(key("orders"), "large")}


def test_a_run_refreshes_and_tells_what_it_wrote(shop: Workspace) -> None:
    """The rows, the seconds and the state of each group, and the results of rules."""
    order_of_a_customer(shop)
    result = dg.materialize(feature_assets(shop.root))

    assert result.success
    found = materialized(result)
    history = json.loads(shop.run("history", "--format", "json").stdout)
    assert found.keys() == {"shop/orders", "shop/paid", "shop/share"}
    assert {each["state"] for each in found.values()} == {history[0]["serial"]} == {2}
    assert sum(each["rows"] for each in found.values()) == history[0]["rows"]
    assert {each["how"] for each in found.values()} <= {"extended", "rebuilt", "extended, rebuilt", "rebuilt, extended"}
    assert all(each["seconds"] > 0 for each in found.values())
    (check,) = result.get_asset_check_evaluations()
    assert (check.asset_key, check.check_name, check.passed) == (key("orders"), "large", False)
    assert check.severity == dg.AssetCheckSeverity.WARN
    assert check.metadata["broken"].value == 1


def test_a_part_of_the_assets(shop: Workspace) -> None:
    """Only this group, and what it reads, is refreshed; Dagster hears of both."""
    order_of_a_customer(shop)
    result = dg.materialize(feature_assets(shop.root), selection=[key("paid")])
    assert result.success
    assert materialized(result).keys() == {"shop/paid"}
    again = dg.materialize(feature_assets(shop.root), selection=[key("share")])
    found = materialized(again)
    assert found.keys() == {"shop/orders", "shop/paid", "shop/share"}
    assert found["shop/paid"]["how"] == "nothing new"
    assert found["shop/share"]["rows"] > 0


def test_an_apply_builds_what_is_declared(workspace: Workspace) -> None:
    """Of a project that was never applied, in an environment of its own."""
    workspace.write(SHOP)
    result = dg.materialize(feature_assets(workspace.root, command="apply", environment="nightly"))

    assert result.success
    found = materialized(result)
    assert {(each["how"], each["environment"], each["state"]) for each in found.values()} == {("built", "nightly", 1)}
    assert found["shop/paid"]["rows"] == 2
    assert [each["name"] for each in json.loads(workspace.run("env", "list", "--format", "json").stdout)] == ["nightly"]


def test_a_failure_has_the_text_of_the_problem(shop: Workspace, edit: Edit) -> None:
    """And the check that failed; nothing is published."""
    edit("features/__init__.py", 'severity="warn"', 'severity="error"')
    result = dg.materialize(feature_assets(shop.root, command="apply"), raise_on_error=False)

    assert not result.success
    (failure,) = [each for each in result.all_events if each.event_type_value == "STEP_FAILURE"]
    told = failure.step_failure_data.user_failure_data.description
    assert told.startswith("Check failed\n  orders.last: 1 row breaks the rule: large: last > 5\n")
    (check,) = result.get_asset_check_evaluations()
    assert (check.check_name, check.passed, check.severity) == ("large", False, dg.AssetCheckSeverity.ERROR)
    assert materialized(result) == {}


INTERRUPTED = """
import signal
import sys

import dagster as dg

from featdsl.integrations.dagster import feature_assets

signal.signal(signal.SIGINT, signal.default_int_handler)
result = dg.materialize(feature_assets(sys.argv[1]), raise_on_error=False)
"""


@pytest.mark.slow
def test_ending_a_run_ends_the_command(shop: Workspace) -> None:
    """Dagster interrupts the operation while the command waits for another writer."""
    import psutil

    holder = held(shop)
    words = [sys.executable, "-c", INTERRUPTED, str(shop.root)]
    running = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        assert running.stderr
        lines = iter(running.stderr.readline, "")
        assert any("waiting holder=" in line for line in lines)
        (command,) = [each for each in psutil.Process(running.pid).children() if "refresh" in each.cmdline()]
        running.send_signal(signal.SIGINT)
        running.communicate(timeout=PATIENCE)
        assert not command.is_running()
    finally:
        holder.kill()
        holder.communicate()


def test_a_source_has_the_key_of_the_asset_that_makes_it(shop: Workspace) -> None:
    """So that the graph goes on upstream."""

    @dg.asset(key=["raw", "orders"])
    def raw_orders() -> None:
        """Make the file."""

    assets = feature_assets(
        shop.root, source_keys={"orders": ["raw", "orders"]}, group_keys={"share": dg.AssetKey(["ml", "share"])}
    )
    graph = dg.Definitions(assets=[raw_orders, *assets]).resolve_asset_graph()
    parents = {each.to_user_string(): graph.get(each).parent_keys for each in graph.get_all_asset_keys()}
    assert parents["shop/orders"] == {dg.AssetKey(["raw", "orders"])}
    assert parents["ml/share"] == {key("orders"), key("paid")}
    assert "shop/sources/orders" not in parents


def test_mistakes_in_declarations_are_told_when_assets_are_made(shop: Workspace, edit: Edit) -> None:
    """As featdsl tells them, with file and line."""
    edit("features/__init__.py", "entity=customer, inputs", "entity=custmer, inputs")
    with pytest.raises(FeatdslError, match=r"features/__init__\.py"):
        feature_assets(shop.root)


def test_the_project_may_live_in_another_environment(shop: Workspace, tmp_path: Path, peers_python: Path) -> None:
    """A program that runs featdsl there."""
    program = tmp_path / "featdsl-elsewhere"
    program.write_text(f'#!/bin/sh\necho "$1 $3" >> {tmp_path}/calls\nexec {peers_python} -m featdsl "$@"\n')
    program.chmod(0o755)
    assert dg.materialize(feature_assets(shop.root, executable=program)).success
    assert (tmp_path / "calls").read_text().splitlines() == ["-C validate", "-C refresh"]
    assert len(feature_assets(shop.root, python=peers_python)) == 2
