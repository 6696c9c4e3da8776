"""Features of our teams, one folder per team. `featdsl plan` shows what would change, `featdsl apply` changes it."""
