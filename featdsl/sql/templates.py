"""Render Jinja templates in SQL, with the project's variables, sources and macros."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from featdsl.definitions.names import did_you_mean, quote
from featdsl.errors import Origin

if TYPE_CHECKING:
    from types import CodeType

    from jinja2 import Environment

BUILT_IN = frozenset({"var", "ref", "range", "dict", "cycler", "joiner", "namespace", "caller", "loop"})
"""Names that every template can use; reserved for macros."""

MARKS = ("{{", "{%", "{#")
"""The start marks of templates. In SQL, a space between the two characters avoids them."""


class TemplateProblem(ValueError):
    """A template cannot be rendered; `fix` says what to do, `where` is a line of a macro file, or None."""

    def __init__(self, what: str, fix: str = "", where: Origin | None = None) -> None:
        super().__init__(what)
        self.fix = fix
        self.where = where


@dataclass(frozen=True)
class MacroFile:
    """A file of macros: its path from the project's root, and the name and line of each macro."""

    name: str
    text: str
    macros: tuple[tuple[str, int], ...]

    def serves(self, file: str) -> bool:
        """Return whether SQL in `file` may call these macros: the file must be below the parent of the `macros` folder."""
        return PurePosixPath(file).is_relative_to(PurePosixPath(self.name).parent.parent)


def render(
    text: str,
    *,
    variables: Mapping[str, object],
    sources: Mapping[str, str],
    macros: Sequence[MacroFile] = (),
) -> str:
    """Return the rendered text. Raises TemplateProblem.

    `{{ var("name") }}` is a variable, `{{ source_name }}` or `{{ ref("source_name") }}` another source, and
    `{{ macro_name(...) }}` calls a macro of these files.
    """
    if not is_template(text):
        return text
    from featdsl.sql import sandbox

    known = {**sources, **_lookups(variables, sources)}
    files = {file.name for file in macros}
    try:
        with sandbox.bounded():
            names = {**known, **_loaded(macros, known)}
            return _joined(environment().from_string(text).generate(names))
    except TemplateProblem as problem:
        raise TemplateProblem(str(problem), problem.fix, _place(problem, files)) from None
    except Exception as error:  # noqa: BLE001 - a template may divide by zero, or recurse without end
        macro_names = {name for file in macros for name, _ in file.macros}
        raise _problem(text, error, {*known, *macro_names}, variables, files) from None


def is_template(text: str) -> bool:
    """Return whether the text contains Jinja."""
    return "{" in text and any(mark in text for mark in MARKS)


def source_names(names: Mapping[str, object]) -> dict[str, str]:
    """Return the SQL name of each source."""
    return {name: f"source.{quote(name)}" for name in names}


def _joined(parts: Iterable[str]) -> str:
    """Return the joined output of a template. Raises TooMuchError if it is too long."""
    from featdsl.sql import sandbox

    output, length = [], 0
    for part in parts:
        output.append(part)
        length += len(part)
        if length > sandbox.CHARACTERS:
            raise sandbox.TooMuchError(f"it creates a text of more than {sandbox.CHARACTERS:,} characters")
    return "".join(output)


@cache
def environment() -> Environment:
    """Return the Jinja environment of templates."""
    from featdsl.sql import sandbox

    return sandbox.Sandbox()


@lru_cache(maxsize=1_000)
def compiled(text: str, file: str) -> CodeType:
    """Return the compiled code of a template; its tracebacks name `file`. Raises jinja2.TemplateSyntaxError."""
    return environment().compile(text, name=file, filename=file)


def _lookups(variables: Mapping[str, object], sources: Mapping[str, str]) -> dict[str, Callable[[str], object]]:
    def var(name: str) -> object:
        if name not in variables:
            raise TemplateProblem(
                f"The variable {name!r} is not in [variables] of featproject.toml.",
                did_you_mean(name, variables) or f"Add it there: {name} = ...",
            )
        return variables[name]

    def ref(name: str) -> str:
        if name not in sources:
            what = f"ref({name!r}) names no source." if sources else "ref() only works in the SQL of a source."
            raise TemplateProblem(what, did_you_mean(name, sources))
        return sources[name]

    return {"var": var, "ref": ref}


def _loaded(files: Sequence[MacroFile], known: Mapping[str, object]) -> dict[str, Any]:
    """Return each macro by name. A macro sees `known` and the macros that its own file may call."""
    from jinja2 import Template

    macros: dict[str, Any] = {}

    def later(name: str) -> Callable[..., object]:
        def call(*positional: object, **named: object) -> object:
            return macros[name](*positional, **named)  # looked up late: files may call each other's macros

        return call

    for file in files:
        seen = {name: later(name) for other in files if other.serves(file.name) for name, _ in other.macros}
        jinja = environment()
        template = Template.from_code(jinja, compiled(file.text, file.name), jinja.make_globals(None))
        module = template.make_module({**known, **seen})
        macros.update({name: getattr(module, name) for name, _ in file.macros})
    return macros


def _place(error: BaseException, files: set[str]) -> Origin | None:
    """Return the innermost line of a macro file in the traceback of an error, or None."""
    lines = [
        Origin(frame.f_code.co_filename, line)
        for frame, line in traceback.walk_tb(error.__traceback__)
        if frame.f_code.co_filename in files
    ]
    return lines[-1] if lines else None


def _problem(
    text: str, error: Exception, known: set[str], variables: Mapping[str, object], files: set[str]
) -> TemplateProblem:
    from jinja2 import TemplateSyntaxError, UndefinedError

    place = _place(error, files)
    if isinstance(error, UndefinedError):
        missing = str(error.message).partition("'")[2].partition("'")[0]
        thing = "macro" if place else "template"
        variable = f"Write the variable as {{{{ var({missing!r}) }}}}." if missing in variables else ""
        fix = variable or did_you_mean(missing, known)
        return TemplateProblem(f"{error.message} in the {thing}.", fix, place)
    if isinstance(error, TemplateSyntaxError):
        return TemplateProblem(
            f"Line {error.lineno} of the template has a syntax error: {str(error.message).rstrip('.')}.",
            _as_sql(text, error.lineno),
        )
    cause = "a macro calls itself endlessly" if isinstance(error, RecursionError) else str(error)
    return TemplateProblem(f"The template failed: {cause}.", "", place)


def _as_sql(text: str, line: int) -> str:
    """Return how to write the last start mark as SQL, such as a struct that is the key of a map."""
    before = "\n".join(text.split("\n")[:line])
    mark = max(MARKS, key=before.rfind)
    return f"If {mark} is SQL and not a template, add a space: {mark[0]} {mark[1]}"
