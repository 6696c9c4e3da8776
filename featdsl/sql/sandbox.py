"""A Jinja sandbox for SQL templates: no access to Python objects, deterministic output, and limits on work and text."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import wraps
from typing import Any, cast

from jinja2 import StrictUndefined, nodes
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

STEPS = 100_000
"""The limit for loop iterations and macro calls of a template, together."""
CHARACTERS = 10_000_000
"""The maximum length of a template's output and of any intermediate text."""
_WIDTH = re.compile(r"\d{6,}|\*")
"""A large width in a format string."""
_INDENTS = frozenset({"indent", "tojson", "expandtabs"})
"""Filters and methods that insert a width per line or item."""
_WIDEST = 1_000
"""The maximum width for them."""


class TooMuchError(ValueError):
    """A template exceeds a limit."""


@dataclass
class _Budget:
    steps: int = STEPS
    characters: int = CHARACTERS


_budget: ContextVar[_Budget | None] = ContextVar("budget", default=None)


@contextmanager
def bounded() -> Iterator[None]:
    """Limit the steps and characters of everything inside to those of one template."""
    token = _budget.set(_Budget())
    try:
        yield
    finally:
        _budget.reset(token)


class Sandbox(ImmutableSandboxedEnvironment):
    """Jinja with errors for undefined names, no access to Python attributes, and limits on work."""

    intercepted_binops = frozenset({"*", "**", "+", "%"})

    def __init__(self) -> None:
        super().__init__(undefined=StrictUndefined, autoescape=False, finalize=_measured_output)
        del self.globals["lipsum"], self.filters["random"]  # their output is random
        self.filters = {name: _bounded(name, function) for name, function in self.filters.items()}
        self.filters |= {"#counted": _counted, "#joined": _joined}

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        """Parse a template, and wrap its loops and concatenations in filters that enforce the limits."""
        tree = super()._parse(source, name, filename)
        for loop in tree.find_all(nodes.For):
            loop.iter = _filtered("#counted", loop.iter)
        return _measured(tree)

    def call(self, context: Context, obj: Any, *args: Any, **kwargs: Any) -> Any:
        """Call a macro or a function, which counts as a step."""
        _count_steps(1)
        method = getattr(obj, "__wrapped__", obj)  # Jinja wraps str.format
        if isinstance(value := getattr(method, "__self__", None), str):
            _refuse_large(method.__name__, value, args, kwargs)
        return _short(super().call(context, obj, *args, **kwargs))

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Compute, unless the result would exceed a limit."""
        if operator == "*" and _length(left, right) > CHARACTERS:
            raise _too_long()
        if operator == "**" and isinstance(right, int) and right > CHARACTERS.bit_length():
            raise TooMuchError(f"the power {right} makes too large a number")
        if operator == "%" and isinstance(left, str) and _WIDTH.search(left):
            raise _too_long()
        return _short(super().call_binop(context, operator, left, right))


def _measured(tree: nodes.Template) -> nodes.Template:
    """Replace each `a ~ b` by a filter that checks the length."""
    pending: list[nodes.Node] = [tree]
    while pending:
        node = pending.pop()
        for field, value in node.iter_fields():
            if isinstance(value, nodes.Concat):
                setattr(node, field, _filtered("#joined", nodes.List(value.nodes, lineno=value.lineno)))
            elif isinstance(value, list):
                value[:] = [
                    _filtered("#joined", nodes.List(each.nodes, lineno=each.lineno))
                    if isinstance(each, nodes.Concat)
                    else each
                    for each in value
                ]
        pending += node.iter_child_nodes()
    return tree


def _filtered(name: str, node: nodes.Node) -> nodes.Filter:
    return nodes.Filter(cast("nodes.Expr", node), name, [], [], None, None, lineno=node.lineno)


def _counted(values: Iterable[Any]) -> list[Any]:
    """Return the values of a loop; each counts as a step."""
    counted = []
    for each in values:
        _count_steps(1)
        counted.append(each)
    return counted


def _measured_output(value: Any) -> Any:
    """Return a value that a template outputs, and count its characters."""
    budget = _budget.get()
    if budget is not None:
        budget.characters -= len(str(value))
        if budget.characters < 0:
            raise _too_long()
    return value


def _count_steps(steps: int) -> None:
    budget = _budget.get()
    if budget is not None:
        budget.steps -= steps
        if budget.steps < 0:
            raise TooMuchError(f"its loops and macros take more than {STEPS:,} steps")


def _joined(parts: list[Any]) -> str:
    texts = [str(each) for each in parts]
    if sum(map(len, texts)) > CHARACTERS:
        raise _too_long()
    return "".join(texts)


def _bounded(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a filter that raises TooMuchError before it creates too long a text."""
    first = 1 if hasattr(function, "jinja_pass_arg") else 0

    @wraps(function)
    def bounded_filter(*args: Any, **kwargs: Any) -> Any:
        value, *rest = args[first:]
        if name == "join":
            value = list(value)
            args = (*args[:first], value, *rest)
        _refuse_large(name, value, rest, kwargs)
        return _short(function(*args, **kwargs))

    return bounded_filter


def _refuse_large(name: str, value: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """Raise TooMuchError if a filter or a string method would create a text of more than CHARACTERS characters."""
    arguments = [*args, *kwargs.values()]
    numbers = [each for each in arguments if isinstance(each, int)]
    texts = [each for each in arguments if isinstance(each, str)]
    if name == "replace" and isinstance(value, str) and len(texts) > 1:
        length = len(value) + value.count(texts[0]) * len(texts[1])
    elif name == "join":
        # The method "x".join(values), or the filter values|join("x").
        parts, between = (arguments[0], value) if isinstance(value, str) and arguments else (value, "".join(texts))
        items = [str(each) for each in parts] if isinstance(parts, list | tuple | str) else []
        length = sum(map(len, items)) + len(between) * len(items)
    elif name in {"format", "format_map"}:
        length = CHARACTERS + 1 if isinstance(value, str) and _WIDTH.search(value) else 0
    else:
        length = max(numbers, default=0)
    if length > CHARACTERS or (name in _INDENTS and max(numbers, default=0) > _WIDEST):
        raise _too_long()


def _length(left: Any, right: Any) -> int:
    """Return the length of a repeated text or list; 0 for numbers."""
    for one, times in ((left, right), (right, left)):
        if isinstance(one, str | list | tuple) and isinstance(times, int):
            return len(one) * times
    return 0


def _short(value: Any) -> Any:
    if isinstance(value, str | list | tuple) and len(value) > CHARACTERS:
        raise _too_long()
    return value


def _too_long() -> TooMuchError:
    return TooMuchError(f"it creates a text of more than {CHARACTERS:,} characters")
