"""Functions of angles, which are NaN where an angle or a result is undefined."""

from __future__ import annotations

from featdsl.engines.spark.signatures import Signature

_PI = "3.141592653589793D"
_ON_AXIS = "{0} = 0 AND {1} IS NOT NULL AND NOT isnan({1})"
_IS_LEFT = "{1} < 0 OR ({1} = 0 AND CAST({1} AS STRING) LIKE '-%')"
_ATAN2 = f"""CASE WHEN NOT ({_ON_AXIS}) THEN atan2({{0}}, {{1}}) WHEN NOT ({_IS_LEFT}) THEN {{0}}
  WHEN CAST({{0}} AS STRING) LIKE '-%' THEN -{_PI} WHEN {{0}} = 0 THEN {_PI} END"""
"""Spark takes -0.0 for 0.0, which is the other end of the circle if the angle is half a turn."""
ANGLES = (
    *(
        Signature(name, ("DOUBLE",), "DOUBLE", f"{name}({{0}})", ulps=2)
        for name in ("sin", "cos", "tan", "asin", "acos", "atan", "radians", "degrees")
    ),
    Signature("atan2", ("DOUBLE", "DOUBLE"), "DOUBLE", _ATAN2, ulps=2),
    Signature("pi", (), "DOUBLE", _PI),
)
