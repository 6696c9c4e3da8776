"""The risk team."""

from featdsl import Feature, FeatureGroup, Source
from features.accounts import user

transactions = Source("transactions", path="data/transactions.csv", timestamp="paid_at")
spent = Source(
    "spent",
    sql="""
        SELECT user_id, paid_at, sum(amount) OVER (PARTITION BY user_id ORDER BY paid_at) AS so_far
        FROM {{ transactions }}
    """,
    timestamp="paid_at",
)


class Spending(FeatureGroup, entity=user, source=spent):
    """How the account is used."""

    spend = Feature(float, sql="so_far", description="Spent so far, USD.")


class Recent(FeatureGroup, entity=user, source=transactions):
    """How the account was used lately."""

    paid = Feature(float, sql="sum(amount)", windows=["7 days", "30 days"], description="Paid, USD.", expect="paid > 0")
    payments_7d = Feature(int, sql="count(*)", window="7 days", description="How many payments.")
    last_three = Feature(float, sql="max(amount)", last_n=3, delay="1 hour")
