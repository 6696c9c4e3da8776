"""Online reads have two layers: values that a store has looked up, and expressions over them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from featdsl import Entity, Feature, FeatureGroup, FeatureStore, Request, Source
from featdsl.engines.lookups import Read, rounds_of
from featdsl.engines.reading import KeyRows, Reader
from featdsl.query.latest_values import key_rows
from featdsl.query.selection import Selection, select
from tests.declared import applied

NOON = datetime(2026, 1, 10, 12)  # noqa: DTZ001 - naive times are UTC
FEATURES = ["carrier", "delays_7d", "airline", "risk", "price", "verdict", "age_hours"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    """Flights with delays, and airlines that derived keys of flights name."""
    days = [NOON - timedelta(days=day) for day in (9, 3, 1, 0)]
    delays = pa.table({"flight": [1, 1, 1, 2], "at": days, "carrier": [40, 41, 41, 72], "delay": [5, 10, 20, 7]})
    airlines = pa.table({"airline": [4, 7, 7], "at": [days[0], days[0], days[2]], "score": [0.5, 0.25, 0.125]})

    def declare() -> None:
        flight = Entity("flight", keys={"flight": int})
        airline = Entity("airline", keys={"airline": int})

        class Delays(FeatureGroup, entity=flight, source=Source("delays", frame=delays, timestamp="at")):
            carrier = Feature(int)
            delays_7d = Feature(int, sql="sum(delay)", window="7 days")

        class Routes(FeatureGroup, entity=flight, inputs=[Delays.carrier]):
            airline = Feature(int, sql="carrier // 10")

        class Scores(
            FeatureGroup, entity=airline, source=Source("scores", frame=airlines, timestamp="at"), ttl="5 days"
        ):
            score = Feature(float)

        score = Scores.score.alias("score", keys={"airline": Routes.airline})

        class Risks(FeatureGroup, entity=flight, inputs=[Delays.delays_7d, score]):
            risk = Feature(float, sql="delays_7d * coalesce(score, 1)")

        class Prices(FeatureGroup, entity=flight, inputs=[Risks.risk, Request(amount=float)]):
            price = Feature(float, sql="amount + risk")
            verdict = Feature(str, sql="if(amount > risk, 'yes', 'no')")
            age_hours = Feature(int, sql="date_diff('hour', TIMESTAMP '2026-01-10', as_of_timestamp)")

        del Prices

    return applied(tmp_path_factory.mktemp("flights"), declare)


STORED: Mapping[str, Mapping[tuple[Any, ...], Any]] = {
    "delays.carrier": {(1,): 41, (2,): 72},
    "delays.delays_7d": {(1,): 30, (2,): 7},
    "scores.score": {(7,): 0.125},
}
"""The latest stored values at noon, by feature and keys: what another store would hold."""


def looked_up(reader: Reader, selection: Selection, rows: KeyRows, versions: Any) -> dict[Read, list[Any]]:
    """Return the stored values of each row from the dicts, round by round: keys may be values of earlier rounds."""
    stored: dict[Read, list[Any]] = {}
    for lookups in rounds_of(selection.wants, versions):
        for (_, roles), features in lookups.items():
            columns = [keys_of(reader, target, rows, stored) for _, target in roles]
            for feature in features:
                read = Read(feature.address, feature.fingerprint, roles)
                stored[read] = [STORED[feature.address].get(keys) for keys in zip(*columns, strict=True)]
    return stored


def keys_of(reader: Reader, target: str | Read, rows: KeyRows, stored: Mapping[Read, Sequence[Any]]) -> list[Any]:
    """Return a key of each row: a column of the row, or a feature that is computed from stored values."""
    if isinstance(target, str):
        return [row[target] for row in rows.rows]
    return [row["key"] for row in reader.computed({"key": target}, rows, stored)]


@pytest.mark.parametrize("features", [FEATURES, *([name] for name in FEATURES)], ids="+".join)
def test_values_from_a_dict_give_what_the_whole_query_gives(store: FeatureStore, features: list[str]) -> None:
    """Derived, windowed and request-time features, and features whose keys are computed."""
    state = store._open()
    selection = select(state.snapshot, features)
    keys = [{"flight": 1}, {"flight": 2}, {"flight": 3}]
    requests = [{"amount": 100.0}, {"amount": 0.5}, {"amount": 1.0}] if selection.request else None
    rows = replace(key_rows(selection, keys, requests), at=NOON + timedelta(minutes=1))
    state.open_tables_of(selection.wants)
    reader = state.reader()

    stored = looked_up(reader, selection, rows, state.snapshot.versions)
    computed = reader.computed({want.column: want.read for want in selection.wants}, rows, stored)

    assert computed == reader.latest(selection.wants, rows)
    assert computed == [{name: row[name] for name in features} for row in EXPECTED]


EXPECTED = [
    {
        "carrier": 41, "delays_7d": 30, "airline": 4, "risk": 30.0, "price": 130.0, "verdict": "yes", "age_hours": 12,
    },
    {
        "carrier": 72, "delays_7d": 7, "airline": 7, "risk": 0.875, "price": 1.375, "verdict": "no", "age_hours": 12,
    },
    {
        "carrier": None, "delays_7d": None, "airline": None, "risk": None, "price": None, "verdict": "no", "age_hours": 12,
    },
]  # fmt: skip


def test_a_missing_stored_value_is_refused(store: FeatureStore) -> None:
    """It is no NULL: another store must look up every value that the expressions read."""
    state = store._open()
    selection = select(state.snapshot, ["risk"])
    rows = key_rows(selection, [{"flight": 1}])
    with pytest.raises(KeyError):
        state.reader().computed({"risk": selection.wants[0].read}, rows, {})


def test_computing_again_takes_the_new_time(store: FeatureStore) -> None:
    """A reader keeps the compiled SQL; the time is a parameter of it."""
    state = store._open()
    selection = select(state.snapshot, ["age_hours"])
    reader = state.reader()
    rows = key_rows(selection, [{"flight": 1}])
    outputs = {"age_hours": selection.wants[0].read}
    hours = [reader.computed(outputs, replace(rows, at=NOON + timedelta(hours=more)), {}) for more in (0, 5)]
    assert hours == [[{"age_hours": 12}], [{"age_hours": 17}]]
