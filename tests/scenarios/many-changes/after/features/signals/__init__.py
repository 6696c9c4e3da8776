"""The signals team: five hundred features, declared by a loop."""

from featdsl import Feature, FeatureSet, Model
from featdsl import FeatureGroup
from features.accounts import accounts, user


class Signals(FeatureGroup, entity=user, source=accounts):
    """Bands of income."""

    for number in range(500):
        locals()[f"band_{number:03}"] = Feature(bool, sql=f"annual_income >= {number * 200}")
    del number


class Early(FeatureGroup, entity=user, inputs=[Signals.band_000, Signals.band_001]):
    """The first bands."""

    both = Feature(bool, sql="band_000 AND band_001", description="Whether in both.")


signals_v1 = FeatureSet("signals", version=1, features=[Signals.band_000, Signals.band_499])
churn = Model("churn", features=signals_v1)
