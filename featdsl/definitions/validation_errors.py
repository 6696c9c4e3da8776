"""Reword the errors of pydantic for users."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_LONGEST = 60
_KINDS = {
    "string": "a string",
    "int": "a whole number",
    "float": "a number",
    "decimal": "a number",
    "bool": "True or False",
    "list": "a list",
    "tuple": "a list",
    "set": "a list",
    "frozen": "a list",
    "dict": "a mapping, such as {'name': value}",
    "mapping": "a mapping, such as {'name': value}",
    "model": "a table of settings",
    "dataclass": "an object",
    "date": "a date, such as '2026-06-30'",
    "datetime": "a time, such as '2026-06-30 12:00'",
    "callable": "a function",
    "none": "None",
}
"""The expected value, by the first word of the error type, such as `int_parsing` or `int_type`."""


def reason(detail: Mapping[str, Any]) -> str:
    """Return why an input is invalid, from an entry of `ValidationError.errors()`."""
    kind, context = detail["type"], detail.get("ctx", {})
    value = shown(detail.get("input"))
    match kind:
        case "value_error" | "assertion_error":
            return str(detail["msg"]).partition(", ")[2]
        case "missing":
            return "it is missing"
        case "json_invalid":
            return "it is not JSON"
        case "literal_error" | "enum":
            expected = str(context["expected"])
        case "is_instance_of":
            expected = _with_article(str(context["class"]))
        case "greater_than_equal":
            expected = f"at least {context['ge']}"
        case "greater_than":
            expected = f"more than {context['gt']}"
        case "less_than_equal":
            expected = f"at most {context['le']}"
        case "union_tag_invalid":
            field = str(context["discriminator"]).strip("'")
            expected, value = "known", f"the {field} {context['tag']!r}"
        case _:
            expected = _KINDS.get(kind.partition("_")[0], "")
    return f"{value} is not {expected}" if expected else f"{value} is not valid"


def shown(value: object) -> str:
    """Return a short text of a value for messages, without memory addresses."""
    if isinstance(value, type) and type(value).__repr__ is type.__repr__:
        return f"the class {value.__name__}"
    if type(value).__repr__ is object.__repr__:
        return _with_article(f"object of the class {type(value).__name__}")
    if callable(value) and hasattr(value, "__name__") and not isinstance(value, type):
        return f"the function {value.__name__}"
    try:
        text = " ".join(repr(value).split())
    except Exception:  # noqa: BLE001 - user code may raise anything
        return _with_article(f"object of the class {type(value).__name__}")
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _with_article(noun: str) -> str:
    return f"{'an' if noun[:1].lower() in 'aeiou' else 'a'} {noun}"
