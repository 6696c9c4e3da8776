"""Estimates of builds: by the last build, by the inputs, and for a first build by the files of the source."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from featdsl import pipeline
from featdsl.definitions.catalog import Catalog
from featdsl.definitions.kinds import GroupDefinition
from featdsl.definitions.snapshot import Snapshot
from featdsl.definitions.sources import SourceDefinition
from featdsl.definitions.stored_tables import StoredTable
from featdsl.engines.duckdb.session import open_session
from featdsl.engines.source_sizes import SourceSize, measure
from featdsl.plan import planner
from featdsl.plan.document import Estimate
from featdsl.plan.estimates import last_build
from featdsl.plan.state_readers import AppliedState
from featdsl.project.settings import load
from tests.conftest import Workspace
from tests.plan.test_impact import snapshot_of
from tests.test_properties import NOWHERE, Described, desired

ACCOUNTS = "features/accounts/__init__.py"
SETTINGS = '[project]\nname = "shop"\n'
SHOP = """
from featdsl import Entity, Feature, FeatureGroup, Source

item = Entity("item", keys={{"id": int}})
sales = Source("sales", path="{path}", timestamp="at")


class Sales(FeatureGroup, entity=item, source=sales):
    price = Feature(float)
"""
ROWS = "SELECT i AS id, TIMESTAMP '2026-01-01' + INTERVAL 1 HOUR * i AS at, i / 2.0 AS price FROM range({}, {}) t(i)"


def builds(workspace: Workspace, *options: str) -> dict[str, Any]:
    """Return the estimate of each group that a plan builds."""
    done = workspace.run("plan", "--format", "json", *options)
    assert done.returncode in {0, 2}, done.stderr
    steps = json.loads(done.stdout)["steps"]
    return {step["group"]: step["estimate"] for step in steps if step["step"] == "build_table"}


def shop(folder: Path, path: str) -> Workspace:
    """Return a project with one group over the files of a path."""
    return Workspace(folder).write({"featproject.toml": SETTINGS, "features/shop/__init__.py": SHOP.format(path=path)})


def test_a_rebuild_takes_what_the_last_build_took(applied: Workspace, edit: Callable[[str, str, str], None]) -> None:
    """A group that is stored has the rows, the seconds and the bytes of its table."""
    edit(ACCOUNTS, '"annual_income"', '"annual_income + 1"')
    estimates = builds(applied)
    assert {group: each["rows"] for group, each in estimates.items()} == {"user_profile": 20, "affordability": 20}
    assert {each["basis"] for each in estimates.values()} == {"last build"}
    assert all(each["seconds"] > 0 and each["bytes"] > 0 for each in estimates.values())


def test_the_last_build_is_of_the_table_with_most_of_the_same_features() -> None:
    """Rows, seconds and bytes are those of the stored table; without one there is none."""
    described = Described(
        {f"g0.g0_f{n}": ("a", "", frozenset()) for n in range(3)}, {}, {"g0": None}, frozenset(), model=False
    )
    catalog = desired(described, NOWHERE)
    features = catalog.members_of("g0")
    stored = StoredTable(
        name=features[0].table, file="f", rows=7, columns=(), engine="", built_at="", seconds=3.5, bytes=40
    )
    snapshot = replace(snapshot_of(catalog), tables={stored.name: stored})
    assert last_build(snapshot, features) == Estimate(rows=7, seconds=3.5, bytes=40)
    assert last_build(snapshot_of(catalog), features) is None


def test_a_first_build_has_the_rows_of_its_source(tmp_path: Path) -> None:
    """The footers of Parquet files tell the rows, and their sizes the bytes; no engine has a measured speed yet."""
    workspace = shop(tmp_path, "sales/*.parquet")
    workspace.parquet("sales/a.parquet", ROWS.format(0, 700)).parquet("sales/b.parquet", ROWS.format(700, 1000))
    size = sum(file.stat().st_size for file in (tmp_path / "sales").iterdir())
    assert builds(workspace) == {
        "sales": {"rows": 1000, "seconds": 0.0, "bytes": 0, "basis": "source", "source_bytes": size}
    }
    assert "sales  about 1,000 rows from under 1 MB, based on its source" in workspace.run("plan").stdout
    assert (
        "about 1,000 rows from under 1 MB, based on its source" in workspace.run("plan", "--format", "markdown").stdout
    )


def measured(root: Path, path: str) -> Mapping[str, SourceSize]:
    """Return the size of a source of Parquet files, as a plan of the project measures it."""
    source = SourceDefinition(
        name="sales", project="shop", owner="shop", description="", format="parquet", timestamp="at", tie_break=None,
        location=(path,), fingerprint="1", origin=NOWHERE,
    )  # fmt: skip
    with closing(open_session(load(root))) as session:
        return measure(session.sources, [source], "")


def test_only_some_footers_of_many_files_are_read(tmp_path: Path) -> None:
    """The rows of the other files are expected by their sizes: here the last one could not be read."""
    workspace = shop(tmp_path, "sales/*.parquet")
    for number in range(99):
        workspace.parquet(f"sales/{number:03}.parquet", ROWS.format(number * 1000, number * 1000 + 1000))
    sizes = [file.stat().st_size for file in (tmp_path / "sales").iterdir()]
    (tmp_path / "sales" / "099.parquet").write_bytes(b"?" * (sum(sizes) // len(sizes)))
    found = measured(tmp_path, f"{tmp_path}/sales/*.parquet")["sales"]
    assert 98_000 < found.rows < 102_000
    assert found.bytes == pytest.approx(sum(sizes) * 100 / 99, abs=100)


def test_a_measured_engine_tells_the_time(tmp_path: Path) -> None:
    """With three stored tables, a first build has the seconds that their times predict."""
    workspace = shop(tmp_path, "sales/*.parquet").parquet("sales/a.parquet", ROWS.format(0, 1000))
    declared = SHOP.format(path="sales/*.parquet")
    more = "\n\nclass {name}(FeatureGroup, entity=item, source=sales):\n    price = Feature(float, sql='price + {n}')\n"
    declared += "".join(more.format(name=f"Sales{n}", n=n) for n in range(3))
    workspace.write({"features/shop/__init__.py": declared}).apply()
    workspace.write({"features/shop/__init__.py": declared + more.format(name="Later", n=9)})
    (estimate,) = builds(workspace).values()
    assert estimate["rows"] == 1000
    assert estimate["seconds"] > 0


def test_no_estimate_without_rows_that_files_tell(tmp_path: Path) -> None:
    """Text files do not tell their rows."""
    workspace = shop(tmp_path, "sales/*.csv").write({"sales/a.csv": "id,at,price\n1,2026-01-01 00:00:00,2.5\n"})
    assert builds(workspace) == {"sales": None}


def test_a_plan_against_an_export_has_the_same_estimates(tmp_path: Path) -> None:
    """It reads the files that are there."""
    workspace = shop(tmp_path, "sales/*.parquet").parquet("sales/a.parquet", ROWS.format(0, 10))
    assert workspace.run("export", "registry.json").returncode == 0
    estimates = builds(workspace)
    assert builds(workspace, "--against", "registry.json") == estimates
    assert estimates["sales"]["rows"] == 10


@pytest.mark.parametrize(
    "path", ["s3://nowhere/sales/*.parquet", "https://nowhere.invalid/a.parquet", "none/*.parquet"]
)
def test_files_out_of_reach_have_no_size(path: str, tmp_path: Path) -> None:
    """An estimate is no reason for a plan to fail: here there is no extension, no list of files, and no file."""
    assert measured(shop(tmp_path, path).root, path) == {}


def test_only_what_is_read_here_reaches_urls(tmp_path: Path) -> None:
    """DuckDB lists no bucket for a group that Spark computes, nor one that an export describes; files of this machine it does."""
    group = GroupDefinition(
        name="sales", project="shop", owner="shop", description="", tags=(), entity=None, source="far", keys=(),
        ttl=None, engine="spark", members=(), origin=NOWHERE,
    )  # fmt: skip
    far = SourceDefinition(
        name="far", project="shop", owner="shop", description="", format="parquet", timestamp="at", tie_break=None,
        location=("s3://bucket/*.parquet",), fingerprint="1", origin=NOWHERE,
    )  # fmt: skip
    near = replace(far, name="near", location=("/data/*.parquet",))

    def wanted(*definitions: Any, exported: Mapping[str, SourceDefinition] | None = None) -> list[str]:
        applied = AppliedState(planner.State(Snapshot()), exported=exported)
        return [each.name for each in pipeline._new_sources(Catalog.of(definitions), applied)]

    assert wanted(far, near, group) == []
    assert wanted(far, near, replace(group, source="near")) == ["near"]
    assert wanted(far, near, replace(group, engine="duckdb")) == ["far"]
    assert wanted(far, near, replace(group, engine="duckdb"), exported={"far": far}) == []
    assert wanted(far, near, group, replace(group, name="also", engine="duckdb")) == ["far"]
