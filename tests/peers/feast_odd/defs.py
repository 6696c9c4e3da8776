"""Objects of many kinds."""

from datetime import timedelta

import pandas as pd
from feast import (
    BatchFeatureView,
    Entity,
    FeatureService,
    FeatureView,
    Field,
    FileSource,
    KafkaSource,
    StreamFeatureView,
    ValueType,
)
from feast.aggregation import Aggregation
from feast.data_format import JsonFormat
from feast.on_demand_feature_view import on_demand_feature_view
from feast.permissions.action import AuthzedAction
from feast.permissions.permission import Permission
from feast.permissions.policy import RoleBasedPolicy
from feast.types import Float64, Int32, Int64

print("the repository's own words")  # noqa: T201 - they must not end up in what the reader prints

customer_id = Entity(name="customer_id", value_type=ValueType.INT64)
rows = FileSource(path="data/profiles.parquet", timestamp_field="valid_from", created_timestamp_column="loaded_at")
clicks = KafkaSource(
    name="clicks",
    kafka_bootstrap_servers="kafka.example",
    topic="clicks",
    timestamp_field="valid_from",
    message_format=JsonFormat(schema_json="age int"),
    batch_source=rows,
)
AGE = [Field(name="age", dtype=Int32)]


def doubled(frame: pd.DataFrame) -> pd.DataFrame:
    """What Feast would run."""
    return frame


plain = FeatureView(name="plain", entities=[customer_id], ttl=None, source=clicks, schema=AGE)
everything = FeatureView(name="everything", entities=[customer_id], source=rows)
short = FeatureView(name="short", entities=[customer_id], ttl=timedelta(milliseconds=1500), source=rows, schema=AGE)
derived = FeatureView(name="derived", source=plain, sink_source=rows, entities=[customer_id], schema=AGE)
batch = BatchFeatureView(
    name="batch", mode="python", entities=[customer_id], source=rows, udf=doubled, udf_string="", schema=AGE
)
streamed = StreamFeatureView(
    name="streamed",
    entities=[customer_id],
    source=clicks,
    mode="python",
    udf=doubled,
    timestamp_field="valid_from",
    aggregations=[Aggregation(column="age", function="sum", time_window=timedelta(days=1))],
    schema=AGE,
)


@on_demand_feature_view(
    sources=[plain[["age"]]], schema=[Field(name="older", dtype=Int64)], mode="python", singleton=True
)
def older(inputs: dict) -> dict:
    """One row at a time."""
    return {"older": inputs["age"] + 1}


@on_demand_feature_view(input_schema=[Field(name="z", dtype=Float64)], schema=[Field(name="zz", dtype=Float64)])
def asked(frame: pd.DataFrame) -> pd.DataFrame:
    """Request data alone, without a source."""
    out = pd.DataFrame()
    out["zz"] = (frame["z"] * 2).astype("float64")
    return out


service = FeatureService(name="all", features=[plain, batch, everything[["segment"]], older, asked])
permission = Permission(
    name="reader", types=[FeatureView], policy=RoleBasedPolicy(roles=["reader"]), actions=[AuthzedAction.DESCRIBE]
)
