"""The change history: what each apply changed, and the results of its checks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from featdsl.definitions.quality_rules import Kind, Severity, rule_text
from featdsl.definitions.snapshot import PROD


@dataclass(frozen=True, kw_only=True)
class Touched:
    """One definition that an apply changed: `action` as in a plan, and the class of the change."""

    action: str
    kind: str
    address: str
    change_class: str


@dataclass(frozen=True, kw_only=True)
class HistoryEntry:
    """One apply: who ran it, when, in which environment, from which commit, what changed, and which teams had approved."""

    serial: int
    environment: str = PROD
    applied_at: str
    project: str
    user: str
    commit: str
    summary: str
    changes: tuple[Touched, ...]
    rows: int
    seconds: float
    approved_by: tuple[str, ...] = ()

    def touches(self, name: str) -> bool:
        """Return whether it changed the definition of this address, or a feature or set version of a group or set of this name."""
        return any(each.address == name or each.address.startswith((f"{name}.", f"{name}@")) for each in self.changes)


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """The result of one check of a rule: `broken` of the `rows` stored at a state of the store.

    For a rule on all rows together, `broken` is 0 or 1; for a uniqueness rule, the number of values that several entities share.
    After a failed apply, `serial` is the state before it.
    """

    environment: str = PROD
    address: str
    kind: Kind
    rule: str
    name: str = ""
    severity: Severity
    broken: int
    rows: int
    checked_at: str
    serial: int
    by: str
    during: Literal["apply", "check", "refresh"]

    @property
    def verdict(self) -> Literal["ok", "warning", "failed"]:
        """The outcome of the check."""
        return "ok" if not self.broken else "failed" if self.severity == "error" else "warning"

    @property
    def rule_text(self) -> str:
        """The rule with its name, marked if it only warns."""
        return rule_text(self.rule, self.name, self.severity)
