"""A set over more tables than one query joins is read in chunks, and its values are the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from featdsl import Entity, Feature, FeatureGroup, FeatureStore, Source
from featdsl.declarations.feature_group import GroupDeclaration
from featdsl.engines.duckdb import chunks
from featdsl.engines.lookups import lookups_of
from featdsl.query.selection import select
from tests.declared import applied

GROUPS = 40
START = pd.Timestamp("2026-01-01")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    """Forty groups over one source: a plain value each, every fourth a window too; and one derived from five of them."""
    rows = pa.table({
        "k": [i % 7 for i in range(70)],
        "ts": [START + pd.Timedelta(hours=i) for i in range(70)],
        **{f"x{g}": [(i * (g + 3)) % 101 for i in range(70)] for g in range(GROUPS)},
    })  # fmt: skip

    def declare() -> None:
        user = Entity("user", keys={"k": int})
        source = Source("rows", frame=rows, timestamp="ts")
        made: list[Feature[Any]] = []
        for g in range(GROUPS):
            features: dict[str, Feature[Any]] = {f"f{g}": Feature(int, sql=f"x{g}")}
            if g % 4 == 0:
                features[f"sum{g}"] = Feature(int, sql=f"sum(x{g})", window="1 day")
            group = GroupDeclaration({"name": f"g{g}", "entity": user, "source": source, "features": features})
            for name, feature in features.items():
                feature.join(group, name)
            made.append(features[f"f{g}"])

        class Total(FeatureGroup, entity=user, inputs=made[::9]):
            total = Feature(int, sql=" + ".join(f"f{g}" for g in range(0, GROUPS, 9)))

        del Total

    return applied(tmp_path_factory.mktemp("wide"), declare)


NAMES = [f"f{g}" for g in range(GROUPS)] + [f"sum{g}" for g in range(0, GROUPS, 4)] + ["total"]


def expected(key: int, time: pd.Timestamp) -> dict[str, int | None]:
    """Return the values of a key at a time by looking at each row."""
    known = [i for i in range(70) if i % 7 == key and START + pd.Timedelta(hours=i) <= time]
    inside = [i for i in known if time - pd.Timedelta("1 day") <= START + pd.Timedelta(hours=i) < time]
    found: dict[str, int | None] = {f"f{g}": (known[-1] * (g + 3)) % 101 if known else None for g in range(GROUPS)}
    for g in range(0, GROUPS, 4):
        found[f"sum{g}"] = sum((i * (g + 3)) % 101 for i in inside) if inside else None
    found["total"] = sum((known[-1] * (g + 3)) % 101 for g in range(0, GROUPS, 9)) if known else None
    return found


@pytest.mark.parametrize("limits", [(16, 6), (16, 1), (1000, 6)], ids=["chunks", "one lookup each", "one query"])
@pytest.mark.parametrize("ordered", [True, False])
def test_training_and_serving_equal_a_loop(
    store: FeatureStore,
    limits: tuple[int, int],
    ordered: bool,  # noqa: FBT001 - a parameter of the test
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever the chunks; the spine's order and other columns stay."""
    monkeypatch.setattr(chunks, "LOOKUPS", limits[0])
    monkeypatch.setattr(chunks, "CHUNK", limits[1])
    asked = [(key, START + pd.Timedelta(hours=hour, minutes=30)) for hour in (69, 3, 30, -5) for key in (6, 0, 99)]
    spine = pd.DataFrame({"n": range(len(asked)), "k": [k for k, _ in asked], "at": [t for _, t in asked]})

    found = store.training_set(NAMES, spine, timestamp="at", ordered=ordered).arrow().to_pylist()

    assert [row["n"] for row in found] == list(range(len(asked))) or not ordered
    for row in found:
        key, time = asked[row["n"]]
        assert {name: row[name] for name in NAMES} == expected(key, time)
    served = store.get_features(NAMES, rows=[{"k": 3}, {"k": 99}])
    now = expected(3, pd.Timestamp("2030-01-01"))
    assert served == [now, expected(99, START)]


def test_features_in_turns_are_read_table_by_table(store: FeatureStore) -> None:
    """Each table is in one chunk; the columns stay in the order that was asked for."""
    names = [f"f{g}" for g in range(0, GROUPS, 4)] + [f"sum{g}" for g in range(0, GROUPS, 4)]
    in_turns = [*names, *NAMES[1:GROUPS:4], *NAMES[2:GROUPS:4]]
    opened = store._open()
    selection = select(opened.snapshot, in_turns)
    parts = chunks.chunks(selection.wants, opened.snapshot.versions)
    tables = [set(lookups_of(part, opened.snapshot.versions)) for part in parts]
    assert sum(map(len, tables)) == len(set().union(*tables))
    assert list(store.get_features(in_turns, k=3)) == in_turns
    spine = pd.DataFrame({"k": [3], "at": [START]})
    assert store.training_set(in_turns, spine, timestamp="at").relation.columns == ["k", "at", *in_turns]


def test_one_feature_over_many_tables_is_one_query_of_its_own(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It counts as many lookups as it has, not as one table."""
    monkeypatch.setattr(chunks, "LOOKUPS", 4)
    monkeypatch.setattr(chunks, "CHUNK", 5)
    opened = store._open()
    selection = select(opened.snapshot, ["total", "f1"])
    assert len(chunks.chunks(selection.wants, opened.snapshot.versions)) == 2


def test_few_tables_are_one_query(store: FeatureStore, tmp_path: Path) -> None:
    """As before; chunks are for wide sets alone."""
    spine = pd.DataFrame({"k": [1], "at": [START]})
    assert "wide_" not in store.training_set(NAMES[:16], spine, timestamp="at").sql
    assert "wide_" in store.training_set(NAMES, spine, timestamp="at").sql
