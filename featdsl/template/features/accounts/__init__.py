"""Features of the accounts team."""

from featdsl import Entity, Feature, FeatureGroup, Source

user = Entity("user", keys={"user_id": int})

accounts = Source("accounts", path="data/accounts.csv", timestamp="updated_at")


class UserProfile(FeatureGroup, entity=user, source=accounts):
    """Who the account holder is."""

    age = Feature(
        int,
        sql="date_sub('year', birth_date, updated_at)",
        description="Age in whole years.",
        expect="age BETWEEN 0 AND 120",
    )
    income = Feature(int, sql="annual_income", description="Gross income, USD per year.", tags="money")
