"""Serving: the online stores, publishing, reads and the serving log."""
