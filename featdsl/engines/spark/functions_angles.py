"""Functions of angles, which are NaN where an angle or a result is undefined."""

from __future__ import annotations

from featdsl.engines.spark.signatures import Signature

ANGLES = (
    *(
        Signature(name, ("DOUBLE",), "DOUBLE", f"{name}({{0}})", ulps=2)
        for name in ("sin", "cos", "tan", "asin", "acos", "atan", "radians", "degrees")
    ),
    Signature("atan2", ("DOUBLE", "DOUBLE"), "DOUBLE", "atan2({0}, {1})", ulps=2),
    Signature("pi", (), "DOUBLE", "3.141592653589793D"),
)
