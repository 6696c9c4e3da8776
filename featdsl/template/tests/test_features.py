"""Unit tests of the features, over rows that each test gives. Run them with: pytest"""

from datetime import date

from features.accounts import UserProfile
from features.lending import Affordability

ACCOUNTS = [
    {"user_id": 1, "updated_at": "2026-01-01", "birth_date": date(1990, 6, 15), "annual_income": 24_000},
    {"user_id": 1, "updated_at": "2026-07-01", "birth_date": date(1990, 6, 15), "annual_income": 36_000},
]


def test_age_is_in_whole_years(featdsl_project):
    given = featdsl_project.given(accounts=ACCOUNTS)
    assert given.value(UserProfile.age, at="2026-02-01", user_id=1) == 35
    assert given.value(UserProfile.age, at="2026-08-01", user_id=1) == 36


def test_monthly_income_is_the_one_known_at_the_time(featdsl_project):
    given = featdsl_project.given(accounts=ACCOUNTS)
    assert given.value(Affordability.monthly_income, at="2025-12-31", user_id=1) is None
    assert given.value(Affordability.monthly_income, at="2026-06-30", user_id=1) == 2_000
    assert given.value(Affordability.monthly_income, at="2026-07-01", user_id=1) == 3_000
