"""What is known of delays so far. A delay is known when the aircraft has left, or has arrived, and never before."""

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
    description="Flights that left, when they left.",
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
    description="Flights that arrived, when they arrived.",
)
carrier_days = Source(
    "carrier_days",
    sql="""
        SELECT carrier, departed_at, sum(sum(dep_delay)) OVER day / sum(count(*)) OVER day AS delay,
               sum(count(*) FILTER (WHERE dep_delay > 15)) OVER day / sum(count(*)) OVER day AS late_share
        FROM {{ departures }}
        GROUP BY carrier, departed_at
        WINDOW day AS (PARTITION BY carrier ORDER BY departed_at RANGE INTERVAL 24 HOURS PRECEDING)
    """,
    timestamp="departed_at",
    description="The 24 hours up to each departure of a carrier.",
)
airport_hours = Source(
    "airport_hours",
    sql="""
        SELECT origin, departed_at, sum(count(*)) OVER hours AS departures,
               sum(sum(dep_delay)) OVER hours / sum(count(*)) OVER hours AS delay
        FROM {{ departures }}
        GROUP BY origin, departed_at
        WINDOW hours AS (PARTITION BY origin ORDER BY departed_at RANGE INTERVAL 2 HOURS PRECEDING)
    """,
    timestamp="departed_at",
    description="The two hours up to each departure from an airport.",
)


class CarrierDelays(FeatureGroup, entity=carrier, source=carrier_days):
    """How late a carrier ran in the 24 hours up to its latest departure."""

    departure_delay_24h = Feature(float, sql="delay", description="Mean departure delay, minutes.", tags="delay")
    late_share_24h = Feature(
        float,
        sql="late_share",
        description="Share of departures that were more than 15 minutes late.",
        expect="late_share_24h BETWEEN 0 AND 1",
        tags="delay",
    )


class AirportDelays(FeatureGroup, entity=airport, source=airport_hours, keys={"airport": "origin"}):
    """How late departures were in the two hours up to an airport's latest one."""

    departure_delay_2h = Feature(float, sql="delay", description="Mean departure delay, minutes.", tags="delay")
    departures_2h = Feature(int, sql="departures", description="How many departed.", expect="departures_2h > 0")


class AircraftRotation(FeatureGroup, entity=aircraft, source=arrivals, ttl="1 day"):
    """Where the aircraft comes from: what its last flight passes on to the next."""

    last_arrival_delay = Feature(
        int,
        sql="arr_delay",
        description="Arrival delay of its last flight from New York City, minutes; negative when early.",
        tags="delay",
    )
