"""Import the features package afresh and gather what it declares, with every mistake in it."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, ModuleType

from featdsl.declaration import Declaration, collecting
from featdsl.errors import DeclarationError, Origin, Problem
from featdsl.project import Project


@dataclass(frozen=True)
class Loaded:
    """What a features package declares, in the order of import, and every mistake in it."""

    declarations: tuple[Declaration, ...]
    problems: tuple[Problem, ...]


def load(project: Project) -> Loaded:
    """Return what the project's features package declares now, whatever was imported before."""
    if not project.features.is_dir():
        problem = Problem(
            "No features here",
            f"The folder {project.features.name}/ does not exist in {project.root}.",
            mend="Make it, or start a project with: featdsl init",
        )
        raise DeclarationError(problem)
    with collecting() as collector, _importing_afresh(project) as finder:
        for module in _modules(project):
            finder.attempt(module)
    return Loaded(tuple(collector.declarations), (*finder.problems, *collector.problems))


def _modules(project: Project) -> Iterator[str]:
    """Yield the package's modules, parents first, in an order that no file system decides."""
    package = project.features
    for file in sorted(package.rglob("*.py"), key=lambda path: path.relative_to(package).parts):
        parts = file.relative_to(package.parent).with_suffix("").parts
        if all(part.isidentifier() for part in parts):
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


class _FreshLoader(importlib.machinery.SourceFileLoader):
    """Compiles from source each time: a cached bytecode file can be older than an edit of the same second."""

    def get_code(self, fullname: str) -> CodeType | None:  # noqa: ARG002 - the base's signature
        return self.source_to_code(self.get_data(self.path), self.path)


class _FailedBefore(ImportError):
    """The import of a module whose mistake is already known."""


class _FreshFinder(importlib.abc.MetaPathFinder):
    """Finds the modules of one package below one folder, and remembers which could not be imported."""

    def __init__(self, project: Project) -> None:
        self.problems: list[Problem] = []
        self._root, self._package = project.root, project.features
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
            spec.loader = _FreshLoader(fullname, spec.origin)
        return spec

    def attempt(self, module: str) -> None:
        """Import one module; keep its mistake, unless it is another module's."""
        try:
            importlib.import_module(module)
        except _FailedBefore:
            self._failed.add(module)
        except DeclarationError as error:
            self._failed.add(module)
            self.problems += error.problems
        except (Exception, SystemExit) as error:  # noqa: BLE001 - user code may raise anything
            self._failed.add(module)
            self.problems.append(self._problem(module, error))

    def _problem(self, module: str, error: BaseException) -> Problem:
        if isinstance(error, SyntaxError) and error.filename:
            where = Origin(error.filename, error.lineno or 1)
            return Problem("Syntax error", f"{error.msg}: {(error.text or '').strip()}", where)
        frames = [
            frame
            for frame in traceback.extract_tb(error.__traceback__)
            if Path(frame.filename).is_relative_to(self._package)
        ]
        where = Origin(frames[-1].filename, frames[-1].lineno or 1) if frames else Origin(self._file(module), 1)
        said = "".join(traceback.TracebackException.from_exception(error).format_exception_only()).strip()
        return Problem("Module cannot be imported", said, where)

    def _file(self, module: str) -> str:
        path = self._package.parent.joinpath(*module.split("."))
        return str(path / "__init__.py" if path.is_dir() else path.with_suffix(".py"))


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
