"""The risk team."""

from featdsl import Feature, FeatureGroup, Source
from features.accounts import user

transactions = Source("transactions", path="data/transactions.csv", timestamp="paid_at")
spent = Source(
    "spent",
    sql="""
        select user_id, paid_at, /* running */ SUM(amount) over (partition by user_id order by paid_at) as so_far
        from {{ transactions }}
    """,
    timestamp="paid_at",
)


class Spending(FeatureGroup, entity=user, source=spent):
    """How the account is used."""

    spend = Feature(float, sql="so_far", description="Spent so far, USD.")
