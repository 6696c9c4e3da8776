"""Remember the command that the user typed, so that messages can suggest it again with other options."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class _Typed:
    """The words after `featdsl`, and the command that makes the plan which this command applies."""

    words: tuple[str, ...] = ()
    plan: str = ""


_typed: ContextVar[_Typed] = ContextVar("featdsl_typed", default=_Typed())  # noqa: B039 - it is frozen


@contextmanager
def typing(words: Sequence[str]) -> Iterator[None]:
    """Remember the typed words while the command runs."""
    token = _typed.set(_Typed(tuple(words)))
    try:
        yield
    finally:
        _typed.reset(token)


def plans_by(*words: str) -> None:
    """Remember the command that makes the plan which the typed command applies."""
    _typed.set(replace(_typed.get(), plan=command(*words)))


def command(*words: str) -> str:
    """Return a featdsl command, quoted for the shell."""
    return shlex.join(["featdsl", *words])


def again(*options: str, without: Collection[tuple[str, str]] = ()) -> str:
    """Return the typed command with more options; `""` if nothing was typed, as in a Python program.

    `without` lists pairs of an option and its value to leave out.
    """
    words = list(_typed.get().words)
    for option, value in without:
        words = [word for word in words if word != f"{option}={value}"]
        while (at := _place(words, option, value)) is not None:
            del words[at : at + 2]
    return command(*words, *options) if words else ""


def _place(words: Sequence[str], option: str, value: str) -> int | None:
    return next((at for at in range(len(words)) if tuple(words[at : at + 2]) == (option, value)), None)


def plan_again(instead: str = "featdsl plan") -> str:
    """Return the command that makes the plan again, or `instead` if it is unknown."""
    return _typed.get().plan or instead
