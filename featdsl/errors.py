"""Problems and the exceptions that carry them. A problem says what happened, why, where, and how to fix it.

FeatdslError
├── DeclarationError        a declaration, a setting or a piece of SQL is wrong; carries every problem found
├── FeatureNotFoundError    no applied feature has this name (also a LookupError)
├── AmbiguousFeatureError   several groups have a feature of this bare name (also a LookupError)
├── RequestError            a spine, a key or an argument of a read is invalid
├── DataError               the data breaks a quality rule: duplicate rows, a failed check
│   └── ReadingError        a file cannot be read
├── StoreError              the store cannot be read or written
│   └── StoreLockedError    another process holds the lock
├── UnreachableError        a server, a remote file or the extension that reads it is out of reach
│   └── ExtensionError      a DuckDB extension cannot be loaded
├── SourceFileError         a source file lacks a column, or has a value that does not fit the column's type
├── SiteFolderError         the folder of the catalogue's site has other files, or cannot be written
├── PreviewError            the preview of the catalogue's site cannot use its port
├── PlanFileError           a plan or an export is damaged, from another project or in a newer format
├── LockFileError           a training lock file is damaged, edited or from another store
├── OutdatedModelError      features of a model are served with other definitions than it was trained on
├── PolicyError             a guard or a missing approval forbids a plan (exit code 3)
├── StalePlanError          the store changed after the plan was made (exit code 4)
├── ProviderError           GitHub, GitLab, or what a CI hands to a job cannot be used
└── ConfirmationError       nobody confirmed the apply
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import ClassVar


@dataclass(frozen=True, order=True)
class Origin:
    """The file and line where something was written."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"

    def relative_to(self, root: Path) -> Origin:
        """Return the origin with its file relative to `root`; unchanged if the file is not below `root`."""
        return Origin(_relative(self.file, root), self.line)


@lru_cache(maxsize=100_000)
def _relative(file: str, root: Path) -> str:
    path = Path(file)
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else file


_SECRETS = (
    re.compile(
        r"(?i)\b(\w*(?:password|passwd|pwd|secret|token|access_key|api_key)\w*\s*(?:=>?|:)\s*)('[^']*'|\"[^\"]*\"|[^\s'\",;)]+)"
    ),
    re.compile(r"(\w://[^\s:/@'\"]*:)([^\s/@'\"]+)(?=@)"),
)
"""Patterns with two groups: the name or prefix of a secret, then the secret."""


def _without_secrets(text: str) -> str:
    for pattern in _SECRETS:
        text = pattern.sub(r"\1***", text)
    return text


@dataclass(frozen=True)
class Problem:
    """One mistake: a constant summary, then the details."""

    summary: str
    what: str
    where: Origin | None = None
    fix: str = ""

    def __post_init__(self) -> None:
        # The text may quote user code, which may hold a password.
        object.__setattr__(self, "what", _without_secrets(self.what))

    def __str__(self) -> str:
        details = [*self.what.splitlines(), str(self.where) if self.where else "", *self.fix.splitlines()]
        return "\n".join([self.summary, *(f"  {line}" for line in details if line)])

    def seen_from(self, root: Path) -> Problem:
        """Return the problem with its origin relative to `root`."""
        return replace(self, where=self.where.relative_to(root)) if self.where else self


class FeatdslError(Exception):
    """A mistake that the user can fix; `problems` holds every problem found."""

    exit_code: ClassVar[int] = 1

    def __init__(self, problems: Problem | Iterable[Problem]) -> None:
        self.problems: Sequence[Problem] = (problems,) if isinstance(problems, Problem) else tuple(problems)
        super().__init__("\n\n".join(str(problem) for problem in self.problems))

    def __reduce__(self) -> tuple[type[FeatdslError], tuple[Sequence[Problem]]]:
        return type(self), (self.problems,)


class DeclarationError(FeatdslError):
    """A declaration, a setting or a piece of SQL is invalid."""


class FeatureNotFoundError(FeatdslError, LookupError):
    """No feature in the registry has this name."""


class AmbiguousFeatureError(FeatdslError, LookupError):
    """Features of several groups have this bare name."""


class RequestError(FeatdslError):
    """A read has an invalid spine, key or argument."""


class DataError(FeatdslError):
    """The data breaks a declared rule; nothing was published."""


class ReadingError(DataError):
    """The file exists, but the engine cannot read it."""


class SiteFolderError(FeatdslError):
    """The folder of the catalogue's site has files that no build wrote, or cannot be written."""


class PreviewError(FeatdslError):
    """The preview of the catalogue's site cannot use its port."""


class ResourceError(FeatdslError):
    """Memory or disk space ran out; nothing was published, and the next apply reuses the finished steps."""


class StoreError(FeatdslError):
    """The store cannot be read or written."""


class StoreLockedError(StoreError):
    """Another process holds the lock of the store."""


class OnlineStoreError(FeatdslError):
    """The online store cannot be reached, or its content cannot be used."""


class UnreachableError(FeatdslError):
    """A source or store is out of reach: its server, the variable that names it or the extension that reads it."""


class SourceFileError(FeatdslError):
    """A source file no longer matches the columns and types that the plan was made with."""


class ExtensionError(UnreachableError):
    """A DuckDB extension is not installed, or belongs to another version of DuckDB."""


class PlanFileError(FeatdslError):
    """A plan file or an export of a registry cannot be used."""


class LockFileError(FeatdslError):
    """A training lock file cannot be used."""


class OutdatedModelError(FeatdslError):
    """Features of a model are served with other definitions than it was trained on."""


class PolicyError(FeatdslError):
    """A guard forbids the plan, or teams have not approved it yet; nothing was done."""

    exit_code = 3


class StalePlanError(FeatdslError):
    """The base of the plan is no longer the head of the store."""

    exit_code = 4


class ProviderError(FeatdslError):
    """A provider of pull requests refuses a call, or an event, an artifact or a repository of a CI cannot be used.

    `status` is the HTTP status of the refusal, 0 if there is none.
    """

    status: int = 0


class ConfirmationError(FeatdslError):
    """Nobody confirmed the apply."""


class DeprecatedWarning(FutureWarning):
    """Code reads something deprecated, which may be removed."""


class SqlProblem(ValueError):
    """SQL that cannot be used; the caller adds the origin. `fix` says what to do."""

    def __init__(self, what: str, fix: str = "") -> None:
        super().__init__(what)
        self.fix = fix
