"""Uses that type checkers refuse: every line with `# E` is an error, and no other line is. Checked, never run."""

from __future__ import annotations

from typing import assert_type

from featdsl import (
    Entity,
    Expect,
    Feature,
    FeatureGroup,
    FeatureSet,
    MaxAge,
    Model,
    Request,
    Rows,
    Source,
    Unique,
    python_feature,
)

user = Entity("user", keys={"user_id": int})
accounts = Source("accounts", path="a.parquet", timestamp="updated_at")


class UserProfile(FeatureGroup, entity=user, source=accounts):
    """Who the account holder is."""

    age = Feature(int)
    balance = Feature("DECIMAL(18, 2)")


risk = FeatureSet("risk", version=1, features=[UserProfile.age])

# Names that are not there
_ = UserProfile.agee  # E
_ = UserProfile.age.dtyp  # E
_ = risk.evolv  # E

# Types that a feature does not have
assert_type(UserProfile.age, Feature[str])  # E
text: Feature[str] = UserProfile.age  # E
Feature(5)  # E
Feature(int, sql=5)  # E
Feature(int, expect=5)  # E
Feature(int, expect=Unique("age"))  # E
Expect("age > 0", severity="fatal")  # E
Expect()  # E
Unique(5)  # E
MaxAge(2)  # E
Rows("1")  # E

# Options that are not there, and those that are missing
Feature(int, expects="x > 1")  # E
Feature()  # E
Entity("user")  # E
Entity("user", keys=["user_id"])  # E
Entity("user", key={"user_id": int}, keys={"user_id": int})  # E
Source("rows", path="a.csv", format="xml")  # E
Source("rows", path="a.csv", time="at")  # E
Source("rows", function=5, columns={"at": int})  # E
python_feature()  # E
python_feature(float, sql="age")  # E
python_feature(float)(5)  # E
assert_type(python_feature(float)(len), Feature[str])  # E
FeatureSet("risk", features=[UserProfile.age])  # E
FeatureSet("risk", version="1", features=[UserProfile.age])  # E
FeatureSet("risk", version=1, features=[UserProfile.age, 5])  # E
FeatureSet("risk", 1, features=[UserProfile.age])  # E
FeatureSet("risk", version=1, features=UserProfile)  # E
risk.evolve(add=[UserProfile.age])  # E
Model("loan", features=UserProfile)  # E
Model("loan", features="risk@1")  # E
UserProfile.age.alias(5)  # E
UserProfile.age[7]  # E
Feature(float, sql="sum(amount)", window=7)  # E
Feature(float, sql="sum(amount)", windows="7 days", closed="above")  # E
Feature(float, sql="sum(amount)", last_n="10")  # E
UserProfile.age.alias("age_there", key={"user_id": "friend_id"})  # E
UserProfile.age.alias("age_there", keys={"user_id": 5})  # E
UserProfile.age.alias("age_there", keys={"user_id": Request(friend_id=int)})  # E
Request(float)  # E
Request(amount=5)  # E
Request({"amount": float})  # E
FeatureSet("risk", version=1, features=[Request(amount=float)])  # E


class WithoutEntity(FeatureGroup, source=accounts):  # E
    """Says nothing of its entity."""

    age = Feature(int)


class UnknownOption(FeatureGroup, entity=user, source=accounts, tll="1 day"):  # E
    """Has a typo in its header."""

    age = Feature(int)


class SourceByName(FeatureGroup, entity=user, source="accounts"):  # E
    """Names its source as text."""

    age = Feature(int)


class OneRequest(FeatureGroup, entity=user, inputs=Request(amount=float)):  # E
    """Lists none of its inputs."""

    share = Feature(float, sql="amount")


class RequestByType(FeatureGroup, entity=user, inputs=[UserProfile.age, float]):  # E
    """Says what it needs of the call without its name."""

    share = Feature(float, sql="amount")
