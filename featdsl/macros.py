"""Macro files: which Jinja macros there are, and whose SQL may call them.

The macros of `features/macros/*.sql` are for every declaration, those of `features/risk/macros/*.sql` for the
declarations below `features/risk`: a macro belongs to the folder that holds its `macros` folder.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from featdsl import modules, templates
from featdsl.errors import Origin, Problem
from featdsl.templates import MacroFile

if TYPE_CHECKING:
    from featdsl.project import Project

_ONLY_MACROS = "Keep to {% macro name(arguments) %}...{% endmacro %}; what files share goes into [variables]."


@dataclass(frozen=True)
class Library:
    """The macro files of a project that can be used, and every mistake in the others."""

    files: tuple[MacroFile, ...] = ()
    problems: tuple[Problem, ...] = ()

    def seen_from(self, file: str) -> tuple[MacroFile, ...]:
        """Return the macro files whose macros a declaration in `file` may call."""
        return tuple(each for each in self.files if each.serves(file))


def read(project: Project) -> dict[str, str]:
    """Return the text of each macro file by its path from the project's root, in an order no file system decides."""
    found = (path for path in modules.walk(project.features) if path.parent.name == "macros" and path.suffix == ".sql")
    texts = {path.relative_to(project.root).as_posix(): path for path in found}
    return {name: texts[name].read_text(encoding="utf-8", errors="replace") for name in sorted(texts)}


def library(texts: Mapping[str, str], sources: Mapping[str, Origin]) -> Library:
    """Return the macros of these files. `sources` are names that SQL uses already, and where they are declared."""
    files: list[MacroFile] = []
    problems: list[Problem] = []
    for name, text in texts.items():
        found = _parsed(name, text)
        if isinstance(found, Problem):
            problems.append(found)
        else:
            problems += _taken(found, files, sources)
            files.append(found)
    return Library(tuple(files), tuple(problems))


@lru_cache(maxsize=1_000)
def _parsed(name: str, text: str) -> MacroFile | Problem:
    from jinja2 import TemplateSyntaxError, nodes

    try:
        body = templates.environment().parse(text).body
        templates.compiled(text, name)  # which tells of unknown filters and tests
    except TemplateSyntaxError as error:
        said = f"{name} cannot be read: {error.message}"
        mend = "Mend this line or the one before; a macro ends with {% endmacro %}."
        return Problem("Invalid macro file", said, Origin(name, error.lineno), mend)
    found: list[tuple[str, int]] = []
    for node in body:
        if isinstance(node, nodes.Macro):
            twice = [line for macro, line in found if macro == node.name]
            if twice:
                return _twice(node.name, Origin(name, node.lineno), Origin(name, twice[0]))
            found.append((node.name, node.lineno))
        elif not isinstance(node, nodes.Output) or not all(isinstance(n, nodes.TemplateData) for n in node.nodes):
            what = f"{name} holds more than macros: nothing else in it can be called."
            return Problem("Invalid macro file", what, Origin(name, node.lineno), _ONLY_MACROS)
    return MacroFile(name, text, tuple(found))


def _taken(file: MacroFile, others: Sequence[MacroFile], sources: Mapping[str, Origin]) -> Iterable[Problem]:
    """Yield each macro whose name something has that the same SQL sees: one name has one meaning."""
    for name, line in file.macros:
        here = Origin(file.name, line)
        for other in others:
            if name in dict(other.macros) and (other.serves(file.name) or file.serves(other.name)):
                yield _twice(name, here, Origin(other.name, dict(other.macros)[name]))
        if name in sources:
            what = f"The macro {name} is called like the source {name}, which is at {sources[name]}."
            yield Problem("Name used twice", what, here, "Give one of them another name.")
        elif name in templates.BUILT_IN:
            what = f"The macro {name} is called like {name}(), which every template has."
            yield Problem("Name used twice", what, here, "Give it another name.")


def _twice(name: str, here: Origin, there: Origin) -> Problem:
    what = f"Two macros are called {name}; the other one is at {there}."
    return Problem("Name used twice", what, here, "Give one of them another name.")
