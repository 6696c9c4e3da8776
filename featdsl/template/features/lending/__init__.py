"""Features of the lending team, derived from those of the accounts team."""

from featdsl import Feature, FeatureGroup, FeatureSet, Model
from features.accounts import UserProfile, user


class Affordability(FeatureGroup, entity=user, inputs=[UserProfile.income]):
    """What an account holder can pay."""

    monthly_income = Feature(float, sql="income / {{ var('months') }}", description="Gross income, USD per month.")


credit_risk_v1 = FeatureSet("credit_risk", version=1, features=[UserProfile, Affordability.monthly_income])

loan_default = Model("loan_default", features=credit_risk_v1)
