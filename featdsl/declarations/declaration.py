"""The base of every declaration: it validates its fields, remembers its file and line, and is pickled by reference."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Container, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar
from weakref import WeakValueDictionary

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, PrivateAttr, ValidationError

from featdsl.declarations import ownership
from featdsl.definitions import sheets
from featdsl.definitions.dtypes import duckdb_type
from featdsl.definitions.durations import checked, written_of
from featdsl.definitions.names import did_you_mean, is_column, is_name, is_source_column, snake_case
from featdsl.definitions.sheets import Grid, Mark, Sheet
from featdsl.definitions.validation_errors import reason, shown
from featdsl.errors import DeclarationError, Origin, Problem

_PACKAGE = str(Path(__file__).parents[1])
_NOT_WRITTEN_BY_USERS = (_PACKAGE, str(Path(sys.modules["pydantic"].__file__ or "").parent), "<frozen")


@dataclass
class Collector:
    """Collects declarations and their problems while it is active."""

    declarations: list[Declaration] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    applied: Container[str] = ()
    """The addresses of applied features: a set may still list a feature that its owner has removed."""


_collector: ContextVar[Collector | None] = ContextVar("featdsl_collector", default=None)
_by_reference: WeakValueDictionary[tuple[str, str, str], Declaration] = WeakValueDictionary()


@contextmanager
def collecting(applied: Container[str] = ()) -> Iterator[Collector]:
    """Collect declarations and their problems instead of raising the first; `applied` has the addresses of applied features."""
    collector = Collector(applied=applied)
    token = _collector.set(collector)
    try:
        yield collector
    finally:
        _collector.reset(token)


class Declaration(BaseModel):
    """A named object that a team declares. Compared by identity: no two declarations are equal."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)
    kind: ClassVar[str]
    title: ClassVar[str] = ""

    _origin: Origin = PrivateAttr(default=Origin("", 0))
    _module: str = PrivateAttr(default="")
    _valid: bool = PrivateAttr(default=True)
    _foreign: str = PrivateAttr(default="")

    def __init__(self, fields: Mapping[str, object], *, placed: Origin | None = None) -> None:
        origin, module = _caller()
        problems: list[Problem] = []
        try:
            super().__init__(**fields)
        except ValidationError as error:
            problems = self._problems(fields, error, placed or origin)
            self._keep_unchecked(fields)
        self.__pydantic_private__ = {
            **_private_defaults(type(self)), "_origin": placed or origin, "_module": module, "_valid": not problems,
        }  # fmt: skip
        collector = _collector.get()
        if collector is not None:
            collector.problems += problems
            collector.declarations.append(self)
        elif problems:
            raise DeclarationError(problems)
        else:
            _by_reference[(module, self.kind, self.address)] = self

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        # pydantic would deep-copy the default of each private attribute, which takes half the time to create a Feature.
        cls.model_post_init = BaseModel.model_post_init  # type: ignore[method-assign]
        sheets.documented(cls)

    @property
    def address(self) -> str:
        """The name that other declarations refer to it by."""
        return str(getattr(self, "name", ""))

    @property
    def origin(self) -> Origin:
        """The file and line of the declaration."""
        return self._private["_origin"]  # type: ignore[no-any-return]

    @property
    def module(self) -> str:
        """The name of the declaring module; pickles refer to it."""
        return self._private["_module"]  # type: ignore[no-any-return]

    @property
    def valid(self) -> bool:
        """Whether it passed validation. A collector keeps invalid declarations so that imports continue."""
        return self._private["_valid"]  # type: ignore[no-any-return]

    @property
    def foreign(self) -> str:
        """The project that it was pulled from; `""` if it is declared in this project."""
        return self._private["_foreign"]  # type: ignore[no-any-return]

    @property
    def owner(self) -> str:
        """The team that owns its file; `""` for a file of no project, such as a cell of a notebook."""
        return ownership.team_of(self.origin.file)

    def sheet(self) -> Sheet:
        """Return what `help()`, an editor and a notebook show of it."""
        if not self.valid:
            return Sheet(kind=self.kind, name=self.address, marks=[Mark("invalid", "bad")])
        return Sheet(
            kind=self.kind,
            name=self.address or "(unnamed)",
            dtype=str(getattr(self, "dtype", "")),
            marks=list(self.marks()),
            description=str(getattr(self, "description", "")),
            facts=[("owner", self.owner), *self.facts()],
            grids=list(self.grids()),
        )

    def marks(self) -> Iterator[Mark]:
        """Yield what a user must know before anything else."""
        if getattr(self, "access", "") == "private":
            yield Mark("private", "warn")
        if getattr(self, "deprecated", None) is not None:
            yield Mark("deprecated", "warn")

    def facts(self) -> Iterator[tuple[str, str]]:
        """Yield what it declares, by name; a fact without a value is not shown."""
        yield "tags", ", ".join(getattr(self, "tags", ()))
        yield "deprecated", str(getattr(self, "deprecated", None) or "")
        yield "renamed from", getattr(self, "renamed_from", None) or ""
        yield "declared", str(ownership.place(self.origin))

    def origins(self) -> Iterator[tuple[str, str]]:
        """Yield what a group's features describe, and what they are computed from."""
        yield from ()

    def grids(self) -> Iterator[Grid]:
        """Yield its parts as tables."""
        yield from ()

    @property
    def _private(self) -> dict[str, Any]:
        """The private attributes. Access through this dict is ten times as fast as by name."""
        return self.__pydantic_private__ or {}

    def _problems(self, fields: Mapping[str, object], error: ValidationError, where: Origin) -> list[Problem]:
        title = " ".join(part for part in (self.title or type(self).__name__, _shown(fields.get("name"))) if part)
        return [_problem(title, detail, type(self).model_fields, where) for detail in error.errors()]

    def _keep_unchecked(self, fields: Mapping[str, object]) -> None:
        defaults = {name: info.get_default() for name, info in type(self).model_fields.items()}
        object.__setattr__(self, "__dict__", {**defaults, **fields})
        object.__setattr__(self, "__pydantic_fields_set__", set(fields))
        object.__setattr__(self, "__pydantic_extra__", None)

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.address}>"

    def _repr_html_(self) -> str:
        return self.sheet().html()

    def __str__(self) -> str:
        return repr(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return recall, (self.module, self.kind, self.address)

    def __copy__(self) -> Declaration:
        return self

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Declaration:
        return self


@cache
def _private_defaults(kind: type[Declaration]) -> Mapping[str, Any]:
    """Return the default values of a class's private attributes."""
    return {name: attribute.get_default() for name, attribute in kind.__private_attributes__.items()}


def recall(module: str, kind: str, address: str) -> Declaration:
    """Return the declaration that a pickle names, importing its module if needed.

    Raises DeclarationError if the module no longer declares it.
    """
    declaration = _by_reference.get((module, kind, address))
    if declaration is None:
        importlib.import_module(module)
        declaration = _by_reference.get((module, kind, address))
    if declaration is None:
        raise DeclarationError(
            Problem(
                "Declaration not found",
                f"The pickle refers to the {kind} {address} of module {module}, which no longer declares it.",
                fix="Create the pickle again with the current code.",
            )
        )
    return declaration


def living(module: str, kind: str, address: str) -> Declaration | None:
    """Return the declaration that a module has made at an address, as long as the program keeps it; else None."""
    return _by_reference.get((module, kind, address))


def refuse(problem: Problem) -> None:
    """Pass a problem to the active collector. Raises DeclarationError if there is none."""
    collector = _collector.get()
    if collector is None:
        raise DeclarationError(problem)
    collector.problems.append(problem)


def place() -> Origin:
    """Return the file and line of the user code that is running."""
    return _caller()[0]


def is_applied(address: str) -> bool:
    """Return whether the active collector lists a feature as applied."""
    collector = _collector.get()
    return collector is not None and address in collector.applied


def remember(declaration: Declaration) -> None:
    """Register a declaration that got its address after its creation, so that pickles find it."""
    if _collector.get() is None:
        _by_reference[(declaration.module, declaration.kind, declaration.address)] = declaration


def _caller() -> tuple[Origin, str]:
    frame = sys._getframe(1)  # noqa: SLF001 - the public inspect.stack reads source files
    while frame.f_back and frame.f_code.co_filename.startswith(_NOT_WRITTEN_BY_USERS):
        frame = frame.f_back
    return Origin(frame.f_code.co_filename, frame.f_lineno), str(frame.f_globals.get("__name__", ""))


def _problem(title: str, detail: Any, fields: Mapping[str, Any], where: Origin) -> Problem:
    location = ".".join(str(part) for part in detail["loc"] if part != "[key]")
    if detail["type"] == "extra_forbidden":
        return Problem("Unknown option", f"{title} has no option {location!r}.", where, did_you_mean(location, fields))
    if detail["type"] == "missing":
        return Problem("Missing option", f"{title} needs {location}=.", where)
    why = reason(detail)
    return Problem("Invalid declaration", f"{title}: {location}: {why}" if location else f"{title}: {why}", where)


def _shown(name: object) -> str:
    return shown(name) if name is not None else ""


def _checked_name(text: str) -> str:
    if not is_name(text):
        near = "".join(c if c.isalnum() else "_" for c in snake_case(text)).strip("_0123456789")
        hint = f", such as {near!r}" if is_name(near) else ""
        raise ValueError(f"{text!r} is not a name: use lower-case letters, digits and underscores{hint}")
    return text


def _checked_column(text: str) -> str:
    if not is_column(text):
        raise ValueError(f"{text!r} is not a column name: use letters, digits and underscores")
    return text


def listed(value: Any) -> Any:
    """Return a list, a set or another collection as a tuple, and any other value unchanged."""
    # A set has no order, and plans must be deterministic.
    if isinstance(value, AbstractSet):
        return tuple(sorted(value, key=_sort_key))
    is_collection = isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping | BaseModel | type)
    return tuple(value) if is_collection and not isinstance(value, tuple) else value


def _sort_key(value: Any) -> str:
    return str(getattr(value, "address", None) or getattr(value, "__name__", value))


def mapping(value: Any) -> Any:
    """Return a mapping as a dict, None as an empty dict, and any other value unchanged."""
    return dict(value) if isinstance(value, Mapping) else {} if value is None else value


def length_of(value: Any) -> Any:
    """Return a timedelta as text, such as `"30 days"`, and a string or None unchanged. Raises ValueError."""
    if isinstance(value, timedelta):
        return written_of(value)
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{shown(value)} is not a duration, such as '30 days' or timedelta(days=30)")
    return value


def _checked_source_column(text: str) -> str:
    if not is_source_column(text):
        raise ValueError(f"{text!r} is not a column name")
    return text


def _many(value: object) -> object:
    return (value,) if isinstance(value, str) else listed(value)


Name = Annotated[str, AfterValidator(_checked_name)]
"""The name of an entity, source, group, feature, set or model."""
ColumnName = Annotated[str, AfterValidator(_checked_column)]
"""The name of a key column."""
SourceColumn = Annotated[str, AfterValidator(_checked_source_column)]
"""The name of a source column, which may contain any character except NUL."""
DType = Annotated[str, BeforeValidator(duckdb_type)]
"""A Python type or the name of a DuckDB type, stored as the latter."""
Texts = Annotated[tuple[str, ...], BeforeValidator(_many)]
"""One string or several."""
Duration = Annotated[str, BeforeValidator(length_of), AfterValidator(checked)]
"""A duration of fixed length: `"30 days"`, or a timedelta."""
