"""The functions and operators of DuckDB for which sqlglot has a class of its own: the name, and the order of the arguments."""

from __future__ import annotations

from collections.abc import Mapping

from sqlglot import exp

_ONE = ("this",)
_BOTH = ("this", "expression")
CALLS: Mapping[type, tuple[str, tuple[str, ...]]] = {
    exp.Add: ("+", _BOTH), exp.Sub: ("-", _BOTH), exp.Mul: ("*", _BOTH), exp.Div: ("/", _BOTH), exp.Mod: ("%", _BOTH),
    exp.IntDiv: ("//", _BOTH), exp.Pow: ("pow", _BOTH), exp.DPipe: ("||", _BOTH),
    exp.EQ: ("=", _BOTH), exp.NEQ: ("<>", _BOTH), exp.LT: ("<", _BOTH), exp.LTE: ("<=", _BOTH), exp.GT: (">", _BOTH),
    exp.GTE: (">=", _BOTH), exp.NullSafeNEQ: ("IS DISTINCT FROM", _BOTH), exp.NullSafeEQ: ("IS NOT DISTINCT FROM", _BOTH),
    exp.BitwiseAnd: ("&", _BOTH), exp.BitwiseOr: ("|", _BOTH), exp.BitwiseXor: ("xor", _BOTH), exp.BitwiseNot: ("~", _ONE),
    exp.Abs: ("abs", _ONE), exp.Sign: ("sign", _ONE), exp.Floor: ("floor", _ONE), exp.Ceil: ("ceil", _ONE),
    exp.Round: ("round", ("this", "decimals")), exp.Sqrt: ("sqrt", _ONE), exp.Ln: ("ln", _ONE), exp.Log: ("log", _BOTH),
    exp.Exp: ("exp", _ONE), exp.IsNan: ("isnan", _ONE), exp.IsInf: ("isinf", _ONE),
    exp.Sin: ("sin", _ONE), exp.Cos: ("cos", _ONE), exp.Tan: ("tan", _ONE), exp.Asin: ("asin", _ONE), exp.Acos: ("acos", _ONE), exp.Atan: ("atan", _ONE),
    exp.Atan2: ("atan2", _BOTH), exp.Radians: ("radians", _ONE), exp.Degrees: ("degrees", _ONE), exp.Pi: ("pi", ()), exp.Trunc: ("trunc", _ONE),
    exp.Upper: ("upper", _ONE), exp.Lower: ("lower", _ONE), exp.Length: ("length", _ONE),
    exp.Substring: ("substring", ("this", "start", "length")), exp.Left: ("left", _BOTH), exp.Right: ("right", _BOTH),
    exp.Replace: ("replace", ("this", "expression", "replacement")), exp.StartsWith: ("starts_with", _BOTH),
    exp.EndsWith: ("ends_with", _BOTH), exp.Contains: ("contains", _BOTH), exp.StrPosition: ("strpos", ("this", "substr")),
    exp.SplitPart: ("split_part", ("this", "delimiter", "part_index")), exp.Repeat: ("repeat", ("this", "times")),
    exp.MD5: ("md5", _ONE), exp.RegexpLike: ("regexp_matches", _BOTH),
    exp.RegexpExtract: ("regexp_extract", ("this", "expression", "group")),
    exp.RegexpReplace: ("regexp_replace", ("this", "expression", "replacement", "modifiers")),
    exp.TimestampTrunc: ("date_trunc", ("unit", "this")), exp.DateTrunc: ("date_trunc", ("unit", "this")),
    exp.Extract: ("date_part", _BOTH), exp.DateDiff: ("date_diff", ("unit", "expression", "this")),
    exp.Dayname: ("dayname", _ONE), exp.Monthname: ("monthname", _ONE), exp.LastDay: ("last_day", _ONE),
    exp.TimeToStr: ("strftime", ("this", "format")), exp.TimeToUnix: ("epoch", _ONE), exp.UnixToTime: ("epoch_ms", _ONE),
    exp.Year: ("year", _ONE), exp.Month: ("month", _ONE), exp.Day: ("day", _ONE), exp.Hour: ("hour", _ONE), exp.Minute: ("minute", _ONE),
    exp.Second: ("second", _ONE), exp.Quarter: ("quarter", _ONE), exp.Week: ("week", _ONE), exp.WeekOfYear: ("weekofyear", _ONE),
    exp.DayOfWeek: ("dayofweek", _ONE), exp.DayOfWeekIso: ("isodow", _ONE), exp.DayOfYear: ("dayofyear", _ONE), exp.DayOfMonth: ("dayofmonth", _ONE),
    exp.ToDays: ("to_days", _ONE), exp.AtTimeZone: ("timezone", ("zone", "this")),
    exp.ArrayContains: ("list_contains", _BOTH), exp.ArraySize: ("length", _ONE),
}  # fmt: skip
SETTINGS: Mapping[type, tuple[str, ...]] = {
    exp.Div: ("typed", "safe"),
    exp.DPipe: ("safe",),
    exp.DateDiff: ("date_part_boundary",),
    exp.RegexpExtract: ("null_if_pos_overflow",),
    exp.RegexpReplace: ("single_replace",),
    exp.UnixToTime: ("scale",),
}
"""Arguments of a node that only describe what DuckDB means."""
ALIASES = {
    "octet_length": "strlen",
    "prefix": "starts_with",
    "suffix": "ends_with",
    "weekday": "dayofweek",
    "datepart": "date_part",
    "datediff": "date_diff",
    "datesub": "date_sub",
    "datetrunc": "date_trunc",
    "list_element": "list_extract",
    "array_extract": "list_extract",
    "is_nan": "isnan",
}
"""Other names of functions that sqlglot has no class for."""
