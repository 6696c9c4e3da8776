"""The parts that charts share: escaped elements, scales and ticks."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from functools import lru_cache

from markupsafe import Markup, escape

from featdsl.definitions.escaping import shown

_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
_MOST_TICKS = 12
_PLAIN = re.compile(r"[\w .,:%+#@()/-]*", re.ASCII)


def element(tag: str, content: Iterable[Markup] | str = (), /, **attributes: str | float | None) -> Markup:
    """Return an element; `class_` writes the attribute `class`, a `_` inside a name is a `-`, and None leaves it out."""
    written = "".join(
        [f' {_attribute(name)}="{_text(value)}"' for name, value in attributes.items() if value is not None]
    )
    inner = _escaped(content) if isinstance(content, str) else "".join(content)
    return Markup(f"<{tag}{written}>{inner}</{tag}>")  # noqa: S704 - all parts are escaped


@lru_cache(maxsize=100)
def _attribute(name: str) -> str:
    return name.rstrip("_").replace("_", "-")


def _text(value: str | float) -> str:
    if isinstance(value, str):
        return _escaped(value)
    return str(value) if isinstance(value, int) or value == int(value) else f"{value:.1f}"


def _escaped(text: str) -> str:
    """Return a text for HTML; a chart has thousands, and most have no character to escape."""
    return text if _PLAIN.fullmatch(text) else str(escape(shown(text)))


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
