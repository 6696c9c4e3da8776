"""Unit tests of the example's features: each team tests its own, over rows of its own."""
