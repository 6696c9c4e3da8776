"""The risk team."""

import pyarrow as pa
import pyarrow.compute as pc

from featdsl import Feature, FeatureGroup, Source, python_feature
from features.accounts import user

transactions = Source("transactions", path="data/transactions.csv", timestamp="paid_at")
LIMIT = 250.0
UNUSED = 5


class Spending(FeatureGroup, entity=user, source=transactions):
    """How the account is used."""

    @python_feature(float)
    def spend(amount):
        """Spent at once, USD, as far as it counts."""
        # Moved, and the same as before: only what it uses is another.
        return capped(amount)

    cents = Feature(float, sql="amount * 100", description="Spent at once, cents.")


def capped(amount: pa.Array) -> pa.Array:
    """Cut off what is too much, either way."""
    return pc.max_element_wise(pc.min_element_wise(amount, LIMIT), -LIMIT)


def by_day(transactions: pa.Table) -> pa.Table:
    """What was paid a day."""
    days = transactions.append_column("day", pc.floor_temporal(transactions["paid_at"], unit="day"))
    return days.group_by(["user_id", "day"]).aggregate([("amount", "max")]).rename_columns(["user_id", "day", "amount"])


daily = Source(
    "daily", function=by_day, columns={"user_id": int, "day": "TIMESTAMP", "amount": float}, timestamp="day"
)


class Days(FeatureGroup, entity=user, source=daily):
    """What a user spends in a day."""

    paid = Feature(float, sql="amount", description="Paid that day, USD.")
