"""Leave out the sources that no group reads, directly or through the SQL of other sources."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from featdsl.importers.declarations import ImportedGroup, ImportedSource


def used(groups: Iterable[ImportedGroup], sources: Iterable[ImportedSource]) -> Iterator[ImportedSource]:
    """Yield the sources of groups, and those that they read, in their order."""
    known = {each.name: each for each in sources}
    waiting, found = [group.source for group in groups if group.source], set[str]()
    while waiting:
        name = waiting.pop()
        found.add(name)
        sql = str(known[name].options.get("sql", ""))
        waiting += [each for each in known if each not in found and f"{{{{ {each} }}}}" in sql]
    yield from (each for name, each in known.items() if name in found)
