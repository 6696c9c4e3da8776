"""Commands between projects: the registry as a file, and another project's features as a module."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from featdsl import cli_shared


@click.command("export")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@cli_shared.environment
@click.pass_obj
def export_(directory: Path | None, file: Path, env: str) -> None:
    """Write what is applied, of every project, to one JSON file: for plans where nobody may open the store.

    \b
    featdsl export registry.json
    featdsl plan --against registry.json
    """
    from featdsl import environments, export
    from featdsl.stores import open_store

    store = open_store(cli_shared.project(directory))
    snapshot = environments.read(store, env)
    cli_shared.write(file, export.to_json(snapshot, store.drift(snapshot)))
    cli_shared.echo(f"Wrote state {snapshot.head.serial} of the store to {file}.")


@click.command()
@click.argument("project")
@click.option("--check", is_flag=True, help="Write nothing; exit with 2 when the module is out of date.")
@click.pass_obj
def pull(directory: Path | None, project: str, check: bool) -> None:
    """Make another project's features importable here, by name and typed, as a module that it writes.

    \b
    featdsl pull accounts           then: from features.shared.accounts import UserProfile
    featdsl pull accounts --check
    """
    from featdsl.pull import pull as module_of
    from featdsl.pull import refuse_other_files
    from featdsl.stores import open_store

    here = cli_shared.project(directory)
    module = module_of(open_store(here).read(), project, here)
    path = here.root / module.path
    found = cli_shared.text_of(path, "module") if path.exists() else None
    if found is not None:
        refuse_other_files(found, module.path)
    if found is not None and module.is_written(found):
        cli_shared.echo(f"{module.path} is up to date.")
    elif check:
        cli_shared.echo(
            f"{module.path} is {'out of date' if found is not None else 'missing'}. Run: featdsl pull {project}"
        )
        sys.exit(2)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not (path.parent / "__init__.py").exists():
            cli_shared.write(path.parent / "__init__.py", '"""What other projects share, written by featdsl pull."""\n')
        cli_shared.write(path, module.text)
        cli_shared.echo(f"Wrote {module.path}.")


COMMANDS = (export_, pull)
