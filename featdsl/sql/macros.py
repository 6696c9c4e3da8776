"""Read macro files: the Jinja macros of a project, and which SQL may call them.

A macro is visible to declarations below the parent of its `macros` folder: every declaration may call the macros in
`features/macros/*.sql`, and declarations below `features/risk` also those in `features/risk/macros/*.sql`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from featdsl.errors import Origin, Problem
from featdsl.project import modules
from featdsl.sql import templates
from featdsl.sql.templates import MacroFile

if TYPE_CHECKING:
    from featdsl.project.settings import Project

_ONLY_MACROS = "Write only {% macro name(arguments) %}...{% endmacro %}; put shared values into [variables]."


@dataclass(frozen=True)
class Library:
    """The valid macro files of a project, and the problems of the others."""

    files: tuple[MacroFile, ...] = ()
    problems: tuple[Problem, ...] = ()

    def seen_from(self, file: str) -> tuple[MacroFile, ...]:
        """Return the macro files whose macros a declaration in `file` may call."""
        return tuple(each for each in self.files if each.serves(file))


def read(project: Project) -> dict[str, str]:
    """Return the text of each macro file by its path relative to the project's root, sorted by path."""
    files = (path for path in modules.walk(project.features) if path.parent.name == "macros" and path.suffix == ".sql")
    texts = {path.relative_to(project.root).as_posix(): path for path in files}
    return {name: texts[name].read_text(encoding="utf-8", errors="replace") for name in sorted(texts)}


def library(texts: Mapping[str, str], sources: Mapping[str, Origin]) -> Library:
    """Return the macros of these files. `sources` has the names of sources, which macros must not use, and their origins."""
    files: list[MacroFile] = []
    problems: list[Problem] = []
    for name, text in texts.items():
        parsed = _parsed(name, text)
        if isinstance(parsed, Problem):
            problems.append(parsed)
        else:
            problems += _taken(parsed, files, sources)
            files.append(parsed)
    return Library(tuple(files), tuple(problems))


@lru_cache(maxsize=1_000)
def _parsed(name: str, text: str) -> MacroFile | Problem:
    from jinja2 import TemplateSyntaxError, nodes

    try:
        body = templates.environment().parse(text).body
        templates.compiled(text, name)  # reports unknown filters and tests
    except TemplateSyntaxError as error:
        what = f"{name} is not a valid template: {error.message}"
        fix = "Fix this line or the one before; a macro ends with {% endmacro %}."
        return Problem("Invalid macro file", what, Origin(name, error.lineno), fix)
    macros: list[tuple[str, int]] = []
    for node in body:
        if isinstance(node, nodes.Macro):
            earlier = [line for macro, line in macros if macro == node.name]
            if earlier:
                return _twice(node.name, Origin(name, node.lineno), Origin(name, earlier[0]))
            macros.append((node.name, node.lineno))
        elif not isinstance(node, nodes.Output) or not all(isinstance(n, nodes.TemplateData) for n in node.nodes):
            what = f"{name} contains more than macros; SQL can only call macros."
            return Problem("Invalid macro file", what, Origin(name, node.lineno), _ONLY_MACROS)
    return MacroFile(name, text, tuple(macros))


def _taken(file: MacroFile, others: Sequence[MacroFile], sources: Mapping[str, Origin]) -> Iterable[Problem]:
    """Yield a problem for each macro whose name is in use by another macro, a source or a built-in of the same SQL."""
    for name, line in file.macros:
        here = Origin(file.name, line)
        for other in others:
            if name in dict(other.macros) and (other.serves(file.name) or file.serves(other.name)):
                yield _twice(name, here, Origin(other.name, dict(other.macros)[name]))
        if name in sources:
            what = f"The macro {name} has the same name as the source at {sources[name]}."
            yield Problem("Name used twice", what, here, "Rename one of them.")
        elif name in templates.BUILT_IN:
            what = f"The macro {name} has the same name as the built-in {name}()."
            yield Problem("Name used twice", what, here, "Rename the macro.")


def _twice(name: str, here: Origin, there: Origin) -> Problem:
    what = f"Two macros have the name {name}; the other one is at {there}."
    return Problem("Name used twice", what, here, "Rename one of them.")
