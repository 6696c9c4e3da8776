"""From two catalogs to a plan: changes, guards and steps."""
