"""Predict an hour ahead whether a flight departs late, from features of other teams."""

from featdsl import Feature, FeatureGroup, FeatureSet, Model
from features.fleet import Aircraft
from features.operations import AircraftRotation, AirportDelays, CarrierDelays
from features.weather import FeelsLike, Location, Weather, airport


class GroundConditions(
    FeatureGroup,
    entity=airport,
    inputs=[
        Weather.temperature,
        Weather.precipitation,
        AirportDelays.departures_2h,
        AirportDelays.departure_delay_2h,
    ],
):
    """Conditions on the ground that delay departures."""

    deicing = Feature(
        bool,
        sql="temperature <= 32 AND precipitation > 0",
        description="Whether aircraft need de-icing before departure.",
        tags="winter",
    )
    delay_minutes_2h = Feature(
        float,
        sql="departures_2h * departure_delay_2h",
        description="Total departure delay of the last two hours.",
        unit="minutes",
        tags="delay",
    )


at_origin = {"airport": "origin"}

departure_delay_v1 = FeatureSet(
    "departure_delay",
    version=1,
    description="Features of a flight one hour before its scheduled departure.",
    features=[
        Aircraft,
        AircraftRotation.last_arrival_delay,
        CarrierDelays,
        AirportDelays.departure_delay_2h.alias("origin_delay_2h", keys=at_origin),
        AirportDelays.departures_2h.alias("origin_departures_2h", keys=at_origin),
        GroundConditions.delay_minutes_2h.alias("origin_delay_minutes_2h", keys=at_origin),
        GroundConditions.deicing.alias(keys=at_origin),
        FeelsLike.wind_chill.alias(keys=at_origin),
        Weather.wind_speed.alias(keys=at_origin),
        Weather.wind_gust.alias(keys=at_origin),
        Weather.precipitation.alias(keys=at_origin),
        Weather.pressure.alias(keys=at_origin),
        Weather.visibility.alias(keys=at_origin),
        Location.latitude.alias("dest_latitude", keys={"airport": "dest"}),
        Location.longitude.alias("dest_longitude", keys={"airport": "dest"}),
    ],
)

departure_delay = Model(
    "departure_delay",
    features=departure_delay_v1,
    description="Predicts whether a flight departs more than 15 minutes late.",
)
