"""The Jinja that SQL is filled with: no way out to Python, the same text at each run, and bounds on what a template takes."""

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
"""How often the loops of a template may go round and its macros be called, all together."""
CHARACTERS = 10_000_000
"""The longest text that a template may make, at its end or on the way."""
_WIDTH = re.compile(r"\d{6,}|\*")
"""A width in a format that fills a text up."""
_INDENTS = frozenset({"indent", "tojson", "expandtabs"})
"""What writes a width once for each line or item."""
_WIDEST = 1_000
"""The largest such width."""


class TooMuchError(ValueError):
    """A template that takes more than it may."""


@dataclass
class _Budget:
    steps: int = STEPS
    characters: int = CHARACTERS


_budget: ContextVar[_Budget | None] = ContextVar("budget", default=None)


@contextmanager
def bounded() -> Iterator[None]:
    """Let what runs inside take as many steps as one template may."""
    token = _budget.set(_Budget())
    try:
        yield
    finally:
        _budget.reset(token)


class Sandbox(ImmutableSandboxedEnvironment):
    """Jinja in which a name that is not there is an error, attributes of Python are out of reach and work is counted."""

    intercepted_binops = frozenset({"*", "**", "+", "%"})

    def __init__(self) -> None:
        super().__init__(undefined=StrictUndefined, autoescape=False, finalize=_written)
        del self.globals["lipsum"], self.filters["random"]  # which give another text at each run
        self.filters = {name: _bounded(name, function) for name, function in self.filters.items()}
        self.filters |= {"#counted": _counted, "#joined": _joined}

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        """Return the tree of a template in which each loop is counted and each text that is put together is measured."""
        tree = super()._parse(source, name, filename)
        for loop in tree.find_all(nodes.For):
            loop.iter = _filtered("#counted", loop.iter)
        return _measured(tree)

    def call(self, context: Context, obj: Any, *args: Any, **kwargs: Any) -> Any:
        """Call a macro or a function, which takes a step."""
        _take(1)
        method = getattr(obj, "__wrapped__", obj)  # which Jinja puts around str.format
        if isinstance(value := getattr(method, "__self__", None), str):
            _refuse_large(method.__name__, value, args, kwargs)
        return _short(super().call(context, obj, *args, **kwargs))

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Compute, unless that would take more memory than a template may."""
        if operator == "*" and _length(left, right) > CHARACTERS:
            raise _too_long()
        if operator == "**" and isinstance(right, int) and right > CHARACTERS.bit_length():
            raise TooMuchError(f"the power {right} makes too large a number")
        if operator == "%" and isinstance(left, str) and _WIDTH.search(left):
            raise _too_long()
        return _short(super().call_binop(context, operator, left, right))


def _measured(tree: nodes.Template) -> nodes.Template:
    """Replace each `a ~ b` by the filter that joins and measures."""
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
    """Return the values of a loop, each of which takes a step."""
    found = []
    for each in values:
        _take(1)
        found.append(each)
    return found


def _written(value: Any) -> Any:
    """Return a value that a template writes; its length counts."""
    budget = _budget.get()
    if budget is not None:
        budget.characters -= len(str(value))
        if budget.characters < 0:
            raise _too_long()
    return value


def _take(steps: int) -> None:
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
    """Return a filter that refuses to make what is too long."""
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
    """Refuse a filter or a method of a text that would make a text of more characters than a template may."""
    given = [*args, *kwargs.values()]
    numbers = [each for each in given if isinstance(each, int)]
    texts = [each for each in given if isinstance(each, str)]
    if name == "replace" and isinstance(value, str) and len(texts) > 1:
        length = len(value) + value.count(texts[0]) * len(texts[1])
    elif name == "join":
        # Of a text itself: "x".join(values); of a filter: values|join("x").
        parts, between = (given[0], value) if isinstance(value, str) and given else (value, "".join(texts))
        listed = [str(each) for each in parts] if isinstance(parts, list | tuple | str) else []
        length = sum(map(len, listed)) + len(between) * len(listed)
    elif name in {"format", "format_map"}:
        length = CHARACTERS + 1 if isinstance(value, str) and _WIDTH.search(value) else 0
    else:
        length = max(numbers, default=0)
    if length > CHARACTERS or (name in _INDENTS and max(numbers, default=0) > _WIDEST):
        raise _too_long()


def _length(left: Any, right: Any) -> int:
    """Return how long a text or a list becomes by being repeated; 0 for numbers."""
    for one, times in ((left, right), (right, left)):
        if isinstance(one, str | list | tuple) and isinstance(times, int):
            return len(one) * times
    return 0


def _short(value: Any) -> Any:
    if isinstance(value, str | list | tuple) and len(value) > CHARACTERS:
        raise _too_long()
    return value


def _too_long() -> TooMuchError:
    return TooMuchError(f"it makes a text of more than {CHARACTERS:,} characters")
