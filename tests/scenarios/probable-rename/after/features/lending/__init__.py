"""The lending team."""

from featdsl import Feature, FeatureGroup, FeatureSet, Model
from features.accounts import UserProfile, user
from features.risk import Spending


class Affordability(FeatureGroup, entity=user, inputs=[UserProfile.age, UserProfile.income, Spending.spend]):
    """What an account holder can pay."""

    a_month = Feature(float, sql="income / 12", description="Gross income, USD per month.")
    spend_share = Feature(float, sql="spend / income", description="Spent so far, as a share of income.")
    working_age = Feature(bool, sql="age BETWEEN 18 AND 66", description="Whether of working age.")


credit_risk_v1 = FeatureSet("credit_risk", version=1, features=[UserProfile.age, UserProfile.income])
credit_risk_v3 = credit_risk_v1.evolve(version=3, add=[Affordability.a_month])
loan_default = Model("loan_default", features=credit_risk_v1)
