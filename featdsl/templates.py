"""Fill Jinja in SQL: variables of the project, the names of other sources, and macros."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from featdsl.errors import Origin
from featdsl.names import did_you_mean, quote

if TYPE_CHECKING:
    from types import CodeType

    from jinja2 import Environment

BUILT_IN = frozenset({"var", "ref", "range", "dict", "cycler", "joiner", "namespace", "caller", "loop"})
"""What every template may call; no macro may take such a name."""

MARKS = ("{{", "{%", "{#")
"""What begins a template; two characters, between which SQL may have a space."""


class TemplateProblem(ValueError):
    """A template that cannot be filled; `mend` says what to do, `where` is a line of a macro file, or None."""

    def __init__(self, what: str, mend: str = "", where: Origin | None = None) -> None:
        super().__init__(what)
        self.mend = mend
        self.where = where


@dataclass(frozen=True)
class MacroFile:
    """A file of macros: its path from the project's root, and the name and line of each macro."""

    name: str
    text: str
    macros: tuple[tuple[str, int], ...]

    def serves(self, file: str) -> bool:
        """Return whether what stands in `file` may call these macros: it lies below the folder that they belong to."""
        return PurePosixPath(file).is_relative_to(PurePosixPath(self.name).parent.parent)


def render(
    text: str,
    *,
    variables: Mapping[str, object],
    sources: Mapping[str, str],
    macros: Sequence[MacroFile] = (),
) -> str:
    """Return `text` with its Jinja filled. Raises TemplateProblem.

    `{{ var("name") }}` is a variable, `{{ source_name }}` or `{{ ref("source_name") }}` another source, and
    `{{ macro_name(...) }}` what a macro of these files makes.
    """
    if not is_template(text):
        return text
    from featdsl import sandbox

    known = {**sources, **_lookups(variables, sources)}
    files = {file.name for file in macros}
    try:
        with sandbox.bounded():
            names = {**known, **_loaded(macros, known)}
            return _whole(environment().from_string(text).generate(names))
    except TemplateProblem as problem:
        raise TemplateProblem(str(problem), problem.mend, _place(problem, files)) from None
    except Exception as error:  # noqa: BLE001 - a template may divide by zero, or call itself without end
        macro_names = {name for file in macros for name, _ in file.macros}
        raise _problem(text, error, {*known, *macro_names}, variables, files) from None


def is_template(text: str) -> bool:
    """Return whether there is anything to fill."""
    return "{" in text and any(mark in text for mark in MARKS)


def source_names(names: Mapping[str, object]) -> dict[str, str]:
    """Return what each source is called inside SQL."""
    return {name: f"source.{quote(name)}" for name in names}


def _whole(parts: Iterable[str]) -> str:
    """Return the text of a template, as long as it is none too long."""
    from featdsl import sandbox

    found, length = [], 0
    for part in parts:
        found.append(part)
        length += len(part)
        if length > sandbox.CHARACTERS:
            raise sandbox.TooMuchError(f"it makes a text of more than {sandbox.CHARACTERS:,} characters")
    return "".join(found)


@cache
def environment() -> Environment:
    """Return Jinja as templates use it."""
    from featdsl import sandbox

    return sandbox.Sandbox()


@lru_cache(maxsize=1_000)
def compiled(text: str, file: str) -> CodeType:
    """Return the code of a template, whose errors name `file`. Raises jinja2.TemplateSyntaxError."""
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
            what = f"ref({name!r}) names no source." if sources else "ref() is for the SQL of a source."
            raise TemplateProblem(what, did_you_mean(name, sources))
        return sources[name]

    return {"var": var, "ref": ref}


def _loaded(files: Sequence[MacroFile], known: Mapping[str, object]) -> dict[str, Any]:
    """Return each macro by name. Inside, a macro sees `known` and the macros that its own file's folder may call."""
    from jinja2 import Template

    macros: dict[str, Any] = {}

    def later(name: str) -> Callable[..., object]:
        def call(*positional: object, **named: object) -> object:
            return macros[name](*positional, **named)  # there by now: macros of different files may call each other

        return call

    for file in files:
        seen = {name: later(name) for other in files if other.serves(file.name) for name, _ in other.macros}
        jinja = environment()
        template = Template.from_code(jinja, compiled(file.text, file.name), jinja.make_globals(None))
        module = template.make_module({**known, **seen})
        macros.update({name: getattr(module, name) for name, _ in file.macros})
    return macros


def _place(error: BaseException, files: set[str]) -> Origin | None:
    """Return the innermost line of a macro file on the way to an error; Jinja keeps them in its traceback."""
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
        variable = f"The variable is written {{{{ var({missing!r}) }}}}." if missing in variables else ""
        mend = variable or did_you_mean(missing, known)
        return TemplateProblem(f"{error.message} in the {thing}.", mend, place)
    if isinstance(error, TemplateSyntaxError):
        return TemplateProblem(
            f"The template cannot be read, in line {error.lineno} of it: {str(error.message).rstrip('.')}.",
            _as_sql(text, error.lineno),
        )
    said = "a macro calls itself without end" if isinstance(error, RecursionError) else str(error)
    return TemplateProblem(f"The template cannot be filled: {said}.", "", place)


def _as_sql(text: str, line: int) -> str:
    """Return how to write as SQL what began a template last: a struct that is the key of a map, for one."""
    before = "\n".join(text.split("\n")[:line])
    mark = max(MARKS, key=before.rfind)
    return f"Where {mark} is no template but SQL, put a space between: {mark[0]} {mark[1]}"
