"""The lending team."""

from featdsl import Feature, FeatureGroup, FeatureSet, Model
from features.accounts import UserProfile, user
from features.risk import Spending


class Affordability(FeatureGroup, entity=user, inputs=[UserProfile.age, UserProfile.gross_income, Spending.spend]):
    """What an account holder can pay."""

    monthly = Feature(float, sql="gross_income / 12", description="Gross income, USD per month.")
    spend_share = Feature(float, sql="spend / gross_income", description="Spent so far, as a share of income.")
    working_age = Feature(bool, sql="age BETWEEN 18 AND 66", description="Whether of working age.")


credit_risk_v1 = FeatureSet("credit", version=1, renamed_from="credit_risk", features=[UserProfile.age, UserProfile.gross_income])
credit_risk_v2 = credit_risk_v1.evolve(version=2, add=[Affordability.monthly])
loan_default = Model("loan_default", features=credit_risk_v1)
