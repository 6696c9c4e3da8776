"""Why something is other, as lines for a terminal: the reasons of a change, and the features of a set version."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from featdsl.diff import MemberChange, Reason
from featdsl.render.phrases import LONG, WHOLE, counted, line_changes, member_line, reason_line

COLOURS = {"+": "green", "-": "red", "~": "yellow"}
"""The colours of what is added, of what goes, and of what is other."""


@dataclass(frozen=True)
class Room:
    """How wide lines are, how many lines of a text and features of a set are shown, and the command that shows the rest.

    `paint` colours a text: it is called with the text and the name of a colour.
    """

    width: int
    most: int
    paint: Callable[[str, str], str]
    whole: str = WHOLE

    def narrower(self, by: int) -> Room:
        """Return the room of what is further in."""
        return Room(self.width - by, self.most, self.paint, self.whole)


def reason_lines(reason: Reason, room: Room) -> Iterator[str]:
    """Yield the lines of a reason; of a text those that change."""
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
    """Yield which features of a set version are other than in an earlier one, and why."""
    for each in members[: room.most]:
        sign, _, said = member_line(each).partition(" ")
        first, *rest = _wrapped(said, room.width - 4)
        yield f"  {room.paint(sign, COLOURS[sign])} {first}"
        yield from (f"    {line}" for line in rest)
        for reason in each.reasons:
            yield from (f"      {line}" for line in reason_lines(reason, room.narrower(6)))
    if len(members) > room.most:
        yield f"  … {counted(len(members) - room.most, 'more feature')}: {room.whole}"


def _wrapped(said: str, width: int) -> list[str]:
    return textwrap.wrap(said, width, subsequent_indent="  ", break_on_hyphens=False)


def _pieces(line: str, width: int) -> list[str]:
    """Return a line of code in pieces that fit, what is continued further in."""
    if len(line) <= width:
        return [line]
    start = " " * (len(line) - len(line.lstrip()) + 2)
    return textwrap.wrap(
        line.strip(), max(10, width), initial_indent=start[2:], subsequent_indent=start, break_on_hyphens=False
    )
