"""Trying features of the code: the values are those of a training set after an apply, and nothing is written."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings

from featdsl import (
    DataError,
    DeclarationError,
    Entity,
    Feature,
    FeatureGroup,
    FeatureNotFoundError,
    FeatureSet,
    FeatureStore,
    RequestError,
    Source,
    python_feature,
)
from featdsl.stores import open_store
from tests import shown_html
from tests.budgets import examples
from tests.conftest import Workspace
from tests.declared import applied as apply_declared
from tests.trying import worlds
from tests.trying.worlds import World
from tests.waiting import PATIENCE

SPINE = pd.DataFrame({"user_id": [3, 1, 9], "at": pd.to_datetime(["2026-01-18", "2026-01-05", "2026-01-18"])})


def tried(
    workspace: Workspace, features: Any, spine: Any = SPINE, timestamp: str | None = "at"
) -> list[dict[str, Any]]:
    """Return the rows of tried features."""
    return workspace.store.try_features(features, spine, timestamp=timestamp).rows()


def csv_file(frame: pd.DataFrame, folder: Path) -> Path:
    """Write a frame as a CSV file."""
    path = folder / "spine.csv"
    frame.to_csv(path, index=False)
    return path


def files(folder: Path) -> set[tuple[str, int]]:
    """Return each file below a folder with its time of change, without bytecode."""
    paths = [path for path in folder.rglob("*") if "__pycache__" not in path.parts]
    return {(str(path), path.stat().st_mtime_ns) for path in paths if path.is_file()}


@settings(max_examples=examples(4, 50))
@given(worlds.worlds())
def test_tried_values_are_those_of_plain_python(world: World) -> None:
    """Windows, ttl, late rows, ties, derived, request-time data and keys by features, for random rows."""
    with project_of(world) as folder:
        rows = FeatureStore(folder).try_features(worlds.groups(world), worlds.spine(world), timestamp="asked").rows()
        assert [{name: row[name] for name in worlds.FEATURES} for row in rows] == worlds.expected(world)


@pytest.mark.slow
@settings(max_examples=examples(3, 30))
@given(worlds.worlds())
def test_tried_values_are_those_of_a_training_set_after_the_apply(world: World) -> None:
    """After it, the applied values are the same, and nothing differs."""
    with project_of(world) as folder:
        groups, spine = worlds.groups(world), worlds.spine(world)
        before = FeatureStore(folder).try_features(groups, spine, timestamp="asked")
        store = apply_declared(folder, worlds.declare(world))
        after = store.try_features(groups, spine, timestamp="asked")

        assert before.rows() == store.training_set(groups, spine, timestamp="asked").arrow().to_pylist()
        assert before.differing == {}
        assert after.differing == dict.fromkeys(worlds.FEATURES, 0)
        assert [{name: row[f"{name}_applied"] for name in worlds.FEATURES} for row in after.rows()] == worlds.expected(
            world
        )


@contextmanager
def project_of(world: World) -> Iterator[Path]:
    """Yield the folder of a project with the rows of a world."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "featproject.toml").write_text('[project]\nname = "declared"\n', encoding="utf-8")
        worlds.write(world, folder)
        yield folder


def test_a_feature_is_tried_before_the_first_apply(bank: Workspace) -> None:
    """There is no store then, and none afterwards."""
    before = files(bank.root)

    rows = tried(bank, ["income", "affordability.monthly"])

    # User 3 had 15,000 from day 15 on, user 1 had 1,000 from day 1; nobody is user 9.
    assert [(row["income"], row["monthly"]) for row in rows] == [(15000.0, 1250.0), (1000.0, 1000 / 12), (None, None)]
    assert not (bank.root / ".featdsl").exists()
    assert files(bank.root) == before


def test_applied_values_stand_beside_those_of_the_edited_code(
    applied: Workspace, edit: Callable[[str, str, str], None]
) -> None:
    """A new feature has none; the rows that differ are named."""
    edit("features/accounts/__init__.py", 'sql="annual_income"', 'sql="annual_income + if(user_id = 3, 1, 0)"')
    edit(
        "features/accounts/__init__.py",
        "    income =",
        "    wealth = Feature(float, sql='annual_income * 2')\n    income =",
    )

    result = applied.store.try_features(["income", "wealth", "age"], SPINE, timestamp="at")

    assert list(result.df().columns) == ["user_id", "at", "income", "income_applied", "wealth", "age", "age_applied"]
    assert [(row["income"], row["income_applied"]) for row in result.rows()] == [
        (15001.0, 15000.0), (1000.0, 1000.0), (None, None),
    ]  # fmt: skip
    assert result.differing == {"income": 1, "age": 0}
    assert result.differences.df()["user_id"].tolist() == [3]
    assert repr(result) == "<TriedFeatures income differs in 1 row; wealth is not applied; age differs in 0 rows>"


def test_a_notebook_shows_the_values_and_what_differs(
    applied: Workspace, edit: Callable[[str, str, str], None]
) -> None:
    """As a table, with everything escaped."""
    edit("features/accounts/__init__.py", 'sql="annual_income"', 'sql="annual_income + 1"')
    spine = SPINE.assign(note="<script>alert(1)</script>")
    page = shown_html.read(applied.store.try_features(["income", "age"], spine, timestamp="at")._repr_html_())
    assert page.rows[1:3] == [["income", "DOUBLE", "differs in 2 rows"], ["age", "BIGINT", "the same"]]
    assert page.rows[4] == ["3", "2026-01-18 00:00:00", "<script>alert(1)</script>", "15001.0", "15000.0", "33", "33"]
    assert "script" not in page.tags


def test_a_set_is_tried_with_the_present_code_beside_its_pins(
    applied: Workspace, edit: Callable[[str, str, str], None]
) -> None:
    """The set keeps the old definition until its next version."""
    edit("features/accounts/__init__.py", 'sql="annual_income"', 'sql="annual_income * 2"')
    applied.apply()

    result = applied.store.try_features("credit_risk@1", SPINE, timestamp="at")

    assert next((row["income"], row["income_applied"]) for row in result.rows()) == (30000.0, 15000.0)
    assert result.differing == {"age": 0, "income": 2}


def test_names_of_groups_and_sets_and_objects_name_the_same(bank: Workspace) -> None:
    """A set without a version is the newest one."""
    by_set = tried(bank, "credit_risk")
    assert by_set == tried(bank, "credit_risk@2")
    assert tried(bank, "user_profile") == tried(bank, ["user_profile.age", "income"])
    assert list(by_set[0]) == ["user_id", "at", "age", "income", "monthly"]


@pytest.mark.parametrize(
    "make",
    [
        lambda frame, _: pl.from_pandas(frame),
        lambda frame, _: pa.Table.from_pandas(frame),
        lambda frame, _: frame.to_dict("records"),
        csv_file,
        lambda *_: "SELECT 3 AS user_id, TIMESTAMP '2026-01-18' AS at UNION ALL SELECT 1, TIMESTAMP '2026-01-05' UNION ALL SELECT 9, TIMESTAMP '2026-01-18'",
    ],
    ids=["polars", "arrow", "dicts", "path", "sql"],
)  # fmt: skip
def test_the_spine_is_what_a_training_set_takes(bank: Workspace, make: Callable[[pd.DataFrame, Path], Any]) -> None:
    """Frames, rows, a path and SQL."""
    rows = tried(bank, "income", make(SPINE, bank.root))
    assert sorted((row["user_id"], row["income"]) for row in rows) == [(1, 1000.0), (3, 15000.0), (9, None)]


def test_the_spine_may_read_published_views(applied: Workspace) -> None:
    """SQL names them as for a training set."""
    spine = "SELECT DISTINCT user_id, TIMESTAMP '2026-01-18' AS at FROM prod.user_profile ORDER BY user_id"
    assert [row["income"] for row in tried(applied, "income", spine)] == [16000.0, 17000.0, 14000.0, 15000.0]


def test_a_spine_without_rows_gives_none(bank: Workspace) -> None:
    """As of a training set."""
    assert tried(bank, "income", []) == []


# Declarations of a cell


def test_declarations_of_a_cell_work_together_with_those_of_the_project(bank: Workspace) -> None:
    """The cell derives from a feature of a module, and has rows of its own in a frame and a query over it."""
    cell = """
import pandas as pd
from featdsl import Entity, Feature, FeatureGroup, Source, python_feature
user = Entity("user", keys={"user_id": int})
seen = Source("seen", frame=pd.DataFrame({"user_id": [3, 3], "at": pd.to_datetime(["2026-01-01", "2026-01-02"]), "score": [1, 5]}),
              timestamp="at")
doubled = Source("doubled", sql="SELECT * REPLACE (score * 2 AS score) FROM {{ seen }}", timestamp="at")

class Seen(FeatureGroup, entity=user, source=doubled):
    score = Feature(int)

class Mixed(FeatureGroup, entity=user, inputs=[Seen.score, "user_profile.income"]):
    mixed = Feature(float, sql="income + score")
"""
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(cell, "<cell>", "exec"), names)  # noqa: S102 - our own text

    assert [row["mixed"] for row in tried(bank, names["Mixed"])] == [15010.0, None, None]
    assert [row["mixed"] for row in tried(bank, "mixed.mixed")] == [15010.0, None, None]


def test_a_class_of_a_cell_counts_before_the_one_of_the_module(applied: Workspace) -> None:
    """A change is tried without an edit of a file; what is derived from it follows."""
    user = Entity("user", keys={"user_id": int})
    accounts = Source("accounts", path="data/accounts.parquet", timestamp="updated_at")

    class UserProfile(FeatureGroup, entity=user, source=accounts):
        income = Feature(float, sql="annual_income * 10")

    class Affordability(FeatureGroup, entity=user, inputs=[UserProfile.income]):
        monthly = Feature(float, sql="income / 12")

    result = applied.store.try_features([UserProfile, Affordability], SPINE, timestamp="at")
    first = result.rows()[0]
    assert (first["income"], first["income_applied"], first["monthly"]) == (150000.0, 15000.0, 12500.0)


def test_a_cell_may_try_what_it_derives_from_a_private_group(
    bank: Workspace, edit: Callable[[str, str, str], None]
) -> None:
    """It belongs to no team; a module of another team is refused, as by a plan."""
    user = Entity("user", keys={"user_id": int})
    edit("features/accounts/__init__.py", "source=accounts)", 'source=accounts, access="private")')

    class Derived(FeatureGroup, entity=user, inputs=["user_profile.income"]):
        doubled = Feature(float, sql="income * 2")

    assert [row["doubled"] for row in tried(bank, Derived)] == [30000.0, 2000.0, None]
    with pytest.raises(DeclarationError, match="private to accounts"):
        tried(bank, "affordability")


def test_a_name_in_a_text_means_what_the_project_declares(bank: Workspace) -> None:
    """Not a class of an earlier cell, unless the call names it too."""
    user = Entity("user", keys={"user_id": int})
    accounts = Source("accounts", path="data/accounts.parquet", timestamp="updated_at")

    class UserProfile(FeatureGroup, entity=user, source=accounts):
        income = Feature(float, sql="annual_income * 10")

    class Doubled(FeatureGroup, entity=user, inputs=["user_profile.income"]):
        doubled = Feature(float, sql="income * 2")

    assert [row["doubled"] for row in tried(bank, Doubled)] == [30000.0, 2000.0, None]
    assert [row["doubled"] for row in tried(bank, [UserProfile, Doubled])] == [300000.0, 20000.0, None]


def test_a_python_feature_of_the_caller_is_tried(bank: Workspace) -> None:
    """Its function runs over the real rows of the source."""
    user = Entity("user", keys={"user_id": int})
    accounts = Source("accounts", path="data/accounts.parquet", timestamp="updated_at")

    class Profile(FeatureGroup, entity=user, source=accounts):
        @python_feature(float)
        def half(annual_income: pa.Array) -> pa.Array:  # noqa: N805 - a function of a column
            """Half of the income."""
            return pa.array([each.as_py() / 2 for each in annual_income])

    assert [row["half"] for row in tried(bank, Profile)] == [7500.0, 500.0, None]


# While others work, and after they did


def test_it_works_while_an_apply_holds_the_lock(applied: Workspace) -> None:
    """And does not wait for it."""
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        from featdsl.project import settings

        with open_store(settings.load(applied.root)).writing(print):
            held.set()
            done.wait(PATIENCE)

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        assert held.wait(PATIENCE)
        assert [row["income"] for row in tried(applied, "income")] == [15000.0, 1000.0, None]
    finally:
        done.set()
        thread.join()


def test_an_applied_store_is_only_read(applied: Workspace) -> None:
    """No file appears or changes."""
    before = files(applied.root)
    tried(applied, ["income", "monthly"])
    assert files(applied.root) == before


def test_a_store_that_may_not_be_written_serves(applied: Workspace) -> None:
    """A data scientist without write permission can try."""
    store = applied.root / ".featdsl"
    mode = store.stat().st_mode
    store.chmod(0o500)
    try:
        assert [row["income"] for row in tried(applied, "income")] == [15000.0, 1000.0, None]
    finally:
        store.chmod(mode)


def test_new_rows_of_the_source_count_before_a_refresh(applied: Workspace) -> None:
    """The tried value is of the source as it is, the applied one of the table."""
    rows = "SELECT 3::BIGINT AS user_id, TIMESTAMP '2026-01-17' AS updated_at, DATE '1990-01-01' AS birth_date, 5.0 AS annual_income"
    applied.parquet("data/accounts.parquet", rows)
    result = applied.store.try_features("income", SPINE, timestamp="at")
    assert [(row["income"], row["income_applied"]) for row in result.rows()] == [
        (5.0, 15000.0), (None, 1000.0), (None, None),
    ]  # fmt: skip


# Mistakes


def test_an_unknown_name_has_a_suggestion(bank: Workspace) -> None:
    """Of what is declared, applied or not."""
    with pytest.raises(FeatureNotFoundError, match='Did you mean "user_profile.income"'):
        tried(bank, "user_profile.incom")
    with pytest.raises(FeatureNotFoundError, match="No set version"):
        tried(bank, "credit_risk@7")
    with pytest.raises(RequestError, match="names no feature"):
        tried(bank, [3])
    with pytest.raises(RequestError, match="list of features is empty"):
        tried(bank, [])


def test_a_mistake_elsewhere_does_not_stop_a_trial(bank: Workspace) -> None:
    """Only mistakes in what the requested features need do."""
    bank.write({"features/other.py": "from featdsl import Entity\nEntity('Not a name', keys={})\n"})
    assert len(tried(bank, "income")) == 3
    bank.write({"features/accounts/more.py": "raise ValueError('broken')\n"})
    assert len(tried(bank, "income")) == 3
    with pytest.raises(FeatureNotFoundError, match="broken"):
        tried(bank, "nothing_like_it")


def test_a_mistake_in_the_requested_feature_has_its_line(
    bank: Workspace, edit: Callable[[str, str, str], None]
) -> None:
    """As in a plan."""
    edit("features/accounts/__init__.py", 'sql="annual_income"', 'sql="anual_income"')
    with pytest.raises(DeclarationError, match=r"features/accounts/__init__.py:13") as raised:
        tried(bank, "income")
    assert 'Did you mean "annual_income"' in str(raised.value)
    assert [row["age"] for row in tried(bank, "age")] == [33, 35, None]


def test_rows_that_apply_would_refuse_are_refused(bank: Workspace) -> None:
    """Two rows of one user and time, with different values."""
    rows = "SELECT 3::BIGINT AS user_id, TIMESTAMP '2026-01-17' AS updated_at, DATE '1990-01-01' AS birth_date, x::DOUBLE AS annual_income FROM range(2) t(x)"
    bank.parquet("data/accounts.parquet", rows)
    with pytest.raises(DataError, match="one row for each user_id and event_timestamp"):
        tried(bank, "income")


def test_a_source_that_is_gone_is_named(bank: Workspace) -> None:
    """With the path."""
    (bank.root / "data" / "accounts.parquet").unlink()
    with pytest.raises(DeclarationError, match=r"no file matches data/accounts.parquet"):
        tried(bank, "income")


def test_a_column_of_the_spine_with_the_name_of_an_applied_value_is_refused(applied: Workspace) -> None:
    """Another name for the feature helps."""
    with pytest.raises(RequestError, match="'income_applied'"):
        tried(applied, "income", SPINE.assign(income_applied=1))


def test_a_feature_that_the_set_keeps_but_nobody_declares_is_refused(
    applied: Workspace, edit: Callable[[str, str, str], None]
) -> None:
    """There is nothing to try."""
    path = applied.root / "features/accounts/__init__.py"
    path.write_text(path.read_text(encoding="utf-8").partition("    income")[0], encoding="utf-8")
    lending = "from featdsl import FeatureSet\nfrom features.accounts import UserProfile\n"
    lending += (
        'credit_risk_v1 = FeatureSet("credit_risk", version=1, features=[UserProfile.age, "user_profile.income"])\n'
    )
    applied.write({"features/lending/__init__.py": lending})
    with pytest.raises(RequestError, match=r"user_profile.income is applied, but the code no longer declares it"):
        tried(applied, "credit_risk@1")


def test_a_plain_feature_without_a_group_is_refused(bank: Workspace) -> None:
    """It has neither an entity nor a source."""
    with pytest.raises(DeclarationError, match="used before it belongs to a group"):
        tried(bank, Feature(int, name="alone"))


def test_a_set_of_the_caller_is_tried(bank: Workspace) -> None:
    """A set need not be declared in the project."""
    mine = FeatureSet("mine", version=1, features=["user_profile.income"])
    assert [row["income"] for row in tried(bank, mine)] == [15000.0, 1000.0, None]


def test_only_the_entities_of_the_spine_are_computed(bank: Workspace, edit: Callable[[str, str, str], None]) -> None:
    """A value of another entity that cannot be computed does not matter."""
    edit(
        "features/accounts/__init__.py",
        'sql="annual_income"',
        "sql=\"if(user_id = 2, error('other')::DOUBLE, annual_income)\"",
    )
    assert [row["income"] for row in tried(bank, "income")] == [15000.0, 1000.0, None]
    with pytest.raises(DataError, match="other"):
        tried(bank, "income", SPINE.assign(user_id=2))


def test_pushed_events_are_tried(workspace: Workspace) -> None:
    """Also those that no refresh has read."""
    text = """
from datetime import datetime
from featdsl import Entity, Feature, FeatureGroup, Source
user = Entity("user", keys={"user_id": int})
clicks = Source.push("clicks", schema={"user_id": int, "n": int, "at": datetime}, timestamp="at")
class Clicks(FeatureGroup, entity=user, source=clicks):
    n = Feature(int)
"""
    workspace.write({"featproject.toml": '[project]\nname = "shop"\n', "features/__init__.py": text})
    spine = {"user_id": [1], "at": pd.to_datetime(["2026-01-05"])}
    assert [row["n"] for row in tried(workspace, "clicks", pd.DataFrame(spine))] == [None]
    workspace.apply()
    workspace.store.push("clicks", [{"user_id": 1, "n": 7, "at": "2026-01-02"}])
    result = workspace.store.try_features("clicks", pd.DataFrame(spine), timestamp="at")
    assert [(row["n"], row["n_applied"]) for row in result.rows()] == [(7, None)]
