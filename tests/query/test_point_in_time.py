"""The rules of point in time, as scenarios that were worked out by hand: `point_in_time/cases.json`.

A case has rows, the options of a source, a group and its features, a spine, and the value of each feature for each
row of the spine. A new case needs no test code.
"""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from featdsl import Entity, Feature, FeatureGroup, FeatureSet, Source
from tests.declared import JOINS, applied, join_by

CASES = json.loads((Path(__file__).parent / "point_in_time" / "cases.json").read_text(encoding="utf-8"))
TIMES = ("ts", "loaded")
TYPES = {"user_id": int, "shop": str}


def rows(listed: list[dict[str, Any]]) -> pa.Table:
    """Return rows as Arrow, their times as timestamps: with a zone where they are written with an offset."""
    names = list(dict.fromkeys(name for row in listed for name in row))
    times = pa.timestamp("us", tz="UTC" if any("+" in (row["ts"] or "") for row in listed) else None)
    return pa.table({
        name: pa.array([moment(row.get(name)) for row in listed], times)
        if name in TIMES
        else pa.array([row.get(name) for row in listed])
        for name in names
    })  # fmt: skip


def moment(text: str | None) -> datetime | None:
    """Return a written time."""
    return datetime.fromisoformat(text) if text else None


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_each_feature_has_the_value_that_was_known(
    case: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through declarations, apply and training_set, by each join; each spine row comes back once, in order."""

    def declare() -> None:
        entity = Entity("thing", keys={key: TYPES[key] for key in case["keys"]})
        source = Source("rows", frame=rows(case["rows"]), **case["source"])
        features = {name: Feature(**options) for name, options in case["features"].items()}

        class Group(FeatureGroup, entity=entity, source=source, features=features, **case["group"]):
            """The group of the case."""

    store = applied(tmp_path, declare)

    for join in JOINS:
        join_by(join, monkeypatch)
        training = store.training_set(list(case["features"]), rows(case["spine"]), timestamp="ts").arrow()

        assert {name: training[name].to_pylist() for name in case["expect"]} == case["expect"]
        assert training.select([*case["keys"], "ts"]) == rows(case["spine"]).select([*case["keys"], "ts"]).cast(
            training.select([*case["keys"], "ts"]).schema
        )


def test_derived_features_that_read_different_values_by_one_name_keep_them_apart(tmp_path: Path) -> None:
    """Features of different groups share a layer of the query only where a name means one value in it."""

    def declare() -> None:
        user = Entity("user", keys={"user_id": int})
        rows = Source("rows", frame=pa.table({"user_id": [1], "a": [2], "b": [30]}))

        class Given(FeatureGroup, entity=user, source=rows):
            a = Feature(int)
            b = Feature(int)

        class First(FeatureGroup, entity=user, inputs=[Given.a.alias("x")]):
            first = Feature(int, sql="x + 1")

        class Second(FeatureGroup, entity=user, inputs=[Given.b.alias("x"), First.first]):
            second = Feature(int, sql="x + 1")
            both = Feature(int, sql="x + first")

        FeatureSet("all", version=1, features=[First.first, Second.second, Second.both])

    store = applied(tmp_path, declare)
    assert store.get_features("all@1", user_id=1) == {"first": 3, "second": 31, "both": 33}
