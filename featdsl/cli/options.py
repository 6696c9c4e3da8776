"""The options that several commands share, and the typed words as another command repeats them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from featdsl.cli import completion
from featdsl.project import invocation

ANY = completion.names("feature", "group", "set", "model", "source", "entity")
"""Completes the name of any definition."""

if TYPE_CHECKING:
    from featdsl.featurestore import FeatureStore
    from featdsl.project.settings import Project

formats = click.option("--format", "format_", type=click.Choice(["text", "json"]), default="text", show_default=True)
environment = click.option(
    "--env",
    "env",
    default="prod",
    show_default=True,
    envvar="FEATDSL_ENV",
    metavar="NAME",
    shell_complete=completion.names("env"),
    help="The environment.",
)
approved_by = click.option(
    "--approved-by",
    multiple=True,
    metavar="TEAM",
    shell_complete=completion.names("team"),
    help="A team that approves the plan; repeatable. This is recorded, but not verified.",
)
select = click.option(
    "--select",
    multiple=True,
    metavar="NAME",
    shell_complete=completion.names("group", "set", "model", "team"),
    help="Only this group, set, model or team and its dependencies; repeatable.",
)
_FILTERS = (
    click.option(
        "--owner",
        metavar="TEAM",
        shell_complete=completion.names("team"),
        help="Only definitions that this team owns.",
    ),
    click.option(
        "--entity",
        metavar="NAME",
        shell_complete=completion.names("entity"),
        help="Only definitions that describe this entity.",
    ),
    click.option(
        "--tag", metavar="TAG", shell_complete=completion.names("tag"), help="Only definitions with this tag."
    ),
    click.option("--type", "type_", metavar="TYPE", help="Only features of this type: int, float, VARCHAR."),
    click.option(
        "--set",
        "set_",
        metavar="SET",
        shell_complete=completion.names("set"),
        help="Only definitions in this set: credit_risk, or credit_risk@1.",
    ),
    click.option(
        "--kind",
        type=click.Choice(["feature", "group", "set", "model", "source", "entity", "team"]),
        help="Only definitions of this kind.",
    ),
)


def filtered(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command with the options that filter definitions."""
    for option in reversed(_FILTERS):
        command = option(command)
    return command


def pairs(texts: tuple[str, ...], option: str, name: str) -> dict[str, str]:
    """Return the values of a repeatable option NAME=VALUE by name."""
    wrong = [text for text in texts if "=" not in text]
    if wrong:
        raise click.BadParameter(f"{wrong[0]!r} is not {name}=VALUE.", param_hint=option)
    return dict(text.split("=", 1) for text in texts)


def store(directory: Path | None, env: str) -> FeatureStore:
    """Return the feature store of the command's project, for an environment."""
    from featdsl.featurestore import FeatureStore

    return FeatureStore(directory, env=env)


def project(directory: Path | None) -> Project:
    """Return the command's project: the one that `directory`, or the current one, lies in."""
    from featdsl.project.settings import load

    return load(directory)


def words_before() -> list[str]:
    """Return the options typed before the command, as words."""
    directory = click.get_current_context().find_root().params.get("directory")
    return ["-C", str(directory)] if directory is not None else []


def words_after() -> list[str]:
    """Return the typed environment and selection, as words."""
    context = click.get_current_context()
    words = [each for name in context.params.get("select") or () for each in ("--select", name)]
    if context.get_parameter_source("env") is ParameterSource.COMMANDLINE:
        words += ["--env", context.params["env"]]
    return words


def plan_words(*, out: Path | None = None) -> list[str]:
    """Return the words of the `featdsl plan` command that matches the typed command, saved to `out` if given."""
    return [*words_before(), "plan", *words_after(), *(["--out", str(out)] if out else [])]


def apply_command(file: Path) -> str:
    """Return the command that applies a saved plan."""
    return invocation.command(*words_before(), "apply", str(file))
