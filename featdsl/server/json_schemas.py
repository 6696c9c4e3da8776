"""The JSON schema and an example of the values of every DuckDB type, as `json_values` writes them."""

from __future__ import annotations

from typing import Any

from featdsl.definitions.dtypes import Shape, family, parse

_TEXTS: dict[str, tuple[dict[str, Any], str]] = {
    "UUID": ({"format": "uuid"}, "3f2b8c1e-8f0a-4c57-9d53-0c7b7c1f9a10"),
    "BLOB": ({"contentEncoding": "base64"}, "AAE="),
    "DATE": ({"format": "date"}, "2026-01-31"),
    "TIME": ({"format": "time"}, "12:30:00"),
    "TIME WITH TIME ZONE": ({"format": "time"}, "12:30:00+00:00"),
    "INTERVAL": ({"format": "duration"}, "P1DT2H"),
    "BIT": ({"pattern": "^[01]+$"}, "0101"),
    "VARCHAR": ({}, "text"),
}
_DIGITS = {"pattern": r"^-?\d+(\.\d+)?$"}


def schema(dtype: str) -> dict[str, Any]:
    """Return the JSON schema of a column's values; each may be null."""
    return {"anyOf": [_of(parse(dtype)), {"type": "null"}]}


def example(dtype: str) -> Any:
    """Return a value of a type in JSON's form."""
    return _example(parse(dtype))


def _of(shape: Shape) -> dict[str, Any]:  # noqa: C901, PLR0911 - a return for each family
    match family(str(shape)):
        case "integer" if shape.name not in {"HUGEINT", "UHUGEINT"}:
            return {"type": "integer"}
        case "integer" | "decimal":
            return {"type": "string", **_DIGITS}
        case "real":
            return {"anyOf": [{"type": "number"}, {"enum": ["NaN", "Infinity", "-Infinity"]}]}
        case "instant" if shape.name != "DATE":
            return {"type": "string", "format": "date-time"}
    if shape.name == "BOOLEAN":
        return {"type": "boolean"}
    if shape.name in {"LIST", "ARRAY"}:
        return {"type": "array", "items": schema(str(shape.of[0][1]))}
    if shape.name == "STRUCT":
        fields = {name.strip('"').replace('""', '"'): schema(str(each)) for name, each in shape.of}
        return {"type": "object", "properties": fields}
    if shape.name == "MAP" and len(shape.of) == 2:  # noqa: PLR2004 - a key and a value
        (_, key), (_, value) = shape.of
        if key.name == "VARCHAR":
            return {"type": "object", "additionalProperties": schema(str(value))}
        return {"type": "array", "items": {"type": "array", "minItems": 2, "maxItems": 2}}
    if shape.name in _TEXTS or shape.name in {"ENUM", "BIGNUM", "JSON"}:
        return {"type": "string", **_TEXTS.get(shape.name, ({}, ""))[0]}
    return {}


def _example(shape: Shape) -> Any:  # noqa: C901, PLR0911 - a return for each family
    match family(str(shape)):
        case "integer" if shape.name not in {"HUGEINT", "UHUGEINT"}:
            return 42
        case "integer":
            return "42"
        case "decimal":
            return "12.5" if shape.arguments.partition(",")[2].strip() not in {"", "0"} else "12"
        case "real":
            return 12.5
        case "instant" if shape.name != "DATE":
            return "2026-01-31T12:30:00Z"
    if shape.name == "BOOLEAN":
        return True
    if shape.name == "ENUM":
        return shape.arguments.partition(",")[0].strip().strip("'")
    if shape.name == "LIST":
        return [_example(shape.of[0][1])]
    if shape.name == "ARRAY":
        return [_example(shape.of[0][1])] * int(shape.arguments)
    if shape.name == "STRUCT":
        return {name.strip('"').replace('""', '"'): _example(each) for name, each in shape.of}
    if shape.name == "MAP" and len(shape.of) == 2:  # noqa: PLR2004 - a key and a value
        (_, key), (_, value) = shape.of
        return {"key": _example(value)} if key.name == "VARCHAR" else [[_example(key), _example(value)]]
    return _TEXTS.get(shape.name, ({}, "42" if shape.name == "BIGNUM" else "text"))[1]
