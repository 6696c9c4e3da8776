"""The marketing team: reads of the profile all but income."""

from featdsl import Feature, FeatureGroup, FeatureSet, Model
from features.accounts import UserProfile, user


class Segments(FeatureGroup, entity=user, inputs=[UserProfile.born_in, UserProfile.wealthy]):
    """Whom to write to."""

    generation = Feature(int, sql="born_in // 10 * 10", description="Decade of birth.")
    golden = Feature(bool, sql="wealthy AND born_in < 1970", description="Wealthy and of an age.")


audience_v1 = FeatureSet("audience", version=1, features=[UserProfile.age, Segments.generation, Segments.golden])
newsletter = Model("newsletter", features=audience_v1)
