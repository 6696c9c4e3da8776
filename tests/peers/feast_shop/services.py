"""What the shop's models read."""

from feast import FeatureService
from views import affordability, exchange, loops, profile, spending

risk = FeatureService(
    name="risk_v2", features=[profile[["age", "score"]], spending, exchange], description="Who pays back."
)
checkout = FeatureService(name="checkout", features=[profile, affordability[["share", "risk"]], loops])
transfer = FeatureService(
    name="transfer_full",
    features=[
        profile[["age", "segment"]].with_name("sender").with_join_key_map({"customer_id": "sender_id"}),
        profile[["age", "segment"]].with_name("receiver").with_join_key_map({"customer_id": "receiver_id"}),
    ],
)
named = FeatureService(name="named", features=["profile:score", "exchange"])
