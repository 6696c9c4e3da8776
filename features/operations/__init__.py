"""Delays so far. A departure delay is known once the aircraft has left, an arrival delay once it has arrived."""

from featdsl import Entity, Feature, FeatureGroup, Source
from features.fleet import aircraft
from features.weather import airport

carrier = Entity("carrier", keys={"carrier": str}, description="An airline, by its two-letter code.")

flights = Source(
    "flights",
    path="data/flights.parquet",
    timestamp="time_hour",
    description="Flights from New York City, by the hour in which they were scheduled to depart.",
)
departures = Source(
    "departures",
    sql="""
        SELECT *, time_hour + to_minutes(minute + dep_delay) AS departed_at
        FROM {{ flights }}
        WHERE dep_delay IS NOT NULL
    """,
    timestamp="departed_at",
    description="Flights that departed, at their departure time.",
)
arrivals = Source(
    "arrivals",
    # arr_time is a clock at the destination: 1905 is the first 19:05 there after the departure.
    sql="""
        SELECT *, departed_at + to_minutes((arr_time // 100 * 60 + arr_time % 100
                                            - date_part('hour', there) * 60 - date_part('minute', there)
                                            + 1440) % 1440) AS arrived_at
        FROM (
            SELECT d.*, departed_at AT TIME ZONE 'UTC' AT TIME ZONE coalesce(tzone, 'America/Puerto_Rico') AS there
            FROM {{ departures }} d LEFT JOIN {{ airports }} a ON a.faa = d.dest
        )
        WHERE arr_delay IS NOT NULL
    """,
    timestamp="arrived_at",
    tie_break="flight",
    description="Flights that arrived, at their arrival time.",
)


class CarrierDelays(FeatureGroup, entity=carrier, source=departures):
    """How late a carrier ran in the last 24 hours."""

    departure_delay_24h = Feature(
        float,
        sql="avg(dep_delay)",
        window="24 hours",
        description="Mean departure delay.",
        unit="minutes",
        tags="delay",
    )
    late_share_24h = Feature(
        float,
        sql="avg((dep_delay > 15)::INTEGER)",
        window="24 hours",
        description="Share of departures that were more than 15 minutes late.",
        expect="late_share_24h BETWEEN 0 AND 1",
        tags="delay",
    )


class AirportDelays(FeatureGroup, entity=airport, source=departures, keys={"airport": "origin"}):
    """How late departures from an airport were in the last two hours."""

    departure_delay_2h = Feature(
        float, sql="avg(dep_delay)", window="2 hours", description="Mean departure delay.", unit="minutes", tags="delay"
    )
    departures_2h = Feature(int, sql="count(*)", window="2 hours", description="Number of departures.")


class AircraftRotation(FeatureGroup, entity=aircraft, source=arrivals, ttl="1 day"):
    """The aircraft's previous flight, whose delay carries over to the next."""

    last_arrival_delay = Feature(
        int,
        sql="arr_delay",
        description="Arrival delay of its last flight from New York City; negative when early.",
        unit="minutes",
        tags="delay",
    )
