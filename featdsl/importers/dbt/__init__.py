"""Read a dbt project from the files that `dbt parse` writes, and turn its models and metrics into declarations."""
