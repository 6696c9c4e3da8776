"""Import the features package afresh, and collect its declarations and mistakes."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import marshal
import re
import sys
import traceback
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import CodeType, ModuleType

from featdsl.catalog import source_text
from featdsl.declarations.declaration import Declaration, collecting
from featdsl.definitions.names import did_you_mean
from featdsl.errors import DeclarationError, FeatdslError, Origin, Problem
from featdsl.project import modules, output
from featdsl.project.settings import FILE, Project
from featdsl.sql import macros

_CHECKED_HASH = importlib.util.MAGIC_NUMBER + (0b11).to_bytes(4, "little")
"""The header of a bytecode file that is validated by the source's hash, which follows it: PEP 552."""
_CALL = re.compile(
    r"(?P<name>Entity|Source|Feature|FeatureGroup|FeatureSet|Model|Expect|Between|Stable|Unique|MaxAge|Rows|Deprecated|Request)"
    r"\.(?P<method>\w+)\(\) (?:missing \d+ required .*arguments?: (?P<missing>.+)"
    r"|got an unexpected keyword argument '(?P<unknown>\w+)'.*|takes .*positional arguments? but .*)"
)
"""Matches Python's error for a declaration that is called with wrong arguments."""
_CANNOT_IMPORT = re.compile(r"(cannot import name '(\w+)' from '([\w.]+)')")


@dataclass(frozen=True)
class Loaded:
    """The declarations of a features package, in import order, and the mistakes in it."""

    declarations: tuple[Declaration, ...]
    problems: tuple[Problem, ...] = ()
    macro_files: Mapping[str, str] = field(default_factory=dict)
    """The text of each macro file, by path."""


def load(project: Project, applied: Container[str] = ()) -> Loaded:
    """Import the project's features package afresh and return its declarations and mistakes.

    `applied` are the addresses of the features in the registry. Raises DeclarationError if the package has no folder or no
    importable name.
    """
    if not project.features.is_dir():
        problem = Problem(
            "No features here",
            f"The folder {project.features.name}/ does not exist in {project.root}.",
            fix="Create it, or start a project with: featdsl init",
        )
        raise DeclarationError(problem)
    if not project.features.name.isidentifier():
        what = (
            f'features = "{project.settings.project.features}" in [project] names a folder that Python cannot import.'
        )
        raise DeclarationError(
            Problem(
                "Folder cannot be imported",
                what,
                Origin(FILE, 1),
                "Rename the folder: use letters, digits and underscores.",
            )
        )
    package = modules.find(project.features)
    with collecting(applied) as collector, _importing_afresh(project) as finder, output.aside():
        for module in package.names:
            finder.attempt(module)
    problems = (*package.problems, *finder.problems, *collector.problems)
    return Loaded(tuple(collector.declarations), problems, macros.read(project))


class _FreshLoader(importlib.machinery.SourceFileLoader):
    """Loads a module from bytecode that matches its source by hash: by time, an edit in the same second would be missed.

    Keeps the source text in the module, for fingerprints of its functions. Reports an error to the finder where it happens;
    modules that import the failed one only get _FailedBefore.
    """

    def __init__(self, fullname: str, path: str, finder: _FreshFinder) -> None:
        super().__init__(fullname, path)
        self._finder = finder
        self._module: ModuleType | None = None

    def exec_module(self, module: ModuleType) -> None:
        self._module = module
        try:
            super().exec_module(module)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - user code may raise anything
            self._finder.fail(module.__name__, self.path, error)
            raise _FailedBefore(module.__name__) from None

    def get_code(self, fullname: str) -> CodeType | None:  # noqa: ARG002 - the base's signature
        data = self.get_data(self.path)
        if self._module is not None:
            vars(self._module)[source_text.KEPT] = importlib.util.decode_source(data)
        file, header = importlib.util.cache_from_source(self.path), _CHECKED_HASH + importlib.util.source_hash(data)
        code = self._kept_code(file, header)
        if code is None:
            code = self.source_to_code(data, self.path)
            if not sys.dont_write_bytecode:
                self.set_data(file, header + marshal.dumps(code))
        return code

    def _kept_code(self, file: str, header: bytes) -> CodeType | None:
        """Return the code in a bytecode file with this header; None if there is none or it was compiled for another path."""
        with suppress(OSError, EOFError, ValueError, TypeError):
            bytecode = self.get_data(file)
            code = marshal.loads(bytecode[len(header) :]) if bytecode.startswith(header) else None  # noqa: S302 - as Python does
            if isinstance(code, CodeType) and code.co_filename == self.path:
                return code
        return None


class _FailedBefore(ImportError):
    """Raised on import of a module whose mistake is already recorded."""


class _FreshFinder(importlib.abc.MetaPathFinder):
    """Finds the modules of the features package, and remembers those that failed to import."""

    def __init__(self, project: Project) -> None:
        self.problems: list[Problem] = []
        self._package = project.features
        self._prefix = project.features.name
        self._failed: set[str] = set()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname.partition(".")[0] != self._prefix:
            return None
        if fullname in self._failed:
            raise _FailedBefore(fullname)
        spec = importlib.machinery.PathFinder.find_spec(fullname, path or [str(self._package.parent)], target)
        if spec and spec.origin and isinstance(spec.loader, importlib.machinery.SourceFileLoader):
            spec.loader = _FreshLoader(fullname, spec.origin, self)
        return spec

    def attempt(self, module: str) -> None:
        """Import one module; if it fails, the mistake is already in `problems`."""
        with suppress(_FailedBefore):
            importlib.import_module(module)

    def fail(self, module: str, file: str, error: BaseException) -> None:
        """Record the error that ended a module's import."""
        self._failed.add(module)
        match error:
            case _FailedBefore():
                return
            case DeclarationError():
                self.problems += error.problems
            case FeatdslError():
                where = self._where(error, file)
                self.problems += [replace(problem, where=problem.where or where) for problem in error.problems]
            case SyntaxError() if error.filename:
                where = Origin(error.filename, error.lineno or 1)
                what = f"{error.msg}: {(error.text or '').strip()}".removesuffix(": ")
                fix = "Python cannot parse this line; fix it or the line before."
                self.problems.append(Problem("Syntax error", what, where, fix))
            case TypeError() if call := _CALL.fullmatch(str(error)):
                self.problems.append(_miscalled(call, self._where(error, file)))
            case _:
                what = f"{type(error).__name__}: {_message(error)}".removesuffix(": ")
                self.problems.append(Problem("Module cannot be imported", what, self._where(error, file), _fix(error)))

    def _where(self, error: BaseException, file: str) -> Origin:
        """Return the innermost line of the package in an error's traceback, or else the module's first line."""
        frames = [
            frame
            for frame in traceback.extract_tb(error.__traceback__)
            if Path(frame.filename).is_relative_to(self._package)
        ]
        return Origin(frames[-1].filename, frames[-1].lineno or 1) if frames else Origin(file, 1)


def _miscalled(call: re.Match[str], where: Origin) -> Problem:
    """Return the problem of a declaration that is called with wrong arguments."""
    name = call["name"] if call["method"].startswith("__") else f"{call['name']}.{call['method']}"
    if call["missing"]:
        missing = call["missing"].replace("'", "").replace(",", " and").replace("and and", "and").split(" and ")
        return Problem("Missing option", f"{name} needs {' and '.join(f'{each.strip()}=' for each in missing)}.", where)
    if call["unknown"]:
        return Problem("Unknown option", f"{name} has no option '{call['unknown']}'.", where)
    what = f"{name} takes its options by name only."
    return Problem("Option without its name", what, where, "Write each option as name=value.")


def _message(error: BaseException) -> str:
    """Return an error's message without the file path that Python adds to a failed import of a name."""
    match = _CANNOT_IMPORT.match(str(error))
    return match[1] if match else str(error)


def _fix(error: BaseException) -> str:
    """Return the fix for an error that a module raised."""
    match error:
        case AttributeError(name=str(wrong)):
            return did_you_mean(wrong, dir(error.obj))
        case ModuleNotFoundError():
            return "Correct the name, or install the package in this environment."
        case ImportError() if match := _CANNOT_IMPORT.match(str(error)):
            return did_you_mean(match[2], dir(sys.modules.get(match[3])))
        case SystemExit():
            return 'A module of declarations must not exit. Put scripts below: if __name__ == "__main__".'
    return "A module of declarations must not raise on import; fix this line or the code it calls."


@contextmanager
def _importing_afresh(project: Project) -> Iterator[_FreshFinder]:
    """Remove earlier imports of the package, and restore them at the end: the running program may use them."""
    prefix = project.features.name
    earlier = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == prefix}
    for name in earlier:
        del sys.modules[name]
    finder = _FreshFinder(project)
    sys.meta_path.insert(0, finder)
    sys.path.insert(0, str(project.features.parent))
    importlib.invalidate_caches()
    try:
        yield finder
    finally:
        sys.meta_path.remove(finder)
        sys.path.remove(str(project.features.parent))
        for name in [name for name in sys.modules if name.partition(".")[0] == prefix]:
            del sys.modules[name]
        sys.modules.update(earlier)
