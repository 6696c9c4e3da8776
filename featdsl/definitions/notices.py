"""Notices of a plan: facts a reviewer should know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Notice:
    """A fact that a reviewer should know, but that does not block the plan."""

    code: Literal[
        "deprecated",
        "probable rename",
        "duplicate",
        "not checked",
        "pulled",
        "frozen list",
        "bare name",
        "name",
        "old rows",
        "engine",
    ]
    address: str
    what: str
    fix: str
