"""Integrations with tools that keep models. Each imports its tool only when it is called."""
