"""Commands that start a project and share features between projects."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from featdsl.cli import files, options, printing


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), default=".")
@click.option(
    "--ci",
    "provider",
    type=click.Choice(["github", "gitlab"]),
    help="Also write the files of a CI; in a project that exists, write only them.",
)
def init(folder: Path, provider: str | None) -> None:
    """Create a small project, ready to plan and apply.

    \b
    featdsl init my_project
    cd my_project && featdsl apply
    featdsl init --ci github
    """
    from featdsl.project import scaffold
    from featdsl.project.settings import FILE

    is_new = provider is None or not (folder / FILE).exists()
    for path in scaffold.start(folder) if is_new else ():
        printing.echo(f"  {path}")
    if provider is not None:
        _write_ci(folder, provider)
    into = "" if folder == Path() else f"cd {folder} && "
    printing.echo(f"Next: {into}featdsl plan")


def _write_ci(folder: Path, provider: str) -> None:
    from featdsl.ci import setup

    done = setup.write(folder, provider)
    for path in done.paths:
        printing.echo(f"  {path}")
    if done.left:
        printing.echo(done.left)
    printing.echo("docs/ci.md of featdsl lists the settings of the repository that the jobs need.")


@click.command("export")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@options.environment
@click.pass_obj
def export_(directory: Path | None, file: Path, env: str) -> None:
    """Write the applied definitions of all projects to a JSON file.

    With the file you can plan where the store is not reachable.

    \b
    featdsl export registry.json
    featdsl plan --against registry.json
    """
    from featdsl.stores import environments, export, open_store

    store = open_store(options.project(directory))
    snapshot = environments.read(store, env)
    files.write(file, export.to_json(snapshot, store.drift(snapshot)))
    printing.echo(f"Wrote state {snapshot.head.serial} of the store to {file}.")


@click.command()
@click.argument("project")
@click.option("--check", is_flag=True, help="Write nothing; exit with 2 if the module is out of date.")
@click.pass_obj
def pull(directory: Path | None, project: str, check: bool) -> None:
    """Import another project's features, as a typed module.

    The module is `shared/PROJECT.py` in your features package; import the features from it.

    \b
    featdsl pull accounts
    featdsl pull accounts --check
    """
    from featdsl.project.pull import pull as module_of
    from featdsl.project.pull import refuse_other_files
    from featdsl.stores import open_store

    here = options.project(directory)
    module = module_of(open_store(here).read(), project, here)
    path = here.root / module.path
    current = files.text_of(path, "module") if path.exists() else None
    if current is not None:
        refuse_other_files(current, module.path)
    if current is not None and module.is_written(current):
        printing.echo(f"{module.path} is up to date.")
    elif check:
        printing.echo(
            f"{module.path} is {'out of date' if current is not None else 'missing'}. Run: featdsl pull {project}"
        )
        sys.exit(2)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not (path.parent / "__init__.py").exists():
            files.write(path.parent / "__init__.py", '"""Features of other projects, written by featdsl pull."""\n')
        files.write(path, module.text)
        printing.echo(f"Wrote {module.path}.")


COMMANDS = (export_, init, pull)
