"""Write the list of all commands with their options, from the command line itself.

Run in the repository: python docs/commands.py docs/commands.md
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from featdsl.cli.main import main as featdsl

_HEAD = """# Commands

`featdsl --help` lists the commands, and each has `--help`. This list is written by `docs/commands.py` from the command line. Every command takes
`featdsl -C DIRECTORY ...` to run in another folder. Exit codes: 0 done or nothing to do, 1 an error, 2 changes are pending, a model is outdated or
something has drifted, 3 a guard or a missing approval forbids the plan, 4 the plan is stale.
"""


def page() -> str:
    """Return the page in Markdown."""
    return "\n".join([_HEAD, *_group(featdsl, "featdsl", "##")])


def _group(group: click.Group, path: str, heading: str) -> Iterator[str]:
    """Yield the lines of the commands of a group, and of the groups in it."""
    for name, command in sorted(group.commands.items()):
        if command.hidden:
            continue
        yield from _command(command, f"{path} {name}", heading)
        if isinstance(command, click.Group):
            yield from _group(command, f"{path} {name}", f"{heading}#")


def _command(command: click.Command, path: str, heading: str) -> Iterator[str]:
    """Yield the lines of one command: its text, its examples, and its options as a table."""
    context = click.Context(command, info_name=path)
    usage = " ".join(command.collect_usage_pieces(context)).removeprefix("[OPTIONS]").strip()
    yield from (f"{heading} {path}", "")
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        lines = paragraph.strip().splitlines()
        shown = ["```sh", *(line.strip() for line in lines[1:]), "```"] if lines[:1] == ["\b"] else [_plain(paragraph)]
        yield from (*shown, "")
    if usage and not isinstance(command, click.Group):
        yield from (f"Arguments: `{usage}`", "")
    options = [each for each in command.params if isinstance(each, click.Option)]
    records = [record for each in options if (record := each.get_help_record(context))]
    if records:
        yield from ("| option | meaning |", "|---|---|")
        yield from (f"| `{option.replace('|', _BAR)}` | {_plain(text)} |" for option, text in records)
        yield ""


_BAR = "\\|"


def _plain(text: str) -> str:
    """Return a text of the command line on one line, so that Markdown shows it as it is."""
    for mark in "\\|<>*[]$":
        text = text.replace(mark, f"\\{mark}")
    return " ".join(text.split())


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page(), encoding="utf-8")
