"""Import the features package afresh and gather what it declares, with every mistake in it."""

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

from featdsl import macros, modules, printing, sourcecode
from featdsl.declaration import Declaration, collecting
from featdsl.errors import DeclarationError, FeatdslError, Origin, Problem
from featdsl.names import did_you_mean
from featdsl.project import FILE, Project

_CHECKED_HASH = importlib.util.MAGIC_NUMBER + (0b11).to_bytes(4, "little")
"""What a bytecode file begins with that belongs to a text by its hash, which follows: PEP 552."""
_CALL = re.compile(
    r"(?P<name>Entity|Source|Feature|FeatureGroup|FeatureSet|Model|Expect|Between|Stable|Unique|MaxAge|Rows|Deprecated|Request)"
    r"\.(?P<method>\w+)\(\) (?:missing \d+ required .*arguments?: (?P<missing>.+)"
    r"|got an unexpected keyword argument '(?P<unknown>\w+)'.*|takes .*positional arguments? but .*)"
)
"""What Python says of a call of a declaration that does not fit its parameters."""
_CANNOT_IMPORT = re.compile(r"(cannot import name '(\w+)' from '([\w.]+)')")


@dataclass(frozen=True)
class Loaded:
    """What a features package declares, in the order of import, and every mistake in it."""

    declarations: tuple[Declaration, ...]
    problems: tuple[Problem, ...]
    macro_files: Mapping[str, str] = field(default_factory=dict)
    """The text of each macro file, by its path."""


def load(project: Project, applied: Container[str] = ()) -> Loaded:
    """Return what the project's features package declares now, whatever was imported before.

    `applied` are the addresses of features that the registry has.
    """
    if not project.features.is_dir():
        problem = Problem(
            "No features here",
            f"The folder {project.features.name}/ does not exist in {project.root}.",
            mend="Make it, or start a project with: featdsl init",
        )
        raise DeclarationError(problem)
    if not project.features.name.isidentifier():
        what = (
            f'features = "{project.settings.project.features}" in [project] names a folder that Python cannot import.'
        )
        raise DeclarationError(
            Problem(
                "Folder cannot be imported", what, Origin(FILE, 1), "Rename the folder: letters, digits, underscores."
            )
        )
    found = modules.find(project.features)
    with collecting(applied) as collector, _importing_afresh(project) as finder, printing.aside():
        for module in found.names:
            finder.attempt(module)
    problems = (*found.problems, *finder.problems, *collector.problems)
    return Loaded(tuple(collector.declarations), problems, macros.read(project))


class _FreshLoader(importlib.machinery.SourceFileLoader):
    """Takes the bytecode of exactly the text that is there: a file that goes by time can be older than an edit of the same second.

    The text is kept with the module, for fingerprints of its functions. A mistake is kept where it happens; whoever imports the module learns only that it failed.
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
            vars(self._module)[sourcecode.KEPT] = importlib.util.decode_source(data)
        file, header = importlib.util.cache_from_source(self.path), _CHECKED_HASH + importlib.util.source_hash(data)
        code = self._kept_code(file, header)
        if code is None:
            code = self.source_to_code(data, self.path)
            if not sys.dont_write_bytecode:
                self.set_data(file, header + marshal.dumps(code))
        return code

    def _kept_code(self, file: str, header: bytes) -> CodeType | None:
        """Return the code in a bytecode file of this text, unless it was compiled in another place."""
        with suppress(OSError, EOFError, ValueError, TypeError):
            kept = self.get_data(file)
            code = marshal.loads(kept[len(header) :]) if kept.startswith(header) else None  # noqa: S302 - as Python does
            if isinstance(code, CodeType) and code.co_filename == self.path:
                return code
        return None


class _FailedBefore(ImportError):
    """The import of a module whose mistake is already known."""


class _FreshFinder(importlib.abc.MetaPathFinder):
    """Finds the modules of one package below one folder, and remembers which could not be imported."""

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
        """Import one module; its mistake is kept by then, unless it is another module's."""
        with suppress(_FailedBefore):
            importlib.import_module(module)

    def fail(self, module: str, file: str, error: BaseException) -> None:
        """Keep the mistake that ended a module's import."""
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
                said = f"{error.msg}: {(error.text or '').strip()}".removesuffix(": ")
                mend = "Python cannot read on from here; mend this line or the one before."
                self.problems.append(Problem("Syntax error", said, where, mend))
            case TypeError() if call := _CALL.fullmatch(str(error)):
                self.problems.append(_miscalled(call, self._where(error, file)))
            case _:
                said = f"{type(error).__name__}: {_said(error)}".removesuffix(": ")
                self.problems.append(Problem("Module cannot be imported", said, self._where(error, file), _mend(error)))

    def _where(self, error: BaseException, file: str) -> Origin:
        """Return the last line of the package on the way to an error, else the module's first."""
        frames = [
            frame
            for frame in traceback.extract_tb(error.__traceback__)
            if Path(frame.filename).is_relative_to(self._package)
        ]
        return Origin(frames[-1].filename, frames[-1].lineno or 1) if frames else Origin(file, 1)


def _miscalled(call: re.Match[str], where: Origin) -> Problem:
    """Return what is wrong with a call of ours that does not fit its parameters."""
    name = call["name"] if call["method"].startswith("__") else f"{call['name']}.{call['method']}"
    if call["missing"]:
        missing = call["missing"].replace("'", "").replace(",", " and").replace("and and", "and").split(" and ")
        return Problem("Missing option", f"{name} needs {' and '.join(f'{each.strip()}=' for each in missing)}.", where)
    if call["unknown"]:
        return Problem("Unknown option", f"{name} has no option '{call['unknown']}'.", where)
    return Problem("Option without its name", f"{name} takes its options by name.", where, "Write each as name=value.")


def _said(error: BaseException) -> str:
    found = _CANNOT_IMPORT.match(str(error))
    return found[1] if found else str(error)


def _mend(error: BaseException) -> str:
    """Return how to mend what a module raised."""
    match error:
        case AttributeError(name=str(wrong)):
            return did_you_mean(wrong, dir(error.obj))
        case ModuleNotFoundError():
            return "Correct the name, or install it into this environment."
        case ImportError() if found := _CANNOT_IMPORT.match(str(error)):
            return did_you_mean(found[2], dir(sys.modules.get(found[3])))
        case SystemExit():
            return 'Declarations must not end the program; a script goes below: if __name__ == "__main__".'
    return "Importing a module of declarations must not raise; mend this line or what it calls."


@contextmanager
def _importing_afresh(project: Project) -> Iterator[_FreshFinder]:
    """Set earlier imports of the package aside, and bring them back: they are what a running program holds."""
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
