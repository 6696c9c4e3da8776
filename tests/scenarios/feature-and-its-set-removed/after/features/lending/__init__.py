"""The lending team."""

from featdsl import Feature, FeatureGroup, FeatureSet
from features.accounts import UserProfile, user
from features.risk import Spending


class Affordability(FeatureGroup, entity=user, inputs=[UserProfile.age, Spending.spend]):
    """What an account holder can pay."""

    working_age = Feature(bool, sql="age BETWEEN 18 AND 66", description="Whether of working age.")


credit_risk_v1 = FeatureSet("credit_risk", version=3, features=[UserProfile.age])
