"""Every function and operator of DuckDB that is proved on Spark: the parity suite computes each on both, over rows with odd values."""

from __future__ import annotations

from featdsl.engines.spark.functions_angles import ANGLES
from featdsl.engines.spark.functions_differences import DIFFERENCES
from featdsl.engines.spark.functions_lists import LISTS
from featdsl.engines.spark.functions_numbers import NUMBERS
from featdsl.engines.spark.functions_spans import SPANS
from featdsl.engines.spark.functions_text import TEXT
from featdsl.engines.spark.functions_times import TIMES
from featdsl.engines.spark.operators import OPERATORS
from featdsl.engines.spark.signatures import Signature, Table

SIGNATURES: tuple[Signature, ...] = (*OPERATORS, *NUMBERS, *ANGLES, *TEXT, *TIMES, *DIFFERENCES, *SPANS, *LISTS)
FUNCTIONS = Table(SIGNATURES)


def proved() -> list[tuple[str, list[Signature]]]:
    """Return the names of all functions and operators with their signatures, in alphabetical order."""
    return sorted(FUNCTIONS.by_name.items())
