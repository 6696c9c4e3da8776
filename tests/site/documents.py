"""Catalogues made in memory: of any size, and with hostile content."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from typing import Any

from featdsl.definitions.history import CheckResult
from featdsl.definitions.kinds import Deprecation
from featdsl.definitions.statistics import Bin, ColumnStatistics, TopValue
from featdsl.discovery.catalogue_entries import (
    CatalogueDocument,
    EntityEntry,
    FeatureEntry,
    FreshnessStatus,
    GroupEntry,
    HistoryItem,
    HistoryReason,
    LineageGraph,
    ModelEntry,
    RuleEntry,
    SetEntry,
    SourceEntry,
    StatisticsRun,
    TableFreshness,
    TeamEntry,
    Use,
)
from featdsl.discovery.lineage import Node
from featdsl.discovery.usage import UsageSnippets
from featdsl.plan.document import Kept

_WORDS = [
    "balance",
    "income",
    "age",
    "delay",
    "spend",
    "visits",
    "clicks",
    "orders",
    "refunds",
    "tenure",
    "distance",
    "speed",
    "score",
    "risk",
    "churn",
    "limit",
    "rate",
    "volume",
    "price",
    "margin",
    "stock",
    "returns",
    "sessions",
    "searches",
    "views",
    "payments",
    "loans",
    "debts",
    "deposits",
    "logins",
    "devices",
]
_KINDS = ("mean", "sum", "count", "max", "last", "share", "median", "distinct")
_TEAMS = tuple(f"team_{each}" for each in ("alpha", "beta", "gamma", "delta", "kappa", "sigma", "omega", "lambda"))
_TYPES = ("DOUBLE", "BIGINT", "VARCHAR", "BOOLEAN", "TIMESTAMP")
_PER_GROUP = 20


_REASONS = (HistoryReason(code="sql", before="amount", after="amount / 100"),)
"""What the last change of each made-up feature was."""


def usage(name: str) -> UsageSnippets:
    """Return snippets as they are for a feature of this class and attribute."""
    return UsageSnippets(
        import_line=f"from features.alpha import {name.partition('.')[0]}",
        expression=name,
        training=f'training = store.training_set([{name}], spine, timestamp="asked_at")',
        serving=f"store.get_features([{name}], user_id=1)",
    )


def statistics(dtype: str, rows: int, chance: random.Random) -> ColumnStatistics:
    """Return made-up statistics of a column that fit together."""
    nulls = int(rows * chance.choice((0, 0, 0.02, 0.3)))
    if dtype in {"VARCHAR", "BOOLEAN"}:
        left, top = rows - nulls, []
        for value in ("true", "false") if dtype == "BOOLEAN" else ("gold", "silver", "bronze", "none"):
            taken = int(left * 0.55)
            top.append(TopValue(value=value, rows=taken))
            left -= taken
        return ColumnStatistics(dtype=dtype, rows=rows, nulls=nulls, distinct=len(top), top=tuple(top))
    heights = [math.exp(-(((place - 9) / 5) ** 2)) * chance.uniform(0.8, 1.2) for place in range(20)]
    scale = (rows - nulls) / sum(heights)
    low, width = (1.7e9, 86400.0) if dtype == "TIMESTAMP" else (0.0, 12.5)
    bins = tuple(
        Bin(low=low + place * width, high=low + (place + 1) * width, rows=int(height * scale))
        for place, height in enumerate(heights)
    )
    numeric = dtype != "TIMESTAMP"
    return ColumnStatistics(
        dtype=dtype, rows=rows, nulls=nulls, not_finite=7 if dtype == "DOUBLE" else 0, distinct=rows // 3, minimum="0", maximum="250",
        mean=118 + chance.uniform(-4, 4) if numeric else None, deviation=40.5 if numeric else None,
        quantiles=("2", "20", "80", "118", "150", "220", "248"), bins=bins,
    )  # fmt: skip


def generated(features: int, seed: int = 7) -> CatalogueDocument:
    """Return the catalogue of a made-up project: teams, sources, groups of 20 features, sets, models, runs and history."""
    chance = random.Random(seed)  # noqa: S311 - made-up data
    names = []
    for number in range(features):
        group = f"{_WORDS[number // _PER_GROUP % len(_WORDS)]}_{number // _PER_GROUP}"
        names.append(
            f"{group}.{_KINDS[number % len(_KINDS)]}_{_WORDS[number * 7 % len(_WORDS)]}_{number % _PER_GROUP}d"
        )
    groups = list(dict.fromkeys(name.partition(".")[0] for name in names))
    members = {
        f"risk_{number}@1": tuple(chance.sample(names, min(25, features))) for number in range(max(features // 100, 1))
    }
    used: dict[str, list[Use]] = {}
    for number, (each, inside) in enumerate(members.items()):
        for name in inside:
            use = Use(feature_set=each, column=name.partition(".")[2], owner=_TEAMS[number % len(_TEAMS)],
                      models=(f"model_{number}",), is_current=number % 5 > 0)  # fmt: skip
            used.setdefault(name, []).append(use)
    made = (_feature(at, names, used.get(name, []), chance) for at, name in enumerate(names))
    entries = tuple(sorted(made, key=lambda each: each.address))
    return CatalogueDocument(
        project="made_up",
        environment="prod",
        serial=12,
        state_at="2026-11-20T10:00:00+00:00",
        features=entries,
        groups=tuple(_group(name, entries) for name in sorted(groups)),
        sets=tuple(_set(name, inside) for name, inside in sorted(members.items())),
        models=tuple(
            ModelEntry(**_base("model", f"model_{number}", number), feature_set=name, features=members[name],
                       outdated=("income was redefined",) if number % 7 == 1 else ())
            for number, name in enumerate(members)
        ),
        sources=tuple(
            SourceEntry(**_base("source", f"source_{number}", number), groups=tuple(groups[number::10]),
                        definition={"format": "parquet", "location": [f"data/{number}.parquet"], "timestamp": "at", "sql": None,
                                    "columns": {"user_id": "BIGINT", "at": "TIMESTAMP", "value": "DOUBLE"}},
                        readers={"value": tuple(names[number::10])})
            for number in range(10)
        ),
        entities=(EntityEntry(**_base("entity", "user", 0), keys={"user_id": "BIGINT"}, groups=tuple(groups), features=tuple(names)),),
        teams=tuple(_team(team, entries) for team in _TEAMS),
        history=entries[0].changes if entries else (),
        lineage=LineageGraph(
            nodes=tuple(Node(id=f"feature {each.address}", kind="feature", address=each.address, owner=each.owner) for each in entries),
            edges=(),
        ),
    )  # fmt: skip


def _base(kind: str, address: str, number: int) -> dict[str, Any]:
    return {
        "kind": kind, "address": address, "name": address.rpartition(".")[2].partition("@")[0], "owner": _TEAMS[number % len(_TEAMS)],
        "project": "made_up", "description": f"What {address} says of an account holder.", "declared_at": "features/alpha.py:12",
    }  # fmt: skip


def _feature(number: int, names: list[str], used: list[Use], chance: random.Random) -> FeatureEntry:
    name = names[number]
    group, _, short = name.partition(".")
    dtype, rows = _TYPES[number % len(_TYPES)], chance.randrange(1_000, 2_000_000)
    status: FreshnessStatus = "stale" if number % 11 == 3 else "fresh"
    change = HistoryItem(serial=3, at="2026-10-01T09:30:00+00:00", by="dana", commit="8f2a91c0d7e64b", action="create",
                         change_class="additive", address=name)  # fmt: skip
    check = CheckResult(
        address=name, kind="expect", rule=f"{short} >= 0", severity="error", broken=number % 13 == 5, rows=rows,
        checked_at="2026-11-20T10:00:00+00:00", serial=12, by="dana", during="apply",
    )  # fmt: skip
    runs = [
        StatisticsRun(serial=serial, computed_at=f"2026-11-{serial + 3:02}T10:00:00+00:00", during="refresh" if serial % 3 else "apply",
                      rows=rows - 90 * (12 - serial), column=statistics(dtype, rows, chance))
        for serial in range(12, 0, -1)
    ]  # fmt: skip
    base = _base("feature", name, number // _PER_GROUP) | {"name": short}
    return FeatureEntry(
        **base,
        tags=("money", "kyc")[: number % 3],
        deprecated=Deprecation(since="2026-09-01", remove_after="2027-01-01", use=names[0]) if number % 50 == 9 else None,
        changes=(replace(change, serial=9, at="2026-11-02T09:30:00+00:00", action="change", change_class="definition", reasons=_REASONS), change),
        first_applied=f"2026-10-{1 + number % 28:02}T09:30:00+00:00",
        group=group, entity="user", keys={"user_id": "BIGINT"}, dtype=dtype, unit="EUR" if dtype == "DOUBLE" else "",
        source=f"source_{number % 10}", private=number % 40 == 7, adhoc=False,
        freshness=TableFreshness(status=status, computed_at="2026-11-20T10:00:00+00:00", newest="2026-11-19T23:00:00+00:00"),
        rows=rows, bytes=rows * 9,
        definition={"sql": "avg(CASE WHEN value > 0 THEN value END)", "reads": ["value"], "columns": [f"source_{number % 10}.value"],
                    "window": "[t − 1 day, t)", "fingerprint": f"{number:032x}", "request": {}},
        statistics=tuple(runs),
        rules=(RuleEntry(address=name, rule=f"{short} >= 0", last=check),),
        used_in=tuple(used), derived=(), inputs=(),
        kept=(Kept(feature=name, fingerprint="ab" * 16, table="t", rows=rows, bytes=9 * rows, held_by=("set risk_0@1",)),) if number % 30 == 2 else (),
        similar=tuple(names[number + 1 : number + 4]),
        usage=usage(f"{group.title().replace('_', '')}.{short}"),
    )  # fmt: skip


def _group(name: str, entries: tuple[FeatureEntry, ...]) -> GroupEntry:
    inside = [each for each in entries if each.group == name]
    return GroupEntry(
        **(_base("group", name, 0) | {"owner": inside[0].owner}), entity="user", source=inside[0].source, private=False, adhoc=False,
        freshness=inside[0].freshness, rows=inside[0].rows, bytes=inside[0].bytes, view=f"prod.{name}",
        features=tuple(each.address for each in inside), rules=(), definition={},
    )  # fmt: skip


def _set(name: str, inside: tuple[str, ...]) -> SetEntry:
    members = [
        {"column": each.partition(".")[2], "feature": each, "dtype": "DOUBLE", "keys": {}, "current": True}
        for each in inside
    ]
    return SetEntry(
        **_base("set", name, 1), version=1, view=f"prod.{name.replace('@', '_v')}", models=(f"model_{name.partition('@')[0].removeprefix('risk_')}",), versions=(name,), usage=usage("risk_v1"),
        definition={"members": members, "keys": {"user_id": "BIGINT"}, "request": {}},
    )  # fmt: skip


def _team(name: str, entries: tuple[FeatureEntry, ...]) -> TeamEntry:
    owned = [each for each in entries if each.owner == name]
    return TeamEntry(
        name=name, contact=f"#{name}, {name}@example.com", groups=tuple(dict.fromkeys(each.group for each in owned)),
        features=tuple(each.address for each in owned), sets=(), models=(), sources=(), uses=(),
    )  # fmt: skip
