"""The accounts team."""

from featdsl import Entity, Feature, FeatureGroup, Source

user = Entity("user", keys={"user_id": int})
accounts = Source("accounts", path="data/accounts.csv", timestamp="updated_at")


class Profile(FeatureGroup, entity=user, source=accounts, renamed_from="user_profile"):
    """Who the account holder is."""

    age = Feature(int, sql="date_diff('year', birth_date, updated_at)", description="Age in whole years.")
    gross_income = Feature(float, renamed_from="income", sql="annual_income", description="Gross income, USD per year.")


UserProfile = Profile
