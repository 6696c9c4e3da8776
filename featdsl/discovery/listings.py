"""Lists of definitions and of check results that a notebook shows as tables."""

from __future__ import annotations

from collections.abc import Iterable

from featdsl.definitions.history import CheckResult
from featdsl.definitions.kinds import Deprecation
from featdsl.definitions.sheets import Cell, Code, Mark, ShownList, verdict
from featdsl.discovery.filters import Entry
from featdsl.discovery.search import Found, Listed


def features(items: Iterable[Listed]) -> ShownList[Listed]:
    """Return features as a list that shows their types, entities and owners."""
    return ShownList(items, _feature)


def found(items: Iterable[Found]) -> ShownList[Found]:
    """Return the results of a search as a list that shows what they are."""
    return ShownList(items, _found)


def entries(items: Iterable[Entry]) -> ShownList[Entry]:
    """Return definitions as a list that shows their kinds, entities and sets."""
    return ShownList(items, _entry)


def past_checks(items: Iterable[CheckResult]) -> ShownList[CheckResult]:
    """Return the results of past checks as a list that shows their verdicts."""
    return ShownList(items, _past_check)


def _feature(each: Listed) -> dict[str, Cell]:
    return {
        "feature": Code(each.address), "type": Code(each.dtype), "entity": each.entity or "(global)",
        "owner": f"{each.owner} (ad hoc)" if each.adhoc else each.owner, "": _mark(each.deprecated, private=each.private),
        "description": _summary(each), "tags": ", ".join(each.tags),
    }  # fmt: skip


def _found(each: Found) -> dict[str, Cell]:
    return {
        "kind": each.kind, "name": Code(each.address), "owner": each.owner,
        "": _mark(each.deprecated, private=each.private), "description": _summary(each),
    }  # fmt: skip


def _entry(each: Entry) -> dict[str, Cell]:
    return {
        "kind": each.kind, "name": Code(each.address), "type": Code(", ".join(each.types)) if each.types else None, "entity": ", ".join(each.entities),
        "owner": each.owner, "": _mark(each.deprecated, private=each.private),
        "description": _summary(each),
    }  # fmt: skip


def _past_check(each: CheckResult) -> dict[str, Cell]:
    return {
        "verdict": verdict(each.verdict), "name": Code(each.address), "rule": Code(each.rule_text), "broken": each.broken or None,
        "rows": each.rows, "checked at": each.checked_at[:19].replace("T", " "), "during": each.during, "by": each.by,
    }  # fmt: skip


def _mark(deprecated: Deprecation | None, *, private: bool) -> Mark | None:
    words = [word for word, applies in (("private", private), ("deprecated", deprecated)) if applies]
    return Mark(", ".join(words), "warn") if words else None


def _summary(each: Listed | Found | Entry) -> str:
    """Return the first line of a description, after the replacement of what is deprecated."""
    use = f"Use {each.deprecated.use}. " if each.deprecated is not None and each.deprecated.use else ""
    return f"{use}{each.description.partition(chr(10))[0]}".rstrip()
