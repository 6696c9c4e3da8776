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
