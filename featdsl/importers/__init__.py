"""Turn what other tools declare into featdsl's own declarations."""
