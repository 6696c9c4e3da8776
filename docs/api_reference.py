"""Show docstrings as entries of the Python domain of Sphinx: signatures, and the Markdown of the docstring below each."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path

import griffe

ROOT = Path(__file__).parents[1]
Member = griffe.Class | griffe.Function | griffe.Attribute


def entries(lines: Iterable[str]) -> str:
    """Return the entries of public names in Markdown for MyST.

    A line is a name, `featdsl.Source`, with the methods to show, `featdsl.Source push`, or three dots for all of them.
    """
    return "\n".join(text for line in lines for text in _entry(*line.split()))


@cache
def _package() -> griffe.Module:
    """Return the package as griffe reads it: from the source, without importing it."""
    loaded = griffe.load("featdsl", search_paths=[str(ROOT)], resolve_aliases=True)
    if not isinstance(loaded, griffe.Module):
        raise TypeError(f"{loaded.path} is no package")
    return loaded


def _entry(name: str, *methods: str) -> Iterator[str]:
    """Yield the lines of one public name. Raises KeyError if the code has no such name."""
    found = _package()[name.removeprefix("featdsl.")]
    member = found.final_target if isinstance(found, griffe.Alias) else found
    if isinstance(member, griffe.Class):
        is_made_by_users = name.count(".") == 1 or ".integrations." in name  # else a call returns it
        made = _signature(_constructor(member)) if is_made_by_users else ""
        yield from _directive("py:class", f"{name}{made}", _text(member))
        public = {own.name: own for own in _methods(member)}
        for own in public.values() if methods == ("...",) else [public[each] for each in methods]:
            yield from _method(name, own)
        return
    if not isinstance(member, griffe.Function):
        raise TypeError(f"{name} is neither a class nor a function")
    yield from _directive("py:function", f"{name}{_signature(member)}", _text(member))


def _method(name: str, own: griffe.Function | griffe.Attribute) -> Iterator[str]:
    """Yield the lines of a method or property of a class."""
    if isinstance(own, griffe.Attribute):
        return _directive("py:property", f"{name}.{own.name}", _text(own))
    option = next((f":{label}:" for label in ("async", "classmethod") if label in own.labels), None)
    return _directive("py:method", f"{name}.{own.name}{_signature(own)}", _text(own), option)


def _directive(kind: str, title: str, body: Sequence[str], option: str | None = None) -> Iterator[str]:
    """Yield the lines of a directive; its fence is longer than those that a docstring may have."""
    yield from (f"``````{{{kind}}} {title}", *([option] if option else []), "", *body, "``````", "")


def _text(member: Member) -> list[str]:
    """Return the lines of a docstring."""
    return inspect.cleandoc(member.docstring.value).splitlines() if member.docstring else []


def _constructor(member: griffe.Class) -> griffe.Function | None:
    """Return what takes the arguments that people write: the options of a class header, or `__init__`."""
    for name in ("__init_subclass__", "__init__"):
        found = member.members.get(name)
        if isinstance(found, griffe.Function):
            return found
    return None


def _methods(member: griffe.Class) -> Iterator[griffe.Function | griffe.Attribute]:
    """Yield the public methods and properties, own ones first, then inherited ones of the package."""
    seen = set()
    for holder in (member, *member.mro()):
        if holder.name in {"Declaration", "BaseModel", "object"}:
            continue
        for name, own in holder.members.items():
            public = not name.startswith("_") and name not in seen
            if public and isinstance(own, griffe.Function | griffe.Attribute) and own.docstring and _is_shown(own):
                seen.add(name)
                yield own


def _is_shown(own: griffe.Function | griffe.Attribute) -> bool:
    return isinstance(own, griffe.Function) or "property" in own.labels


def _signature(function: griffe.Function | None) -> str:
    """Return the parameters of a function in parentheses, with annotations and defaults, without `self`."""
    if function is None:
        return ""
    shown, starred = [], False
    for parameter in function.parameters:
        if parameter.name in {"self", "cls", "unknown"}:  # `**unknown` only lets an error name a misspelled option
            continue
        if parameter.kind is griffe.ParameterKind.keyword_only and not starred:
            shown.append("*")
            starred = True
        starred = starred or parameter.kind is griffe.ParameterKind.var_positional
        shown.append(_parameter(parameter))
    result = f" -> {function.returns}" if function.returns and function.name != "__init__" else ""
    return f"({', '.join(shown)}){result}" if not function.name.startswith("__init") else f"({', '.join(shown)})"


def _parameter(parameter: griffe.Parameter) -> str:
    prefix = {griffe.ParameterKind.var_positional: "*", griffe.ParameterKind.var_keyword: "**"}.get(parameter.kind, "")
    annotation = f": {parameter.annotation}" if parameter.annotation is not None else ""
    default = f" = {parameter.default}" if parameter.default is not None and not prefix else ""
    return f"{prefix}{parameter.name}{annotation}{default}"
