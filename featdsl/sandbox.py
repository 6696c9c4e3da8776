"""The Jinja that SQL is filled with: no way out to Python, the same text at each run, and bounds on what a template takes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, cast

from jinja2 import StrictUndefined, nodes
from jinja2.filters import do_center
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

STEPS = 100_000
"""How often the loops of a template may go round and its macros be called, all together."""
CHARACTERS = 10_000_000
"""The longest text that a template may make, at its end or on the way."""
_WIDTH = re.compile(r"\d{6,}|\*")
"""A width in a format that fills a text up."""
_BY_CHANCE = ("lipsum",)
_BY_CHANCE_FILTERS = ("random",)


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
        for name in _BY_CHANCE:
            del self.globals[name]
        for name in _BY_CHANCE_FILTERS:
            del self.filters[name]
        self.filters |= {"center": _center, "#counted": _counted, "#joined": _joined}

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        """Return the tree of a template in which each loop is counted and each text that is put together is measured."""
        tree = super()._parse(source, name, filename)
        for loop in tree.find_all(nodes.For):
            loop.iter = _filtered("#counted", loop.iter)
        return _measured(tree)

    def call(self, context: Context, obj: Any, *args: Any, **kwargs: Any) -> Any:
        """Call a macro or a function, which takes a step."""
        _take(1)
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


def _center(value: str, width: int = 80) -> str:
    if width > CHARACTERS:
        raise _too_long()
    return do_center(value, width)


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
