"""A Python function has the same fingerprint in every supported version of Python, so an upgrade recomputes nothing."""

from __future__ import annotations

import pytest

from featdsl.catalog.function_hash import describe
from tests.catalog.test_function_hash import Load, load

__all__ = ["load"]

HEAD = """
import abc
import enum
import functools
import typing
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol
"""
CASES = {
    "formats": """
def f(a, width=3):
    return f"{a!r:>{width}}|{a:{width}.{width}}|{a}" f"{a=}" "x" f""
""",
    "dataclass": """
@dataclass(frozen=True, slots=True)
class Rate:
    per: int = 3
    over: list = field(default_factory=list)

    def of(self, a):
        return a * self.per

def f(a):
    return Rate().of(a)
""",
    "ordered dataclass": """
@dataclass(order=True, kw_only=True)
class Rate:
    per: int = 3

RATE = Rate(per=4)

def f(a):
    return a * RATE.per
""",
    "enum": """
class Kind(enum.Enum):
    CREDIT = "c"
    DEBIT = "d"

    @property
    def sign(self):
        return 1 if self is Kind.CREDIT else -1

class Level(enum.IntFlag):
    LOW = enum.auto()
    HIGH = enum.auto()

def f(a):
    return Kind(a).sign * Level.HIGH
""",
    "named tuple": """
class Point(NamedTuple):
    x: int
    y: int = 2

    def far(self):
        return self.x + self.y

def f(a):
    return Point(a).far()
""",
    "class": """
class Counted(abc.ABC):
    LIMIT = 10

    @abc.abstractmethod
    def one(self): ...

    @staticmethod
    def two(a):
        return a

    @classmethod
    def three(cls, a):
        return cls.LIMIT + a

    @property
    def four(self):
        return 4

class Shown(Protocol):
    def shown(self) -> str: ...

class Inner(Counted, Shown):
    def one(self):
        return 1

def f(a):
    return Inner().one() + Counted.two(a)
""",
    "statements": """
def f(a: "int", *rest, key=None, **others):
    '''Say what.'''
    total: int = 0
    try:
        with open(a) as one, open("b") as two:
            total += len(one.read()) if (n := len(two.read())) else n
    except* (OSError, ValueError) as errors:
        raise RuntimeError from errors
    match rest:
        case [1, *_] | {"a": _}:
            del total
        case {"k": 1.5, **more} if more:
            total = more
    squares = {x: [y for y in range(x) if y] for x in range(3)}
    return squares, {*rest}, (lambda v, /, w=1, *, z: (yield v)), a[1:2, ...], -1, b"x", 1j, None, "a" "b"
""",
    "nested": """
def f(a):
    @functools.wraps(f)
    async def inner(b):
        async for each in b:
            await each
        return [c async for c in b]

    class Local:
        x = a

    return inner, Local
""",
}
RECORDED = {
    "formats": "29301ac48335d38908c81231a28896fa",
    "dataclass": "46055cbf7bfbb0b36299fa60a324961f",
    "ordered dataclass": "c2d1f47fa8ab9fc83ef3f667c2d1b084",
    "enum": "d0ad02644df9e38dea52fe985fbf71d0",
    "named tuple": "838dcfe1634bf0eb4ed2eac159f144a3",
    "class": "c70a72ac784d626eca852c04ababa890",
    "statements": "1f4c400b0a87db13e33dd70e405025fc",
    "nested": "bae2ae4d2693b06b6c3cdb46419b3e14",
}
"""The fingerprints of Python 3.11."""


@pytest.mark.parametrize("name", CASES)
def test_a_fingerprint_is_that_of_the_oldest_python(name: str, load: Load) -> None:
    """Whatever syntax trees and generated members the version of Python has."""
    assert describe(load(HEAD + CASES[name])).fingerprint == RECORDED[name]
