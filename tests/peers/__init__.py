"""Tests beside the products that featdsl works with: Dagster, Airflow, Feast and dbt."""
