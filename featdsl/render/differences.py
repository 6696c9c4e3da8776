"""Render the reasons of a change and the differences between set versions as lines for a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from featdsl.plan.diff import MemberChange, Reason
from featdsl.render.phrases import LONG, WHOLE, counted, line_changes, member_line, reason_line

COLOURS = {"+": "green", "-": "red", "~": "yellow"}
"""The colours of added, removed and changed lines."""


@dataclass(frozen=True)
class Room:
    """The width of lines, the most lines of a diff and features of a set to show, and the command that shows the rest.

    `paint` returns a text in a colour; its arguments are the text and the name of the colour.
    """

    width: int
    most: int
    paint: Callable[[str, str], str]
    whole: str = WHOLE

    def narrower(self, by: int) -> Room:
        """Return the room of lines that are indented by `by` more columns."""
        return Room(self.width - by, self.most, self.paint, self.whole)


def reason_lines(reason: Reason, room: Room) -> Iterator[str]:
    """Yield the lines of a reason; SQL, code and descriptions as a diff."""
    if reason.code not in LONG:
        yield from _wrapped(reason_line(reason), room.width)
        return
    yield f"{reason.code}:"
    lines = [(sign, part) for sign, line in line_changes(reason) for part in _pieces(line, room.width - 4)]
    for sign, line in lines[: room.most]:
        yield room.paint(f"  {sign} {line}".rstrip(), COLOURS.get(sign, "reset"))
    if len(lines) > room.most:
        yield f"  … {counted(len(lines) - room.most, 'more line')}: {room.whole}"


def member_lines(members: Sequence[MemberChange], room: Room) -> Iterator[str]:
    """Yield the features that differ between two set versions, each with its reasons."""
    for each in members[: room.most]:
        sign, _, name = member_line(each).partition(" ")
        first, *rest = _wrapped(name, room.width - 4)
        yield f"  {room.paint(sign, COLOURS[sign])} {first}"
        yield from (f"    {line}" for line in rest)
        for reason in each.reasons:
            yield from (f"      {line}" for line in reason_lines(reason, room.narrower(6)))
    if len(members) > room.most:
        yield f"  … {counted(len(members) - room.most, 'more feature')}: {room.whole}"


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, subsequent_indent="  ", break_on_hyphens=False)


def _pieces(line: str, width: int) -> list[str]:
    """Return a line of code in pieces of at most `width`; continued pieces are indented."""
    if len(line) <= width:
        return [line]
    start = " " * (len(line) - len(line.lstrip()) + 2)
    return textwrap.wrap(
        line.strip(), max(10, width), initial_indent=start[2:], subsequent_indent=start, break_on_hyphens=False
    )
