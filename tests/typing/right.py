"""Uses of the public names that type checkers accept, with the types that they see. Checked, never run."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, assert_type

import pyarrow as pa

from featdsl import (
    Deprecated,
    Entity,
    Expect,
    Feature,
    FeatureAlias,
    FeatureGroup,
    FeatureSet,
    FeatureStore,
    MaxAge,
    Model,
    Request,
    Rows,
    Source,
    Unique,
    python_feature,
)
from featdsl.testing import FeatureProject, table

user = Entity("user", keys={"user_id": int, "country": "VARCHAR"}, description="A person.")
accounts = Source("accounts", path=["a.parquet", "b.parquet"], timestamp="updated_at", tie_break="version")
rates = Source("rates", sql="FROM {{ accounts }}")
warehouse = Source("warehouse", table="main.t", database="w.duckdb")
events = Source("events", table="spark_catalog.db.events", timestamp="at")
recent = Source("recent", sql={"duckdb": "FROM {{ events }}", "spark": "SELECT * FROM {{ events }}"})


class UserProfile(FeatureGroup, entity=user, source=accounts, keys={"user_id": "uid"}, ttl="30 days", tags={"kyc"}):
    """Who the account holder is."""

    age = Feature(int, sql="age", description="Whole years.", expect="age > 0", tags={"kyc"})
    name = Feature(str)
    born = Feature(date)
    seen = Feature(datetime, expect=["seen > '2000-01-01'", "seen < '2100-01-01'"])
    balance = Feature("DECIMAL(18, 2)")
    history = Feature(list[float])


class Clicks(FeatureGroup, entity=user, source=recent, engine="spark"):
    """Computed elsewhere, with a text for each engine."""

    day = Feature(date, sql={"duckdb": "at::DATE", "spark": "to_date(at)"})


class Checked(
    FeatureGroup, entity=user, source=accounts, unique="name", max_age="2 days", rows=(1, None), name="checked_plainly"
):
    """Rules as plain values."""

    age = Feature(int, expect=Expect("age < 110", severity="warn", name="old_age"))
    name = Feature(str, expect=["name <> ''", Expect("len(name) < 100")])


class Ruled(
    FeatureGroup,
    entity=user,
    source=accounts,
    unique=[Unique("name", "born"), Unique("name", severity="warn")],
    max_age=MaxAge("2 days", severity="error"),
    rows=Rows(min=1, severity="warn"),
):
    """Rules as objects."""

    name = Feature(str)
    born = Feature(date)


def shares(accounts: pa.Table) -> list[dict[str, object]]:
    """Make rows of the rows of another source."""
    return [{"day": date(2026, 1, 1), "share": 1 / accounts.num_rows}]


made = Source("made", function=shares, columns={"day": date, "share": "DECIMAL(9, 4)"}, timestamp="day")


class Read(FeatureGroup, entity=user, source=accounts):
    """What functions compute."""

    @python_feature(float, description="How content.", expect="content >= 0", tags={"text"})
    def content(text: pa.Array, weight: float = 0.5) -> pa.Array:  # noqa: N805 - no method
        """Return it."""
        return [weight, text]

    @python_feature("DECIMAL(18, 2)")
    @staticmethod
    def price(amounts: list[str]) -> list[str]:
        """Return it; static where a checker looks at the type of the first parameter."""
        return amounts


class Rates(FeatureGroup, entity=None, source=rates, name="base_rates"):
    """Values for everyone."""

    base = Feature(float)


class Spending(FeatureGroup, entity=user, source=accounts):
    """What windows hold."""

    spend = Feature(float, sql="sum(amount)", windows=["7 days", "30 days"], closed="right", expect="spend > 0")
    recent = Feature(int, sql="count(*)", last_n=10, delay="1 hour", offset="7 days", every="1 day")
    ever = Feature(list[str], sql="list(name)", window="lifetime")


class Lags(FeatureGroup, entity=user, source=accounts, features={f"lag_{h}h": Feature(float) for h in (1, 6)}):
    """Features that a loop makes."""


class Listed(FeatureGroup, entity=user, source=accounts, features=[Feature(float, name="here")]):
    """Features that a list holds."""


class Derived(FeatureGroup, entity=user, inputs=[UserProfile.age, Lags.declaration.features["lag_6h"], "other.income"]):
    """Features of features."""

    ratio = Feature(float, sql="lag_6h / age")


wanted = Request(amount=float, merchant="VARCHAR", codes=list[str])


class AtRequest(
    FeatureGroup,
    entity=user,
    inputs=[
        wanted,
        UserProfile.age,
        UserProfile.name.alias("namesake", keys={"user_id": UserProfile.age, "country": "country"}),
    ],
):
    """Features of what only the call knows, and of a namesake."""

    share = Feature(float, sql="amount / age")


assert_type(AtRequest.share, Feature[float])
assert_type(wanted, Request)
assert_type(UserProfile.age, Feature[int])
assert_type(UserProfile.name, Feature[str])
assert_type(UserProfile.born, Feature[date])
assert_type(UserProfile.seen, Feature[datetime])
assert_type(UserProfile.balance, Feature[Any])
assert_type(UserProfile.history, Feature[list[float]])
assert_type(Read.content, Feature[float])
assert_type(Read.price, Feature[Any])
assert_type(Read.content.alias("happy"), FeatureAlias[float])
assert_type(Lags.declaration.features["lag_6h"], Feature[Any])
assert_type(UserProfile.age.alias("age_there", keys={"user_id": "friend_id"}), FeatureAlias[int])
assert_type(UserProfile.age.name, str)
assert_type(UserProfile.age.address, str)

first = FeatureSet("risk", version=1, features=[UserProfile.age, UserProfile.name.alias("who"), "other.income"])
whole = FeatureSet("whole", version=1, features=[UserProfile])
unordered = FeatureSet("unordered", version=1, features={UserProfile.age, UserProfile.name})
second = first.evolve(version=2, add=[Derived.ratio, Lags], remove=[UserProfile.name, "age"])
model = Model("loan", features=second, description="Lends.")
assert_type(second, FeatureSet)
assert_type(model.features, FeatureSet)
assert_type(first.version, int)


def tested(featdsl_project: FeatureProject) -> None:
    """Rows for sources, and values over them."""
    given = featdsl_project.given({accounts: [{"user_id": 1}]}, orders=table("user_id amount", (1, 2.5)))
    assert given.value(UserProfile.age, at="2026-01-01", user_id=1) is None
    given.values([UserProfile.age, "user_profile.name"], at=date(2026, 1, 1), rows=[{"user_id": 1}])
    featdsl_project.with_variables(months=6, rate=0.5, live=True).close()


def read(store: FeatureStore) -> None:
    """Read from a store by object and by name."""
    store.training_set(first, "SELECT 1 AS user_id, now() AS ts", timestamp="ts")
    store.training_set([UserProfile.age, "user_profile.name"], "spine.parquet", timestamp="ts")
    tried = store.try_features(UserProfile, "spine.parquet", timestamp="ts")
    rows: dict[str, int] = dict(tried.differing)
    tried.differences.df()
    rows.clear()
    store.get_features(["age", UserProfile.name], user_id=42)
    store.get_features(first, rows=[{"user_id": 42}])
    store.get_features(AtRequest.share, user_id=42, request={"amount": 12.5})
    store.get_features(["share"], rows=[{"user_id": 42}], request=[{"amount": 12.5}])
    store.get_feature(UserProfile.age)


assert_type(Spending.spend, Feature[float])
assert_type(Spending.spend["7 days"], Feature[float])
assert_type(Spending.spend["7 days"].alias("paid"), FeatureAlias[float])
assert_type(Spending.spend.each(), tuple[Feature[float], ...])
FeatureSet("windows", version=1, features=[Spending.spend, Spending.spend["7 days"], Spending.ever])


class Kept(FeatureGroup, entity=user, source=accounts, access="private", protect=True):
    """What its team keeps to itself."""

    gross = Feature(float, protect=True)
    net = Feature(float, deprecated=Deprecated(since="2026-01-01", remove_after=date(2026, 6, 30), use=gross))
    spend = Feature("DOUBLE", sql="sum(x)", window="7 days", protect=True, deprecated=Deprecated(since="2026-01-01"))

    @python_feature(float, protect=True, deprecated=Deprecated(since="2026-01-01", use="kept.gross"))
    def twice(amount: pa.Array) -> pa.Array:  # noqa: N805 - a function over columns, no method
        """Return as much again."""
        return amount


kept_v1 = FeatureSet("kept", version=1, features=[Kept.gross], protect=True)
kept_v2 = kept_v1.evolve(version=2, deprecated=Deprecated(since="2026-01-01", use=kept_v1))


class Gone(FeatureGroup, entity=user, source=accounts, deprecated=Deprecated(since="2026-01-01", use=Kept)):
    """What should be used no longer."""

    old = Feature(float)


assert_type(Kept.net, Feature[float])
assert_type(Clicks.day, Feature[date])
