"""The features of the shop."""

from datetime import timedelta

import numpy as np
import pandas as pd
from feast import FeatureView, Field
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Array, Bool, Float32, Float64, Int32, Int64, String, UnixTimestamp
from tables import basket, payments_pushed, profiles, rates
from things import customer, merchant

profile = FeatureView(
    name="profile",
    entities=[customer],
    ttl=timedelta(days=3),
    schema=[
        Field(name="customer_id", dtype=Int64),
        Field(name="age", dtype=Int32, description="In whole years.", tags={"personal": ""}),
        Field(name="score", dtype=Float32),
        Field(name="limit", dtype=Float32),
        Field(name="segment", dtype=String),
        Field(name="active", dtype=Bool),
        Field(name="Joined", dtype=UnixTimestamp),
        Field(name="history", dtype=Array(Int64)),
    ],
    source=profiles,
    online=False,
    owner="accounts@shop.example",
    tags={"tier": "gold"},
    description="Who the customer is.",
)
spending = FeatureView(
    name="spending",
    entities=[customer, merchant],
    ttl=timedelta(days=2),
    schema=[
        Field(name="customer_id", dtype=Int64),
        Field(name="merchant", dtype=String),
        Field(name="last_amount", dtype=Float64),
        Field(name="currency", dtype=String),
        Field(name="number", dtype=Int64),
    ],
    source=payments_pushed,
    tags={"team": "payments"},
)
exchange = FeatureView(name="exchange", entities=[], source=rates)


@on_demand_feature_view(
    sources=[profile, basket],
    schema=[
        Field(name="share", dtype=Float64),
        Field(name="risk", dtype=Float64),
        Field(name="tenth", dtype=Float64),
        Field(name="half_score", dtype=Float64),
        Field(name="is_large", dtype=Bool),
        Field(name="shown", dtype=String),
        Field(name="rank", dtype=Float64),
    ],
)
def affordability(inputs: pd.DataFrame) -> pd.DataFrame:
    """What a customer can pay."""
    df = pd.DataFrame()
    per_item = inputs["amount"] / inputs["items"]
    df["share"] = inputs["amount"] / inputs["limit"]
    df["risk"] = np.where(inputs["score"] > 0.5, per_item * 2, -inputs["age"].fillna(40) + 0.1)
    df["tenth"] = inputs["items"] * 0.1 - (inputs["age"] - 3) * 0.7
    df["half_score"] = inputs.score * 0.3 + 1
    df["is_large"] = (inputs["amount"] >= 100) & ~(inputs["segment"] == "new")
    df["shown"] = inputs["voucher"] + "/" + inputs["segment"]
    df["rank"] = inputs["amount"].rank()
    return df


@on_demand_feature_view(sources=[basket], schema=[Field(name="per_item", dtype=Float64)], mode="python")
def basket_facts(inputs: dict) -> dict:
    """What is known of the request alone."""
    return {"per_item": [amount / (items + 1) for amount, items in zip(inputs["amount"], inputs["items"], strict=True)]}


@on_demand_feature_view(sources=[profile], schema=[Field(name="double_age", dtype=Int64)], mode="python")
def loops(inputs: dict) -> dict:
    """A function that is no expression."""
    found = []
    for age in inputs["age"]:
        found.append(age * 2)  # noqa: PERF401 - what an import leaves out
    return {"double_age": found}
