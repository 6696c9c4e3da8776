"""Rows that are the same: of one entity and time, and equal in every feature."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from featdsl import DataError, Entity, Feature, FeatureGroup, Source
from tests.budgets import examples
from tests.declared import JOINS, applied, join_by

TIMES = ({"timestamp": "ts"}, {"timestamp": "ts", "available_at": "known"}, {})
CASES = [
    # Each join and each kind of time once in `make test`, all pairs of them in `make test-slow`.
    pytest.param(join, times, marks=() if number == place else pytest.mark.slow)
    for number, join in enumerate(JOINS)
    for place, times in enumerate(TIMES)
]


@pytest.mark.parametrize(("join", "times"), CASES)
@settings(max_examples=examples(2, 10), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_rows_that_are_the_same_are_one_row(
    tmp_path_factory: pytest.TempPathFactory, join: str, times: dict[str, str], data: st.DataObject
) -> None:
    """Rows that differ in a feature are an error that names them; windows count every row."""
    cell = st.tuples(st.integers(1, 2), st.integers(0, 2), st.sampled_from([None, 0.0, 1.0, float("nan")]))
    cells = data.draw(st.lists(cell, min_size=1, max_size=7))
    if data.draw(st.booleans()):  # else most of them would differ
        cells = [(user, day, float(user + day)) for user, day, _ in cells]
    days = [day * 86_400_000_000 for _, day, _ in cells]
    frame = pa.table(
        {
            "user_id": [user for user, *_ in cells],
            "ts": pa.array(days, pa.timestamp("us")),
            "known": pa.array(days, pa.timestamp("us")),
            "v": pa.array([value for *_, value in cells], pa.float64()),
            "beside": range(len(cells)),
        }
    )

    def declare() -> None:
        user = Entity("user", keys={"user_id": int})
        rows = Source("rows", frame=frame, **times)

        class Rows(FeatureGroup, entity=user, source=rows):
            v = Feature(float)
            word = Feature(str, sql="CAST(v AS VARCHAR)")
            pair = Feature("STRUCT(a DOUBLE, b DOUBLE[])", sql="{'a': v, 'b': [v]}")

        if times:

            class Windows(FeatureGroup, entity=user, source=rows):
                n = Feature(int, sql="count(*)", window="lifetime")

    found = {(user, day * bool(times), str(value)) for user, day, value in cells}
    root = tmp_path_factory.mktemp("store")
    if len({(user, day) for user, day, _ in found}) < len(found):
        with pytest.raises(DataError, match="one row for each user_id"):
            applied(root, declare)
        return
    with pytest.MonkeyPatch.context() as patch:
        join_by(join, patch)
        store = applied(root, declare)
        assert store.get_feature("v").aggregate("count(*)").fetchall() == [(len(found),)]
        spine = pa.table({"user_id": [1, 2], "t": pa.array([3 * 86_400_000_000] * 2, pa.timestamp("us"))})
        asked = ["word", "n"] if times else ["word"]
        training = store.training_set(asked, spine, timestamp="t" if times else None).arrow()
    assert training.num_rows == 2
    for number, user in enumerate((1, 2)):
        own = [(day * bool(times), value) for of, day, value in cells if of == user]
        last = max(own, key=lambda each: each[0], default=(0, None))[1]
        assert training["word"][number].as_py() == (None if last is None else str(last))
        assert not times or training["n"][number].as_py() == len(own)


def test_values_that_the_engine_takes_for_equal_are_not_the_same(tmp_path: Path) -> None:
    """A month and 30 days are equal to DuckDB; which of them would be kept is not for us to choose."""

    def declare() -> None:
        user = Entity("user", keys={"user_id": int})
        text = pa.table({"user_id": [1, 1], "ts": pa.array([0, 0], pa.timestamp("us")), "v": ["1 month", "30 days"]})

        class Rows(FeatureGroup, entity=user, source=Source("rows", frame=text, timestamp="ts")):
            v = Feature("INTERVAL", sql="CAST(v AS INTERVAL)")

    with pytest.raises(DataError, match="one row for each user_id and event_timestamp"):
        applied(tmp_path, declare)
