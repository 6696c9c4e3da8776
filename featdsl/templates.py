"""Fill Jinja in SQL: variables of the project, and the names of other sources."""

from __future__ import annotations

from collections.abc import Mapping

from featdsl.names import did_you_mean, quote


class TemplateProblem(ValueError):
    """A template that cannot be filled; `mend` says what to do."""

    def __init__(self, what: str, mend: str = "") -> None:
        super().__init__(what)
        self.mend = mend


def render(text: str, *, variables: Mapping[str, object], sources: Mapping[str, str]) -> str:
    """Return `text` with `{{ var("name") }}` and `{{ source_name }}` filled. Raises TemplateProblem."""
    if "{{" not in text and "{%" not in text and "{#" not in text:
        return text
    from jinja2 import Environment, StrictUndefined, TemplateError, UndefinedError

    def var(name: str) -> object:
        if name not in variables:
            raise TemplateProblem(
                f"The variable {name!r} is not in [variables] of featproject.toml.",
                did_you_mean(name, variables) or f"Add it there: {name} = ...",
            )
        return variables[name]

    environment = Environment(undefined=StrictUndefined, autoescape=False)  # noqa: S701 - SQL is no HTML
    try:
        return environment.from_string(text).render({"var": var, **sources})
    except UndefinedError as error:
        missing = str(error.message).partition("'")[2].partition("'")[0]
        raise TemplateProblem(f"{error.message} in the template.", did_you_mean(missing, sources)) from None
    except TemplateError as error:
        raise TemplateProblem(f"The template cannot be read: {error}.") from None


def source_names(names: Mapping[str, object]) -> dict[str, str]:
    """Return what each source is called inside SQL."""
    return {name: f"source.{quote(name)}" for name in names}
