"""Complete names of definitions and environments in bash, zsh and fish: fast, and silent on any error."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

VARIABLE = "_FEATDSL_COMPLETE"
"""The variable in which a shell asks for completions."""

Completing = Callable[[click.Context, click.Parameter, str], "list[CompletionItem]"]


def names(*kinds: str) -> Completing:
    """Return what completes the names of definitions of these kinds; `env` are the environments, `tag` the tags."""

    def complete(context: click.Context, _parameter: click.Parameter, typed: str) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem

        with contextlib.suppress(Exception), contextlib.redirect_stderr(io.StringIO()):
            return [CompletionItem(name, help=about) for name, about in _matching(context, kinds, typed)]
        return []

    return complete


def _matching(context: click.Context, kinds: tuple[str, ...], typed: str) -> Iterator[tuple[str, str]]:
    """Yield the names that begin with the typed letters, and those that contain them if none does."""
    from featdsl.cli.known_names import known
    from featdsl.definitions.escaping import shown

    directory: Path | None = context.find_root().params.get("directory")
    found = known(directory, context.params.get("env") or os.environ.get("FEATDSL_ENV") or "prod")
    every = {name: about for kind in kinds for name, about in found.get(kind, {}).items()}
    begun = {name: about for name, about in every.items() if name.startswith(typed)}
    for name, about in (begun or {name: about for name, about in every.items() if typed in name}).items():
        yield name, shown(about.replace("\n", " ").replace("\t", " "))[:80]


def register() -> None:
    """Let bash take `credit_risk@1` as one word: it ends words at `@` for names of hosts."""
    from click.shell_completion import BashComplete, add_completion_class

    class _Bash(BashComplete):
        source_template = f"COMP_WORDBREAKS=${{COMP_WORDBREAKS//@}}\n{BashComplete.source_template}"

    add_completion_class(_Bash)
