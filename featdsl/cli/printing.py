"""Print the results of commands: text for people, or JSON."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import fields, is_dataclass

import click

_WIDTH = 100
"""The width of lines where nothing tells the width of the output."""
_PRINTABLE = frozenset(range(32, 127)) - {ord("\\")}


def output(result: object, text: Callable[[], str], format_: str) -> None:
    """Print a result in the requested format: its JSON, or its text, which is rendered only then.

    A dataclass is printed as an object of its fields. docs/formats.md says which documents carry a format number.
    """
    if format_ == "json":
        print_json(result)
    else:
        echo(text(), nl=False)


def width() -> int:
    """Return the width to print in: COLUMNS if it is set, else the terminal's width, else 100."""
    columns = os.environ.get("COLUMNS", "")
    if columns.isdecimal() and int(columns):
        return int(columns)
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or _WIDTH
    except (OSError, ValueError):  # standard output is no terminal, or has no file descriptor
        return _WIDTH


def echo(text: object = "", *, nl: bool = True, err: bool = False) -> None:
    """Print a text for people; control characters in it are escaped."""
    from featdsl.definitions.escaping import shown

    with _output():
        click.echo(shown(str(text)), nl=nl, err=err)


def print_json(value: object) -> None:
    """Print data as JSON."""
    ascii_alone = "utf" not in (sys.stdout.encoding or "utf").lower()
    echo_json(json.dumps(_plain(value), indent=2, ensure_ascii=ascii_alone, allow_nan=False) + "\n")


def echo_json(text: str) -> None:
    """Print JSON text; control characters in it are escaped."""
    from featdsl.definitions.escaping import in_json

    with _output():
        click.echo(in_json(text), nl=False)


@contextmanager
def _output() -> Iterator[None]:
    """Raise a one-line error if standard output cannot be written."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        with suppress(OSError):  # else Python flushes the rest at exit and prints another error
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, sys.stdout.fileno())
            os.close(nowhere)
        raise click.ClickException(f"The output cannot be written: {error.strerror}.") from None


def _plain(value: object) -> object:
    """Return a value in JSON's types; a value of any other type becomes text, bytes as DuckDB prints them."""
    if is_dataclass(value):
        value = {field.name: getattr(value, field.name) for field in fields(value)}
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else str(value)
        case bytes():
            return "".join(chr(b) if b in _PRINTABLE else f"\\x{b:02X}" for b in value)
        case dict():
            return {_plain(key): _plain(each) for key, each in value.items()}
        case list() | tuple():
            return [_plain(each) for each in value]
        case _:
            return str(value)
