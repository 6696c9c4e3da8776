"""Events that code pushes into the store: their checks, and the values that they change before the next refresh."""
