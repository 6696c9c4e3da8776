"""A Feast repository becomes declarations; what has no counterpart is listed with its reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from featdsl.importers import feast, feast_objects, modules
from featdsl.importers.declarations import (
    ImportedEntity,
    ImportedFeature,
    ImportedGroup,
    ImportedProject,
    ImportedReference,
    ImportedSet,
    ImportedSource,
    ImportNote,
    LeftOut,
)
from featdsl.importers.feast_objects import (
    FeastEntity,
    FeastField,
    FeastObject,
    FeastOnDemandView,
    FeastProjection,
    FeastRepository,
    FeastService,
    FeastSource,
    FeastView,
)

RECORDED = Path(__file__).with_name("feast")
ROOT = Path("/feast/project")
COLUMNS = (("user_id", "int64"), ("at", "timestamp[us, tz=UTC]"), ("age", "int64"), ("score", "double"))
USER = FeastEntity(name="user", kind="Entity", key="user_id", dtype="Int64")
ROWS = FeastSource(name="rows", kind="FileSource", path="data/rows.parquet", timestamp="at", columns=COLUMNS)
VIEW = FeastView(
    name="profile", kind="FeatureView", entities=("user",), features=(FeastField(name="age", dtype="Int64"),), source="rows",
    online=False, file="defs.py", line=7,
)  # fmt: skip
SMALL = FeastRepository(
    feast="0.67.0", project="shop", repository="/feast/shop", entities=(USER,), sources=(ROWS,), views=(VIEW,)
)


def imported(**changes: Any) -> ImportedProject:
    """Return what the small repository becomes after some changes."""
    return feast.project_of(replace(SMALL, **changes), ROOT)


def recorded(name: str) -> ImportedProject:
    """Return what a repository becomes, from what the reader printed in a Python with Feast."""
    text = (RECORDED / f"{name}.json").read_text(encoding="utf-8")
    return feast.project_of(feast_objects.parse(text), ROOT)


def of_source(**options: Any) -> Mapping[str, object] | tuple[LeftOut, ...]:
    """Return the options of a source over which the small repository's view is, or what is left out."""
    project = imported(sources=(replace(ROWS, **options),))
    return project.sources[0].options if project.sources else project.left_out


def test_a_small_repository() -> None:
    """One entity, one source and one view; paths are relative to the project."""
    assert imported() == ImportedProject(
        name="shop",
        origin="the Feast repository shop",
        entities=(ImportedEntity(name="user", keys={"user_id": "BIGINT"}),),
        sources=(ImportedSource(name="rows", options={"path": "../shop/data/rows.parquet", "timestamp": "at"}),),
        groups=(
            ImportedGroup(
                name="profile",
                entity="user",
                source="rows",
                features=(ImportedFeature(name="age", dtype="BIGINT"),),
                team="shop",
                module="defs",
            ),
        ),
    )


def test_the_local_template() -> None:
    """What `feast init` makes: the modules read as a person would write them."""
    texts = modules.texts(recorded("local"), "features")

    assert texts["shop/feature_definitions.py"] == (RECORDED / "local_on_demand.txt").read_text(encoding="utf-8")
    assert texts["driver_performance/feature_definitions.py"] == (RECORDED / "local_views.txt").read_text(
        encoding="utf-8"
    )


def test_a_larger_repository() -> None:
    """Composite keys, renamed columns, plain expressions, roles; and what is changed or left out is said."""
    project = recorded("shop")
    texts = modules.texts(project, "features")

    assert texts["pay_shop/views.py"] == (RECORDED / "shop_views.txt").read_text(encoding="utf-8")
    assert texts["pay_shop/sets.py"] == (RECORDED / "shop_sets.txt").read_text(encoding="utf-8")
    assert texts["payments/views.py"] == (RECORDED / "shop_payments.txt").read_text(encoding="utf-8")
    assert [(each.kind, each.name, each.reason) for each in project.left_out] == [
        ("feature", "affordability:rank", "`amount.rank()` is not translated: write it as features with sql="),
        ("on-demand feature view", "loops", "its function has `for age in inputs['age']:`, and not only assignments"),
        ("feature", "checkout:loops", "the service lists it, and it is not carried over"),
    ]
    assert project.notes == (
        ImportNote("profile.limit", "Feast declares Float32, but its column has double, so it is DOUBLE"),
        ImportNote("profile.joined", "Feast calls it Joined"),
        ImportNote("ttl", "of a row exactly as old as its ttl, Feast still has the values, and featdsl has none"),
        ImportNote(
            "spending", "it reads the stored rows behind its PushSource; new rows must reach them, or Source.push"
        ),
        ImportNote("checkout@1", "Feast calls the service checkout; its clients ask for checkout_v1"),
        ImportNote("transfer_full@1", "Feast calls the service transfer_full; its clients ask for transfer_full_v1"),
        ImportNote("named@1", "Feast calls the service named; its clients ask for named_v1"),
    )


@pytest.mark.parametrize(
    ("options", "written"),
    [
        ({"path": "/far/rows.parquet"}, {"path": "/far/rows.parquet"}),
        ({"path": "file:///far/rows.parquet"}, {"path": "/far/rows.parquet"}),
        ({"path": "data/[1]/rows.parquet"}, {"path": "../shop/data/[[]1]/rows.parquet"}),
        ({"path": "data/rows"}, {"path": "../shop/data/rows/**/*.parquet"}),
        ({"path": "s3://bucket/rows.pq"}, {"path": "s3://bucket/rows.pq", "format": "parquet"}),
        ({"path": "s3://bucket/rows"}, {"path": "s3://bucket/rows/**/*.parquet"}),
        ({"path": "data/rows", "format": "DeltaFormat"}, {"path": "../shop/data/rows", "format": "delta"}),
        ({"kind": "SparkSource", "path": "data/rows.csv", "format": "csv"}, {"path": "../shop/data/rows.csv"}),
        ({"kind": "SparkSource", "path": "", "table": "db.rows"}, {"table": "spark_catalog.db.rows"}),
        ({"kind": "SparkSource", "path": "", "query": "SELECT * FROM rows"}, {"table": "spark_catalog.default.rows"}),
    ],
)
def test_where_rows_are(options: dict[str, Any], written: dict[str, Any]) -> None:
    """Feast reads paths from its repository, without globs; a folder has files."""
    assert of_source(**options) == {**written, "timestamp": "at"}


def test_times_of_a_source() -> None:
    """Feast names times as its views do, after a mapping; of rows with one time, the one created last wins."""
    mapped = of_source(timestamp="moment", created="known", mapping={"at": "moment", "loaded": "known"})

    assert mapped == {"path": "../shop/data/rows.parquet", "timestamp": "at", "tie_break": "loaded"}
    assert of_source(timestamp="") == {"path": "../shop/data/rows.parquet", "timestamp": "at"}


def test_a_source_in_postgres() -> None:
    """The database is that of the offline store, without its password."""
    store = {
        "type": "postgres", "host": "db", "port": "5433", "database": "shop", "user": "o@k", "db_schema": "dw", "sslmode": "require",
        "password": "yes",
    }  # fmt: skip
    rows = FeastSource(
        name="rows", kind="PostgreSQLSource", query="select * from rows;", timestamp="at", columns=COLUMNS
    )
    project = imported(sources=(rows,), offline_store=store)

    assert project.sources[0].options == {
        "table": "dw.rows",
        "database": "postgresql://o%40k@db:5433/shop?sslmode=require",
        "timestamp": "at",
    }
    assert project.notes == (ImportNote("rows", "the password stays out of the declarations: set PGPASSWORD"),)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"kind": "SnowflakeSource"}, "featdsl reads no SnowflakeSource: export its rows to Parquet files, and import them with a FileSource"),
        ({"path": "gs://bucket/rows.parquet"}, "featdsl reads local files, s3:// and https://, and no gs://"),
        ({"format": "AvroFormat"}, "featdsl reads no files of format AvroFormat"),
        ({"timestamp": "", "columns": ()}, "its timestamp_field is not set, and its columns do not tell it"),
        ({"kind": "PostgreSQLSource", "table": "rows"},
         "the offline store in feature_store.yaml is not PostgreSQL, so its database is unknown"),
    ],
)  # fmt: skip
def test_a_view_over_another_source_is_left_out(options: dict[str, Any], reason: str) -> None:
    """The view says why."""
    assert of_source(**options) == (LeftOut("feature view", "profile", f"source rows: {reason}", "defs.py:7"),)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"computed": ("udf", "feature_transformation", "aggregations"), "kind": "StreamFeatureView"},
         "Feast computes it by a function and aggregations: write it as features with sql= and window=, or import a view of its results"),
        ({"source": ""}, "it has no stored rows"),
        ({"ttl": 0.5}, "its ttl is 0.5 seconds, and featdsl's is in whole seconds"),
        ({"entities": ("item",)}, "its source has no column item_id, the key of its entity item"),
        ({"entities": ("user", "shop")}, "its entity user or shop is not in the repository"),
    ],
)  # fmt: skip
def test_another_view_is_left_out(options: dict[str, Any], reason: str) -> None:
    """With its file and line."""
    item = FeastEntity(name="item", kind="Entity", key="item_id")
    left_out = imported(entities=(USER, item), views=(replace(VIEW, **options),)).left_out

    assert [(each.reason, each.where) for each in left_out if each.name == "profile"] == [(reason, "defs.py:7")]


def test_features_of_a_view() -> None:
    """Without a schema all columns, except keys, times and names with `__`; a column that is missing is left out."""
    source = replace(ROWS, columns=(*COLUMNS, ("__index", "int64")))
    whole = imported(views=(replace(VIEW, features=()),), sources=(source,))
    missing = imported(views=(replace(VIEW, features=(*VIEW.features, FeastField(name="gone", dtype="Int64"))),))

    assert [(each.name, each.dtype) for each in whole.groups[0].features] == [("age", "BIGINT"), ("score", "DOUBLE")]
    assert missing.left_out == (LeftOut("feature", "profile:gone", "its source has no column gone", "defs.py:7"),)


def test_names_that_are_no_names() -> None:
    """They are changed, and the column keeps its own."""
    fields = (FeastField(name="Age-In-Years", dtype="Int64"), FeastField(name="event_timestamp", dtype="Int64"))
    source = replace(ROWS, columns=(*COLUMNS, ("Age-In-Years", "int64"), ("event_timestamp", "int64")))
    group = imported(views=(replace(VIEW, name="User Profile", features=fields),), sources=(source,)).groups[0]

    assert group.name == "user_profile"
    assert [(each.name, each.sql) for each in group.features] == [
        ("age_in_years", '"Age-In-Years"'),
        ("event_timestamp_2", "event_timestamp"),
    ]


def test_the_type_of_a_key_comes_from_its_columns() -> None:
    """Where the entity does not declare it."""
    project = imported(
        entities=(replace(USER, dtype=""),), sources=(replace(ROWS, columns=(("user_id", "string"), *COLUMNS[1:])),)
    )

    assert project.entities[0].keys == {"user_id": "VARCHAR"}


def on_demand(**options: Any) -> FeastOnDemandView:
    """Return an on-demand view over the small repository's view."""
    return FeastOnDemandView(
        name="later", kind="OnDemandFeatureView", file="defs.py", line=20, code_file="defs.py", code_line=18,
        features=(FeastField(name="age", dtype="Int64"),), sources=(FeastProjection(view="profile", features=("age",)),),
        code="@on_demand_feature_view()\ndef later(inputs):\n    return {'age': inputs['age'] + inputs['years']}\n",
        request=(FeastField(name="years", dtype="Int64"),), **options,
    )  # fmt: skip


def test_an_input_with_the_name_of_a_feature_gets_another() -> None:
    """A feature of a group cannot read another one of the group."""
    group = imported(on_demand=(on_demand(),)).groups[1]

    assert group.inputs == (ImportedReference(address="profile.age", alias="profile__age"),)
    assert [(each.name, each.sql) for each in group.features] == [("age", "profile__age + years")]
    assert group.request == {"years": "BIGINT"}


def test_an_input_without_a_list_of_features_has_all_of_its_view() -> None:
    """As Feast has it for a view whose schema it infers."""
    view = replace(on_demand(), sources=(FeastProjection(view="profile"),))

    assert imported(on_demand=(view,)).groups[1].inputs == (
        ImportedReference(address="profile.age", alias="profile__age"),
    )


@pytest.mark.parametrize(
    ("options", "reason", "where"),
    [
        ({"mode": "substrait"}, "Feast computes it by substrait", "defs.py:20"),
        ({"computed": ("aggregations",)}, "Feast computes it by aggregations", "defs.py:20"),
        ({"sources": (FeastProjection(view="gone"),)}, "its input gone is not carried over", "defs.py:20"),
        ({"sources": (FeastProjection(view="profile", features=("age",), keys={"user_id": "payer"}),)},
         "it looks up an input by other keys: write it with alias(keys=...)", "defs.py:20"),
        ({"code": ""}, "the text of its function is unknown", "defs.py:18"),
        ({"code": "@x\ndef f(i):\n    return {'age': i['age'] % 2}"},
         "`age % 2` is not translated: write it as features with sql=", "defs.py:20"),
    ],
)  # fmt: skip
def test_another_on_demand_view_is_left_out(options: dict[str, Any], reason: str, where: str) -> None:
    """With the line of its function that has no counterpart."""
    left_out = imported(on_demand=(replace(on_demand(), **options),)).left_out

    assert left_out == (LeftOut("on-demand feature view", "later", reason, where),)


def test_inputs_of_different_entities_are_left_out() -> None:
    """No row would say which entities belong together."""
    item = FeastEntity(name="item", kind="Entity", key="age", dtype="Int64")
    other = replace(VIEW, name="items", entities=("item",), features=(FeastField(name="score", dtype="Float64"),))
    both = (FeastProjection(view="profile", features=("age",)), FeastProjection(view="items", features=("score",)))
    view = replace(on_demand(), sources=both)
    left_out = imported(entities=(USER, item), views=(VIEW, other), on_demand=(view,)).left_out

    assert [each.reason for each in left_out] == [
        "its inputs describe different entities, user and item: no input has the keys of all"
    ]


def service(name: str, *projections: FeastProjection, references: tuple[str, ...] = ()) -> FeastService:
    """Return a service of some projections."""
    return FeastService(
        name=name, kind="FeatureService", projections=projections, references=references, file="defs.py", line=30
    )


def test_services_become_set_versions() -> None:
    """The ending of a name is the version; two of one name and version differ in the version."""
    whole = FeastProjection(view="profile", features=("age",))
    project = imported(services=(service("risk_v3", whole), service("risk", whole), service("Risk_v1", whole)))
    features = (ImportedReference(address="profile.*"),)

    assert project.sets == (
        ImportedSet(name="risk", version=3, features=features, team="shop"),
        ImportedSet(name="risk", version=1, features=features, team="shop"),
        ImportedSet(name="risk", version=2, features=features, team="shop"),
    )


def test_roles_and_names_of_a_service() -> None:
    """A name that occurs twice gets the name of its view or of the projection, as Feast's full names have it."""
    two = tuple(
        FeastProjection(view="profile", alias=role, features=("age",), keys={"user_id": f"{role}_id"})
        for role in ("payer", "payee")
    )
    assert imported(services=(service("pay", *two),)).sets[0].features == (
        ImportedReference(address="profile.age", alias="payer__age", keys={"user_id": "payer_id"}),
        ImportedReference(address="profile.age", alias="payee__age", keys={"user_id": "payee_id"}),
    )


def test_a_feature_that_is_listed_twice_is_one_column() -> None:
    """It keeps its name."""
    part, whole = FeastProjection(view="profile", features=("age",)), FeastProjection(view="profile", features=("age",))

    assert imported(services=(service("twice", part, whole),)).sets[0].features == (
        ImportedReference(address="profile.*"),
    )


def test_features_that_a_service_names_by_text() -> None:
    """Earlier versions of a view are known to Feast's registry alone."""
    project = imported(services=(service("text", references=("profile:age", "profile@v2:age", "gone")),))

    assert project.sets[0].features == (ImportedReference(address="profile.*"),)
    assert [(each.name, each.reason) for each in project.left_out] == [
        ("text:profile@v2:age", "an earlier version of a view is only in Feast's registry"),
        ("text:gone", "the service lists it, and it is not carried over"),
    ]


def test_other_objects_and_unused_ones_are_left_out() -> None:
    """Nothing disappears in silence."""
    project = imported(
        entities=(USER, replace(USER, name="ghost")),
        sources=(ROWS, replace(ROWS, name="more")),
        services=(service("empty", FeastProjection(view="gone", features=("x",))),),
        others=(FeastObject(name="labels", kind="LabelView"), FeastObject(name="readers", kind="Permission")),
    )
    assert [(each.kind, each.name, each.reason) for each in project.left_out] == [
        ("feature service", "empty", "none of its features is carried over"),
        ("label view", "labels", "labels are no features: give them as columns of the spine"),
        ("permission", "readers", "featdsl takes permissions from [teams], CODEOWNERS and the tokens of its server"),
        ("data source", "more", "no feature view reads it"),
        ("entity", "ghost", "no feature view has it"),
    ]
