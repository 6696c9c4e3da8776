"""The manifest of the project in `dbt_shop`, recorded without what the import does not read, and tables as dbt builds them.

Record it again after a change: `dbt compile --profiles-dir .` in `dbt_shop`, then `python -m tests.importers.recorded`.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import duckdb

SHOP = Path(__file__).with_name("dbt_shop")
RECORDED = SHOP / "recorded" / "manifest.json"
_KEPT = ("metadata", "nodes", "semantic_models", "metrics", "saved_queries")
_DROPPED = frozenset({
    "checksum", "fqn", "created_at", "unrendered_config", "build_path", "raw_code", "doc_blocks", "docs",
    "extra_ctes", "contract", "root_path", "invocation_id", "generated_at", "invocation_started_at", "run_started_at",
    "project_id", "user_id", "env", "quoting", "grants", "packages", "post-hook", "pre-hook", "persist_docs", "macros",
    "patch_path", "compiled_path", "refs", "sources", "functions",
})  # fmt: skip
_TABLES = """
    CREATE TABLE orders AS SELECT order_id, customer AS customer_id, amount::DECIMAL(18,2) AS amount, status,
        status = 'paid' AS is_paid, ordered_at::TIMESTAMP AS ordered_at FROM '{seeds}/raw_orders.csv';
    CREATE VIEW customers AS SELECT 1::BIGINT AS id, 'DE' AS country, 'anna@shop.example' AS email,
        TIMESTAMP '2025-12-01' AS "Updated At";
    CREATE TABLE daily_revenue AS SELECT ordered_at::DATE AS day, sum(amount) AS revenue FROM orders GROUP BY 1;
    CREATE TABLE order_flags AS SELECT order_id, amount > 50 AS "class", amount AS "order Amount", ordered_at FROM orders;
"""


def trimmed(value: Any) -> Any:
    """Return a manifest, or a part of it, without what the import does not read and without what is empty."""
    if isinstance(value, dict):
        kept = {name: trimmed(each) for name, each in value.items() if name not in _DROPPED}
        return {name: each for name, each in kept.items() if each not in (None, "", [], {})}
    return [trimmed(each) for each in value] if isinstance(value, list) else value


def project(folder: Path) -> Path:
    """Make the recorded project in a folder, as it is after `dbt build`, and return its folder."""
    shop = folder / "shop"
    (shop / "target").mkdir(parents=True)
    shutil.copy(RECORDED, shop / "target" / "manifest.json")
    with duckdb.connect(str(shop / "shop.duckdb")) as connection:
        connection.execute(_TABLES.format(seeds=SHOP / "seeds"))
    return shop


def main() -> None:
    """Record the manifest of the project."""
    manifest = json.loads((SHOP / "target" / "manifest.json").read_text(encoding="utf-8"))
    RECORDED.parent.mkdir(exist_ok=True)
    kept = trimmed({name: manifest[name] for name in _KEPT})
    RECORDED.write_text(json.dumps(kept, indent=1, sort_keys=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
