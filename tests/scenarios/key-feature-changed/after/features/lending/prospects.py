"""What to expect of people by their age."""

from featdsl import Entity, Feature, FeatureGroup, FeatureSet, Source
from features.accounts import UserProfile, user

band = Entity("band", keys={"band": int})
bands = Source("bands", sql="SELECT unnest([2, 3, 4]) AS band, unnest([0.03, 0.02, 0.01]) AS default_rate")


class Bands(FeatureGroup, entity=band, source=bands):
    """What is known of people of an age."""

    default_rate = Feature(float, description="Share of loans that default.")


class Ages(FeatureGroup, entity=user, inputs=[UserProfile.age]):
    """Which band an account holder belongs to."""

    decade = Feature(int, sql="(age + 5) // 10", description="Age in whole decades.")
    other_decade = Feature(int, sql="age // 10 + 1", description="The decade after that.")


class Prospects(
    FeatureGroup,
    entity=user,
    inputs=[UserProfile.income, Bands.default_rate.alias("band_default_rate", keys={"band": Ages.decade})],
):
    """What to expect of an account holder."""

    expected_loss = Feature(float, sql="income * band_default_rate", description="Income times the band's default rate.")


prospects_v1 = FeatureSet("prospects", version=1, features=[Prospects.expected_loss])
