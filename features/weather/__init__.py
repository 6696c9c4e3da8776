"""Airports and their weather."""

from featdsl import Entity, Feature, FeatureGroup, Source

airport = Entity("airport", keys={"airport": str}, description="An airport, by its FAA code.")

airports = Source("airports", path="data/airports.parquet", description="The register of airports.")
weather = Source("weather", path="data/weather.parquet", timestamp="time_hour", description="Weather by the hour.")
observations = Source(
    "observations",
    # An observation was made at some minute of its hour: it is known for certain when the hour is over.
    sql="SELECT *, time_hour + INTERVAL 1 HOUR AS known_at FROM {{ weather }}",
    timestamp="known_at",
    description="Weather observations, once they were known.",
)


class Location(FeatureGroup, entity=airport, source=airports, keys={"airport": "faa"}):
    """The location of an airport."""

    latitude = Feature(
        float, sql="lat", description="Degrees north.", unit="degrees", expect="latitude BETWEEN -90 AND 90"
    )
    longitude = Feature(
        float, sql="lon", description="Degrees east.", unit="degrees", expect="longitude BETWEEN -180 AND 180"
    )


class Weather(FeatureGroup, entity=airport, source=observations, keys={"airport": "origin"}, ttl="6 hours"):
    """The latest weather at an airport of New York City."""

    temperature = Feature(float, sql="temp", description="Air temperature.", unit="°F", tags="winter")
    wind_speed = Feature(
        float,
        sql="CASE WHEN wind_speed < 200 THEN wind_speed END",  # EWR once reported 1,048 mph
        description="Wind speed; NULL if the station reported an impossible value.",
        unit="mph",
        expect="wind_speed BETWEEN 0 AND 200",
    )
    wind_gust = Feature(
        float, description="Speed of the gusts; NULL in steady wind.", unit="mph", expect="wind_gust < 200"
    )
    precipitation = Feature(float, sql="precip", description="Rain or snow in the hour.", unit="inches", tags="winter")
    pressure = Feature(float, description="Pressure at sea level.", unit="mbar", expect="pressure BETWEEN 900 AND 1100")
    visibility = Feature(
        float, sql="visib", description="Visibility.", unit="miles", expect="visibility BETWEEN 0 AND 10"
    )


class FeelsLike(FeatureGroup, entity=airport, inputs=[Weather.temperature, Weather.wind_speed]):
    """How cold the apron feels to people who work there."""

    wind_chill = Feature(
        float,
        sql="""
            CASE WHEN temperature <= 50 AND wind_speed > 3
                 THEN 35.74 + 0.6215 * temperature + (0.4275 * temperature - 35.75) * wind_speed ** 0.16
                 ELSE temperature END
        """,
        description="Wind chill by the formula of the National Weather Service; else the temperature.",
        unit="°F",
        tags="winter",
    )
