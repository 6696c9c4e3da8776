"""An imported Feast repository has the values that Feast's `get_historical_features` returns."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import featdsl
from featdsl import FeatureStore
from featdsl.errors import Origin
from featdsl.importers import feast, feast_process
from featdsl.importers.declarations import ImportedReference
from featdsl.importers.feast_process import FeastImportError
from tests.peers import feast_rows, feast_runs
from tests.peers.feast_rows import MICROSECOND
from tests.test_readme import blocks, run_console

feast_runs.needed()
pytestmark = pytest.mark.slow

Rows = Mapping[int, Mapping[str, Any]]
"""A training set by the numbers of its rows."""
SHOP = Path(__file__).with_name("feast_shop")


def read(project: Path, features: Any, spine: pa.Table) -> dict[int, dict[str, Any]]:
    """Return featdsl's training set, by the numbers of its rows."""
    return feast_runs.by_row(FeatureStore(project).training_set(features, spine, timestamp="event_timestamp").arrow())


def differing(ours: Rows, theirs: Rows, names: Mapping[str, str]) -> list[tuple[int, str, Any, Any]]:
    """Return the values that differ in the rows of Feast. `names` has featdsl's columns with Feast's."""
    return [
        (row, name, ours[row][name], values[known])
        for row, values in sorted(theirs.items())
        for name, known in names.items()
        if ours[row][name] != values[known]
    ]


def lost(ours: Rows, theirs: Rows, names: Mapping[str, str]) -> list[int]:
    """Return the rows that Feast leaves out although they have a value: Dask leaves out rows whose values have expired."""
    return [
        row for row, values in ours.items() if row not in theirs and any(values[name] is not None for name in names)
    ]


def found(ours: Rows, name: str) -> int:
    """Return how many rows have a value: a comparison of nothing but NULLs would show nothing."""
    return sum(values[name] is not None for values in ours.values())


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The repository that `feast init` makes, and the project that was imported from it."""
    folder = tmp_path_factory.mktemp("local")
    feast_runs.feast("init", "-t", "local", "shop", folder=folder)
    feast_runs.imported(folder / "shop", folder / "project")
    return folder / "shop" / "feature_repo", folder / "project"


def template_spine(repository: Path) -> pa.Table:
    """Return rows around the events of the template: before them, at them, between them, and after their ttl."""
    events = pq.read_table(repository / "data" / "driver_stats.parquet", columns=["event_timestamp"])
    times = sorted({each.to_pydatetime() for each in events.column("event_timestamp").to_pandas()})
    first, last = times[0], times[-1]
    day = timedelta(days=1)
    wanted = [
        first - MICROSECOND, first, first + timedelta(minutes=30), times[len(times) // 2], last, last + day - MICROSECOND,
        last + day + MICROSECOND, last + 30 * day,
    ]  # fmt: skip
    rows = [(driver, at) for driver in (1001, 1002, 1003, 1004, 1005, 7) for at in wanted]
    return pa.table(
        {
            "row": list(range(len(rows))),
            "driver_id": [driver for driver, _ in rows],
            "event_timestamp": pa.array([at for _, at in rows], pa.timestamp("us", tz="UTC")),
            "val_to_add": list(range(len(rows))),
            "val_to_add_2": [number * 10**9 + 7 for number in range(len(rows))],
        }
    )


def test_the_local_template_has_equal_values(local: tuple[Path, Path], tmp_path: Path) -> None:
    """Features of both views, and those of both on-demand views, which add request data."""
    repository, project = local
    names = {
        "driver_hourly_stats": [
            "conv_rate", "acc_rate", "avg_daily_trips", "driver_metadata", "driver_config", "driver_profile",
        ],
        "driver_hourly_stats_fresh": ["conv_rate", "avg_daily_trips"],
        "transformed_conv_rate": ["conv_rate_plus_val1", "conv_rate_plus_val2"],
        "transformed_conv_rate_fresh": ["conv_rate_plus_val1", "conv_rate_plus_val2"],
    }  # fmt: skip
    requests = {view: [f"{view}:{name}" for name in listed] for view, listed in names.items()}
    # Feast computes an on-demand feature from the features that the same call asks for.
    requests["transformed_conv_rate"].append("driver_hourly_stats:conv_rate")
    requests["transformed_conv_rate_fresh"].append("driver_hourly_stats_fresh:conv_rate")
    spine = template_spine(repository)

    theirs = feast_runs.answers(repository, spine, requests, tmp_path / "answers")

    for view, listed in names.items():
        ours = read(project, [f"{view}.{name}" for name in listed], spine)
        same = {name: name for name in listed}
        assert differing(ours, theirs[view], same) == []
        assert view.startswith("transformed") or lost(ours, theirs[view], same) == []
        assert all(found(ours, name) >= 20 for name in listed)


VIEWS = {
    "profile": {
        "age": "age", "score": "score", "limit": "limit", "segment": "segment", "active": "active", "joined": "Joined",
        "history": "history",
    },
    "spending": {"last_amount": "last_amount", "currency": "currency", "number": "number"},
    "exchange": {"usd": "usd"},
    "affordability": {name: name for name in ("share", "risk", "tenth", "half_score", "is_large", "shown")},
    "basket_facts": {"per_item": "per_item"},
}  # fmt: skip
"""The features of each group, with Feast's names."""
SERVICES = {
    "risk_v2": ("risk@2", ["age", "score", "last_amount", "currency", "number", "usd"]),
    "transfer_full": ("transfer_full@1", ["sender__age", "sender__segment", "receiver__age", "receiver__segment"]),
    "named": ("named@1", ["score", "usd"]),
}
"""The services, with the sets that they become and their columns."""


@dataclass(frozen=True)
class Shop:
    """A repository, the project imported from it, and Feast's training sets by view and service."""

    offline_store: str
    repository: Path
    project: Path
    theirs: dict[str, dict[int, dict[str, Any]]]


@pytest.fixture(scope="module", params=["duckdb", "dask"])
def shop(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """A larger repository with its data, on each of Feast's offline stores over files, and the project imported from it."""
    if request.param == "duckdb" and not feast_runs.has("ibis"):
        pytest.skip("needs feast[duckdb]")
    folder = tmp_path_factory.mktemp(request.param)
    repository = folder / "shop"
    shutil.copytree(SHOP, repository)
    settings = repository / "feature_store.yaml"
    settings.write_text(settings.read_text(encoding="utf-8").replace("duckdb", request.param), encoding="utf-8")
    # Of rows with one time, Feast's Dask takes any: it sorts by two columns in turn, and not stably.
    feast_rows.write(repository, ties=request.param == "duckdb")
    feast_runs.imported(repository, folder / "project")
    requests: dict[str, Any] = {view: [f"{view}:{known}" for known in names.values()] for view, names in VIEWS.items()}
    # Feast computes an on-demand feature from the features that the same call asks for, and Dask needs a view with rows.
    requests["affordability"] += [f"profile:{name}" for name in ("age", "score", "limit", "segment")]
    requests["basket_facts"].append("exchange:usd")
    requests |= {name: name for name in SERVICES} if request.param == "duckdb" else {}
    theirs = feast_runs.answers(repository, feast_rows.spine(), requests, folder / "answers")
    return Shop(request.param, repository, folder / "project", theirs)


def test_the_views_of_a_shop_have_equal_values(shop: Shop) -> None:
    """Composite keys, ties, field mappings, ttls, no entity, request data, and plain expressions in both modes."""
    spine = feast_rows.spine()

    for view, names in VIEWS.items():
        ours = read(shop.project, [f"{view}.{name}" for name in names], spine)
        assert differing(ours, shop.theirs[view], names) == []
        assert view not in feast_rows.SOURCE_VIEWS or lost(ours, shop.theirs[view], names) == []
        assert all(found(ours, name) >= 25 for name in names)
        assert all(found(ours, name) < spine.num_rows for name in names if view in feast_rows.TTL)


def test_the_services_of_a_shop_have_equal_values(shop: Shop) -> None:
    """A service is a set version: of parts of views, of views by their names, and of one view in two roles."""
    if shop.offline_store == "dask":
        pytest.skip("over several views, Feast's Dask leaves out every row that one of them has no value for")

    for service, (address, names) in SERVICES.items():
        ours = read(shop.project, address, feast_rows.spine())
        assert differing(ours, shop.theirs[service], {name: name for name in names}) == []
        assert shop.theirs[service].keys() == ours.keys()
        assert all(found(ours, name) >= 25 for name in names)


def test_only_at_the_end_of_a_ttl_values_differ(shop: Shop, tmp_path: Path) -> None:
    """A row exactly as old as its ttl counts in Feast, and not in featdsl: the import says so."""
    last = max(feast_rows.payments().to_pylist(), key=lambda row: (row["paid_at"], row["loaded_at"]))
    end = last["paid_at"] + feast_rows.TTL["spending"]
    times = [end - MICROSECOND, end, end + MICROSECOND]
    spine = pa.table(
        {
            "row": [0, 1, 2],
            "event_timestamp": pa.array(times, pa.timestamp("us", tz="UTC")),
            "customer_id": [last["cust"]] * 3,
            "merchant": [last["merchant"]] * 3,
        }
    )

    theirs = feast_runs.answers(shop.repository, spine, {"spending": ["spending:number"]}, tmp_path / "answers")[
        "spending"
    ]
    ours = read(shop.project, ["spending.number"], spine)

    assert [theirs.get(row, {}).get("number") is not None for row in range(3)] == [True, True, False]
    assert [ours[row]["number"] is not None for row in range(3)] == [True, False, False]


def test_the_page_for_users_of_feast_shows_what_happens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its commands print what it shows."""
    monkeypatch.setenv("PYTHONPATH", str(Path(featdsl.__file__).parents[1]))
    monkeypatch.setenv("PATH", os.pathsep.join([os.environ["PATH"], str(Path(feast_runs.PYTHON).parent)]))
    feast_runs.feast("init", "-t", "local", "shop", folder=tmp_path)

    run_console(blocks("docs/coming_from_feast.md")[0].text, tmp_path)


def test_an_error_in_a_repository_is_shown_with_its_line(tmp_path: Path) -> None:
    """As Python says it, without a traceback."""
    repository = tmp_path / "shop"
    shutil.copytree(SHOP, repository)
    (repository / "things.py").write_text(
        "from feast import Entity\n\ncustomer = Entity(nam='customer')\n", encoding="utf-8"
    )

    with pytest.raises(FeastImportError) as error:
        feast_process.read(repository, Path(feast_runs.PYTHON))

    (problem,) = error.value.problems
    assert problem.summary == "Feast repository not importable"
    assert problem.where == Origin(str(repository / "things.py"), 3)
    assert problem.what.startswith("TypeError: ")
    assert "nam" in problem.what


def test_objects_of_every_kind_are_read(tmp_path: Path) -> None:
    """Also where a store is not installed, and where the repository prints: what is left out has its line."""
    repository = tmp_path / "odd"
    shutil.copytree(SHOP.with_name("feast_odd"), repository)
    feast_rows.write(repository, ties=True)

    found = feast.imported(repository, tmp_path / "project", Path(feast_runs.PYTHON))

    assert {each.name: [feature.name for feature in each.features] for each in found.groups} == {
        "plain": ["age"],
        "everything": ["age", "score", "limit", "segment", "active", "joined", "history"],
        "older": ["older"],
        "asked": ["zz"],
    }
    assert [each.sql for group in found.groups[2:] for each in group.features] == ["age + 1", "z * 2"]
    assert found.sets[0].features == (
        ImportedReference(address="plain.*"),
        ImportedReference(address="everything.segment"),
        ImportedReference(address="older.*"),
        ImportedReference(address="asked.*"),
    )
    assert {each.name: each.reason.partition(":")[0] for each in found.left_out} == {
        "short": "its ttl is 1.5 seconds, and featdsl's is in whole seconds",
        "derived": "Feast computes it by other views",
        "batch": "Feast computes it by a function",
        "streamed": "Feast computes it by a function and aggregations",
        "reader": "featdsl takes permissions from [teams], CODEOWNERS and the tokens of its server",
        "all:batch": "the service lists it, and it is not carried over",
    }
    lines = (repository / "defs.py").read_text(encoding="utf-8").splitlines()
    for each in found.left_out:
        file, _, line = each.where.partition(":")
        assert file == "defs.py"
        assert "(" in lines[int(line) - 1]
