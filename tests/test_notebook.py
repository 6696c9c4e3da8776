"""The calls of a classic feature store: they go through the same plan and apply as declared features."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from featdsl import DataError, FeatdslError, FeatureNotFoundError, FeatureStore, RequestError
from tests.conftest import Workspace
from tests.waiting import PATIENCE

pytestmark = pytest.mark.slow


@pytest.fixture
def notebook(workspace: Workspace) -> Workspace:
    """A project without any declaration, as someone with a notebook has it."""
    return workspace.write({"featproject.toml": '[project]\nname = "notebook"\n', "features/__init__.py": ""})


@pytest.fixture
def store(notebook: Workspace) -> FeatureStore:
    """The store of that project."""
    return notebook.store


def ages(**rows: int) -> pd.DataFrame:
    """Return a frame of users and ages: `ages(u1=30)`."""
    return pd.DataFrame({"user_id": [int(name[1:]) for name in rows], "age": list(rows.values())})


def test_register_and_read(store: FeatureStore) -> None:
    """The four calls that every feature store has."""
    store.register_feature(name="age", data_type="int", entity={"user_id": int}, data=ages(u1=30, u2=40))
    incomes = pd.DataFrame({"user_id": [1, 2], "income": [50000, 60000]})
    store.register_feature(name="income", data_type="int", entity={"user_id": int}, data=incomes)
    assert store.get_features(["age", "income"], user_id=1) == {"age": 30, "income": 50000}
    pd.testing.assert_frame_equal(
        store.get_feature("age").df(), pd.DataFrame({"user_id": [1, 2], "age": [30, 40]}), check_dtype=False
    )


def test_update_replaces_rows_of_the_same_key_and_keeps_others(store: FeatureStore) -> None:
    """New rows win, old users stay."""
    store.register_feature(name="age", data_type="int", entity={"user_id": int}, data=ages(u1=30, u2=40))
    store.update_feature("age", ages(u1=31, u3=50))
    found = store.get_features(["age"], rows=[{"user_id": 1}, {"user_id": 2}, {"user_id": 3}])
    assert found == [{"age": 31}, {"age": 40}, {"age": 50}]


def test_update_adds_history_where_rows_have_times(store: FeatureStore) -> None:
    """A later value does not overwrite what was known before."""

    def rows(day: str, score: float) -> pd.DataFrame:
        return pd.DataFrame({"user_id": [1], "at": pd.to_datetime([day]), "score": [score]})

    store.register_feature("score", "float", entity={"user_id": int}, data=rows("2026-01-01", 0.5), timestamp="at")
    store.update_feature("score", rows("2026-02-01", 0.7))
    spine = pd.DataFrame({"user_id": [1, 1], "ts": pd.to_datetime(["2026-01-15", "2026-02-15"])})
    assert store.training_set(["score"], spine, timestamp="ts").df()["score"].to_list() == [0.5, 0.7]
    store.update_feature("score", rows("2026-01-01", 0.4))
    assert store.training_set(["score"], spine, timestamp="ts").df()["score"].to_list() == [0.4, 0.7]


@pytest.mark.parametrize(
    "make",
    [
        lambda: pd.DataFrame({"user_id": [1], "age": [30]}),
        lambda: pl.DataFrame({"user_id": [1], "age": [30]}),
        lambda: pl.LazyFrame({"user_id": [1], "age": [30]}),
        lambda: pa.table({"user_id": [1], "age": [30]}),
        lambda: duckdb.sql("SELECT 1 AS user_id, 30 AS age"),
        lambda: [{"user_id": 1, "age": 30}],
    ],
    ids=["pandas", "polars", "polars-lazy", "pyarrow", "relation", "dicts"],
)
def test_any_kind_of_frame_will_do(store: FeatureStore, make: Callable[[], Any]) -> None:
    """Rows are rows, and the same rows have the same fingerprint."""
    store.register_feature("age", "int", entity={"user_id": int}, data=make())
    assert store.get_features(["age"], user_id=1) == {"age": 30}


def test_a_global_value_reads_with_no_key(store: FeatureStore) -> None:
    """One value for everyone needs neither an entity nor a frame."""
    store.register_feature(name="base_rate", data_type="float", data=0.05)
    assert store.get_features(["base_rate"]) == {"base_rate": 0.05}
    store.update_feature("base_rate", 0.07)
    assert store.get_features(["base_rate"]) == {"base_rate": 0.07}


def test_integers_with_a_gap_stay_integers(store: FeatureStore) -> None:
    """Frames of pandas make them floats; the feature is declared int."""
    frame = pd.DataFrame({"user_id": [1, 2], "age": [30, None]})
    store.register_feature("age", "int", entity={"user_id": int}, data=frame)
    assert store.get_features(["age"], rows=[{"user_id": 1}, {"user_id": 2}]) == [{"age": 30}, {"age": None}]


def test_a_fraction_is_no_integer(store: FeatureStore) -> None:
    """Rounding silently would change the data."""
    with pytest.raises(
        RequestError, match="The column 'age' has the value '30.5' in row 1, which BIGINT does not hold"
    ):
        store.register_feature("age", "int", entity={"user_id": int}, data=[{"user_id": 1, "age": 30.5}])


def test_ad_hoc_features_show_in_list_and_plan(notebook: Workspace, store: FeatureStore) -> None:
    """Nobody takes them for reviewed ones, and a plan does not propose to remove them."""
    store.register_feature("age", "int", entity={"user_id": int}, data=ages(u1=30), description="In years.")
    (listed,) = store.features()
    assert (listed.address, listed.adhoc, listed.description) == ("adhoc_age.age", True, "In years.")
    assert "(ad hoc)" in notebook.run("list").stdout
    done = notebook.run("plan", "--check")
    assert (done.returncode, done.stdout) == (
        0,
        "Plan for notebook, against state 1 of its store\n"
        "Nothing to do: the store matches the code.\n\n"
        "Ad hoc, kept until the code declares them\n"
        "  adhoc_age.age\n",
    )


def test_declared_features_live_beside_ad_hoc_ones(bank: Workspace) -> None:
    """A notebook shares the entities of the code, and a later apply keeps what the notebook made."""
    bank.apply()
    bank.store.register_feature("shoe_size", "float", entity={"user_id": int}, data=[{"user_id": 1, "shoe_size": 42.5}])
    assert bank.store.describe("user").owner == "accounts"
    assert bank.store.describe("shoe_size").definition["entity"] == "user"
    assert bank.run("plan", "--check").returncode == 0
    assert bank.store.get_features(["age", "shoe_size"], user_id=1) == {"age": 35, "shoe_size": 42.5}


def test_moving_into_code_is_a_change_of_the_same_feature(notebook: Workspace, store: FeatureStore) -> None:
    """Declaring the group under its name takes it over."""
    store.register_feature("age", "int", entity={"user_id": int}, data=ages(u1=30))
    notebook.write(
        {
            "features/people.py": """
from featdsl import Entity, Feature, FeatureGroup, Source

user = Entity("user_id", keys={"user_id": int})
people = Source("people", path="people.csv")


class AdhocAge(FeatureGroup, entity=user, source=people):
    age = Feature(int, description="Age in whole years.")
""",
            "people.csv": "user_id,age\n1,33\n",
        }
    )
    notebook.apply()
    (listed,) = store.features()
    assert (listed.adhoc, listed.owner) == (False, "notebook")
    assert store.get_features(["age"], user_id=1) == {"age": 33}
    assert notebook.run("plan", "--check").returncode == 0


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (
            lambda store: store.register_feature("age", "int", entity={"user_id": int}, data=ages(u1=1)),
            'Name is taken\n  age is registered already.\n  Give it new rows: store.update_feature("age", data)',
        ),
        (
            lambda store: store.register_feature("size", "int", entity={"user_id": int}, data=ages(u1=1)[["user_id"]]),
            "Missing column\n  The data has no column 'size'; its columns are: user_id.\n"
            "  Name the column of values as the feature.",
        ),
        (
            lambda store: store.register_feature("size", "int", entity="user", data=ages(u1=1)),
            "Invalid entity\n  entity='user' is neither an Entity nor a mapping of key columns to types.\n"
            '  Write entity={"user_id": int}.',
        ),
        (
            lambda store: store.register_feature("size", complex, data=1),
            "Invalid type\n  data_type: 'complex' is not a type for features.",
        ),
        (
            lambda store: store.register_feature("size", "int", data=object()),
            "Not a frame\n  object is not a frame.\n"
            "  Give a pandas or polars DataFrame, a pyarrow Table, a DuckDB relation, or a list of dicts.",
        ),
    ],
    ids=["taken", "no-column", "no-entity", "no-type", "no-frame"],
)
def test_what_does_not_fit_is_refused(store: FeatureStore, call: Callable[[FeatureStore], None], expected: str) -> None:
    """Each mistake is told, and nothing changes."""
    store.register_feature("age", "int", entity={"user_id": int}, data=ages(u1=30))
    with pytest.raises(RequestError) as raised:
        call(store)
    assert str(raised.value) == expected
    assert [each.address for each in store.features()] == ["adhoc_age.age"]


def test_two_rows_of_one_user_are_refused_with_their_key(store: FeatureStore) -> None:
    """The rows are named, and nothing is registered."""
    with pytest.raises(DataError, match="user_id = 1, rows = 2"):
        store.register_feature("age", "int", entity={"user_id": int}, data=pd.concat([ages(u1=30), ages(u1=31)]))
    with pytest.raises(FeatureNotFoundError):
        store.get_features(["age"], user_id=1)


def test_a_name_that_code_declares_points_to_that_feature(bank: Workspace) -> None:
    """Someone has made it already: that is the point of sharing."""
    bank.apply()
    with pytest.raises(RequestError) as raised:
        bank.store.register_feature("age", "int", entity={"user_id": int}, data=ages(u1=30))
    assert "user_profile.age of accounts has this name: Age in whole years." in str(raised.value)
    with pytest.raises(RequestError, match="declared in code, at features/accounts/__init__.py:11"):
        bank.store.update_feature("age", ages(u1=30))


def test_updating_what_is_not_there(store: FeatureStore) -> None:
    """An unknown name is an error, not a registration."""
    with pytest.raises(FeatureNotFoundError):
        store.update_feature("age", ages(u1=30))


def test_an_empty_project_says_what_to_do(store: FeatureStore) -> None:
    """Before the first apply."""
    with pytest.raises(FeatdslError, match="Nothing has been applied yet; run: featdsl apply"):
        store.get_features(["age"], user_id=1)


@pytest.mark.slow
def test_notebooks_that_register_at_once_all_succeed(notebook: Workspace) -> None:
    """Writers take turns: a plan that has become stale is made again."""
    script = (
        "import sys; from featdsl import FeatureStore; n = sys.argv[1]; "
        "FeatureStore().register_feature(f'f{n}', 'int', entity={'user_id': int}, data=[{'user_id': 1, f'f{n}': int(n)}])"
    )
    running = [subprocess.Popen([sys.executable, "-c", script, str(n)], cwd=notebook.root) for n in range(4)]
    assert [process.wait(timeout=PATIENCE) for process in running] == [0, 0, 0, 0]
    assert notebook.store.get_features(["f0", "f1", "f2", "f3"], user_id=1) == {"f0": 0, "f1": 1, "f2": 2, "f3": 3}


# The calls as people write them


def test_an_update_without_the_column_is_refused(store: FeatureStore) -> None:
    """A misspelt column sets nothing; its nearest name is suggested."""
    store.register_feature(
        "rating", "int", entity={"user_id": int}, data=pd.DataFrame({"user_id": [1, 2], "rating": [10, 20]})
    )
    with pytest.raises(RequestError, match=r'no column .rating.(?s:.*)Did you mean "ratings"'):
        store.update_feature("rating", pd.DataFrame({"user_id": [2], "ratings": [21]}))
    with pytest.raises(RequestError, match=r"no column .user_id."):
        store.update_feature("rating", pd.DataFrame({"user": [2], "rating": [21]}))
    assert store.get_features(["rating"], user_id=2) == {"rating": 20}


def test_gaps_change_no_other_value_and_no_type(store: FeatureStore) -> None:
    """Pandas makes floats of integers beside a gap; what may have lost digits by that is refused with its row."""
    large = 2**53 + 1
    frame = pd.DataFrame({"user_id": [1, 2], "account": [large, 2]})
    store.register_feature("account", "int", entity={"user_id": int}, data=frame)
    store.update_feature("account", pd.DataFrame({"user_id": [2, 3], "account": [5, None]}))
    assert store.get_features(["account"], rows=[{"user_id": n} for n in (1, 2, 3)]) == [
        {"account": large}, {"account": 5}, {"account": None},
    ]  # fmt: skip
    with pytest.raises(RequestError, match=r"in row 1, which BIGINT does not hold(?s:.*)Int64"):
        store.update_feature("account", pd.DataFrame({"user_id": [4, 5], "account": [large, None]}))
    gaps = pd.DataFrame({"user_id": [4, 5], "account": pd.array([large, None], dtype="Int64")})
    store.update_feature("account", gaps)
    assert store.get_features(["account"], user_id=4) == {"account": large}


def test_a_feature_may_be_registered_before_its_rows(notebook: Workspace, store: FeatureStore) -> None:
    """It is listed with its type and has no values until rows come, by either call."""
    store.register_feature(name="age", data_type="int")
    assert [(each.address, each.dtype) for each in store.features()] == [("adhoc_age.age", "BIGINT")]
    assert store.get_features(["age"]) == {"age": None}
    store.update_feature("age", pd.DataFrame({"user_id": [1], "age": [30]}), entity={"user_id": int})
    assert store.get_features(["age"], user_id=1) == {"age": 30}
    store.register_feature("height", "float")
    store.register_feature("height", "float", pd.DataFrame({"user_id": [1], "height": [1.8]}), entity={"user_id": int})
    assert store.get_features(["height"], user_id=1) == {"height": 1.8}
    assert notebook.run("plan", "--check").returncode == 0


def test_type_and_keys_are_those_of_the_frame_where_they_are_clear(store: FeatureStore) -> None:
    """Else the call to write is shown."""
    store.register_feature("age", pd.DataFrame({"user_id": [1], "age": [30]}))
    store.register_feature("height", pd.DataFrame({"user_id": [1], "city": ["x"], "height": [1.8]}))
    assert store.get_features(["age", "height"], user_id=1) == {"age": 30, "height": 1.8}
    for call in (
        lambda: store.register_feature("shoe", pd.DataFrame({"a": [1], "b": [2], "shoe": [3]})),
        lambda: store.register_feature("shoe", pd.DataFrame({"x": [1], "shoe": [None]})),
        lambda: store.register_feature("shoe"),
    ):
        with pytest.raises(RequestError, match=r'Write: store\.register_feature\("shoe", "int", data=frame, entity='):
            call()


def test_what_a_notebook_does_leaves_the_projects_policy_alone(notebook: Workspace, store: FeatureStore) -> None:
    """A plan has nothing to do afterwards."""
    file = notebook.root / "featproject.toml"
    file.write_text(f'{file.read_text(encoding="utf-8")}\n[policy]\napprovals = "affected-teams"\n', encoding="utf-8")
    notebook.apply()
    store.register_feature("age", "int", entity={"user_id": int}, data=ages(u1=30))
    assert notebook.run("plan", "--check").returncode == 0


def test_first_rows_are_those_of_an_entity_where_they_have_its_keys(store: FeatureStore) -> None:
    """They are no value for everyone; another entity later is refused."""
    store.register_feature(name="age", data_type="int")
    store.update_feature("age", [{"user_id": 1, "age": 30}])
    assert store.get_features(["age"], rows=[{"user_id": 1}, {"user_id": 2}]) == [{"age": 30}, {"age": None}]
    with pytest.raises(RequestError, match="already has rows of another entity; its keys are: user_id: BIGINT"):
        store.update_feature("age", [{"shop": "a", "age": 3}], entity={"shop": str})
    store.register_feature("rate", "float", 0.5)
    with pytest.raises(RequestError, match="one value for everyone, but the data have the columns user_id, rate"):
        store.update_feature("rate", [{"user_id": 1, "rate": 0.7}])
    store.update_feature("rate", 0.7)
    assert store.get_features(["rate"]) == {"rate": 0.7}


@pytest.mark.parametrize("value", [True, 1.5, "x", "1.5"], ids=repr)
def test_an_update_takes_no_value_of_another_type(store: FeatureStore, value: Any) -> None:
    """A truth value is no number, and nothing is rounded."""
    store.register_feature("age", "int", entity={"user_id": int}, data=ages(u1=30))
    with pytest.raises(RequestError, match="BIGINT does not hold"):
        store.update_feature("age", [{"user_id": 1, "age": value}])
    assert store.get_features(["age"], user_id=1) == {"age": 30}


CALLS: dict[str, Callable[[FeatureStore], object]] = {
    "no name": lambda store: store.register_feature(),
    "no text": lambda store: store.register_feature(5, "int"),  # type: ignore[arg-type]
    "an unknown option": lambda store: store.register_feature(name="a", dtype="int"),  # type: ignore[arg-type]
    "an unknown type": lambda store: store.register_feature("a", "integr"),
    "no rows": lambda store: store.update_feature("age"),
    "no name to update": lambda store: store.update_feature(),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_wrong_call_shows_the_right_one(store: FeatureStore, call: str) -> None:
    """It is no TypeError of Python's, and no text of DuckDB's."""
    with pytest.raises(RequestError) as refused:
        CALLS[call](store)
    said = str(refused.value)
    assert "Write: store." in said or "Did you mean" in said, said
