"""Write the list of all errors with their fixes, from the syntax tree of the code that raises them.

Run in the repository: python docs/errors.py docs/errors.md
With --without-fix it prints the errors for which the code has no fix.
"""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from error_stages import CAUSES, FIXES, STAGES
from problem_texts import Code, Function, Scope, functions

ROOT = Path(__file__).parents[1]
_LONGEST = 320
"""So many characters of a cause or a fix are shown."""
_TITLES = 60
"""A summary is at most this long; anything longer is no summary."""

_HEAD = """# Every error, and how to fix it

featdsl reports your own mistakes without a traceback: a summary, the cause, the file and line if there is one, and a fix. A command
shows all the mistakes that it finds at once, and exits with 1, 3 (a guard or a missing approval) or 4 (a stale plan). In Python the
same text is the message of a `featdsl.FeatdslError`, and its `problems` hold the parts.

This list is written by `docs/errors.py` from the code. Words in capitals stand for your names and values.

"""

_RAISED = {"SqlProblem": "Invalid SQL", "FunctionProblem": "Function cannot be fingerprinted", "TemplateProblem": "Template cannot be rendered"}  # fmt: skip
"""Exceptions of cause and fix, and the summary under which their catchers report them."""
_GUARDS = {"protected": "Protected against removal", "deprecated": "Removed too early", "pinned": "Still pinned", "used": "Still used", "gone": "Dependency removed"}  # fmt: skip


_WITHOUT_A_FIX = {"ValueError": "", "UsageError": "Wrong use of a command", "BadParameter": "Wrong use of a command"}
"""Exceptions of one text, with the fix after a semicolon; a ValueError is reported by the validation of declarations and settings."""


@dataclass(frozen=True)
class Site:
    """One place in the code that makes an error: the texts that its parts may have."""

    stage: str
    summary: str
    what: tuple[str, ...]
    fix: tuple[str, ...]
    place: str
    """The file and line in the code."""


@dataclass(frozen=True)
class Maker:
    """A function that makes an error of its arguments: the positions of summary, what and fix among its parameters."""

    parameters: tuple[str, ...]
    parts: Mapping[str, str]
    """The parameter for each part that is one."""
    otherwise: tuple[str, ...] = ()
    """The fixes that count where a call gives none."""


PROBLEM = Maker(("summary", "what", "where", "fix"), {"summary": "summary", "what": "what", "fix": "fix"})


def sites(package: Path) -> list[Site]:
    """Return every place that makes an error, in the order of files and lines."""
    code = Code.read(package)
    makers = _makers(code)
    found = []
    for file, tree in code.modules.items():
        for function, call in _calls(tree):
            scope = Scope(code, file, function, call.lineno)
            place = f"{file.relative_to(package.parent).as_posix()}:{call.lineno}"
            stage = _stage(file.relative_to(package).with_suffix("").as_posix())
            for summary, what, fix in _made(call, scope, makers):
                found.append(Site(stage, summary, what, fix, place))
    return found


def _calls(tree: ast.Module) -> Iterator[tuple[Function | None, ast.Call]]:
    """Yield each call with the innermost function around it."""
    around: dict[int, Function] = {}
    for function in functions(tree):
        around |= {id(node): function for node in ast.walk(function)}
    return ((around.get(id(node)), node) for node in ast.walk(tree) if isinstance(node, ast.Call))


def _makers(code: Code) -> dict[str, list[Maker]]:
    """Return the functions that pass parameters of theirs on to a Problem as its summary, by name."""
    makers: dict[str, list[Maker]] = defaultdict(list)
    makers["Problem"].append(PROBLEM)
    for file, tree in code.modules.items():
        for function, call in _calls(tree):
            if function is None or _name(call) != "Problem":
                continue
            names = tuple(each.arg for each in (*function.args.args, *function.args.kwonlyargs) if each.arg != "self")
            passed = _arguments(call, PROBLEM)
            parts = {part: node.id for part, node in passed.items() if isinstance(node, ast.Name) and node.id in names}
            default = passed.get("fix")
            match default:
                case ast.BoolOp(values=[ast.Name(id=name), default]) if name in names:
                    parts["fix"] = name
                case ast.Name(id=name) if name in names:
                    default = None
            otherwise = tuple(Scope(code, file, function, call.lineno).texts(default))
            if "summary" in parts:
                makers[function.name].append(Maker(names, parts, otherwise))
    return makers


def _name(call: ast.Call) -> str:
    match call.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""


def _arguments(call: ast.Call, maker: Maker) -> dict[str, ast.expr]:
    """Return the arguments of a call that are parts of an error."""
    given = dict(zip(maker.parameters, call.args, strict=False))
    given |= {each.arg: each.value for each in call.keywords if each.arg}
    return {part: given[name] for part, name in maker.parts.items() if name in given}


Texts = tuple[str, ...]


def _made(call: ast.Call, scope: Scope, makers: Mapping[str, Sequence[Maker]]) -> Iterator[tuple[str, Texts, Texts]]:
    """Yield the errors that a call makes, one for each summary that it may have; none for one that is passed on."""
    name = _name(call)
    if name in _RAISED:
        parts = dict(zip(("what", "fix"), call.args, strict=False))
        yield _RAISED[name], _texts(scope, parts, "what"), _texts(scope, parts, "fix")
    elif name == "_block" and call.args and isinstance(call.args[0], ast.Constant):
        parts = dict(zip(("code", "thing", "what", "fix"), call.args, strict=False))
        yield _GUARDS[str(call.args[0].value)], _texts(scope, parts, "what"), _texts(scope, parts, "fix")
    elif name in _WITHOUT_A_FIX and call.args and (summary := _refusal(name, scope)):
        for text in (each for each in scope.texts(call.args[0]) if each != each.upper()):
            cause, _, fix = text.partition("; ")
            yield summary, (cause,), (f"{fix[:1].upper()}{fix[1:]}",)
    for maker in makers.get(name, ()):
        parts = _arguments(call, maker)
        summaries = [text for text in scope.texts(parts.get("summary")) if _is_summary(text)]
        fixes = _texts(scope, parts, "fix") or maker.otherwise
        for summary in summaries:
            what = _texts(scope, parts, "what")
            if fixes != ("FIX",) or (summary not in _RAISED.values() and what != ("WHAT",)):
                yield summary, what, fixes
        if summaries:
            return


def _texts(scope: Scope, parts: Mapping[str, ast.expr], part: str) -> Texts:
    return tuple(scope.texts(parts.get(part)))


def _refusal(name: str, scope: Scope) -> str:
    """Return the summary under which an exception of the name is reported, or an empty text if it is not."""
    if name != "ValueError":
        return _WITHOUT_A_FIX[name]
    package = next((part for part in ("declarations", "project") if part in scope.file.parts), "")
    return {"declarations": "Invalid declaration", "project": "Invalid setting"}.get(package, "")


def _is_summary(text: str) -> bool:
    """Return whether a text is a summary, not a cause or a summary that is passed on."""
    begins = text[:1].isupper() or text.startswith("featdsl ")
    return len(text) <= _TITLES and begins and not text.endswith((".", "?")) and not text.isupper()


def _stage(module: str) -> str:
    """Return the title of the stage of a module."""
    lengths = {
        title: max((len(each) for each in packages if f"{module}/".startswith((f"{each}/", each) if each else "")), default=-1)
        for title, _, packages in STAGES
    }  # fmt: skip
    return max(lengths, key=lambda title: lengths[title])


def page(package: Path = ROOT / "featdsl") -> str:
    """Return the page in Markdown."""
    by_stage: dict[str, list[Site]] = defaultdict(list)
    for site in sites(package):
        by_stage[site.stage].append(site)
    parts = [_section(title, about, by_stage[title]) for title, about, _ in STAGES if by_stage[title]]
    return _HEAD + "\n".join(parts)


def _section(title: str, about: str, found: Iterable[Site]) -> str:
    """Return a heading with the table of its errors; one row for each cause."""
    rows: dict[tuple[str, str], list[str]] = defaultdict(list)
    for site in sorted(found, key=lambda site: (site.summary.lower(), site.place)):
        causes = [cause for cause in site.what[:2] if cause != cause.upper()]
        cause = " / ".join(causes) or CAUSES.get(site.summary, "The message quotes it.")
        written = [fix.replace("FIX", FIXES.get(site.summary, "")).strip() for fix in site.fix]
        fixes = [fix for fix in written if fix != fix.upper()] or [FIXES.get(site.summary, "")]
        rows[site.summary, cause] += [fix for fix in fixes if fix not in rows[site.summary, cause]]
    lines, earlier = [], ""
    for (summary, cause), fixes in rows.items():
        shown = "" if summary == earlier else f"**{_cell(summary)}**"
        lines.append(f"| {shown} | {_cell(cause)} | {_cell(' Or: '.join(fixes[:3]))} |")
        earlier = summary
    introduction = f"{about}\n\n" if about else ""
    table = "\n".join(lines)
    return f"## {title}\n\n{introduction}| error | cause | fix |\n|---|---|---|\n{table}\n"


def _cell(text: str) -> str:
    """Return a text as it stands in a table of Markdown; a long one, which has code of yours in it, is cut."""
    text = " ".join(text.split())
    text = text if len(text) <= _LONGEST else f"{text[: text.rindex(' ', 0, _LONGEST)]} …"
    for mark in "\\|<>*_[]{}`$#":
        text = text.replace(mark, f"\\{mark}")
    return text


def without_fix(package: Path = ROOT / "featdsl") -> list[Site]:
    """Return the errors for which the code has no fix."""
    return [site for site in sites(package) if not any(site.fix)]


if __name__ == "__main__":
    if sys.argv[1:] == ["--without-fix"]:
        for each in without_fix():
            print(f"{each.place}: {each.summary}: {' / '.join(each.what)[:120]}")
    else:
        Path(sys.argv[1]).write_text(page(), encoding="utf-8")
