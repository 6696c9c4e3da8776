"""A dbt project becomes declarations that plan at once: read from a recorded manifest, over tables as dbt builds them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.conftest import Workspace
from tests.importers import recorded
from tests.importers.test_writing import formatted

Manifest = dict[str, Any]


@pytest.fixture
def shop(tmp_path: Path) -> Workspace:
    """The folder of the recorded project, in which imports go to `feats`."""
    recorded.project(tmp_path)
    return Workspace(tmp_path)


def edited(shop: Workspace, edit: Callable[[Manifest], None], sql: str = "") -> Workspace:
    """Return the project with another manifest, and with more tables."""
    file = shop.root / "shop/target/manifest.json"
    manifest = json.loads(file.read_text())
    edit(manifest)
    file.write_text(json.dumps(manifest))
    if sql:
        with duckdb.connect(str(shop.root / "shop/shop.duckdb")) as connection:
            connection.execute(sql)
    return shop


def model(manifest: Manifest, name: str, **more: Any) -> Manifest:
    """Add a model to a manifest and return it."""
    node = {
        "name": name, "alias": name, "schema": "main", "database": "shop", "resource_type": "model", "package_name": "shop",
        "unique_id": f"model.shop.{name}", "original_file_path": f"models/{name}.sql", "config": {"materialized": "table"},
        "columns": {}, **more,
    }  # fmt: skip
    manifest["nodes"][node["unique_id"]] = node
    return node


def imported(shop: Workspace, *options: str) -> str:
    """Import the project, check that it plans and is formatted, and return the report."""
    done = shop.run("import", "dbt", "shop", "--into", "feats", *options)
    assert done.returncode == 0, done.stderr
    planned = shop.run("-C", "feats", "plan")
    assert planned.returncode == 0, planned.stderr
    assert formatted(shop.root / "feats").returncode == 0
    return done.stdout


def module(shop: Workspace, path: str) -> str:
    """Return the text of a written module on one line."""
    return " ".join((shop.root / "feats/features" / path).read_text().split())


def test_models_metrics_and_tests_are_carried_over(shop: Workspace) -> None:
    """Models with keys and times become groups, metrics windows, tests expectations; owners are folders."""
    report = imported(shop)
    assert "2 entities, 3 sources, 5 groups, 20 features" in report
    orders = module(shop, "checkout/orders.py")
    assert 'class Orders(FeatureGroup, entity=order, source=orders, tags=["core"]):' in orders
    assert "expect=\"status IN ('paid', 'open', 'refunded')\"" in orders
    assert 'expect=Expect("amount IS NOT NULL", severity="warn"), tags="money"' in orders
    assert "order_id" not in orders.replace("order_id IS", "")
    metrics = module(shop, "checkout/orders_by_customer.py")
    assert 'sql="sum(amount) FILTER (WHERE status = \'paid\')", window="lifetime"' in metrics
    assert 'sql="sum(amount)", window="30 days"' in metrics
    derived = module(shop, "checkout/customer_metrics.py")
    assert 'sql="CAST(orders_paid AS DOUBLE) / nullif(orders_placed, 0)"' in derived
    assert 'sql="orders_placed - orders_paid"' in derived
    customers = module(shop, "crm/customers.py")
    assert 'timestamp="Updated At"' in customers
    assert 'keys={"customer_id": "id"}, unique="email"' in customers
    assert 'Feature(bool, name="class")' in module(shop, "shop/order_flags.py")


def test_windows_of_metrics_can_be_given(shop: Workspace) -> None:
    """Metrics without a window get a family, derived metrics one feature for each window."""
    imported(shop, "--window", "7 days", "--window", "lifetime")
    assert 'windows=["7 days", "lifetime"]' in module(shop, "checkout/orders_by_customer.py")
    derived = module(shop, "checkout/customer_metrics.py")
    assert (
        'paid_share_7d = Feature( float, sql="CAST(orders_paid_7d AS DOUBLE) / nullif(orders_placed_7d, 0)"' in derived
    )
    assert "unpaid_orders_lifetime = Feature(" in derived


def test_keys_and_times_can_be_given(shop: Workspace) -> None:
    """Options name what the manifest does not, in any case, and a time among the keys is no key."""
    report = imported(
        shop, "--select", "daily_revenue", "--key", "daily_revenue=day,REVENUE", "--timestamp", "daily_revenue=DAY"
    )  # fmt: skip
    assert "It has no" not in report
    assert "1 entity, " not in report
    other = shop.run(
        "import", "dbt", "shop", "--into", "other", "--select", "order_flags", "--key", "order_flags=order_id",
        "--timestamp", "order_flags=ORDERED_AT",
    )  # fmt: skip
    assert other.returncode == 0
    assert 'timestamp="ordered_at"' in (shop.root / "other/features/shop/order_flags.py").read_text()


def test_a_snapshot_has_spans(shop: Workspace) -> None:
    """The times of a snapshot's rows are those that dbt writes."""
    sql = """CREATE TABLE customers_history AS SELECT 1::BIGINT AS id, 'DE' AS country, 'x' AS dbt_scd_id,
        TIMESTAMP '2026-01-01' AS dbt_updated_at, TIMESTAMP '2026-01-01' AS dbt_valid_from, NULL::TIMESTAMP AS dbt_valid_to"""

    def edit(manifest: Manifest) -> None:
        model(
            manifest, "customers_history", resource_type="snapshot", config={"materialized": "snapshot", "unique_key": "id"}
        )  # fmt: skip

    imported(edited(shop, edit, sql), "--select", "customers_history")
    text = module(shop, "shop/customers_history.py")
    assert 'timestamp="dbt_valid_from", valid_to="dbt_valid_to"' in text
    assert text.count("= Feature(") == 1


def test_an_external_model_is_a_file(shop: Workspace) -> None:
    """What dbt writes to a file is read from there."""
    (shop.root / "shop/out").mkdir()
    shop.parquet("shop/out/visits.parquet", "SELECT 1 AS visit_id, TIMESTAMP '2026-01-01' AS at, 5 AS pages")
    sql = f"CREATE VIEW visits AS SELECT * FROM '{shop.root / 'shop/out/visits.parquet'}'"

    def edit(manifest: Manifest) -> None:
        config = {
            "materialized": "external", "location": "out/visits.parquet", "event_time": "at", "unique_key": ["visit_id", "at"]
        }  # fmt: skip
        model(manifest, "visits", config=config)

    imported(edited(shop, edit, sql), "--select", "visits")
    text = module(shop, "shop/visits.py")
    assert 'path="../shop/out/visits.parquet"' in text
    assert 'Entity("visit", keys={"visit_id": "INTEGER"})' in text


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        (
            {"config": {"materialized": "table", "event_time": "at"}},
            "Nothing names its key; say it: --key visits=COLUMN",
        ),
        ({"primary_key": ["visit_id"]}, "Nothing names its timestamp; say it: --timestamp visits=COLUMN"),
        ({"config": {"event_time": "pages"}}, "Its timestamp pages is INTEGER, neither a date nor a timestamp."),
        ({"config": {"event_time": "then"}}, "Its timestamp then is no column of the relation."),
        ({"config": {"event_time": "at", "unique_key": "nr"}}, "Its key nr (unique_key) is no column of the relation."),
        ({"alias": "gone", "primary_key": ["visit_id"]}, "The types of its columns are unknown: build it"),
        ({"config": {"meta": {"featdsl": {"skip": True}}}}, "Its meta says so."),
    ],
)
def test_a_model_is_left_out_with_its_reason(shop: Workspace, more: Manifest, reason: str) -> None:
    """What a model lacks to be a source is told, with the option that helps."""
    sql = "CREATE TABLE visits AS SELECT 1 AS visit_id, TIMESTAMP '2026-01-01' AS at, 5 AS pages"
    report = imported(edited(shop, lambda manifest: model(manifest, "visits", **more) and None, sql))
    assert reason in report
    assert "model visits  models/visits.sql" in report


@pytest.mark.parametrize(
    ("metric", "reason"),
    [
        ({"type": "conversion"}, "featdsl has no counterpart of metrics of type conversion."),
        (
            {"type": "simple", "type_params": {"measure": {"name": "p90_amount", "filter": {"where_filters": [
                {"where_sql_template": "{{ Metric('revenue', ['customer']) }} > 5"}]}}}},
            "which is not of its own model",
        ),
        (
            {"type": "simple", "type_params": {"measure": {"name": "order_total", "filter": {"where_filters": [
                {"where_sql_template": "{{ Dimension('order__colour') }} = 1"}]}}}},
            "which its model does not have",
        ),
        ({"type": "simple", "type_params": {"measure": {"name": "unknown"}}}, "Its measure is over a model that was left out."),
        (
            {"type": "derived", "type_params": {"expr": "a +", "metrics": [{"name": "orders_paid", "alias": "a"}]}},
            "DuckDB does not understand its expression.",
        ),
        (
            {"type": "derived", "type_params": {"expr": "a + b", "metrics": [{"name": "orders_paid", "alias": "a"}]}},
            "Its expression reads b, which is not among its metrics.",
        ),
        (
            {"type": "derived", "type_params": {"expr": "a", "metrics": [{"name": "spend_this_month", "alias": "a"}]}},
            "It is computed from spend_this_month, which was left out.",
        ),
    ],
)  # fmt: skip
def test_a_metric_is_left_out_with_its_reason(shop: Workspace, metric: Manifest, reason: str) -> None:
    """What a window or a formula cannot say is told."""

    def edit(manifest: Manifest) -> None:
        manifest["metrics"]["metric.shop.odd"] = {"name": "odd", "package_name": "shop", **metric}

    report = imported(edited(shop, edit))
    assert reason in report
    assert "metric odd" in report


def test_a_derived_metric_of_derived_metrics_is_one_formula(shop: Workspace) -> None:
    """A derived feature cannot read another one of its group, so formulas are put into each other."""

    def edit(manifest: Manifest) -> None:
        inputs = [{"name": "unpaid_orders", "alias": "unpaid"}, {"name": "orders_placed"}]
        parameters = {"expr": "unpaid / orders_placed", "metrics": inputs}
        manifest["metrics"]["metric.shop.unpaid_share"] = {
            "name": "unpaid_share", "package_name": "shop", "type": "derived", "type_params": parameters,
        }  # fmt: skip

    imported(edited(shop, edit))
    assert 'sql="(orders_placed - orders_paid) / orders_placed"' in module(shop, "checkout/customer_metrics.py")


def test_a_measure_that_no_metric_uses_becomes_a_feature(shop: Workspace) -> None:
    """Measures stand for themselves if no metric names them."""

    def edit(manifest: Manifest) -> None:
        manifest["semantic_models"]["semantic_model.shop.orders"]["measures"].append(
            {"name": "smallest", "agg": "min", "expr": "amount"}
        )
        manifest["metrics"]["metric.shop.revenue"]["type_params"]["measure"]["fill_nulls_with"] = 0

    imported(edited(shop, edit))
    assert 'smallest = Feature("DECIMAL(18,2)", sql="min(amount)", window="lifetime")' in module(
        shop, "checkout/orders_by_customer.py"
    )
    assert "sql=\"coalesce(sum(amount) FILTER (WHERE status = 'paid'), 0)\"" in module(
        shop, "checkout/orders_by_customer.py"
    )


def test_a_metric_may_aggregate_without_a_measure(shop: Workspace) -> None:
    """Newer projects have no measures: a metric aggregates itself, and a cumulative one accumulates another metric."""

    def edit(manifest: Manifest) -> None:
        manifest["semantic_models"]["semantic_model.shop.orders"]["measures"] = []
        own = {"semantic_model": "orders", "agg": "sum"}
        paid = {"where_filters": [{"where_sql_template": "{{ Dimension('order__status') }} = 'paid'"}]}
        total = {"type": "simple", "filter": paid, "type_params": {"metric_aggregation_params": own, "expr": "amount"}}
        window = {"count": 1, "granularity": "week"}
        weekly = {
            "type": "cumulative",
            "type_params": {"cumulative_type_params": {"metric": {"name": "total"}, "window": window}},
        }
        manifest["metrics"] = {
            f"metric.shop.{name}": {"name": name, "package_name": "shop", **each}
            for name, each in (("total", total), ("weekly", weekly))
        }

    report = imported(edited(shop, edit))
    assert "metric" not in report.partition("Left out")[2]
    text = module(shop, "checkout/orders_by_customer.py")
    sql = "sql=\"sum(amount) FILTER (WHERE status = 'paid')\""
    assert f'total = Feature( "DECIMAL(38,2)", {sql}, window="lifetime", )' in text
    assert f'weekly = Feature( "DECIMAL(38,2)", {sql}, window="1 week", )' in text


def test_names_that_are_taken_get_a_number(shop: Workspace) -> None:
    """A model may have the name of a group of metrics, and models may differ in case only."""
    sql = """CREATE TABLE orders_by_customer AS SELECT 1 AS visit_id, TIMESTAMP '2026-01-01' AS at, 5 AS "Declaration";
        CREATE VIEW customer_metrics AS FROM orders_by_customer; CREATE VIEW orders_again AS FROM orders_by_customer"""

    def edit(manifest: Manifest) -> None:
        for name in ("orders_by_customer", "customer_metrics"):
            model(manifest, name, config={"event_time": "at", "unique_key": "visit_id"})
        model(manifest, "Orders", alias="orders_again", config={"event_time": "at", "unique_key": "visit_id"})

    imported(edited(shop, edit, sql))
    written = {each.stem for each in (shop.root / "feats/features").rglob("*.py")}
    assert {"orders", "orders_2", "orders_by_customer", "orders_by_customer_2", "customer_metrics_2"} <= written
    assert "declaration_2 = Feature(" in module(shop, "shop/customer_metrics.py")


def test_nothing_is_lost_without_a_word(shop: Workspace) -> None:
    """Consumers, metrics without an entity and tests of models without a group stand in the report."""

    def edit(manifest: Manifest) -> None:
        semantic = manifest["semantic_models"]["semantic_model.shop.orders"]
        semantic["entities"] = [{"name": "order", "type": "foreign", "expr": "order_id + 1"}]
        manifest["nodes"]["model.shop.orders"]["primary_key"] = []
        for test in ("unique_orders_order_id", "not_null_orders_order_id"):
            (found,) = [name for name in manifest["nodes"] if test in name]
            del manifest["nodes"][found]
        manifest["exposures"] = {"exposure.shop.board": {"name": "board", "package_name": "shop"}}
        manifest["saved_queries"] = {"saved_query.shop.q": {"name": "q", "package_name": "shop"}}

    left = imported(edited(shop, edit)).partition("Left out")[2]
    for name in (
        "metric revenue",
        "metric paid_share",
        "test not_null_orders_amount",
        "exposure board",
        "saved query q",
    ):
        assert name in left


def test_names_in_another_case_and_versions(shop: Workspace) -> None:
    """Warehouses that shout do not lose descriptions and rules; versions of a model have names of their own."""
    sql = "CREATE VIEW orders_v2 AS SELECT order_id AS ORDER_ID, status AS STATUS, ordered_at AS ORDERED_AT FROM orders"

    def edit(manifest: Manifest) -> None:
        columns = {"status": {"name": "status", "description": "How far the order is.", "tags": ["state"]}}
        config = {"event_time": "ordered_at", "unique_key": "order_id", "meta": {"owner": {"name": "x"}}}
        model(
            manifest,
            "orders",
            unique_id="model.shop.orders.v2",
            alias="orders_v2",
            version=2,
            columns=columns,
            config=config,
        )
        manifest["nodes"]["test.shop.t"] = {
            "name": "t", "unique_id": "test.shop.t", "resource_type": "test", "attached_node": "model.shop.orders.v2",
            "test_metadata": {"name": "accepted_values", "kwargs": {"column_name": '"status"', "values": ["paid", "it's"]}},
        }  # fmt: skip

    imported(edited(shop, edit, sql))
    text = module(shop, "shop/orders_v2.py")
    assert """status = Feature( str, sql='"STATUS"', description="How far the order is.",""" in text
    assert """expect="status IN ('paid', 'it''s')", tags="state",""" in text


def test_an_ephemeral_model_is_its_compiled_query(shop: Workspace) -> None:
    """It has no table, so its source reads those of other models, imported or not."""

    def edit(manifest: Manifest) -> None:
        code = """select o.order_id, o.ordered_at, d.revenue, '{{' as braces from "shop"."main"."orders" o
            join "shop"."main"."daily_revenue" d on o.ordered_at::date = d.day"""
        config = {"materialized": "ephemeral", "event_time": "ordered_at", "unique_key": "order_id"}
        model(manifest, "order_days", compiled_code=code, config=config)

    report = imported(edited(shop, edit))
    assert "order_days" not in report.partition("Left out")[2]
    text = module(shop, "shop/order_days.py")
    assert "from {{ orders }} o join {{ daily_revenue }} d on o.ordered_at::date = d.day" in text
    assert (
        'daily_revenue = Source( "daily_revenue", table="main.daily_revenue", database="../shop/shop.duckdb", )' in text
    )
    assert Workspace(shop.root / "feats").run("apply", "--yes").returncode == 0


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("", "(dbt compile writes it)"),
        ('select * from "shop"."main"."nothing"', "reads a table whose columns are unknown"),
        ('select nothing from "shop"."main"."orders"', "is none that DuckDB understands"),
        ('select now() from "shop"."main"."orders"', "is none that a source can have"),
    ],
)
def test_an_ephemeral_model_whose_query_cannot_be_a_source(shop: Workspace, code: str, reason: str) -> None:
    """The reason stands in the report."""

    def edit(manifest: Manifest) -> None:
        model(manifest, "odd", compiled_code=code, config={"materialized": "ephemeral", "unique_key": "order_id"})

    assert reason in imported(edited(shop, edit))


def test_rules_of_tests(shop: Workspace) -> None:
    """Ranges become conditions; a test with a condition of its own is left out."""

    def edit(manifest: Manifest) -> None:
        for name, about, config in (
            (
                "range",
                {"name": "accepted_range", "kwargs": {"column_name": "amount", "min_value": 0, "max_value": 500}},
                {},
            ),
            ("both", {"name": "expression_is_true", "kwargs": {"expression": "amount < 200 or status = 'open'"}}, {}),
            ("one", {"name": "expression_is_true", "kwargs": {"column_name": "customer_id", "expression": "> 0"}}, {}),
            ("key", {"name": "expression_is_true", "kwargs": {"expression": "order_id > 0"}}, {}),
            ("all", {"name": "expression_is_true", "kwargs": {"expression": "sum(amount) > 0"}}, {}),
            (
                "pair",
                {"name": "unique_combination_of_columns", "kwargs": {"combination_of_columns": ["amount", "STATUS"]}},
                {},
            ),
            (
                "same",
                {
                    "name": "unique_combination_of_columns",
                    "kwargs": {"combination_of_columns": ["order_id", "ordered_at"]},
                },
                {},
            ),
            ("where", {"name": "not_null", "kwargs": {"column_name": "status"}}, {"where": "amount > 5"}),
            ("few", {"name": "not_null", "kwargs": {"column_name": "status"}}, {"error_if": ">10"}),
            ("own", None, {}),
        ):
            manifest["nodes"][f"test.shop.{name}"] = {
                "name": name, "unique_id": f"test.shop.{name}", "resource_type": "test", "test_metadata": about,
                "attached_node": "model.shop.orders", "config": config,
            }  # fmt: skip

    report = imported(edited(shop, edit))
    text = module(shop, "checkout/orders.py")
    assert '"amount >= 0 AND amount <= 500"' in text
    assert 'unique=["amount", "status"]' in text
    assert "test same" not in report
    assert 'expect=["customer_id IS NOT NULL", "customer_id > 0"]' in text
    assert "\"amount < 200 or status = 'open'\"" in text
    assert report.count("featdsl has no counterpart of the test expression_is_true.") == 1
    for name, reason in (
        ("key", ""),
        ("all", ""),
        ("where", "a condition where="),
        ("few", "a threshold"),
        ("own", "a query of its own"),
    ):
        assert reason in report
        assert f"test {name}" in report


@pytest.mark.parametrize(
    ("edit", "options", "message"),
    [
        (
            lambda m: m["metadata"].update(dbt_schema_version="https://x/manifest/v9.json"),
            (),
            "no manifest of dbt 1.7 or newer",
        ),
        (lambda m: m["metadata"].update(adapter_type="snowflake"), (), "The models are in snowflake"),
        (lambda m: m["metadata"].update(adapter_type="postgres"), (), "--database env:WAREHOUSE_URL"),
        (dict, ("--select", "oders"), 'Did you mean "orders"?'),
        (dict, ("--key", "orders"), "is not MODEL=VALUE"),
        (dict, ("--window", "a while"), "is not a duration"),
    ],
)
def test_what_cannot_be_read_is_an_error(
    shop: Workspace, edit: Callable[[Manifest], None], options: tuple[str, ...], message: str
) -> None:
    """The import stops before it writes, and says what to do."""
    done = edited(shop, edit).run("import", "dbt", "shop", "--into", "feats", *options)
    assert done.returncode == 1
    assert message in done.stderr
    assert not (shop.root / "feats").exists()


def test_a_folder_without_a_manifest(tmp_path: Path) -> None:
    """The error names the command that writes the manifest; damage is no traceback."""
    workspace = Workspace(tmp_path).write({"shop/dbt_project.yml": "name: shop\n"})
    assert "dbt parse --project-dir shop" in workspace.run("import", "dbt", "shop").stderr
    workspace.write({"shop/target/manifest.json": "{"})
    assert "manifest.json is not JSON" in workspace.run("import", "dbt", "shop").stderr
    assert "No dbt project" in workspace.run("import", "dbt", "nowhere").stderr


def test_a_table_of_postgresql_needs_types(shop: Workspace) -> None:
    """Where the database cannot be asked, the types are those of catalog.json."""

    def edit(manifest: Manifest) -> None:
        manifest["metadata"]["adapter_type"] = "postgres"
        manifest["metrics"] = {}
        manifest["semantic_models"] = {}

    columns = [
        ("order_id", "bigint"),
        ("class", "boolean"),
        ("order Amount", "numeric(18,2)"),
        ("ordered_at", "timestamp without time zone"),
    ]
    catalog = {name: {"name": name, "type": dtype, "index": at} for at, (name, dtype) in enumerate(columns, start=1)}
    edited(shop, edit).write({
        "shop/target/catalog.json": json.dumps({"nodes": {"model.shop.order_flags": {"columns": catalog}}})
    })  # fmt: skip
    done = shop.run("import", "dbt", "shop", "--into", "feats", "--database", "env:WAREHOUSE_URL")
    assert done.returncode == 0, done.stderr
    text = module(shop, "shop/order_flags.py")
    assert 'table="main.order_flags", database="env:WAREHOUSE_URL", timestamp="ordered_at"' in text
    assert 'order_amount = Feature("DECIMAL(18,2)", sql=\'"order Amount"\')' in text
