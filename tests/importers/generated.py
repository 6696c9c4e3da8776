"""Imports made at random: any text in descriptions and SQL, awkward names, every option."""

from __future__ import annotations

import keyword

from hypothesis import strategies as st

from featdsl.importers.declarations import (
    ImportedEntity,
    ImportedFeature,
    ImportedGroup,
    ImportedProject,
    ImportedReference,
    ImportedRule,
    ImportedSet,
    ImportedSource,
    LeftOut,
    PythonCode,
)
from featdsl.importers.names import RESERVED, literal_sql, valid_name

AWKWARD = (
    *(each.lower() for each in keyword.kwlist), *keyword.softkwlist, "int", "str", "float", "bool", "bytes", "features", "entities",
    "sources", "sets", "name", "mro", "source", "entity", "feature", "feature_group", "self", "x" * 63, "orders_7d", "a__b",
)  # fmt: skip
KEY = "user_id"
plain_names = st.text("abcdefghij_0123456789", min_size=1, max_size=20).map(valid_name)
names = (plain_names | st.sampled_from(AWKWARD)).filter(lambda name: name not in RESERVED | {KEY} and name[0] != "_")
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=150) | st.text("ab \"'\\{}%#\n\t.é統", max_size=150)
sql = (st.text(max_size=60) | st.text("ab \"'\\{}%#\n", max_size=60)).map(str.strip).filter(bool)
dtypes = st.sampled_from(
    ["BIGINT", "DOUBLE", "VARCHAR", "DECIMAL(18,2)", "TIMESTAMP", 'STRUCT("a b" INTEGER)', "FLOAT[3]"]
)
tags = st.lists(texts.filter(str.strip), max_size=3, unique=True).map(tuple)


def _quoted(text: str) -> str:
    """Return an SQL expression with any text in it."""
    return "'" + literal_sql(text).replace("'", "''") + "' || a"


rules = st.builds(
    ImportedRule, condition=sql.map(_quoted), severity=st.sampled_from(["error", "warn"]), name=st.just("")
)  # fmt: skip
features = st.builds(
    ImportedFeature,
    name=names,
    dtype=dtypes,
    sql=st.just("") | sql.map(_quoted),
    description=texts,
    tags=tags,
    expect=st.lists(rules, max_size=2).map(tuple),
    options=st.sampled_from([{}, {"unit": "€"}, {"protect": True}]),
)
WINDOWED = ImportedFeature(
    name="spend", dtype="DOUBLE", sql="sum(amount)", options={"windows": ["7 days", "30 days"], "every": "1 hour"}
)
options = st.sampled_from([
    {"path": "data/*.parquet"},
    {"path": ["a.csv", "b.csv"], "options": {"delim": ";", "skip": 1, "header": True}},
    {"table": "main.t", "database": "shop.duckdb"},
    {"path": "x.csv", "schema": {"a b": PythonCode("int"), "amount": "DECIMAL(18,2)"}},
])  # fmt: skip


@st.composite
def projects(draw: st.DrawFn) -> ImportedProject:
    """Draw an import whose declarations are valid, each by itself and together."""
    entity_names = draw(st.lists(names, min_size=1, max_size=3, unique=True))
    entities = [
        ImportedEntity(name=each, keys={KEY: draw(dtypes)}, description=draw(texts), team=draw(st.just("") | names))
        for each in entity_names
    ]
    sources = [
        ImportedSource(name=each, options={**draw(options), "timestamp": draw(names)}, description=draw(texts))
        for each in draw(st.lists(names, min_size=1, max_size=3, unique=True))
    ]
    sources += [
        ImportedSource(name=f"{sources[0].name[:50]}_view", options={"sql": f"SELECT *\n  FROM {{{{ {sources[0].name} }}}}"})
    ]  # fmt: skip
    groups: list[ImportedGroup] = []
    for name in draw(st.lists(names, min_size=1, max_size=4, unique=True)):
        groups += [draw(_group(name, entity_names, sources, groups))]
    listed = tuple(ImportedReference(address=f"{each.name}.*") for each in groups[:1])
    sets = [ImportedSet(name=draw(names), features=listed, team=draw(names), description=draw(texts))]
    return ImportedProject(
        name="shop", origin=draw(texts), entities=tuple(entities), sources=tuple(sources), groups=tuple(groups),
        sets=tuple(sets), left_out=(LeftOut("model", "x", "No key."),),
    )  # fmt: skip


@st.composite
def _group(
    draw: st.DrawFn, name: str, entities: list[str], sources: list[ImportedSource], before: list[ImportedGroup]
) -> ImportedGroup:
    own = draw(st.lists(features, min_size=1, max_size=3, unique_by=lambda each: each.name))
    common = {
        "name": name, "entity": draw(st.sampled_from(entities)), "description": draw(texts), "tags": draw(tags),
        "team": draw(names), "module": draw(st.just("") | names),
    }  # fmt: skip
    if before and draw(st.booleans()):
        read = draw(st.sampled_from(before))
        read_names = [each.name for each in read.features if not each.options]
        inputs = tuple(ImportedReference(address=f"{read.name}.{each}") for each in read_names)
        derived = tuple(each for each in own if each.sql and each.name != "lambda") or (
            ImportedFeature(name="more", dtype="BIGINT", sql="1"),
        )
        return ImportedGroup(
            **common,
            features=derived,
            inputs=inputs,
            request={draw(st.sampled_from(["amount_now", "class"])): "DOUBLE"},
        )
    windowed = () if any(each.name.startswith("spend") for each in own) else (WINDOWED,)
    source = draw(st.sampled_from(sources)).name
    return ImportedGroup(
        **common, features=(*own, *windowed), source=source, keys={KEY: "any column"}, options={"online": True}
    )
