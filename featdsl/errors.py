"""What can go wrong, each told as: what, why, where, and how to mend it.

FeatdslError
├── DeclarationError        a declaration, a setting or an SQL text is wrong; carries every problem found
├── FeatureNotFoundError    a name that nothing applied answers to (also a LookupError)
├── AmbiguousFeatureError   a bare name that several groups use (also a LookupError)
├── RequestError            a spine, a key or an argument of a read does not fit
├── DataError               the data breaks a rule: duplicate rows, a failed check
│   └── ReadingError        a file cannot be read
├── StoreError              the store cannot be read or written
│   └── StoreLockedError    another process holds the lock
├── UnreachableError        a server, a file elsewhere or what is needed to read it is out of reach
│   └── ExtensionError      an extension of DuckDB cannot be loaded
├── SourceFileError         a file of a source lacks a column, or has a value that its type does not hold
├── PlanFileError           a plan or an export is damaged, of another project or of a newer format
├── LockFileError           the lock of a training set is damaged, edited or of another store
├── PolicyError             a guard or a missing approval forbids a plan (exit code 3)
├── StalePlanError          the store has moved on since the plan was made (exit code 4)
└── ConfirmationError       apply was not told that it may write
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
        """Return the same place, seen from `root` when it lies below it."""
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
"""What names a secret, and the secret."""


def _without_secrets(text: str) -> str:
    for pattern in _SECRETS:
        text = pattern.sub(r"\1***", text)
    return text


@dataclass(frozen=True)
class Problem:
    """One mistake: a constant summary, then the particulars."""

    summary: str
    what: str
    where: Origin | None = None
    mend: str = ""

    def __post_init__(self) -> None:
        # A password that stands in code is not repeated, by whatever way it came here.
        object.__setattr__(self, "what", _without_secrets(self.what))

    def __str__(self) -> str:
        particulars = [*self.what.splitlines(), str(self.where) if self.where else "", *self.mend.splitlines()]
        return "\n".join([self.summary, *(f"  {line}" for line in particulars if line)])

    def seen_from(self, root: Path) -> Problem:
        """Return the same problem with its place relative to `root`."""
        return replace(self, where=self.where.relative_to(root)) if self.where else self


class FeatdslError(Exception):
    """A mistake that its author can mend; `problems` holds every one that was found."""

    exit_code: ClassVar[int] = 1

    def __init__(self, problems: Problem | Iterable[Problem]) -> None:
        self.problems: Sequence[Problem] = (problems,) if isinstance(problems, Problem) else tuple(problems)
        super().__init__("\n\n".join(str(problem) for problem in self.problems))

    def __reduce__(self) -> tuple[type[FeatdslError], tuple[Sequence[Problem]]]:
        return type(self), (self.problems,)


class DeclarationError(FeatdslError):
    """Declarations, settings or SQL that cannot be planned."""


class FeatureNotFoundError(FeatdslError, LookupError):
    """A name that nothing in the registry answers to."""


class AmbiguousFeatureError(FeatdslError, LookupError):
    """A bare name that features of several groups answer to."""


class RequestError(FeatdslError):
    """A read that was asked for in a way that cannot be answered."""


class DataError(FeatdslError):
    """Data that breaks a declared rule; nothing was published."""


class ReadingError(DataError):
    """A file that the engine cannot read, though it is there."""


class ResourceError(FeatdslError):
    """Memory or disk space that ran out; nothing was published, and what is done is kept for the next apply."""


class StoreError(FeatdslError):
    """A store that cannot be read or written."""


class StoreLockedError(StoreError):
    """A store that another process keeps locked."""


class UnreachableError(FeatdslError):
    """A place that cannot be reached: its server, the variable that names it or the extension that reads it."""


class SourceFileError(FeatdslError):
    """A file of a source that does not hold what the source was planned with."""


class ExtensionError(UnreachableError):
    """An extension of DuckDB that is not installed, or does not belong to the DuckDB that is."""


class PlanFileError(FeatdslError):
    """A plan file, or an export of a registry, that cannot be used."""


class LockFileError(FeatdslError):
    """The lock of a training set that cannot be used."""


class PolicyError(FeatdslError):
    """A plan that a guard forbids, or that teams have yet to approve; nothing was done."""

    exit_code = 3


class StalePlanError(FeatdslError):
    """A plan whose base is no longer the head of the store."""

    exit_code = 4


class ConfirmationError(FeatdslError):
    """An apply that nobody confirmed."""


class DeprecatedWarning(FutureWarning):
    """What is read should be used no longer; it may go."""


class SqlProblem(ValueError):
    """SQL that cannot be used, for whoever knows where it stands to tell; `mend` says what to do."""

    def __init__(self, what: str, mend: str = "") -> None:
        super().__init__(what)
        self.mend = mend
