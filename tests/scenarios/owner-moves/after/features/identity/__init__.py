"""The identity team."""

from featdsl import Feature, FeatureGroup
from features.accounts import accounts, user


class UserProfile(FeatureGroup, entity=user, source=accounts):
    """Who the account holder is."""

    age = Feature(int, sql="date_diff('year', birth_date, updated_at)", description="Age in whole years.")
    income = Feature(float, sql="annual_income", description="Gross income, USD per year.")
