"""What is asked for now."""

from featdsl import Feature, FeatureGroup, FeatureSet, Model, Request
from features.accounts import UserProfile, user
from features.lending import Affordability


class Asked(FeatureGroup, entity=user, inputs=[Affordability.monthly, Request(amount=float)]):
    """A loan that is asked for."""

    instalment_share = Feature(
        float, sql="amount / nullif(monthly, 0)", description="The amount as a share of a month's income."
    )
    round_amount = Feature(bool, sql="amount % 100 = 0")


class Judgement(FeatureGroup, entity=user, inputs=[Asked.instalment_share, UserProfile.age]):
    """What to think of it."""

    careful = Feature(bool, sql="instalment_share < 0.3 AND age > 30", description="Whether to be careful.")


instalment_v1 = FeatureSet("instalment", version=1, features=[UserProfile.age, Judgement.careful])
instalment_default = Model("instalment_default", features=instalment_v1)
