"""The pricing team: one set with income, and one without."""

from featdsl import FeatureSet, Model
from features.accounts import UserProfile
from features.lending import Affordability

offers_v1 = FeatureSet("offers", version=1, features=[UserProfile.age, Affordability.monthly])
ages_v1 = FeatureSet("ages", version=1, features=[UserProfile.age, UserProfile.born_in])
offer_price = Model("offer_price", features=offers_v1)
age_curve = Model("age_curve", features=ages_v1)
