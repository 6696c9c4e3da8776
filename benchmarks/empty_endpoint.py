"""An endpoint of FastAPI that answers nothing: what a server of features cannot be faster than."""

from __future__ import annotations

from fastapi import FastAPI

app = FastAPI()


@app.post("/")
async def answer() -> dict[str, str]:
    """Answer an empty object."""
    return {}
