"""What should be used no longer: since when, until when it stays, and what takes its place."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any, ClassVar, Self

from pydantic import BeforeValidator, model_validator

from featdsl.declaration import Declaration
from featdsl.reasons import shown


def _day(given: object) -> object:
    """Return the day that a date or an ISO text names. Raises ValueError."""
    if isinstance(given, date) and not isinstance(given, datetime):
        return given
    try:
        return date.fromisoformat(given)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise ValueError(f"{shown(given)} is not a day; write it as '2026-06-30'") from None


def _replacement(given: Any) -> Any:
    """Return a text or a declaration that may take the place of another. Raises ValueError."""
    declared = getattr(given, "declaration", given)
    if not isinstance(given, str) and not (
        isinstance(declared, Declaration) and declared.kind in {"feature", "group", "set"}
    ):
        raise ValueError(
            f"{shown(given)} is not a feature, group or feature set; name one, such as 'user_profile.income'"
        )
    return given


Day = Annotated[date, BeforeValidator(_day)]


class Deprecated(Declaration):
    """That a feature, a group or a set version should be used no longer.

        income = Feature(float, deprecated=Deprecated(since="2026-01-01", remove_after="2026-06-30", use=gross_income))

    Days are dates or ISO texts. It can be removed from `remove_after` on, and at once where none is given; `use` is what
    takes its place: an object, or its address. Raises DeclarationError for what does not fit.
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
            raise ValueError(f"remove_after={self.remove_after} lies before since={self.since}")
        return self

    @property
    def use_address(self) -> str:
        """The address of what takes its place, or nothing."""
        return self.use if isinstance(self.use, str) else str(getattr(self.use, "declaration", self.use).address)
