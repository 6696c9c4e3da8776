"""A function's fingerprint depends on what it computes, not on its place or its formatting."""

from __future__ import annotations

import importlib.util
import itertools
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from types import FunctionType, ModuleType

import pytest

from featdsl.catalog.function_hash import FunctionProblem, describe

_numbers = itertools.count()
IMPORTS = """
import abc, dataclasses, datetime as dt, enum, functools, logging, math, pathlib, re, types, typing, uuid
from collections import namedtuple
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
"""


def module(folder: Path, code: str) -> ModuleType:
    """Import a file with this code under a unique module name."""
    folder.mkdir(parents=True, exist_ok=True)
    name = f"user_code_{next(_numbers)}"
    path = folder / f"{name}.py"
    path.write_text(code, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    sys.modules[name] = made
    spec.loader.exec_module(made)
    return made


@pytest.fixture
def load(tmp_path: Path) -> Callable[[str], FunctionType]:
    """Import code and return its function `f`."""

    def loaded(code: str) -> FunctionType:
        function = module(tmp_path, IMPORTS + textwrap.dedent(code)).f
        assert isinstance(function, FunctionType)
        return function

    return loaded


Load = Callable[[str], FunctionType]

SAME = {
    "comments and formatting": ("def f(x):\n    return x + 1", "def f( x ) :\n  # one more\n\n  return (x\n     + 1)"),
    "a docstring": ("def f(x):\n    return x", "def f(x):\n    '''Return it.'''\n    return x"),
    "only a docstring": ("def f(x):\n    pass", "def f(x):\n    '''Nothing.'''"),
    "annotations": (
        "def f(x, y=1):\n    z = x\n    return z",
        "def f(x: pa.Array, y: 'int' = 1) -> pa.Array:\n    z: pa.Array = x\n    return z",
    ),
    "another line": ("def f(x):\n    return x", "\n\n\nOTHER = 5\n\n\ndef f(x):\n    return x"),
    "its own name": ("def f(x):\n    return x", "def g(x):\n    return x\nf = g"),
    "a constant that it does not use": ("A = 1\ndef f(x):\n    return x", "A = 2\ndef f(x):\n    return x"),
    "a global under the name of a local": (
        "y = 1\ndef f(x):\n    y = x\n    return y",
        "y = 2\ndef f(x):\n    y = x\n    return y",
    ),
    "an attribute under the name of a global": (
        "total = 1\ndef f(x):\n    return x.total",
        "total = 2\ndef f(x):\n    return x.total",
    ),
    "the docstring of a helper": (
        "def g(x):\n    return x\ndef f(x):\n    return g(x)",
        "def g(x):\n    'It.'\n    return x\n\n\ndef f(x):\n    return g(x)",
    ),
    "how a constant is computed": ("A = 4\ndef f(x):\n    return x + A", "A = 2 + 2\ndef f(x):\n    return x + A"),
    "the order of a set": (
        "A = {'a', 'b', 'c'}\ndef f(x):\n    return x in A",
        "A = {'c', 'b', 'a'}\ndef f(x):\n    return x in A",
    ),
    "the docstring of a nested function": (
        "def f(x):\n    def g(y):\n        return y\n    return g(x)",
        "def f(x):\n    def g(y):\n        '''It.'''\n        return y\n    return g(x)",
    ),
    "another function of a module": (
        "def g(x):\n    return 1\ndef f(x):\n    return x",
        "def g(x):\n    return 2\ndef f(x):\n    return x",
    ),
    "a decorator that keeps results": (
        "@functools.cache\ndef g(x):\n    return x\ndef f(x):\n    return g(x)",
        "@functools.cache\ndef g( x ):\n    return (x)\ndef f(x):\n    return g(x)",
    ),
    "a logger": (
        "log = logging.getLogger('a')\ndef f(x):\n    log.info(x)",
        "log = logging.getLogger('b')\ndef f(x):\n    log.info(x)",
    ),
    "the place of a class": (
        "class C:\n    def g(self, x):\n        return x\ndef f(x):\n    return C().g(x)",
        "'''A module.'''\nclass C:\n    '''A class.'''\n    def g(self, x):\n        return x\n"
        "def f(x):\n    return C().g(x)",
    ),
}


@pytest.mark.parametrize("name", SAME)
def test_equal_meaning_gives_one_fingerprint(load: Load, name: str) -> None:
    """Both modules of each pair compute the same."""
    first, second = SAME[name]

    assert describe(load(first)).fingerprint == describe(load(second)).fingerprint


CONSTANT = "{imports}A = {value}\ndef f(x):\n    return A"
OTHER = {
    "its code": ("def f(x):\n    return x + 1", "def f(x):\n    return x + 2"),
    "an operator": ("def f(x):\n    return x + 1", "def f(x):\n    return x - 1"),
    "a parameter": ("def f(x):\n    return x", "def f(y):\n    return y"),
    "a text that is no docstring": ("def f(x):\n    y = 'a'\n    return y", "def f(x):\n    y = 'b'\n    return y"),
    "a default": ("def f(x, n=1):\n    return n", "def f(x, n=2):\n    return n"),
    "a default's value": ("A = 1\ndef f(x, n=A):\n    return n", "A = 2\ndef f(x, n=A):\n    return n"),
    "a keyword's default": ("def f(x, *, n=1):\n    return n", "def f(x, *, n=2):\n    return n"),
    "a helper": (
        "def g(x):\n    return x\ndef f(x):\n    return g(x)",
        "def g(x):\n    return -x\ndef f(x):\n    return g(x)",
    ),
    "a helper's helper": (
        "def h(x):\n    return x\ndef g(x):\n    return h(x)\ndef f(x):\n    return g(x)",
        "def h(x):\n    return 1\ndef g(x):\n    return h(x)\ndef f(x):\n    return g(x)",
    ),
    "a helper's constant": (
        "A = 1\ndef g(x):\n    return A\ndef f(x):\n    return g(x)",
        "A = 2\ndef g(x):\n    return A\ndef f(x):\n    return g(x)",
    ),
    "a constant in a nested function": (
        "A = 1\ndef f(x):\n    def g():\n        return A\n    return g()",
        "A = 2\ndef f(x):\n    def g():\n        return A\n    return g()",
    ),
    "a constant in a lambda inside": (
        "A = 1\ndef f(x):\n    return (lambda: A)()",
        "A = 2\ndef f(x):\n    return (lambda: A)()",
    ),
    "a constant in a comprehension": (
        "A = 1\ndef f(x):\n    return [A for _ in x]",
        "A = 2\ndef f(x):\n    return [A for _ in x]",
    ),
    "what it closes over": (
        "def make(n):\n    def g(x):\n        return n\n    return g\nf = make(1)",
        "def make(n):\n    def g(x):\n        return n\n    return g\nf = make(2)",
    ),
    "a decorator of its own": (
        "def twice(g):\n    def h(x):\n        return g(g(x))\n    return h\n@twice\ndef f(x):\n    return x",
        "def twice(g):\n    def h(x):\n        return g(x)\n    return h\n@twice\ndef f(x):\n    return x",
    ),
    "what a decorator is put on": (
        "def twice(g):\n    def h(x):\n        return g(g(x))\n    return h\n@twice\ndef f(x):\n    return x",
        "def twice(g):\n    def h(x):\n        return g(g(x))\n    return h\n@twice\ndef f(x):\n    return -x",
    ),
    "what a kept result is of": (
        "@functools.cache\ndef g(x):\n    return x\ndef f(x):\n    return g(x)",
        "@functools.cache\ndef g(x):\n    return -x\ndef f(x):\n    return g(x)",
    ),
    "a function of a library": (
        "from math import sin as g\ndef f(x):\n    return g(x)",
        "from math import cos as g\ndef f(x):\n    return g(x)",
    ),
    "a module of a library": (
        "import math as m\ndef f(x):\n    return m.pi",
        "import cmath as m\ndef f(x):\n    return m.pi",
    ),
    "a ufunc": (
        "from numpy import sin as g\ndef f(x):\n    return g(x)",
        "from numpy import cos as g\ndef f(x):\n    return g(x)",
    ),
    "a name that hides a builtin": (
        "def f(x):\n    return len(x)",
        "def len(x):\n    return 5\ndef f(x):\n    return len(x)",
    ),
    "a method": (
        "class C:\n    def g(self):\n        return 1\ndef f(x):\n    return C().g()",
        "class C:\n    def g(self):\n        return 2\ndef f(x):\n    return C().g()",
    ),
    "a static method": (
        "class C:\n    @staticmethod\n    def g():\n        return 1\ndef f(x):\n    return C.g()",
        "class C:\n    @staticmethod\n    def g():\n        return 2\ndef f(x):\n    return C.g()",
    ),
    "a property": (
        "class C:\n    @property\n    def g(self):\n        return 1\ndef f(x):\n    return C().g",
        "class C:\n    @property\n    def g(self):\n        return 2\ndef f(x):\n    return C().g",
    ),
    "an attribute of a class": (
        "class C:\n    A = 1\ndef f(x):\n    return C.A",
        "class C:\n    A = 2\ndef f(x):\n    return C.A",
    ),
    "the base of a class": (
        "class B:\n    A = 1\nclass C(B):\n    pass\ndef f(x):\n    return C.A",
        "class B:\n    A = 2\nclass C(B):\n    pass\ndef f(x):\n    return C.A",
    ),
    "a method that calls its base": (
        "class B:\n    def g(self):\n        return 1\nclass C(B):\n    def g(self):\n        return super().g()\n"
        "def f(x):\n    return C().g()",
        "class B:\n    def g(self):\n        return 2\nclass C(B):\n    def g(self):\n        return super().g()\n"
        "def f(x):\n    return C().g()",
    ),
    "a field that goes by keyword only": (
        "@dataclass\nclass C:\n    a: int\n    b: int = 1\n    c: int = 1\ndef f(x):\n    return C(x, 2).b",
        "@dataclass\nclass C:\n    a: int\n    b: int = field(default=1, kw_only=True)\n    c: int = 1\ndef f(x):\n    return C(x, 2).b",
    ),
    "a default of a dataclass": (
        "@dataclass\nclass C:\n    a: int = 1\ndef f(x):\n    return C().a",
        "@dataclass\nclass C:\n    a: int = 2\ndef f(x):\n    return C().a",
    ),
    "a member of an enum": (
        "class C(enum.Enum):\n    A = 1\ndef f(x):\n    return C.A.value",
        "class C(enum.Enum):\n    A = 2\ndef f(x):\n    return C.A.value",
    ),
    "a method bound to a value": (
        "@dataclass\nclass C:\n    a: int\n    def g(self, x):\n        return self.a\ng = C(1).g\ndef f(x):\n    return g(x)",
        "@dataclass\nclass C:\n    a: int\n    def g(self, x):\n        return self.a\ng = C(2).g\ndef f(x):\n    return g(x)",
    ),
    "one step of a recursion": (
        "def f(x):\n    return f(x - 1) if x else 0",
        "def f(x):\n    return f(x - 1) if x else 1",
    ),
    "one of two that call each other": (
        "def g(x):\n    return f(x - 1)\ndef f(x):\n    return g(x) if x else 0",
        "def g(x):\n    return f(x - 2)\ndef f(x):\n    return g(x) if x else 0",
    ),
    "the decorator of a nested function": (
        "def f(x):\n    @functools.cache\n    def g(y):\n        return y\n    return g(x)",
        "def f(x):\n    def g(y):\n        return y\n    return g(x)",
    ),
}


@pytest.mark.parametrize("name", OTHER)
def test_other_meaning_gives_another_fingerprint(load: Load, name: str) -> None:
    """The modules of each pair compute different results."""
    first, second = OTHER[name]

    assert describe(load(first)).fingerprint != describe(load(second)).fingerprint


VALUES = [
    ("None", "False"), ("True", "1"), ("1", "1.0"), ("0.0", "-0.0"), ("'a'", "b'a'"), ("1j", "2j"),
    ("float('nan')", "float('inf')"), ("Decimal('1.0')", "Decimal('1.00')"), ("Fraction(1, 2)", "Fraction(1, 3)"),
    ("dt.date(2026, 1, 1)", "dt.datetime(2026, 1, 1)"), ("dt.time(1)", "dt.time(2)"),
    ("dt.timedelta(1)", "dt.timedelta(2)"), ("dt.timezone.utc", "dt.timezone(dt.timedelta(hours=1))"),
    ("uuid.UUID(int=1)", "uuid.UUID(int=2)"), ("[1, 2]", "[2, 1]"), ("[1, 2]", "(1, 2)"), ("{1, 2}", "{1, 3}"),
    ("{1}", "frozenset({1})"), ("{'a': 1, 'b': 2}", "{'b': 2, 'a': 1}"), ("{'a': [1]}", "{'a': [2]}"),
    ("re.compile('a')", "re.compile('b')"), ("re.compile('a')", "re.compile('a', re.I)"),
    ("pathlib.Path('a')", "pathlib.Path('b')"), ("np.array([1, 2])", "np.array([1, 3])"),
    ("np.array([1])", "np.array([1.0])"), ("np.array([[1, 2]])", "np.array([[1], [2]])"),
    ("np.array(['a', 5], dtype=object)", "np.array(['a', 6], dtype=object)"), ("np.float32(1)", "np.float64(1)"),
    ("np.dtype('i4')", "np.dtype('i8')"), ("pa.array([1, None])", "pa.array([1, 2])"),
    ("pa.chunked_array([[1]])", "pa.chunked_array([[2]])"), ("pa.scalar(1)", "pa.scalar(2)"),
    ("pa.table({'a': [1]})", "pa.table({'a': [2]})"), ("pa.int32()", "pa.int64()"),
    ("functools.partial(max, 1)", "functools.partial(max, 2)"), ("range(3)", "range(4)"), ("slice(1)", "slice(2)"),
    ("namedtuple('P', 'a b')(1, 2)", "namedtuple('P', 'a b')(1, 3)"), ("'x'.join", "'y'.join"),
    ("types.MappingProxyType({1: 2})", "types.MappingProxyType({1: 3})"), ("list[int]", "list[str]"),
    ("typing.Optional[int]", "typing.Optional[str]"), ("...", "None"), ("int", "float"), ("math", "re"),
    ("enum.Enum('E', 'a b').a", "enum.Enum('E', 'a b').b"), ("str.upper", "str.lower"),
]  # fmt: skip


@pytest.mark.parametrize(("first", "second"), VALUES)
def test_a_value_counts_by_what_it_is(load: Load, first: str, second: str) -> None:
    """An equal value gives an equal fingerprint, another value another one."""
    code = "A = {}\ndef f(x):\n    return A"
    one, again, other = (describe(load(code.format(value))) for value in (first, first, second))

    assert one.fingerprint == again.fingerprint
    assert one.fingerprint != other.fingerprint


def test_another_file_and_another_module_are_the_same(tmp_path: Path) -> None:
    """Moving a function with its helper keeps its fingerprint."""
    whole = module(tmp_path, "RATE = 3\ndef g(x):\n    return x * RATE\ndef f(x):\n    return g(x)")
    helper = module(tmp_path, "RATE = 3\n\n\ndef g(x):\n    return x * RATE\n")
    apart = module(
        tmp_path / "deeper", f"'''Apart.'''\nfrom {helper.__name__} import g\n\ndef f(x):\n    return g(x)\n"
    )

    assert describe(whole.f).fingerprint == describe(apart.f).fingerprint


def test_only_the_used_members_of_a_project_module_count(tmp_path: Path) -> None:
    """`helpers.clean(x)` depends on `clean`, and on nothing else in the module."""

    def fingerprint(helpers: str) -> str:
        helper = module(tmp_path, helpers)
        return describe(
            module(tmp_path, f"import {helper.__name__} as helpers\ndef f(x):\n    return helpers.clean(x)").f
        ).fingerprint

    first = fingerprint("def clean(x):\n    return x\n")

    assert fingerprint("OTHER = 5\ndef clean(x):\n    '''It.'''\n    return x\ndef other():\n    pass\n") == first
    assert fingerprint("def clean(x):\n    return -x\n") != first


def test_a_function_that_a_loop_makes_counts_its_own_value(load: Load) -> None:
    """Through a default value or a closure."""
    load("def f(x):\n    return x")
    made = module(
        Path(load("def f(x):\n    return x").__code__.co_filename).parent,
        "def make(n):\n    def g(x):\n        return x * n\n    return g\nmade = [make(n) for n in (1, 2, 1)]\n",
    ).made

    first, second, third = (describe(each).fingerprint for each in made)

    assert first == third != second


def test_no_text_contains_a_secret(load: Load) -> None:
    """However the secret reaches the function; another secret still changes the fingerprint."""
    code = """
        KEY = "{}"
        API_TOKEN = KEY
        CONFIG = {{"user": "me", "password": KEY}}

        @dataclass
        class Login:
            secret: str
            name: str = "me"

        LOGIN = Login(KEY)

        def f(x, access_token=KEY):
            return API_TOKEN, CONFIG, LOGIN, access_token
        """
    one, other = (describe(load(code.format(secret))) for secret in ("abc", "xyz"))

    assert "abc" not in one.text
    assert "CONFIG = {'user': 'me', 'password': <hidden>} <" in one.text
    assert "LOGIN = Login(secret=<hidden>, name='me') <" in one.text
    assert one.text != other.text
    assert one.fingerprint != other.fingerprint


def test_the_text_lists_everything_that_counts(load: Load) -> None:
    """The function, then each value that it uses, as code."""
    described = describe(
        load(
            """
            WORDS = {"good", "great"}
            API_TOKEN = "s3cret"

            def share(text):
                # of all
                return pc.count_substring(text, sorted(WORDS)[0])

            def f(text: pa.Array, *, factor: float = 0.5 + 0.5) -> pa.Array:
                '''Return it.'''
                return share(text), API_TOKEN, factor
            """
        )
    )

    assert described.parameters == ("text",)
    text, _, rest = described.text.partition("<hidden ")
    assert text.replace("TOKEN = ", "TOKEN =") + rest.partition(">")[2] == textwrap.dedent(
        """\
        def f(text, *, factor=0.5 + 0.5):
            return (share(text), API_TOKEN, factor)
        # factor = 1.0

        API_TOKEN =

        def share(text):
            return pc.count_substring(text, sorted(WORDS)[0])

        WORDS = {'good', 'great'}
        pc = pyarrow.compute"""
    )


REFUSED = {
    "a lambda": ("f = lambda x: x", "It is or uses a lambda, which cannot be fingerprinted."),
    "a lambda that it uses": ("g = lambda x: x\ndef f(x):\n    return g(x)", "It is or uses a lambda"),
    "code without a file": ("exec('def f(x): return x')", "The source of f was not found in <string>."),
    "an open file": (
        "A = open(__file__)\nimport atexit; atexit.register(A.close)\ndef f(x):\n    return A.read()",
        "A is a _io.TextIOWrapper, which cannot be fingerprinted.",
    ),
    "a connection": (
        "import duckdb\nA = duckdb.connect()\ndef f(x):\n    return A.execute(x)",
        "A is a _duckdb.DuckDBPyConnection, which cannot be fingerprinted.",
    ),
    "something deep inside": (
        "A = {'a': [1, object()]}\ndef f(x):\n    return A",
        "A['a'][1] is an object, which cannot be fingerprinted.",
    ),
    "an object of its own": (
        "class C:\n    pass\nA = C()\ndef f(x):\n    return A",
        "which cannot be fingerprinted.",
    ),
    "a default": ("def f(x, y=object()):\n    return y", "f(y=) is an object, which cannot be fingerprinted."),
    "a list that holds itself": ("A = []\nA.append(A)\ndef f(x):\n    return A", "A[0] contains itself."),
    "a name that nothing defines": ("def f(x):\n    return hepler(x)", "f uses 'hepler', which is undefined."),
    "an import inside of what is not installed": (
        "def f(x):\n    import features.text\n    return features.text.g(x)",
        "f imports features.text inside the function.",
    ),
    "a global that it changes": (
        "A = 0\ndef f(x):\n    global A\n    A = A + 1\n    return A",
        "f changes a variable outside the function: global A.",
    ),
    "a variable around it that it changes": (
        "def make():\n    n = 0\n    def g(x):\n        nonlocal n\n        n += 1\n        return n\n    return g\nf = make()",
        "g changes a variable outside the function: no binding for nonlocal 'n' found.",
    ),
    "a missing name of a module": (
        "import tests\ndef f(x):\n    return tests.nothing(x)",
        "tests.nothing does not exist.",
    ),
    "a module as a value": (
        "import tests\ndef f(x):\n    return tests",
        "It uses the module tests as a value.",
    ),
    "a relative import inside": (
        "def f(x):\n    from . import text\n    return text",
        "f imports from . inside the function.",
    ),
    "a class of a library's making": (
        "import pydantic\nclass C(pydantic.BaseModel):\n    a: int = 1\ndef f(x):\n    return C().a",
        "C is a class that a library generates, whose fields cannot be fingerprinted.",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_value_without_a_fingerprint_is_refused_by_name(load: Load, name: str) -> None:
    """A guessed fingerprint would be worse than none."""
    code, message = REFUSED[name]

    with pytest.raises(FunctionProblem) as refused:
        describe(load(code))

    assert message in str(refused.value)
    assert refused.value.fix


def test_importing_an_installed_library_inside_is_fine(load: Load) -> None:
    """Only the import statement counts."""
    one = describe(load("def f(x):\n    import math\n    return math.sin(x)"))
    other = describe(load("def f(x):\n    import cmath as math\n    return math.sin(x)"))

    assert one.fingerprint != other.fingerprint


ALL = (
    IMPORTS
    + """
class Kind(enum.Enum):
    GOOD = "good"
    BAD = "bad"

@dataclass(frozen=True)
class Rule:
    kind: Kind
    words: frozenset
    weight: float = 1.5

@dataclass(frozen=True)
class Other:
    words: frozenset

def score(text):
    return len(text) * RATE

def other(text):
    return score(text) + 1

RATE = Decimal("1.5")
RULES = {Rule(Kind.GOOD, frozenset({"a", "b", "c"})), Rule(Kind.BAD, frozenset({"x", "y"})), Other(frozenset({"q", "r"}))}
CALLS = {score, other}
TABLE = {"b": {1, 2, 3}, "a": {"x", "y", "z"}, ("t", 1): [b"1", dt.date(2026, 1, 1)]}
NUMBERS = np.arange(5)

def f(text):
    return [RULES, TABLE, NUMBERS, CALLS, re.compile("a")]
"""
)


@pytest.mark.slow
def test_ten_hash_seeds_give_one_fingerprint_and_one_text(tmp_path: Path) -> None:
    """Sets of strings, dataclasses, enums and functions are unordered."""
    (tmp_path / "user_code.py").write_text(ALL, encoding="utf-8")
    script = "import user_code; from featdsl.catalog.function_hash import describe; print(describe(user_code.f))"

    texts = {
        subprocess.run(
            [sys.executable, "-c", script],
            cwd=tmp_path,
            env={**_environment(), "PYTHONHASHSEED": str(seed)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in range(10)
    }

    assert len(texts) == 1
    assert "RATE = Decimal('1.5')" in texts.pop()


def _environment() -> dict[str, str]:
    import os

    return dict(os.environ)


def test_a_fingerprint_is_the_same_in_every_version(load: Load) -> None:
    """This fingerprint is from Python 3.11, whose syntax trees have other fields than those of 3.13."""
    code = """
        RATE = 3
        def clean(text, *, low=True):
            return [f"{each!r:>{RATE}}" for each in text if low]
        def f(text: pa.Array, n: int = 2) -> pa.Array:
            '''Return it.'''
            total: int = 0
            with open("x") as file, open("y"):
                match file.read():
                    case [1, *rest] | {"a": rest}:
                        total += len(rest)
            return clean(text), lambda *a, k=n, **o: (yield total)
        """

    assert describe(load(code)).fingerprint == "119347271282eae398fe268defb01ea5"
