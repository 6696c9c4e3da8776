"""The risk team, which has nothing to share any more."""
