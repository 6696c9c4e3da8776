"""Integrations with other tools, over the tools themselves."""
