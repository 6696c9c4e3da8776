"""The risk team."""

from featdsl import Feature, FeatureGroup, Source
from features.accounts import accounts, user

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


holders = Source(
    "holders",
    sql="SELECT a.user_id, a.updated_at AS since, a.annual_income AS pay FROM {{ accounts }} AS a",
    timestamp="since",
)


class Means(FeatureGroup, entity=user, source=holders):
    """What the account holder lives on."""

    yearly_pay = Feature(float, sql="pay", description="Pay, USD per year.")
    monthly_pay = Feature(float, sql="pay / 12", description="Pay, USD per month.")
