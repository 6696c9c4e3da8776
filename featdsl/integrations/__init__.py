"""Integrations with tools that keep models, run commands or collect lineage. Each imports its tool only when it is called."""
