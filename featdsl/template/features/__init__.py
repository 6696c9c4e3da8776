"""What our teams declare: a folder a team. Run `featdsl plan` to see what would change, `featdsl apply` to do it."""
