"""Declarations: the pydantic models that teams write in `features/`."""
