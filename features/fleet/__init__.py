"""The aircraft that fly."""

from featdsl import Entity, Feature, FeatureGroup, Source

aircraft = Entity("aircraft", keys={"tailnum": str}, description="An aircraft, by the number on its tail.")

planes = Source("planes", path="data/planes.parquet", description="The register of aircraft.")


class Aircraft(FeatureGroup, entity=aircraft, source=planes):
    """What an aircraft is. It holds at all times."""

    age = Feature(
        int,
        sql="{{ var('season') }} - year",
        description="Years since it was built, in the season's year.",
        expect="age BETWEEN 0 AND 60",
    )
    seats = Feature(int, description="Seats for passengers.", expect="seats > 0", tags="size")
    engines = Feature(int, description="How many engines it has.", expect="engines BETWEEN 1 AND 4", tags="size")
    manufacturer = Feature(
        str,
        sql="split_part(manufacturer, ' ', 1)",
        description="Who built it; AIRBUS INDUSTRIE and AIRBUS are one.",
    )
