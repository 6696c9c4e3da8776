"""The command that was typed, as messages repeat it: what they advise is what was asked for, with an option more."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class _Typed:
    """The words after `featdsl`, and the command that makes the plan anew which this one runs."""

    words: tuple[str, ...] = ()
    plan: str = ""


_typed: ContextVar[_Typed] = ContextVar("featdsl_typed", default=_Typed())  # noqa: B039 - it is frozen


@contextmanager
def typing(words: Sequence[str]) -> Iterator[None]:
    """Remember what was typed while it runs."""
    token = _typed.set(_Typed(tuple(words)))
    try:
        yield
    finally:
        _typed.reset(token)


def plans_by(*words: str) -> None:
    """Remember the command that makes the plan anew which the typed one runs."""
    _typed.set(replace(_typed.get(), plan=command(*words)))


def command(*words: str) -> str:
    """Return a command of ours as a shell takes it."""
    return shlex.join(["featdsl", *words])


def again(*options: str, without: Collection[tuple[str, str]] = ()) -> str:
    """Return the command that was typed with these options more, or nothing where none was: in a program.

    `without` are options with their values that were typed and do not come again.
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
    """Return the command that makes the plan anew, or another one `instead` where nobody knows better."""
    return _typed.get().plan or instead
