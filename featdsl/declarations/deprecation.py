"""Mark a feature, group or set version as deprecated: since when, until when it stays, and what replaces it."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any, ClassVar, Self

from pydantic import BeforeValidator, model_validator

from featdsl.declarations.declaration import Declaration
from featdsl.definitions.kinds import Deprecation
from featdsl.definitions.validation_errors import shown


def _day(value: object) -> object:
    """Return a date, or the date that an ISO string names. Raises ValueError."""
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    try:
        return date.fromisoformat(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise ValueError(f"{shown(value)} is not a date; write it as '2026-06-30'") from None


def _replacement(value: Any) -> Any:
    """Return `value` if it is an address, a feature, a group or a set. Raises ValueError."""
    declared = getattr(value, "declaration", value)
    if not isinstance(value, str) and not (
        isinstance(declared, Declaration) and declared.kind in {"feature", "group", "set"}
    ):
        raise ValueError(
            f"{shown(value)} is not a feature, group or feature set; name one, such as 'user_profile.income'"
        )
    return value


Day = Annotated[date, BeforeValidator(_day)]


class Deprecated(Declaration):
    """Marks a feature, a group or a set version as deprecated.

        income = Feature(float, deprecated=Deprecated(since="2026-01-01", remove_after="2026-06-30", use=gross_income))

    Days are dates or ISO strings. The owner can remove it from `remove_after` on, or at once if that is left out. `use` is
    the replacement: an object or its address. Raises DeclarationError if an argument is invalid.
    """

    kind: ClassVar[str] = "deprecated"

    since: Day
    remove_after: Day | None = None
    use: Annotated[Any, BeforeValidator(_replacement), "pydantic would copy a generic Feature"] = ""

    def __init__(
        self, *, since: date | str, remove_after: date | str | None = None, use: Declaration | type | str = ""
    ) -> None:
        super().__init__({"since": since, "remove_after": remove_after, "use": use})

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.remove_after is not None and self.remove_after < self.since:
            raise ValueError(f"remove_after={self.remove_after} is before since={self.since}")
        return self

    @property
    def use_address(self) -> str:
        """The address of the replacement, or `""`."""
        return self.use if isinstance(self.use, str) else str(getattr(self.use, "declaration", self.use).address)

    @property
    def data(self) -> Deprecation:
        """The deprecation as plain data."""
        until = self.remove_after.isoformat() if self.remove_after else None
        return Deprecation(since=self.since.isoformat(), remove_after=until, use=self.use_address)

    def __str__(self) -> str:
        return str(self.data)
