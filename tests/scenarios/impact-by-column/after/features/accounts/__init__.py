"""The accounts team."""

from featdsl import Entity, Feature, FeatureGroup, Source

user = Entity("user", keys={"user_id": int})
accounts = Source("accounts", path="data/accounts.csv", timestamp="updated_at")


class UserProfile(FeatureGroup, entity=user, source=accounts):
    """Who the account holder is."""

    age = Feature(int, sql="date_diff('year', birth_date, updated_at)", description="Age in whole years.")
    born_in = Feature(int, sql="year(birth_date)", description="Year of birth.")
    income = Feature(float, sql="greatest(annual_income, 0)", description="Gross income, USD per year.")
    known_since = Feature("DATE", sql="updated_at::DATE", description="Day of the last update.")
    wealthy = Feature(bool, sql="annual_income > 60000", description="Whether income is high.")
