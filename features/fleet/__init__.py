"""The aircraft of the fleet."""

from featdsl import Entity, Feature, FeatureGroup, Source

aircraft = Entity("aircraft", keys={"tailnum": str}, description="An aircraft, by the number on its tail.")

planes = Source("planes", path="data/planes.parquet", description="The register of aircraft.")


class Aircraft(FeatureGroup, entity=aircraft, source=planes):
    """Properties of an aircraft, which never change."""

    age = Feature(
        int,
        sql="{{ var('season') }} - year",
        description="Age in the year of the season.",
        unit="years",
        expect="age BETWEEN 0 AND 60",
    )
    seats = Feature(int, description="Number of passenger seats.", expect="seats > 0", tags="size")
    engines = Feature(int, description="Number of engines.", expect="engines BETWEEN 1 AND 4", tags="size")
    manufacturer = Feature(
        str,
        sql="split_part(manufacturer, ' ', 1)",
        description="Manufacturer; AIRBUS INDUSTRIE counts as AIRBUS.",
    )
