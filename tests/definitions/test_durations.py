"""Lengths of time as people write them."""

from __future__ import annotations

import pytest

from featdsl.definitions import durations


@pytest.mark.parametrize(
    ("text", "seconds"), [("250 milliseconds", 0.25), ("1 millisecond", 0.001), ("2 seconds", 2.0), ("1 minute", 60.0)]
)
def test_a_timeout_may_be_in_milliseconds(text: str, seconds: float) -> None:
    """Reads of an online store take less than a second."""
    assert durations.timeout(text) == seconds


@pytest.mark.parametrize("text", ["0 milliseconds", "1.5 milliseconds", "1 month", "soon", ""])
def test_other_texts_are_no_timeout(text: str) -> None:
    """A timeout is a positive whole number and a unit of fixed length."""
    with pytest.raises(ValueError, match="'"):
        durations.checked_timeout(text)
