"""The parts that charts share: escaped elements, scales and ticks."""

from __future__ import annotations

import math
from collections.abc import Iterable

from markupsafe import Markup, escape

from featdsl.definitions.escaping import shown

_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
_MOST_TICKS = 12


def element(tag: str, content: Iterable[Markup] | str = (), /, **attributes: object) -> Markup:
    """Return an element; `class_` writes the attribute `class`, a `_` inside a name is a `-`, and None leaves it out."""
    written = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{escape(shown(_text(value)))}"'
        for name, value in attributes.items()
        if value is not None
    )
    inner = escape(shown(content)) if isinstance(content, str) else Markup("").join(content)
    return Markup(f"<{tag}{written}>{inner}</{tag}>")  # noqa: S704 - all parts are escaped


def _text(value: object) -> str:
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else str(value)


def ticks(low: float, high: float, wanted: int) -> list[float]:
    """Return round numbers between two bounds, about as many as wanted."""
    if not (math.isfinite(low) and math.isfinite(high)) or high <= low or not math.isfinite(high - low):
        return []
    rough = (high - low) / wanted
    magnitude = 10.0 ** math.floor(math.log10(rough)) if rough > 0 else 0
    if not magnitude:
        return []
    step = next(step * magnitude for step in _STEPS if step * magnitude >= rough)
    first = math.ceil(low / step)
    found = [(first + place) * step for place in range(_MOST_TICKS)]
    return [each for each in found if low <= each <= high + step * 1e-9]
